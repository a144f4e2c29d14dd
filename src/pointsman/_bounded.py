"""A file that gives no more than it may: what an archive unpacks to has no bound of its own."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO

__all__ = ["Bounded"]

# Of a reader that asks for more at once, no more than this is unpacked before it is counted.
PIECE_BYTES = 1024 * 1024


class Bounded(io.RawIOBase):
    """Reads `file`, and raises what `too_much` gives once more than `limit_bytes` have come of it."""

    def __init__(self, file: BinaryIO, limit_bytes: int, too_much: Callable[[], Exception]) -> None:
        self._file = file
        self._left = limit_bytes
        self._too_much = too_much

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as it goes; gives how many bytes came, 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self._file.read(min(len(view), PIECE_BYTES))
        self._left -= len(data)
        if self._left < 0:
            raise self._too_much()
        view[: len(data)] = data
        return len(data)
