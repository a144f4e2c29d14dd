"""The wire formats, by name. Each is imported when it is first asked for."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module

from pointsman.dialects.base import ClientDialect, Dialect
from pointsman.errors import ConfigError

__all__ = ["NAMES", "get_client_dialect", "get_dialect"]

# Name → the module and its one instance.
_HOMES = {
    "openai": ("pointsman.dialects.openai", "OPENAI"),
    "anthropic": ("pointsman.dialects.anthropic", "ANTHROPIC"),
    "gemini": ("pointsman.dialects.gemini", "GEMINI"),
}

# Those that only clients speak.
_CLIENT_HOMES = {"ollama": ("pointsman.dialects.ollama", "OLLAMA")}

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


@cache
def get_client_dialect(name: str) -> ClientDialect:
    """Give the dialect of that name as a client speaks it; the same object every time.

    Raises:
        ConfigError: as `get_dialect`.
    """
    home = _CLIENT_HOMES.get(name)
    if home is None:
        return get_dialect(name)
    module, instance = home
    dialect: ClientDialect = getattr(import_module(module), instance)
    return dialect
