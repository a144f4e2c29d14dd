"""Combinations of attributes: a seeded covering design, so that no prompt is asked for twice.

Each pass covers every pair of values of two different factors at least once with few combinations,
chosen greedily among random candidates; the next pass begins anew in another order.
Source: the AETG method (Cohen, Dalal, Fredman, Patton, IEEE TSE 23(7), 1997).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

__all__ = ["covering"]

CANDIDATES = 12
_Pair = tuple[int, int, int, int]


def covering(factors: Mapping[str, Sequence[str]], seed: int | str) -> Iterator[dict[str, str]]:
    """Yield combinations without end, one value for each factor that has any."""
    names = [name for name, values in factors.items() if values]
    sizes = [len(factors[name]) for name in names]
    chooser = random.Random(f"{seed}")  # noqa: S311  # a design, no secret
    open_pairs: set[_Pair] = set()
    while True:
        if not open_pairs:
            open_pairs = _all_pairs(sizes)
        best = _best(sizes, open_pairs, chooser)
        covered = set(_pairs(best))
        if open_pairs and not open_pairs & covered:
            # No random candidate hit what is left: build on one of the open pairs.
            a, i, b, j = min(open_pairs)
            best[a], best[b] = i, j
            covered = set(_pairs(best))
        open_pairs -= covered
        yield {name: factors[name][at] for name, at in zip(names, best, strict=True)}


def _best(sizes: Sequence[int], open_pairs: set[_Pair], chooser: random.Random) -> list[int]:
    best: list[int] = []
    most = -1
    for _ in range(CANDIDATES):
        candidate = [chooser.randrange(size) for size in sizes]
        gain = sum(pair in open_pairs for pair in _pairs(candidate))
        if gain > most:
            best, most = candidate, gain
    return best


def _all_pairs(sizes: Sequence[int]) -> set[_Pair]:
    return {
        (a, i, b, j)
        for a, b in combinations(range(len(sizes)), 2)
        for i in range(sizes[a])
        for j in range(sizes[b])
    }


def _pairs(values: Sequence[int]) -> Iterator[_Pair]:
    for a, b in combinations(range(len(values)), 2):
        yield a, values[a], b, values[b]
