"""Bytes with a place: a file, a stretch of one, or what came out of an archive.

A reader asks for a stretch of bounded length and gets what is there; no reader ever holds a whole file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["CHUNK_BYTES", "MAX_READ_BYTES", "Source", "open_source"]

CHUNK_BYTES = 1024 * 1024
MAX_READ_BYTES = 64 * 1024 * 1024

_ReadAt = Callable[[int, int], bytes]


class Source:
    """A stretch of bytes that can be read anywhere. `name` is what a finding calls it."""

    def __init__(self, name: str, size: int, read_at: _ReadAt) -> None:
        self.name = name
        self.size = size
        self._read_at = read_at

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> Source:
        """Give a source over bytes that are in memory."""
        return cls(name, len(data), lambda offset, count: data[offset : offset + count])

    @classmethod
    def of_file(cls, name: str, file: BinaryIO) -> Source:
        """Give a source over an open file, whose own position is left alone."""
        descriptor = file.fileno()

        def read_at(offset: int, count: int) -> bytes:
            # Some systems give at most 2 GiB, and fewer where a signal comes.
            pieces = []
            while count > 0:
                piece = os.pread(descriptor, count, offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                count -= len(piece)
            return b"".join(pieces)

        return cls(name, os.fstat(descriptor).st_size, read_at)

    def read(self, offset: int, count: int) -> bytes:
        """Give up to `count` bytes from `offset`; fewer at the end, none outside.

        At most `MAX_READ_BYTES`, whatever is asked for: a caller that needs more reads in pieces.
        """
        if offset < 0 or offset >= self.size or count <= 0:
            return b""
        return self._read_at(offset, min(count, self.size - offset, MAX_READ_BYTES))

    def window(self, name: str, offset: int, size: int) -> Source:
        """Give a stretch of this source as a source of its own, cut to what is there."""
        start = max(0, min(offset, self.size))
        length = max(0, min(size, self.size - start))
        return Source(name, length, lambda at, count: self.read(start + at, count))

    def chunks(self, *, limit: int | None = None, overlap: int = 0) -> Iterator[tuple[int, bytes]]:
        """Give (offset, bytes) from the start to `limit`; each has the last `overlap` again."""
        end = self.size if limit is None else min(limit, self.size)
        at = 0
        while at < end:
            piece = self.read(at, min(CHUNK_BYTES + overlap, end - at))
            if not piece:
                return
            yield at, piece
            at += CHUNK_BYTES


def open_source(path: Path, name: str) -> tuple[Source, BinaryIO]:
    """Open a regular file for reading; the caller closes the file.

    Raises:
        OSError: it cannot be opened, or is a symlink, pipe or device by now.
    """
    # Without NONBLOCK a pipe that took the file's place would hang us.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags), "rb", buffering=0)
    return Source.of_file(name, file), file
