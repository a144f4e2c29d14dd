"""Records out of files: JSON lines, CSV, TSV, Parquet or plain lines, one at a time.

A record is a mapping from column names to values as the format has them: strings for CSV and TSV,
JSON's types for JSON lines and Parquet.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from pointsman.distill.lines import MAX_LINE_BYTES, Progress, read_lines
from pointsman.errors import DistillError, MissingExtra

__all__ = ["COLUMNS", "FORMATS", "Record", "format_of", "read_records"]

Record = dict[str, Any]
Lines = Iterator[tuple[int, str]]

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "txt",
}
# The columns of a row; only these are read of a Parquet file, which may have wide others.
COLUMNS = frozenset(("text", "label", "labels", "soft", "weight", "lang"))
# Rows of Parquet decoded at a time; texts may be long.
BATCH_ROWS = 256
MAX_COLUMNS = 1000

_DECODER = msgspec.json.Decoder(Record)


def format_of(path: Path) -> str:
    """Give the format that a file's name says, `.gz` at its end aside.

    Raises:
        DistillError: none that is known.
    """
    name = Path(path.stem) if path.suffix.lower() == ".gz" else path
    found = FORMATS.get(name.suffix.lower())
    if found is None or (found == "parquet" and name is not path):
        known = ", ".join(FORMATS)
        raise DistillError(
            f"{path}: its name does not say what is in it; known: {known}"
            " (all but .parquet also with .gz)"
        )
    return found


def read_records(
    path: Path, encoding: str | None = None, progress: Progress = lambda done, total: None
) -> Iterator[tuple[int, Record]]:
    """Yield (where, record): where is the line, or the row of a Parquet file, from 1.

    `progress` gets the bytes read and all of them, of a Parquet file the rows.

    Raises:
        DistillError: the file or a record cannot be read; names the line.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    kind = format_of(path)
    if kind == "parquet":
        return _parquet(path, progress)
    lines = read_lines(path, encoding, progress)
    if kind == "jsonl":
        return _json_lines(path, lines)
    if kind == "txt":
        return _plain(lines)
    return _separated(path, lines, "\t" if kind == "tsv" else None)


def _json_lines(path: Path, lines: Lines) -> Iterator[tuple[int, Record]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            yield number, _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise DistillError(
                f"{path}:{number}: no JSON object: {error}; a row is one object a line, such as"
                ' {"text": "…", "label": "…"}'
            ) from error


def _plain(lines: Lines) -> Iterator[tuple[int, Record]]:
    for number, line in lines:
        if text := line.rstrip("\r\n"):
            yield number, {"text": text}


def _separated(path: Path, lines: Lines, delimiter: str | None) -> Iterator[tuple[int, Record]]:
    # The limit is the process's, and lower (128 KiB) unless told: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    first = next(lines, None)
    if first is None:
        return
    delimiter = delimiter or _delimiter(first[1])
    begun = last = 1

    def texts() -> Iterator[str]:
        nonlocal last
        for number, line in chain([first], lines):
            last = number
            yield line

    reader = csv.reader(texts(), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(path, header)
        begun = last + 1
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DistillError(
                    f"{path}:{begun}: {len(fields)} columns, and the header has {len(header)}:"
                    f" put a field that holds '{delimiter}' or a line break in double quotes"
                )
            if fields:
                yield begun, dict(zip(header, fields, strict=True))
            begun = last + 1
    except csv.Error as error:
        raise DistillError(
            f"{path}:{begun}: the row that begins here cannot be read: {error}; a field in double"
            ' quotes ends with one, and has "" for a quote of its own'
        ) from error


def _delimiter(header: str) -> str:
    """Spreadsheets in much of Europe write semicolons into what they call CSV."""
    found = {each: header.count(each) for each in (",", ";", "\t")}
    return max(found, key=lambda each: found[each]) if any(found.values()) else ","


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise DistillError(f"{path}:1: over {MAX_COLUMNS} columns: is its first line the header?")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DistillError(f"{path}:1: the header has '{twice[0]}' twice; rename one of the two")


def _parquet(path: Path, progress: Progress) -> Iterator[tuple[int, Record]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra(f"{path}: reading Parquet", "parquet") from error
    number = 0
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            names = file.schema_arrow.names
            wanted = [name for name in names if name in COLUMNS]
            for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False):
                others = dict.fromkeys(name for name in names if name not in wanted)
                progress(number, file.metadata.num_rows)
                for record in batch.to_pylist():
                    number += 1
                    yield number, {k: v for k, v in record.items() if v is not None} | others
    except (OSError, pyarrow.ArrowException) as error:
        raise DistillError(f"{path} cannot be read as Parquet: {str(error)[:300]}") from error
