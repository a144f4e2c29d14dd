"""Scores a router by the measures of RouteLLM.

Quality at a share of calls to the strong model is the mean score when that share, highest first by
the router, goes to it. PGR = (quality − weak) / (strong − weak). APGR is the mean of PGR over all
shares (random gives 0.5); CPT(x) is the smallest share at which PGR reaches x.

Source: Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665v4, 3.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from msgspec import Struct

__all__ = ["Metrics", "apgr_interval", "auroc", "evaluate"]


class Metrics(Struct, frozen=True):
    """Shares and areas from 0 to 1. None where it cannot be had (a pair without a gap)."""

    rows: int
    apgr: float | None
    cpt50: float | None
    cpt80: float | None
    auroc: float | None


def evaluate(p_weak: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> Metrics:
    """Score a router that gives `p_weak`, the probability that the weak model will do.

    `weak` and `strong` are the models' scores, 0 to 1. Rows that the router holds equal count as
    shuffled: a stretch of them has the mean gain of its rows.
    """
    curve = _curve(p_weak, weak, strong)
    return Metrics(
        rows=len(weak),
        apgr=_area(curve) if curve else None,
        cpt50=_reach(curve, 0.5) if curve else None,
        cpt80=_reach(curve, 0.8) if curve else None,
        auroc=auroc(p_weak, [w >= s for w, s in zip(weak, strong, strict=True)]),
    )


def _curve(p_weak: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> list[float]:
    """PGR after 0, 1, …, n calls to the strong model; empty if the pair has no gap."""
    total = sum(strong) - sum(weak)
    if not weak or total <= 0:
        return []
    order = sorted(range(len(weak)), key=lambda i: p_weak[i])
    curve = [0.0]
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and p_weak[order[end]] == p_weak[order[start]]:
            end += 1
        gain = sum(strong[order[i]] - weak[order[i]] for i in range(start, end)) / (end - start)
        for _ in range(end - start):
            curve.append(curve[-1] + gain / total)
        start = end
    return curve


def _area(curve: Sequence[float]) -> float:
    """Trapezoids between the points."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


def _reach(curve: Sequence[float], level: float) -> float:
    return next(i for i, value in enumerate(curve) if value >= level - 1e-12) / (len(curve) - 1)


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """The probability that a true row scores above a false one; ties count half.

    None where all labels are alike.
    """
    positives = sum(labels)
    negatives = len(labels) - positives
    if not positives or not negatives:
        return None
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    ranks = 0.0
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and scores[order[end]] == scores[order[start]]:
            end += 1
        middle = (start + 1 + end) / 2
        ranks += middle * sum(labels[order[i]] for i in range(start, end))
        start = end
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def apgr_interval(
    p_weak: Sequence[float],
    weak: Sequence[float],
    strong: Sequence[float],
    *,
    samples: int = 300,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Give the 95 % bootstrap interval of APGR, by rows drawn again with a seed."""
    generator = random.Random(seed)  # noqa: S311  # statistics, no secret
    count = len(weak)
    found: list[float] = []
    for _ in range(samples):
        drawn = generator.choices(range(count), k=count)
        curve = _curve(
            [p_weak[i] for i in drawn], [weak[i] for i in drawn], [strong[i] for i in drawn]
        )
        if curve:
            found.append(_area(curve))
    if not found:
        return None
    found.sort()
    return found[int(0.025 * len(found))], found[min(int(0.975 * len(found)), len(found) - 1)]
