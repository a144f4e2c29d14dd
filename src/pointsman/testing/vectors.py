"""Makes a vector from a text, the same one every time; it says nothing of what the text means."""

from __future__ import annotations

import math
import zlib

__all__ = ["DEFAULT_SIZE", "vector"]

DEFAULT_SIZE = 8


def vector(text: str, size: int | None = None) -> list[float]:
    """Give a vector of length 1 with `size` numbers (8 if None)."""
    values = [
        zlib.crc32(f"{index}|{text}".encode()) / 2**31 - 1.0
        for index in range(size or DEFAULT_SIZE)
    ]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]
