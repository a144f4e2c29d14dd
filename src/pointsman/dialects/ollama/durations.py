"""Ollama's durations: Go's form (`1h30m`), or seconds as a number.

Source: Go 1.25, time.ParseDuration; ollama/ollama, api/types.go (Duration), read 2026-11.
"""

from __future__ import annotations

import math
import re

from pointsman.dialects._shared import want_number
from pointsman.errors import RequestError

__all__ = ["FOREVER_S", "read_keep_alive"]

FOREVER_S = -1.0
# Go holds a duration as 64-bit nanoseconds; Ollama takes what is over as for ever.
MAX_S = (2**63 - 1) / 1e9
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}  # fmt: skip
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
MAX_CHARS = 64


def read_keep_alive(value: object, path: str = "keep_alive") -> float | None:
    """Give seconds, `FOREVER_S` for ever; None where nothing is said.

    A number without a unit, in a text too, counts seconds; below 0 is for ever.

    Raises:
        RequestError: neither a number nor a duration.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        seconds = _parse(value.strip(), path)
    else:
        seconds = float(want_number(value, path))
    if seconds < 0 or seconds > MAX_S or math.isnan(seconds):
        return FOREVER_S
    return seconds


def _parse(text: str, path: str) -> float:
    if len(text) > MAX_CHARS:
        raise _wrong(text[:MAX_CHARS], path)
    if _NUMBER.fullmatch(text):
        return float(text)
    sign = -1.0 if text.startswith("-") else 1.0
    rest, seconds, position = text.lstrip("+-"), 0.0, 0
    if len(text) - len(rest) > 1:
        raise _wrong(text, path)
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None:
            raise _wrong(text, path)
        seconds += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not rest:
        raise _wrong(text, path)
    return sign * seconds


def _wrong(text: str, path: str) -> RequestError:
    return RequestError(
        f"'{path}' is '{text}': give a duration such as '5m' or '1h30m', or seconds; -1 is for ever",
        param=path,
    )
