"""Recorded outcomes: prompts, each with the scores that models got.

A row is an object with `prompt`, `models` (name → {"s": score, "scale": its maximum where not 1})
and, where known, `id`, `benchmark` and `domain`.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from msgspec import Struct

from pointsman.errors import RouteError

__all__ = ["Outcome", "Row", "read_rows"]

MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_ANSWER_TOKENS = 10_000_000


class Outcome(Struct, frozen=True):
    """What one model got: `s` of at most `scale`; `ot` are its answer's tokens, where recorded."""

    s: float
    scale: float = 1.0
    ot: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.s) and math.isfinite(self.scale) and 0 <= self.s <= self.scale):
            raise ValueError("a score must lie from 0 to its scale")
        if self.scale == 0:
            raise ValueError("a scale must be above 0")
        if self.ot is not None and not 0 <= self.ot <= MAX_ANSWER_TOKENS:
            raise ValueError("an answer's tokens must be a number from 0")

    @property
    def share(self) -> float:
        """The score as a share of the best possible."""
        return self.s / self.scale


class Row(Struct, frozen=True):
    """One prompt and its outcomes."""

    prompt: str
    models: dict[str, Outcome]
    id: str = ""
    benchmark: str = ""
    domain: str | None = None


_DECODER = msgspec.json.Decoder(Row)


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a `.jsonl` or `.jsonl.gz` file, in bounded memory.

    Raises:
        RouteError: a row that cannot be read; names the file and the line.
    """
    try:
        with _opened(path) as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise RouteError(f"{path}:{number}: a line is over {MAX_LINE_BYTES} bytes")
                if line.strip():
                    yield _row(line, path, number)
    except (OSError, EOFError, zlib.error) as error:
        raise RouteError(f"{path} cannot be read: {error}") from error


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    return path.open("rb")


def _row(line: bytes, path: Path, number: int) -> Row:
    try:
        return _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RouteError(f"{path}:{number}: no recorded outcome: {error}") from error
