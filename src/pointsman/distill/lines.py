"""Text files as lines: plain or gzipped, in any encoding, in bounded memory whatever they hold."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pointsman._bounded import Bounded
from pointsman.errors import DistillError

__all__ = ["MAX_LINE_BYTES", "Progress", "read_lines"]

Progress = Callable[[int, int], None]

MAX_LINE_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
SHOW_EVERY_LINES = 8192
# Rows of text shrink to a tenth or so. What grows more than this, and to more than that, was made to
# keep its reader busy (deflate cannot do better than 1032 to 1).
MAX_RATIO = 200
FREE_BYTES = 1024 * 1024 * 1024

# The longer marks first: UTF-32's little-endian one begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_lines(
    path: Path, encoding: str | None = None, progress: Progress = lambda done, total: None
) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line with its line break) of a file; one that ends in `.gz` is unpacked.

    The encoding is the one that a byte order mark at the head says, else `encoding`, else UTF-8.
    `progress` gets the bytes of the file read so far, and all of them, now and then.

    Raises:
        DistillError: the file cannot be read, a line is over 8 MiB or not of the encoding, an
            unknown encoding, or an archive that unpacks to 200 times its size and over 1 GiB.
    """
    if encoding is not None:
        _check_encoding(encoding)
    try:
        with path.open("rb") as raw, _unpacked(path, raw) as file:
            size = os.fstat(raw.fileno()).st_size
            mark, marked = _mark(file.peek(4)[:4] if isinstance(file, io.BufferedReader) else b"")
            file.read(len(mark))
            name = marked or encoding or "utf-8"
            ascii_breaks = "\n".encode(name) == b"\n"
            read = _byte_lines if ascii_breaks else _wide_lines
            for number, line in read(path, file, name):
                if number % SHOW_EVERY_LINES == 0:
                    progress(raw.tell(), size)
                yield number, line
            progress(size, size)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise DistillError(f"{path} cannot be read: {why}") from error


def _check_encoding(encoding: str) -> None:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    except (LookupError, ValueError) as error:
        raise DistillError(
            f"'{encoding}' is no encoding of text: use one such as latin-1, cp1252 or utf-16"
        ) from error


def _mark(head: bytes) -> tuple[bytes, str | None]:
    return next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", None))


@contextmanager
def _unpacked(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    if path.suffix.lower() != ".gz":
        yield raw
        return
    with gzip.GzipFile(fileobj=raw) as unpacked:
        limit = max(FREE_BYTES, MAX_RATIO * os.fstat(raw.fileno()).st_size)
        bounded = Bounded(cast(BinaryIO, unpacked), limit, lambda: _out_of_proportion(path))
        yield cast(BinaryIO, io.BufferedReader(bounded, CHUNK_BYTES))


def _out_of_proportion(path: Path) -> DistillError:
    return DistillError(
        f"{path} unpacks to over {MAX_RATIO} times its size, which no file of rows does;"
        " unpack it yourself if it is meant"
    )


def _byte_lines(path: Path, file: BinaryIO, encoding: str) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise _too_long(path, number)
        try:
            yield number, line.decode(encoding)
        except UnicodeDecodeError as error:
            raise _undecodable(path, number, encoding, error) from error


def _wide_lines(path: Path, file: BinaryIO, encoding: str) -> Iterator[tuple[int, str]]:
    """Lines of an encoding in which a line break is not the one byte that it is in ASCII."""
    decoder = codecs.getincrementaldecoder(encoding)()
    number = 1
    rest = ""
    while True:
        chunk = file.read(CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise _undecodable(path, number, encoding, error) from error
        lines = (rest + text).split("\n")
        rest = lines.pop()
        for line in lines:
            yield number, line + "\n"
            number += 1
        if len(rest) > MAX_LINE_BYTES:
            raise _too_long(path, number)
        if not chunk:
            break
    if rest:
        yield number, rest


def _too_long(path: Path, number: int) -> DistillError:
    return DistillError(
        f"{path}:{number}: a line is over {MAX_LINE_BYTES} bytes: is it really a row a line?"
    )


def _undecodable(path: Path, number: int, encoding: str, error: UnicodeDecodeError) -> DistillError:
    other = "latin-1 or cp1252" if encoding.startswith("utf-8") else "another one"
    return DistillError(
        f"{path}:{number}: not {encoding} (byte {error.start} of what is read there): save the file"
        f" as UTF-8, or name its encoding with --encoding, such as {other}"
    )
