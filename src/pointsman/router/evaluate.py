"""Scores a router by the measures of RouteLLM.

Quality at a share of calls to the strong model is the mean score when that share, highest first by
the router, goes to it. PGR = (quality − weak) / (strong − weak). APGR is the mean of PGR over all
shares (random gives 0.5); CPT(x) is the smallest share at which PGR reaches x. RouteLLM's own
script takes both from eleven points of the curve; here it is the whole curve.

Source: Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665v4, 3;
lm-sys/RouteLLM, routellm/evals/evaluate.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

__all__ = ["Metrics", "apgr_interval", "auroc", "calibration_error", "evaluate"]


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
    groups = _groups(p_weak)
    curve = _curve(groups, weak, strong, [1] * len(weak))
    return Metrics(
        rows=len(weak),
        apgr=_area(curve) if curve else None,
        cpt50=_reach(curve, 0.5) if curve else None,
        cpt80=_reach(curve, 0.8) if curve else None,
        auroc=auroc(p_weak, [w >= s for w, s in zip(weak, strong, strict=True)]),
    )


def _groups(p_weak: Sequence[float]) -> list[list[int]]:
    """Rows, the hardest first; equal ones together."""
    found: list[list[int]] = []
    last: float | None = None
    for index in sorted(range(len(p_weak)), key=p_weak.__getitem__):
        if p_weak[index] != last:
            found.append([])
            last = p_weak[index]
        found[-1].append(index)
    return found


def _curve(
    groups: Sequence[Sequence[int]],
    weak: Sequence[float],
    strong: Sequence[float],
    times: Sequence[int],
) -> list[tuple[float, float]]:
    """(share of calls, PGR) at the end of every group; empty if the strong model gains nothing.

    `times` says how often each row counts.
    """
    points = [(0, 0.0)]
    calls, gain = 0, 0.0
    for group in groups:
        for index in group:
            calls += times[index]
            gain += times[index] * (strong[index] - weak[index])
        points.append((calls, gain))
    if gain <= 0:
        return []
    return [(count / calls, value / gain) for count, value in points]


def _area(curve: Sequence[tuple[float, float]]) -> float:
    """Trapezoids between the points."""
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(curve))


def _reach(curve: Sequence[tuple[float, float]], level: float) -> float:
    """The smallest share at which the curve is at `level` or above; straight between the points."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if y1 >= level - 1e-12:
            return x0 + (x1 - x0) * min(1.0, (level - y0) / (y1 - y0))
    return 1.0


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
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Give the 95 % bootstrap interval of APGR, by rows drawn again with a seed."""
    generator = random.Random(seed)  # noqa: S311  # statistics, no secret
    groups = _groups(p_weak)
    count = len(weak)
    found: list[float] = []
    for _ in range(samples):
        times = [0] * count
        for index in generator.choices(range(count), k=count):
            times[index] += 1
        curve = _curve(groups, weak, strong, times)
        if curve:
            found.append(_area(curve))
    if not found:
        return None
    found.sort()
    return found[int(0.025 * len(found))], found[min(int(0.975 * len(found)), len(found) - 1)]


def calibration_error(
    p_weak: Sequence[float], weak: Sequence[float], strong: Sequence[float], bins: int = 10
) -> float | None:
    """Give the expected calibration error, 0 to 1, over bins of equally many rows.

    None without rows. Source: Naeini et al., AAAI 2015, with equal-mass bins.
    """
    order = sorted(range(len(p_weak)), key=p_weak.__getitem__)
    if not order:
        return None
    error = 0.0
    for number in range(bins):
        part = order[number * len(order) // bins : (number + 1) * len(order) // bins]
        said = sum(p_weak[index] for index in part)
        true = sum(weak[index] >= strong[index] for index in part)
        error += abs(said - true)
    return error / len(order)
