"""As many rows of a file as fit in memory, drawn evenly, with what is odd about the file counted."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from pointsman.distill.lines import Progress
from pointsman.distill.rows import Row, read_rows
from pointsman.errors import DistillError

__all__ = [
    "MAX_SAMPLE_BYTES",
    "MAX_SAMPLE_ROWS",
    "Sample",
    "draw",
    "read_sample",
    "read_scored",
]

# Training takes some 150 bytes of memory for each byte of text, so this much stays below 2 GB.
MAX_SAMPLE_ROWS, MAX_SAMPLE_BYTES = 200_000, 12 * 1024 * 1024
# Rows that a model is scored on; more would narrow no interval that anybody reads.
MAX_SCORED_ROWS, MAX_SCORED_BYTES = 50_000, 64 * 1024 * 1024
# What a row counts beside its text.
ROW_BYTES = 64
# Counted by label while a file goes by; a file with more has no labels but texts or numbers.
MAX_COUNTED_LABELS = 8192


class Sample(Struct, frozen=True):
    """Rows drawn from `seen` ones, in their order, and what was noticed.

    `empty` rows have no text but white space and were left out where texts are needed. Of the rows
    drawn, `duplicates` repeat text and labels of an earlier one, and `contradictions` have the text
    of an earlier one with other labels. `ignored` are keys that are no part of a row. `lost` are
    labels of which no row was drawn.
    """

    rows: tuple[Row, ...]
    seen: int
    empty: int = 0
    duplicates: int = 0
    contradictions: int = 0
    ignored: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Give what a person should know, a sentence each; nothing for an ordinary file."""
        found = []
        if len(self.rows) + self.empty < self.seen:
            found.append(
                f"{len(self.rows):,} of {self.seen:,} rows were drawn, evenly and by the seed: what"
                " is held in memory has a limit"
            )
        if self.lost:
            names = ", ".join(self.lost[:5])
            found.append(f"{len(self.lost)} rare labels had no row drawn: {names}")
        if self.empty:
            found.append(f"{self.empty:,} rows without a text were left out")
        if self.duplicates:
            found.append(f"{self.duplicates:,} rows repeat another one")
        if self.contradictions:
            found.append(
                f"{self.contradictions:,} rows have a text that stands there with other labels too"
            )
        if self.ignored:
            found.append(f"keys that are no part of a row were left out: {', '.join(self.ignored)}")
        return found


def read_sample(
    path: str | Path,
    *,
    seed: int = 0,
    encoding: str | None = None,
    keep_empty: bool = False,
    max_rows: int = MAX_SAMPLE_ROWS,
    max_bytes: int = MAX_SAMPLE_BYTES,
    progress: Progress = lambda done, total: None,
) -> Sample:
    """Read a file of any size and give its sample; see `draw`.

    Raises:
        DistillError: as `read_rows`, or the file has no rows.
        MissingExtra: as `read_rows`.
    """
    ignored: set[str] = set()
    rows = read_rows(path, encoding=encoding, ignored=ignored, progress=progress)
    sample = draw(rows, seed=seed, keep_empty=keep_empty, max_rows=max_rows, max_bytes=max_bytes)
    if not sample.seen:
        raise DistillError(f'{path} has no rows: a row is such as {{"text": "…", "label": "…"}}')
    return Sample(
        sample.rows,
        sample.seen,
        sample.empty,
        sample.duplicates,
        sample.contradictions,
        tuple(sorted(ignored)),
        sample.lost,
    )


def read_scored(
    path: str | Path,
    *,
    seed: int = 0,
    encoding: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Sample:
    """Read a file of rows that a model is to be scored on: 50,000 of them at most, empty ones too.

    Raises:
        DistillError, MissingExtra: as `read_sample`.
    """
    return read_sample(
        path,
        seed=seed,
        encoding=encoding,
        keep_empty=True,
        max_rows=MAX_SCORED_ROWS,
        max_bytes=MAX_SCORED_BYTES,
        progress=progress,
    )


def draw(
    rows: Iterable[Row],
    *,
    seed: int = 0,
    keep_empty: bool = False,
    max_rows: int = MAX_SAMPLE_ROWS,
    max_bytes: int = MAX_SAMPLE_BYTES,
) -> Sample:
    """Draw rows evenly, at most so many and of so many bytes of text, in memory of that size.

    Each row gets a random number, and those with the smallest ones stay; so the same rows and seed
    give the same sample. With `keep_empty` rows without a text stay too.

    Raises:
        DistillError: over 8,192 different labels.
    """
    generator = random.Random(seed)  # noqa: S311  # a sample, no secret
    labels: Counter[str] = Counter()
    kept: list[tuple[float, int, int, Row]] = []  # The largest number first, as its negative.
    held_bytes = seen = empty = 0
    ceiling = 1.0
    for seen, row in enumerate(rows, 1):
        number = generator.random()
        if not keep_empty and not row.text.strip():
            empty += 1
            continue
        labels.update(row.labels)
        if len(labels) > MAX_COUNTED_LABELS:
            raise DistillError(
                f"over {MAX_COUNTED_LABELS} different labels in {seen} rows: is 'label' really the"
                " class of a row, and not a text or a number?"
            )
        if number >= ceiling:
            continue
        size = len(row.text.encode("utf-8", "replace")) + ROW_BYTES
        heapq.heappush(kept, (-number, seen, size, row))
        held_bytes += size
        while len(kept) > max_rows or (held_bytes > max_bytes and len(kept) > 1):
            # What is larger than a number that had to go may not come in later, however short.
            gone = heapq.heappop(kept)
            ceiling = -gone[0]
            held_bytes -= gone[2]
    chosen = tuple(row for _, _, _, row in sorted(kept, key=lambda each: each[1]))
    present = {label for row in chosen for label in row.labels}
    duplicates, contradictions = _repeats(chosen)
    lost = tuple(sorted(label for label in labels if label not in present))
    return Sample(chosen, seen, empty, duplicates, contradictions, (), lost)


def _repeats(rows: Iterable[Row]) -> tuple[int, int]:
    by_text: dict[str, set[frozenset[str]]] = {}
    duplicates = contradictions = 0
    for row in rows:
        known = by_text.setdefault(row.text, set())
        labels = frozenset(row.labels)
        if labels in known:
            duplicates += 1
        elif known:
            contradictions += 1
        known.add(labels)
    return duplicates, contradictions
