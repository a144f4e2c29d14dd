"""The dial in the user's terms: what each setting keeps of the quality, and what it costs. Pure.

A decision maximises p − per_usd × cost. How much a dollar weighs follows from a setting by way of a
sample of prompts, each with what every candidate promises on it: as the weight falls from infinite to
0, prompts go up the ladder from the cheapest to the likeliest, and mean cost and quality rise with it. All
three are monotone, so a share of that way up (the dial: between two models the share of prompts that go to
the dearer one), a share of the strongest's quality, or a spend per request each name one weight.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pointsman.errors import MissingExtra

__all__ = [
    "LEVELS",
    "Band",
    "Curve",
    "Gauge",
    "Option",
    "Point",
    "Scale",
    "Setting",
    "best",
    "curve_of",
    "scale_of",
]

INFINITE = float("inf")
GRID = 48
LEVELS = tuple(round(0.05 * step, 2) for step in range(21))
DRAWS = 200
MAX_ROWS = 4096
# The calibration counts as so many requests of a route's own, of which so many are remembered.
PRIOR = 1.0
REMEMBERED = 300


class Option(Struct, frozen=True):
    """What a candidate promises on one prompt of the sample."""

    ref: str
    p_success: float
    cost_usd: float
    logit: float = 0.0
    sd: float = 0.0


class Point(Struct, frozen=True):
    """What a weight comes to on the sample, as means per request; `step` on the ladder of candidates by
    mean cost, 0 for the cheapest."""

    per_usd: float
    quality: float
    cost_usd: float
    step: float


class Scale(Struct, frozen=True):
    """Settings to weights. `points` are the cheapest first; `strongest` has the best mean quality."""

    points: tuple[Point, ...]
    strongest: str
    strongest_quality: float

    def at_dial(self, dial: float) -> float:
        """Give the weight at which prompts have gone this share of the way up, from cheapest to best."""
        low, high = self.points[0].step, self.points[-1].step
        if dial <= 0.0:
            return INFINITE
        if dial >= 1.0 or high <= low:
            return 0.0
        return self._between([point.step for point in self.points], low + dial * (high - low))

    def at_quality(self, share: float) -> float:
        """Give the greatest weight that keeps this share of the strongest's quality."""
        return self._between(
            [point.quality for point in self.points], share * self.strongest_quality
        )

    def at_cost(self, usd_per_request: float) -> float:
        """Give the least weight whose mean cost is no more than this; the cheapest if none is."""
        costs = [point.cost_usd for point in self.points]
        at = bisect.bisect_right(costs, usd_per_request) - 1
        return self.points[max(at, 0)].per_usd

    def dial_at(self, per_usd: float) -> float:
        """Give the dial that a weight stands at, 0 to 1."""
        low, high = self.points[0].step, self.points[-1].step
        if high <= low or per_usd == 0.0:
            return 1.0
        steps = [point.step for point in self.points if point.per_usd >= per_usd]
        return (steps[-1] - low) / (high - low) if steps else 0.0

    def _between(self, values: Sequence[float], target: float) -> float:
        """The weight where rising `values` reach the target, by its logarithm between two points."""
        at = bisect.bisect_left(values, target)
        if at == 0:
            return self.points[0].per_usd
        if at >= len(values):
            return self.points[-1].per_usd
        above, below = self.points[at - 1].per_usd, self.points[at].per_usd
        if above == INFINITE or below <= 0.0 or values[at] <= values[at - 1]:
            return below
        part = (target - values[at - 1]) / (values[at] - values[at - 1])
        return math.exp((1 - part) * math.log(above) + part * math.log(below))


class Gauge:
    """How dear a route's requests are beside the calibration's, as a factor.

    A setting of the dial is about shares, so what a dollar weighs goes down where every request costs
    ten times as much. The geometric mean of the last few hundred requests, with the calibration as so
    many more: one huge request moves it little.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0

    def note(self, ratio: float) -> None:
        """Take in a request's size, as a ratio to the calibration's usual one; above 0."""
        self._count = min(self._count + 1, REMEMBERED)
        self._mean += (math.log(ratio) - self._mean) / self._count

    @property
    def factor(self) -> float:
        """The factor, 1 before any request."""
        return math.exp(self._mean * self._count / (self._count + PRIOR))


class Setting(Struct, frozen=True):
    """A setting of the dial and what it comes to, per request. `kept` is the share of the strongest's
    quality; `low` and `high` bound the 95 % interval; `shares` are those of the candidates.
    """

    dial: float
    quality: float
    quality_low: float
    quality_high: float
    kept: float
    cost_usd: float
    cost_low_usd: float
    cost_high_usd: float
    shares: dict[str, float]


class Band(Struct, frozen=True):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


class Curve(Struct, frozen=True):
    """Quality against cost. `rows` prompts stand behind it; `singles` is each candidate by itself."""

    rows: int
    strongest: str
    levels: tuple[Setting, ...]
    singles: dict[str, tuple[Band, float]]


def scale_of(rows: Sequence[Sequence[Option]]) -> Scale:
    """Calibrate on a sample: each row has the options of one prompt, in any order.

    At most 4,096 rows are looked at; there must be one, with one option in it.
    """
    rows = rows[:MAX_ROWS]
    points = []
    place = _ladder(rows)
    # What differs by chance in the last digit, or by a candidate's place, must not break the order.
    cost = quality = step = 0.0
    for per_usd in (INFINITE, *_weights(rows), 0.0):
        taken = [best(row, per_usd) for row in rows]
        cost = max(cost, sum(each.cost_usd for each in taken) / len(rows))
        quality = max(quality, sum(each.p_success for each in taken) / len(rows))
        step = max(step, sum(place[each.ref] for each in taken) / len(rows))
        points.append(Point(per_usd, quality, cost, step))
    singles = _singles(rows)
    strongest = max(singles, key=lambda ref: singles[ref])
    return Scale(tuple(points), strongest, singles[strongest])


def curve_of(
    rows: Sequence[Sequence[Option]],
    scale: Scale,
    levels: Sequence[float] = LEVELS,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Curve:
    """Give quality against cost at settings of the dial, with bootstrap intervals.

    A draw takes prompts with replacement, and moves each candidate's ability by a normal step of its
    own spread: so the band is wide where little is known of a model, however many prompts there are.

    Raises:
        MissingExtra: NumPy is not installed.
    """
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("a curve's bands", "router") from error
    rows = rows[:MAX_ROWS]
    refs = sorted({option.ref for row in rows for option in row})
    bands = _Bands(refs, len(rows), draws, seed, numpy)
    found = []
    for dial in levels:
        weight = scale.at_dial(dial)
        taken = [best(row, weight) for row in rows]
        quality, cost = bands.of(taken)
        counts = {ref: sum(each.ref == ref for each in taken) for ref in refs}
        found.append(
            Setting(
                dial,
                quality.mean,
                quality.low,
                quality.high,
                quality.mean / max(scale.strongest_quality, 1e-9),
                cost.mean,
                cost.low,
                cost.high,
                {ref: round(count / len(rows), 4) for ref, count in counts.items() if count},
            )
        )
    singles = {}
    for ref in refs:
        own = [option for row in rows for option in row if option.ref == ref]
        if len(own) == len(rows):
            quality, cost = bands.of(own)
            singles[ref] = (quality, cost.mean)
    return Curve(len(rows), scale.strongest, tuple(found), singles)


class _Bands:
    """The draws of a bootstrap, the same for every setting, so that settings can be compared."""

    def __init__(self, refs: list[str], rows: int, draws: int, seed: int, numpy: Any) -> None:
        self._numpy = numpy
        self._place = {ref: number for number, ref in enumerate(refs)}
        draw = numpy.random.default_rng(seed)
        self._steps = draw.standard_normal((draws, len(refs)))
        self._picks = draw.integers(0, rows, (draws, rows))

    def of(self, taken: Sequence[Option]) -> tuple[Band, Band]:
        """Give mean quality and mean cost of the options taken, one a prompt."""
        numpy = self._numpy
        p = numpy.array([each.p_success for each in taken])
        cost = numpy.array([each.cost_usd for each in taken])
        sd = numpy.array([each.sd for each in taken])
        who = numpy.array([self._place[each.ref] for each in taken])
        logit = numpy.log(numpy.clip(p, 1e-6, 1 - 1e-6) / numpy.clip(1 - p, 1e-6, 1))
        moved = 1.0 / (1.0 + numpy.exp(-(logit + sd * self._steps[:, who])))
        qualities = numpy.take_along_axis(moved, self._picks, axis=1).mean(axis=1)
        costs = cost[self._picks].mean(axis=1)
        return _band(p.mean(), qualities, numpy), _band(cost.mean(), costs, numpy)


def _band(mean: float, values: Any, numpy: Any) -> Band:
    low, high = numpy.percentile(values, [2.5, 97.5])
    return Band(round(float(mean), 9), round(float(low), 9), round(float(high), 9))


def best(row: Sequence[Option], per_usd: float) -> Option:
    """Give the option of a prompt that a weight takes."""
    if per_usd == INFINITE:
        return min(row, key=lambda option: (option.cost_usd, -option.p_success))
    return max(row, key=lambda o: (o.p_success - per_usd * o.cost_usd, -o.cost_usd))


def _singles(rows: Sequence[Sequence[Option]]) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for row in rows:
        for option in row:
            sums.setdefault(option.ref, []).append(option.p_success)
    return {ref: sum(values) / len(values) for ref, values in sums.items()}


def _ladder(rows: Sequence[Sequence[Option]]) -> dict[str, int]:
    """The place of each candidate by its mean cost, from 0."""
    costs: dict[str, list[float]] = {}
    for row in rows:
        for option in row:
            costs.setdefault(option.ref, []).append(option.cost_usd)
    ranked = sorted(costs, key=lambda ref: sum(costs[ref]) / len(costs[ref]))
    return {ref: number for number, ref in enumerate(ranked)}


def _weights(rows: Sequence[Sequence[Option]]) -> list[float]:
    """The weights at which some prompt changes its model, thinned to a grid; falling."""
    ratios = sorted(
        {
            (one.p_success - other.p_success) / (one.cost_usd - other.cost_usd)
            for row in rows
            for one in row
            for other in row
            if one.cost_usd > other.cost_usd and one.p_success > other.p_success
        },
        reverse=True,
    )
    if not ratios:
        return []
    picked = {ratios[round(i * (len(ratios) - 1) / (GRID - 1))] for i in range(GRID)}
    return sorted({ratios[0] * 2, *picked, ratios[-1] / 2}, reverse=True)
