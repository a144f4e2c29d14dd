"""The parameters that `/set parameter` takes: their names, their values, and where they go."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from pointsman.errors import RequestError

__all__ = ["NAMES", "check_value", "read_value", "split_options"]

MAX_STOPS = 16


class _Parameter(Struct, frozen=True):
    """`field` is of ChatOptions; None for one of llama.cpp's own. Limits are inclusive."""

    name: str
    kind: Literal["number", "integer", "strings"]
    field: str | None = None
    least: float | None = None
    most: float | None = None


_PARAMETERS = {
    each.name: each
    for each in (
        _Parameter("temperature", "number", "temperature", 0, 2),
        _Parameter("top_p", "number", "top_p", 0, 1),
        _Parameter("top_k", "integer", "top_k", 0),
        _Parameter("min_p", "number", "min_p", 0, 1),
        _Parameter("seed", "integer", "seed"),
        _Parameter("max_tokens", "integer", "max_tokens", 1),
        _Parameter("stop", "strings", "stop"),
        _Parameter("frequency_penalty", "number", "frequency_penalty", -2, 2),
        _Parameter("presence_penalty", "number", "presence_penalty", -2, 2),
        # Source: tools/server/README.md of llama.cpp, b11434.
        _Parameter("repeat_penalty", "number", None, 0),
        _Parameter("repeat_last_n", "integer", None, -1),
        _Parameter("typical_p", "number", None, 0, 1),
        _Parameter("mirostat", "integer", None, 0, 2),
        _Parameter("mirostat_tau", "number", None, 0),
        _Parameter("mirostat_eta", "number", None, 0),
    )
}
# What people who come from elsewhere type.
_ALIASES = {"num_predict": "max_tokens", "max_completion_tokens": "max_tokens"}
_LOAD_TIME = {"num_ctx": "context", "num_gpu": "flags", "num_thread": "flags", "num_batch": "flags"}
NAMES = tuple(_PARAMETERS)


def read_value(name: str, words: Sequence[str]) -> tuple[str, Any]:
    """Give a parameter's own name and its value; None for `default`, or a limit below 1.

    Raises:
        RequestError: no such parameter, or no such value.
    """
    parameter = _find(name)
    if not words:
        raise RequestError(f"'{name}' needs a value, or 'default'", param=name)
    if list(words) == ["default"]:
        return parameter.name, None
    if parameter.kind == "strings":
        return parameter.name, check_value(parameter.name, list(words))
    if len(words) > 1:
        raise RequestError(f"'{name}' takes one value, not {len(words)}", param=name)
    if name == "num_predict" and words[0] in ("-1", "-2"):
        return parameter.name, None  # Ollama's words for no limit.
    try:
        value = int(words[0]) if parameter.kind == "integer" else float(words[0])
    except ValueError:
        what = "a whole number" if parameter.kind == "integer" else "a number"
        raise RequestError(f"'{name}' must be {what}, not '{words[0]}'", param=name) from None
    return parameter.name, check_value(parameter.name, value)


def check_value(name: str, value: Any) -> Any:
    """Give the value if the parameter may have it.

    Raises:
        RequestError: no such parameter, or no such value.
    """
    parameter = _find(name)
    if parameter.kind == "strings":
        good = isinstance(value, list) and all(isinstance(each, str) and each for each in value)
        if not good or not 1 <= len(value) <= MAX_STOPS:
            raise RequestError(f"'{name}' must be 1 to {MAX_STOPS} texts", param=name)
        return value
    allowed = int if parameter.kind == "integer" else (int, float)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise RequestError(f"'{name}' must be a number", param=name)
    least, most = parameter.least, parameter.most
    # Said so that what is no number at all (nan) fails too.
    if (least is not None and not value >= least) or (most is not None and not value <= most):
        bounds = f"{least:g} to {most:g}" if most is not None else f"at least {least:g}"
        raise RequestError(f"'{name}' must be {bounds}, not {value}", param=name)
    return value


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the options that ChatOptions has, and those that only llama.cpp knows."""
    known: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in options.items():
        field = _PARAMETERS[name].field
        if field is None:
            own[name] = value
        else:
            known[field] = value
    return known, own


def _find(name: str) -> _Parameter:
    parameter = _PARAMETERS.get(_ALIASES.get(name, name))
    if parameter is not None:
        return parameter
    if name in _LOAD_TIME:
        raise RequestError(
            f"'{name}' holds from when the model is loaded: set '{_LOAD_TIME[name]}' in"
            " [local.models.NAME] of the configuration",
            param=name,
        )
    near = difflib.get_close_matches(name, [*_PARAMETERS, *_ALIASES], 1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(NAMES)}"
    raise RequestError(f"no parameter '{name}'; {hint}", param=name)
