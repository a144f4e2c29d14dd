"""How far beyond chance: bounds on tails, and rates of false discovery."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["false_discovery_rates", "log_tail"]


def log_tail(hits: int, trials: int, p: float) -> float:
    """Give an upper bound of the log of P(at least `hits` of `trials`), each of a chance of `p`.

    It holds as well where the chances differ and `p` is their mean.

    Source: Chernoff 1952; Hoeffding 1963, theorem 1, for chances that differ.
    """
    if trials == 0 or hits <= trials * p:
        return 0.0
    if p <= 0.0:
        return -math.inf
    rate = hits / trials
    divergence = rate * math.log(rate / p)
    if rate < 1.0:
        divergence += (1.0 - rate) * math.log((1.0 - rate) / (1.0 - p))
    return -trials * divergence


def false_discovery_rates(log_p: Sequence[float], tests: int) -> list[float]:
    """Give for each p, as a log, the least rate of false discovery at which it is one.

    `tests` is how many were made in all; those not given had larger p.

    Source: Benjamini and Hochberg 1995.
    """
    order = sorted(range(len(log_p)), key=lambda at: log_p[at])
    rates = [1.0] * len(log_p)
    least = 1.0
    for place in range(len(order), 0, -1):
        at = order[place - 1]
        value = log_p[at] + math.log(max(tests, len(log_p))) - math.log(place)
        least = min(least, math.exp(min(value, 0.0)))
        rates[at] = least
    return rates
