"""The wire formats, by name. Each is imported when it is first asked for."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module

from pointsman.dialects.base import Dialect
from pointsman.errors import ConfigError

__all__ = ["NAMES", "get_dialect"]

# Name → the module and its one instance.
_HOMES = {
    "openai": ("pointsman.dialects.openai", "OPENAI"),
    "anthropic": ("pointsman.dialects.anthropic", "ANTHROPIC"),
    "gemini": ("pointsman.dialects.gemini", "GEMINI"),
}

NAMES = tuple(_HOMES)


@cache
def get_dialect(name: str) -> Dialect:
    """Give the dialect of that name; the same object every time.

    Raises:
        ConfigError: there is no such dialect; the message names the nearest.
    """
    home = _HOMES.get(name)
    if home is None:
        near = difflib.get_close_matches(name.lower(), NAMES, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(NAMES)}"
        raise ConfigError(f"no dialect is named '{name}': {hint}", param="dialect")
    module, instance = home
    dialect: Dialect = getattr(import_module(module), instance)
    return dialect
