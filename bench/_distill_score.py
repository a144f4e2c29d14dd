"""How right the labels are that a classifier tells: the same reckoning for every contender."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

Z_95 = 1.959964


def score(truth: Sequence[Sequence[str]], told: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Accuracy (the whole set of labels is right) with Wilson's 95 % interval, macro-F1 over the labels
    that occur in either, and micro-F1."""
    if not truth or len(truth) != len(told):
        raise ValueError(f"{len(truth)} rows in truth, {len(told)} told")
    both, true, given = Counter[str](), Counter[str](), Counter[str]()
    hits = 0
    for right, said in zip(map(set, truth), map(set, told), strict=True):
        hits += right == said
        both.update(right & said)
        true.update(right)
        given.update(said)
    f1s = [2 * both[label] / (true[label] + given[label]) for label in {*true, *given}]
    whole = true.total() + given.total()
    return {
        "rows": len(truth),
        "accuracy": hits / len(truth),
        "accuracy_95": _wilson(hits, len(truth)),
        "macro_f1": sum(f1s) / len(f1s) if f1s else 0.0,
        "micro_f1": 2 * both.total() / whole if whole else 0.0,
    }


def _wilson(hits: int, total: int) -> tuple[float, float]:
    share = hits / total
    spread = Z_95 * math.sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2))
    middle, scale = share + Z_95**2 / (2 * total), 1 + Z_95**2 / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
