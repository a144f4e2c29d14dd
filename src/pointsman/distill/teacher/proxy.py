"""A quick student: it stands in for the classifier while rows are still being written.

Ridge regression over hashed words and character n-grams, solved at once in a fraction of a second. What
it mixes up and what it is unsure of is near enough to what the classifier will; the classifier itself
takes much longer to learn, and is learned once, at the end.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pointsman.distill.rows import Row
from pointsman.distill.teacher.student import Guess
from pointsman.errors import MissingExtra

__all__ = ["quick_student"]

BUCKETS = 1 << 15
MAX_CHARS = 2_000
GRAMS = (3, 4, 5)
MAX_ROWS = 3_000
RIDGE = 0.1
# What makes probabilities of the scores, which lie near 0 and 1.
SHARPNESS = 6.0
_WORD = re.compile(r"\w+")


def quick_student(rows: Sequence[Row], texts: Sequence[str]) -> list[Guess]:
    """Learn from rows and give a guess for each text; a `pointsman.distill.teacher.student.Student`.

    Of more than 3,000 rows so many are learned from, evenly drawn.

    Raises:
        MissingExtra: scipy is not installed.
    """
    rows = rows[:: -(-len(rows) // MAX_ROWS) or 1]
    names = sorted({label for row in rows for label in row.labels})
    multi = any(len(row.labels) != 1 for row in rows)
    places = {name: at for at, name in enumerate(names)}
    targets = np.zeros((len(rows), len(names)), dtype=np.float64)
    for at, row in enumerate(rows):
        for label in row.labels:
            targets[at, places[label]] = 1.0
    known = _matrix([row.text for row in rows])
    # In the dual: as many unknowns as there are rows, not features.
    likeness = (known @ known.T).toarray()
    likeness[np.diag_indices_from(likeness)] += RIDGE
    weights = known.T @ np.linalg.solve(likeness, targets)
    scores = _scores(_matrix(texts) @ weights, multi)
    found = []
    for each in scores:
        chosen = np.flatnonzero(each >= 0.5) if multi else [int(each.argmax())]
        found.append(Guess(tuple(names[at] for at in chosen), tuple(map(float, each))))
    return found


def _scores(values: Any, multi: bool) -> Any:
    if multi:
        return np.clip(values, 0.0, 1.0)
    raised = np.exp(SHARPNESS * (values - values.max(axis=1, keepdims=True)))
    return raised / raised.sum(axis=1, keepdims=True)


def _matrix(texts: Sequence[str]) -> Any:
    """The texts as rows of unit length over hashed features, and a constant."""
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise MissingExtra("training a classifier", "train") from error
    columns: list[int] = []
    values: list[float] = []
    starts = [0]
    for text in texts:
        found = _features(text)
        length = max(len(found), 1) ** 0.5
        columns += [*found, BUCKETS]
        values += [*[1 / length] * len(found), 0.5]
        starts.append(len(columns))
    return csr_matrix((values, columns, starts), shape=(len(texts), BUCKETS + 1))


def _features(text: str) -> set[int]:
    plain = " ".join(_WORD.findall(text[:MAX_CHARS].casefold()))
    padded = f" {plain} "
    grams = {padded[at : at + size] for size in GRAMS for at in range(len(padded) - size + 1)}
    grams.update(f"\0{word}" for word in plain.split())
    return {zlib.crc32(gram.encode("utf-8", "surrogatepass")) % BUCKETS for gram in grams}
