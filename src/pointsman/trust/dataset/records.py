"""Records out of a file whose format its bytes say: JSON lines, a JSON array, CSV, TSV or Parquet.

Bounded whatever the file holds: a line, a field, an array, and what an archive unpacks to.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from pointsman._bounded import Bounded
from pointsman.errors import MissingExtra, TrustError

__all__ = ["Bad", "Record", "Unreadable", "read_records"]

Record = dict[str, Any]

MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_ARRAY_BYTES = 512 * 1024 * 1024
MAX_COLUMNS = 1000
HEAD_BYTES = 64 * 1024
BATCH_ROWS = 256
SHOW_EVERY_ROWS = 4096
# Rows of text shrink to a tenth or so; what grows more than this was made to keep its reader busy.
MAX_RATIO = 200
FREE_BYTES = 1024 * 1024 * 1024

Progress = Callable[[int, int], None]
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_DECODER = msgspec.json.Decoder(Record)


class Unreadable(TrustError):
    """A file of rows could not be read, so nothing can be said of it."""

    code = "rows_unreadable"
    exit_code = 2


class Bad(msgspec.Struct, frozen=True):
    """A record that could not be read, and why; the ones after it still can."""

    why: str


def read_records(
    path: Path, progress: Progress = lambda done, total: None
) -> Iterator[tuple[int, Record | Bad]]:
    """Yield (line, or row of an array or a Parquet file, from 1; record) of a file.

    `progress` gets the bytes read so far and all, of a Parquet file the rows.

    Raises:
        Unreadable: the file as a whole cannot be read; names it and says why.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
            if head == _PARQUET:
                yield from _parquet(path, progress)
                return
            raw.seek(0)
            with _unpacked(path, raw, head) as file:
                size = os.fstat(raw.fileno()).st_size
                for count, each in enumerate(_records(path, file)):
                    if count % SHOW_EVERY_ROWS == 0:
                        progress(raw.tell(), size)
                    yield each
                progress(size, size)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise Unreadable(f"{path} cannot be read: {why}") from error


@contextmanager
def _unpacked(path: Path, raw: BinaryIO, head: bytes) -> Iterator[io.BufferedReader]:
    if head[:2] != _GZIP:
        yield cast(io.BufferedReader, raw)
        return
    with gzip.GzipFile(fileobj=raw) as unpacked:
        limit = max(FREE_BYTES, MAX_RATIO * os.fstat(raw.fileno()).st_size)
        bounded = Bounded(cast(BinaryIO, unpacked), limit, lambda: _out_of_proportion(path))
        yield io.BufferedReader(bounded, HEAD_BYTES)


def _out_of_proportion(path: Path) -> Unreadable:
    return Unreadable(
        f"{path} unpacks to over {MAX_RATIO} times its size, which no file of rows"
        " does: unpack it yourself if it is meant"
    )


def _records(path: Path, file: io.BufferedReader) -> Iterator[tuple[int, Record | Bad]]:
    head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(f"{path} is UTF-16: save it as UTF-8")
    if b"\0" in head:
        raise Unreadable(f"{path} is no file of rows: it holds zero bytes, as no text does")
    if head.startswith(b"\xef\xbb\xbf"):
        file.read(3)
        head = head[3:]
    first = head.lstrip()[:1]
    if not first:
        raise Unreadable(f"{path} is empty")
    if first == b"[":
        return _array(path, file)
    if first == b"{":
        return _json_lines(file)
    return _separated(path, file, head)


def _lines(file: io.BufferedReader) -> Iterator[tuple[int, bytes | None]]:
    """The lines with their numbers; None for one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) <= MAX_LINE_BYTES:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        yield number, None


def _json_lines(file: io.BufferedReader) -> Iterator[tuple[int, Record | Bad]]:
    for number, line in _lines(file):
        if line is None:
            yield number, Bad(f"over {MAX_LINE_BYTES} bytes")
        elif line.strip():
            try:
                yield number, _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                yield number, Bad("no JSON object")


def _array(path: Path, file: io.BufferedReader) -> Iterator[tuple[int, Record | Bad]]:
    data = file.read(MAX_ARRAY_BYTES + 1)
    if len(data) > MAX_ARRAY_BYTES:
        raise Unreadable(
            f"{path} is one JSON array of over {MAX_ARRAY_BYTES} bytes: make it JSON lines, an"
            " object a line"
        )
    try:
        rows = msgspec.json.decode(data, type=list[Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unreadable(f"{path} begins as a JSON array and is none: {error}") from error
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else Bad("no JSON object")


def _separated(
    path: Path, file: io.BufferedReader, head: bytes
) -> Iterator[tuple[int, Record | Bad]]:
    # The limit is the process's, and lower unless told: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    first = head.partition(b"\n")[0]
    delimiter = max(("\t", ",", ";"), key=lambda mark: first.count(mark.encode()))
    last = 0

    def texts() -> Iterator[str]:
        nonlocal last
        for number, line in _lines(file):
            last = number
            if line is None:
                raise Unreadable(f"{path}:{number}: a line of over {MAX_LINE_BYTES} bytes")
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise Unreadable(f"{path}:{number}: not UTF-8: save the file as UTF-8") from error

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        if len(header) < 2 or len(header) > MAX_COLUMNS or len({*header}) < len(header):
            raise Unreadable(
                f"{path} is neither JSON lines, a JSON array, Parquet, nor CSV or TSV with a line"
                " of column names"
            )
        begun = last + 1
        for fields in reader:
            if len(fields) == len(header):
                yield begun, dict(zip(header, fields, strict=True))
            elif fields:
                yield begun, Bad(f"{len(fields)} fields where the header has {len(header)}")
            begun = last + 1
    except csv.Error as error:
        raise Unreadable(f"{path}:{last}: no valid CSV: {error}") from error


def _parquet(path: Path, progress: Progress) -> Iterator[tuple[int, Record | Bad]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("reading Parquet", "parquet") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number, total = 0, file.metadata.num_rows
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
                progress(number, total)
    except (pyarrow.ArrowException, ValueError) as error:
        raise Unreadable(f"{path} cannot be read as Parquet: {error}") from error
