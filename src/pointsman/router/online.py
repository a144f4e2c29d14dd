"""Learns from outcomes which candidate does well where: a discounted Bayesian logistic model each.

The prompt model says how likely a candidate's answer is good; what outcomes add is an offset to its
logit: one number for the candidate on this route, and a few weights for what the prompt is like; and the
same for all candidates of the route together, since a prompt model that is too hard on this traffic is so
with each of them. Each has its own small Gaussian posterior. It forgets towards what it had before any
outcome, by the requests that the route has seen meanwhile: one that was long not asked becomes uncertain
again, and no number can run away. A candidate whose outcomes turn out otherwise than thought, again and
again, has changed: what was known of it is given up at once, but for the mean. Prices are no part of it:
they count when a decision is made, so a change of price needs nothing learned anew.

Source: stabilised forgetting (of information), Kulhavý and Zarrop, Int. J. Control 58(4), 1993; the update
is one Newton step of the Laplace approximation, as Chapelle and Li, NeurIPS 2011, algorithm 3; a change is
found by the cumulative sums of Page (Biometrika 41, 1954), as Liu et al., AAAI 2018, do for bandits.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from operator import mul

import msgspec
from msgspec import Struct, field

__all__ = ["Context", "Learner", "LearnerState", "Offset", "explored"]

# 1 for the candidate itself, then the context's numbers, each about −1 to 1; of the loadings the first.
MAX_LOADINGS = 4
# How far off the prompt model is thought to be at first, in logits: with a candidate, and with them all.
OWN_SD = (1.0, 0.4, 0.4, 0.4, *[0.4] * MAX_LOADINGS)
SHARED_SD = (0.7, 0.4, 0.4, 0.4, *[0.4] * MAX_LOADINGS)
DIMENSIONS = len(OWN_SD)
_OWN = tuple(sd * sd for sd in OWN_SD)
_SHARED = tuple(sd * sd for sd in SHARED_SD)
# What an outcome of another candidate says of one, next to its own.
OTHERS = 0.1
# Half of what an outcome says is forgotten after so many requests of the route.
HALF_LIFE_REQUESTS = 1000.0
# An arm is aged once so much of it is to be forgotten: the matrix is not worth its time for less.
LEAST_AGE = 0.01
# A change counts from half a standard deviation on; one outcome counts as 2.5 at most, since those of a
# model that seldom fails are skewed. A sum of 16 came up by chance at most once in 16,000 outcomes (chances
# of success from 0.1 to 0.97, simulated), and after 26 when a model that was right in 7 of 10 is so in 3.
SLACK, MOST, ALARM = 0.25, 2.5, 16.0
# What is kept of how sure the mean was once a change is found.
KEPT_ON_ALARM = 0.05
MAX_ARMS = 4096
_NONE = (0.0,) * MAX_LOADINGS
MAX_LOGIT = 6.0


class Context(Struct, frozen=True):
    """What a decision was made on, for one candidate.

    `logit` is the prompt model's for this candidate; `difficulty` the prompt's, in logits around 0;
    `rank` the share of calibration prompts that are harder, 0 to 1; `trouble` the trajectory's excess,
    in logits; `loadings` the skills that the prompt asks for.
    """

    route: str
    logit: float = 0.0
    difficulty: float = 0.0
    rank: float = 0.5
    trouble: float = 0.0
    loadings: tuple[float, ...] = ()

    def features(self) -> tuple[float, ...]:
        """Give the numbers that the weights are for; the first is 1."""
        skills = [_squashed(loading) for loading in self.loadings[:MAX_LOADINGS]]
        return (
            1.0,
            _squashed(self.difficulty),
            2.0 * self.rank - 1.0,
            _squashed(self.trouble),
            *skills,
            *_NONE[len(skills) :],
        )


class Offset(Struct, frozen=True):
    """What outcomes add to a candidate's logit, and how sure that is.

    `seen` is their faded number, those of other candidates of the route at a tenth.
    """

    logit: float
    sd: float
    seen: float = 0.0


class Arm(Struct):
    """What is known of a candidate on a route: a mean and a covariance, as of the route's `at`.

    `above` and `below` are the cumulative sums of outcomes better and worse than thought; `changes`
    counts how often one of them gave alarm.
    """

    mean: list[float]
    covariance: list[list[float]]
    at: int = 0
    seen: float = 0.0
    above: float = 0.0
    below: float = 0.0
    changes: int = 0


class LearnerState(Struct):
    """All that a learner knows, to be kept as JSON.

    Keys of `arms` are `route` newline `ref`; without a ref it is what all of the route share.
    """

    arms: dict[str, Arm] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    half_life_requests: float | None = HALF_LIFE_REQUESTS
    version: int = 1


class Learner:
    """Offsets for candidates, learned from rewards.

    `half_life_requests` is how fast it forgets, None for never. Not safe to share between threads.
    """

    def __init__(
        self, state: LearnerState | None = None, *, half_life_requests: float | None = -1.0
    ) -> None:
        self.state = state or LearnerState()
        self._last: tuple[object, tuple[float, float, float]] | None = None
        if half_life_requests is None or half_life_requests > 0:
            self.state.half_life_requests = half_life_requests

    def offset(self, context: Context, ref: str) -> Offset:
        """Give what outcomes say of a candidate; nothing, with the prior's sd, if there are none."""
        x = context.features()
        own, own_variance, own_seen = self._belief(context.route, ref, x, _OWN)
        # The same for all candidates of a request, which are asked for one after another.
        asked = (context.route, x, self.state.requests.get(context.route, 0))
        if self._last is None or self._last[0] != asked:
            self._last = (asked, self._belief(context.route, "", x, _SHARED))
        shared, variance, seen = self._last[1]
        sd = math.sqrt(max(own_variance + variance, 0.0))
        return Offset(own + shared, sd, own_seen + OTHERS * (seen - own_seen))

    def learn(self, context: Context, ref: str, reward: float, weight: float = 1.0) -> None:
        """Take in how well a candidate did, 0 to 1; `weight` is how much that is worth, 0 to 1."""
        route = context.route
        self.state.requests[route] = self.state.requests.get(route, 0) + 1
        own = self._arm(route, ref, _OWN)
        shared = self._arm(route, "", _SHARED)
        _update(own, shared, context, min(max(reward, 0.0), 1.0), min(max(weight, 0.0), 1.0))
        # The ones used last stand last; the others are forgotten first when there are too many.
        for key, arm in ((_key(route, ""), shared), (_key(route, ref), own)):
            self.state.arms.pop(key, None)
            self.state.arms[key] = arm
        while len(self.state.arms) > MAX_ARMS:
            del self.state.arms[next(iter(self.state.arms))]

    def _belief(
        self, route: str, ref: str, x: tuple[float, ...], prior: tuple[float, ...]
    ) -> tuple[float, float, float]:
        """Mean, variance and outcomes seen. As `_aged`, but along `x` alone: it is on a request's way."""
        unknown = sum(v * a * a for v, a in zip(prior, x, strict=True))
        arm = self.state.arms.get(_key(route, ref))
        if arm is None:
            return 0.0, unknown, 0.0
        keep = self._keep(route, arm)
        rows = zip(x, arm.covariance, strict=True)
        known = max(sum(a * sum(map(mul, row, x)) for a, row in rows if a), 1e-12)
        left = keep + (1.0 - keep) * known / unknown
        return keep / left * sum(map(mul, arm.mean, x)), known / left, keep * arm.seen

    def _keep(self, route: str, arm: Arm) -> float:
        half = self.state.half_life_requests
        age = self.state.requests.get(route, 0) - arm.at
        return 1.0 if half is None or age <= 0 else 0.5 ** (age / half)

    def _arm(self, route: str, ref: str, prior: tuple[float, ...]) -> Arm:
        """The arm as it is now, faded, to be changed."""
        now = self.state.requests.get(route, 0)
        arm = self.state.arms.get(_key(route, ref))
        if arm is None:
            return Arm([0.0] * DIMENSIONS, _diagonal(prior), now)
        keep = self._keep(route, arm)
        if 1.0 - keep < LEAST_AGE:
            return msgspec.structs.replace(arm)
        covariance, mean = _aged(arm.covariance, arm.mean, keep, prior)
        return msgspec.structs.replace(
            arm, mean=mean, covariance=covariance, at=now, seen=keep * arm.seen
        )


def _update(own: Arm, shared: Arm, context: Context, reward: float, weight: float) -> None:
    x = context.features()
    spreads = [[sum(map(mul, row, x)) for row in arm.covariance] for arm in (own, shared)]
    variance = max(sum(sum(map(mul, spread, x)) for spread in spreads), 0.0)
    learned = sum(map(mul, own.mean, x)) + sum(map(mul, shared.mean, x))
    p = 1.0 / (1.0 + math.exp(-max(-MAX_LOGIT, min(MAX_LOGIT, context.logit + learned))))
    slope = weight * p * (1.0 - p)
    scale = 1.0 / (1.0 + slope * variance)
    step = scale * weight * (reward - p)
    for arm, spread in zip((own, shared), spreads, strict=True):
        arm.mean = [m + step * s for m, s in zip(arm.mean, spread, strict=True)]
        arm.covariance = [
            [c - slope * scale * a * b for c, b in zip(row, spread, strict=True)]
            for row, a in zip(arm.covariance, spread, strict=True)
        ]
        arm.seen += weight
    # What is not known of the candidate is no sign that it changed.
    off = (reward - p) / math.sqrt(p * (1.0 - p) * (1.0 + p * (1.0 - p) * variance))
    off = max(-MOST, min(MOST, off))
    own.above = max(0.0, own.above + weight * (off - SLACK))
    own.below = max(0.0, own.below - weight * (off + SLACK))
    if max(own.above, own.below) > ALARM:
        own.covariance, _ = _aged(own.covariance, own.mean, KEPT_ON_ALARM, _OWN)
        own.seen *= KEPT_ON_ALARM
        own.above = own.below = 0.0
        own.changes += 1


def _aged(
    covariance: Sequence[Sequence[float]],
    mean: Sequence[float],
    keep: float,
    prior: tuple[float, ...],
) -> tuple[list[list[float]], list[float]]:
    """Covariance and mean with `keep` of their information, and the prior's in place of the rest.

    With S the covariance in units of the prior's, it becomes (keep·I + (1 − keep)·S)⁻¹ S; the mean,
    in the same units, is multiplied by keep·(…)⁻¹. Solved by Gauss and Jordan: the matrix is positive.
    """
    roots = [math.sqrt(v) for v in prior]
    size = range(DIMENSIONS)
    unit = [[covariance[i][j] / (roots[i] * roots[j]) for j in size] for i in size]
    rows = [
        [(1.0 - keep) * v + (keep if i == j else 0.0) for j, v in enumerate(unit[i])]
        + [*unit[i], mean[i] / roots[i]]
        for i in size
    ]
    for i in size:
        pivot = rows[i][i]
        own = rows[i] = [v / pivot for v in rows[i]]
        for k in size:
            factor = rows[k][i]
            if k != i and factor:
                rows[k] = [v - factor * o for v, o in zip(rows[k], own, strict=True)]
    found = [[rows[i][DIMENSIONS + j] * roots[i] * roots[j] for j in size] for i in size]
    # Rounding must not make it lopsided over many thousands of outcomes.
    even = [[0.5 * (found[i][j] + found[j][i]) for j in size] for i in size]
    return even, [keep * rows[i][-1] * roots[i] for i in size]


def _diagonal(prior: tuple[float, ...]) -> list[list[float]]:
    return [[v if i == j else 0.0 for j in range(DIMENSIONS)] for i, v in enumerate(prior)]


def explored(
    best: str,
    costs_usd: Mapping[str, float],
    offsets: Mapping[str, Offset],
    *,
    share: float,
    dial: float,
    draw: random.Random,
    logits: Mapping[str, float] | None = None,
    per_usd: float = 0.0,
) -> str:
    """Give `best`, or in a `share` of the calls another candidate, to learn how it does.

    The dial bounds what that may cost: at 0 nothing dearer than `best` is tried, at 1 anything of
    `costs_usd`. With `logits` (all signals together) each one's success is drawn from what is believed
    of it, and the one that then has the most for its price is tried (top-two Thompson sampling, Russo,
    Operations Research 68(6), 2020); without, the less certain one is, the likelier it is tried.
    """
    if share <= 0.0 or draw.random() >= share:
        return best
    low = costs_usd[best]
    limit = low + min(max(dial, 0.0), 1.0) * max(max(costs_usd.values()) - low, 0.0)
    others = [ref for ref, cost in costs_usd.items() if ref != best and cost <= limit]
    if not others:
        return best
    if logits is None:
        return draw.choices(others, weights=[offsets[ref].sd ** 2 for ref in others])[0]
    weight = min(per_usd, 1e9)  # At the cheapest it is infinite; the bound above holds anyway.
    drawn = {ref: _within(draw.gauss(logits[ref], offsets[ref].sd)) for ref in others}
    return max(others, key=lambda ref: 1 / (1 + math.exp(-drawn[ref])) - weight * costs_usd[ref])


def _key(route: str, ref: str) -> str:
    return f"{route}\n{ref}"


def _squashed(x: float) -> float:
    return x / (1.0 + abs(x))


def _within(logit: float) -> float:
    return min(max(logit, -20.0), 20.0)
