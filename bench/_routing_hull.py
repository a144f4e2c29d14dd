"""Quality against cost with many models: the hull, and how much of the way to the oracle is gone.

A router's curve: for every price of a dollar, each prompt goes to the model with the best expected
score less its cost at that price. The hull is the least concave curve over its points that never falls
(RouterBench's form). Its area, from the cheapest model's cost to the dearest's on a logarithmic axis,
is given as a share of the way from random mixing of fixed models (0) to the oracle of each query (1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

PRICES = np.concatenate([[0.0], np.logspace(-4, 4, 120)])
GRID = 200


def hull(costs: Any, scores: Any) -> tuple[Any, Any]:
    """The corners of the non-decreasing concave hull of points (cost, score)."""
    order = np.lexsort((-scores, costs))
    corners: list[tuple[float, float]] = []
    best = -np.inf
    for x, y in zip(costs[order], scores[order], strict=True):
        if y <= best:
            continue
        best = y
        while len(corners) >= 2:
            (x0, y0), (x1, y1) = corners[-2:]
            if (y1 - y0) * (x - x1) <= (y - y1) * (x1 - x0):
                corners.pop()
            else:
                break
        corners.append((float(x), float(y)))
    return np.array([x for x, _ in corners]), np.array([y for _, y in corners])


def curve(expected: Any, shares: Any, costs: Any) -> tuple[Any, Any]:
    """The points (mean cost, mean score) of a router over all prices; arrays are (prompts, models)."""
    rows = np.arange(len(shares))
    points = []
    scale = 1 / max(float(costs.max()), 1e-12)
    for price in PRICES:
        chosen = np.argmax(expected - price * scale * costs, axis=1)
        points.append((costs[rows, chosen].mean(), shares[rows, chosen].mean()))
    return np.array([x for x, _ in points]), np.array([y for _, y in points])


def area(points: tuple[Any, Any], low: float, high: float) -> float:
    """The mean height of a hull between two costs, on a logarithmic axis."""
    grid = np.logspace(np.log10(low), np.log10(high), GRID)
    return float(np.interp(grid, *hull(*points)).mean())


def way(expected: Any, shares: Any, costs: Any) -> tuple[float, dict[str, Any]]:
    """How much of the way from mixing to the oracle a router goes, and the hulls for a plot."""
    fixed = (costs.mean(0), shares.mean(0))
    low, high = float(fixed[0].min()), float(fixed[0].max())
    # A router and the oracle may always take the fixed models as they are.
    routed = _with(curve(expected, shares, costs), fixed)
    known = _with(curve(shares, shares, costs), fixed)
    floor, best = area(fixed, low, high), area(known, low, high)
    own = area(curve(expected, shares, costs), low, high)
    found = (own - floor) / (best - floor) if best > floor else 0.0
    return found, {
        "mixing": hull(*fixed), "router": hull(*routed), "oracle": hull(*known), "fixed": fixed,
    }  # fmt: skip


def _with(points: tuple[Any, Any], others: tuple[Any, Any]) -> tuple[Any, Any]:
    return np.concatenate([points[0], others[0]]), np.concatenate([points[1], others[1]])
