"""Which texts are worth asking about: those a student is unsure of, spread over what there is.

Source: margin sampling (Scheffer, Decomain, Wrobel 2001) and the k-centre greedy cover (Sener,
Savarese 2018), over hashed character n-grams.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["confused_pairs", "most_telling", "spread"]

DIMENSIONS = 256
MAX_CHARS = 400
MAX_POOL = 6_000
UNSURE_FACTOR = 4


def spread(texts: Sequence[str], count: int, seed: int) -> list[int]:
    """Give positions of texts that cover all of them well: each as far as can be from those before."""
    chooser = np.random.default_rng(seed)
    pool = list(range(len(texts)))
    if len(pool) > MAX_POOL:
        pool = sorted(chooser.choice(len(pool), MAX_POOL, replace=False).tolist())
    count = min(count, len(pool))
    if count == 0:
        return []
    points = np.stack([_point(texts[at]) for at in pool])
    chosen = [int(chooser.integers(len(pool)))]
    nearest: Any = points @ points[chosen[0]]
    while len(chosen) < count:
        nearest[chosen] = np.inf
        at = int(nearest.argmin())
        chosen.append(at)
        nearest = np.maximum(nearest, points @ points[at])
    return [pool[at] for at in chosen]


def most_telling(
    texts: Sequence[str], scores: Sequence[Sequence[float]], count: int, seed: int
) -> list[int]:
    """Give positions of texts with a small margin between their two best scores, well spread."""
    table: Any = np.sort(np.asarray(scores, dtype=np.float64), axis=1)
    margin = table[:, -1] - table[:, -2] if table.shape[1] > 1 else np.abs(table[:, 0] - 0.5)
    unsure = np.argsort(margin, kind="stable")[: max(count * UNSURE_FACTOR, 1)]
    return [int(unsure[at]) for at in spread([texts[at] for at in unsure], count, seed)]


def confused_pairs(
    wanted: Sequence[str], predicted: Sequence[str], most: int
) -> list[tuple[str, str, list[int]]]:
    """Give the pairs of labels that are taken for each other most, with where; both ways count."""
    found: dict[tuple[str, str], list[int]] = {}
    for at, (true, said) in enumerate(zip(wanted, predicted, strict=True)):
        if true != said:
            found.setdefault((min(true, said), max(true, said)), []).append(at)
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [(*pair, where) for pair, where in ranked[:most]]


def _point(text: str) -> Any:
    point = np.zeros(DIMENSIONS, dtype=np.float32)
    plain = f" {text[:MAX_CHARS].casefold()} "
    for at in range(max(len(plain) - 2, 1)):
        mixed = zlib.crc32(plain[at : at + 3].encode("utf-8", "surrogatepass"))
        point[mixed % DIMENSIONS] += 1 if mixed & 0x10000 else -1
    length = float(np.sqrt(point @ point))
    return point / length if length else point
