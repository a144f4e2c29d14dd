"""Rows as they are learned from: texts, targets and weights, and which of them are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pointsman.distill.outliers import OTHER, outliers
from pointsman.distill.rows import Row, label_set
from pointsman.errors import DistillError

__all__ = ["Examples", "examples", "held_out"]

HELD_OUT_SHARE = 0.1
MAX_HELD_OUT_ROWS = 4000
# Texts made for the other class: this share of the rows, within bounds.
OUTLIER_SHARE, MIN_OUTLIERS, MAX_OUTLIERS = 0.15, 60, 3000


class Examples(Struct, frozen=True):
    """Texts with their `targets` (texts, C), probabilities 0 to 1, and `weights` (texts,), mean 1.

    The first `rows` texts are the rows', the rest were made for the other class.
    """

    texts: tuple[str, ...]
    targets: Any
    weights: Any
    labels: tuple[str, ...]
    multi: bool
    rows: int

    def take(self, mask: Any) -> Examples:
        """Give those that a mask over all texts names."""
        texts = tuple(text for text, kept in zip(self.texts, mask, strict=True) if kept)
        rows = int(mask[: self.rows].sum())
        return Examples(
            texts, self.targets[mask], self.weights[mask], self.labels, self.multi, rows
        )

    def encoded(self) -> list[bytes]:
        """Give the texts as the graph reads them."""
        return [text.encode("utf-8", "surrogatepass") for text in self.texts]


def examples(rows: Sequence[Row], *, other: bool, seed: int) -> Examples:
    """Give rows as they are learned from; with `other`, texts that belong to no class after them.

    Raises:
        DistillError: rows that nothing can be learned from, or `other` for multi-label rows.
    """
    import numpy as np

    found = label_set(rows)
    labels = found.names
    texts = [row.text for row in rows]
    made: list[str] = []
    if other:
        if found.multi:
            raise DistillError(
                "multi-label rows need no other class: a text that nothing holds of gets no label"
            )
        labels = (*(label for label in labels if label != OTHER), OTHER)
        count = max(MIN_OUTLIERS, min(int(len(rows) * OUTLIER_SHARE), MAX_OUTLIERS))
        made = outliers(texts, count, seed, measuring=False)
    targets = np.zeros((len(texts) + len(made), len(labels)), np.float32)
    targets[len(texts) :, -1] = 1
    _fill(targets, rows, labels, found.multi)
    weights = np.ones(len(targets), np.float32)
    weights[: len(rows)] = [row.weight for row in rows]
    weights[: len(rows)] /= weights[: len(rows)].mean()
    return Examples((*texts, *made), targets, weights, labels, found.multi, len(rows))


def held_out(data: Examples, seed: int) -> Any:
    """Give which texts are held out, by a hash of the text, so that equal texts stay together."""
    import numpy as np

    draw = np.array([_hash(text, seed) for text in data.texts[: data.rows]])
    share = min(HELD_OUT_SHARE, MAX_HELD_OUT_ROWS / data.rows)
    out = np.zeros(len(data.texts), bool)
    out[: data.rows] = draw <= np.quantile(draw, share)
    if out[: data.rows].all():
        raise DistillError("all rows have the same text: nothing can be held out to measure by")
    return out


def _hash(text: str, seed: int) -> int:
    data = text.lower().encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=4, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big")


def _fill(targets: Any, rows: Sequence[Row], labels: Sequence[str], multi: bool) -> None:
    place = {label: index for index, label in enumerate(labels)}
    for index, row in enumerate(rows):
        soft = {place[label]: 1.0 for label in row.labels}
        if row.soft is not None:
            known = {place[label]: p for label, p in row.soft.items() if label in place}
            total = 1.0 if multi else sum(known.values())
            if total > 0:
                soft = {column: p / total for column, p in known.items()}
        for column, p in soft.items():
            targets[index, column] = p
