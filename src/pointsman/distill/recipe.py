"""Chooses how large a classifier's parts are and how long they learn, from the size asked for and the
rows at hand. Pure; the numbers were chosen on held-out training rows of the sets in docs/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pointsman.distill.learn import Recipe
from pointsman.distill.ngrams import bags, scheme

__all__ = ["Measure", "layout", "measure", "recipe"]

MEASURE_BUCKETS = 1 << 20
MEASURE_ROWS = 50_000
# Seldom-seen n-grams may share a bucket: this many buckets for each n-gram seen twice are enough.
BUCKETS_PER_NGRAM = 0.4
# (width, parts) from rich to lean: a row takes `parts` bytes.
_LAYOUTS = ((128, 16), (64, 8), (64, 4), (32, 2), (16, 1))
# Two labels need little of a row. Many rows keep what was never seen apart from what was: trained on a
# model's texts and measured on people's, that is worth two points.
_BINARY_LAYOUTS = ((16, 2), (16, 1))
# More labels than this are not told apart by the leanest rows, however many there are.
FEW_LABELS = 12
# Bounds of work, in n-grams: as much as two cores do in about a minute and a half.
TEACHER_NGRAMS, MADE_NGRAMS, EPOCH_NGRAMS = 40e6, 9e6, 165e6
MOST_TEACHERS, MOST_MADE = 5, 3
MIN_STEPS = 300
MIN_BATCH_ROWS, BATCH_ROWS, LARGE_BATCH_ROWS = 16, 128, 256
LARGE_ROWS = 30_000


class Measure(Struct, frozen=True):
    """What the texts hold: `ngrams` in all, and how many different ones are seen at least twice."""

    rows: int
    ngrams: int
    repeated: int


def measure(texts: Sequence[bytes]) -> Measure:
    """Measure texts; of many, a part that stands for all."""
    import numpy as np

    part = texts[:: -(-len(texts) // MEASURE_ROWS)]
    how = scheme(MEASURE_BUCKETS)
    found = bags(part, how)
    owners = np.repeat(np.arange(len(part)), np.diff(found.starts))
    pairs = np.unique(owners * how.buckets + found.buckets) % how.buckets
    repeated = int((np.bincount(pairs, minlength=how.buckets) > 1).sum())
    return Measure(len(texts), len(found.buckets) * len(texts) // len(part), repeated)


def layout(seen: Measure, labels: int, spare_bytes: int) -> tuple[int, int]:
    """Give (width, parts): the richest rows of which enough fit, else the leanest."""
    choices = _LAYOUTS if labels <= FEW_LABELS else _LAYOUTS[:3]
    for width, parts in _BINARY_LAYOUTS if labels <= 2 else choices:
        fitted = (spare_bytes - 256 * width) // parts
        if fitted >= BUCKETS_PER_NGRAM * seen.repeated and fitted > 0:
            return width, parts
    return choices[-1]


def recipe(seen: Measure, width: int, parts: int, *, quick: bool = False) -> Recipe:
    """Give how to learn from what was measured, in bounded time; `quick` without the ensemble."""
    teachers = 0 if quick else min(MOST_TEACHERS, int(TEACHER_NGRAMS / seen.ngrams + 0.5))
    made = min(MOST_MADE, int(MADE_NGRAMS / seen.ngrams)) if teachers else 0
    batch = LARGE_BATCH_ROWS if seen.rows > LARGE_ROWS else BATCH_ROWS
    batch = max(MIN_BATCH_ROWS, min(batch, seen.rows // 8))
    least = -(-MIN_STEPS * batch // seen.rows)
    most = max(2, int(EPOCH_NGRAMS / seen.ngrams))
    return Recipe(
        width=width,
        parts=parts,
        teachers=teachers,
        teacher_width=max(32, min(64, 2 * width)),
        teacher_buckets=1 << 17 if width > 16 else 1 << 18,
        teacher_epochs=min(most, max(least, 10)),
        made=made,
        epochs=min(most, max(least // (1 + made), 10)),
        batch_rows=batch,
    )
