"""Learns from outcomes which candidate does well where: a discounted Bayesian logistic model each.

The prompt model says how likely a candidate's answer is good; what outcomes add is an offset to its
logit: one number for the candidate on this route, and a few weights for what the prompt is like. Each
candidate of a route has its own small Gaussian posterior. It forgets towards what it had before any
outcome, by the requests that the route has seen meanwhile: a model that got worse is found out, one that
was long not asked becomes uncertain again, and no number can run away. Prices are no part of it: they
count when a decision is made, so a change of price needs nothing learned anew.

Source: stabilised forgetting, Kulhavý and Zarrop, Int. J. Control 58(4), 1993; the update is one Newton
step of the Laplace approximation, as Chapelle and Li, NeurIPS 2011, algorithm 3.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from operator import mul

from msgspec import Struct, field

__all__ = ["Context", "Learner", "LearnerState", "Offset", "explored"]

# 1 for the candidate itself, then the context's numbers, each about −1 to 1; of the loadings the first.
MAX_LOADINGS = 4
PRIOR_SD = (0.8, 0.5, 0.5, 0.5, *[0.5] * MAX_LOADINGS)
DIMENSIONS = len(PRIOR_SD)
_PRIOR = tuple(sd * sd for sd in PRIOR_SD)
# Half of what an outcome says is forgotten after so many requests of the route.
HALF_LIFE_REQUESTS = 1000.0
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
    """What outcomes add to a candidate's logit, and how sure that is. `seen` is their faded number."""

    logit: float
    sd: float
    seen: float = 0.0


class Arm(Struct):
    """What is known of a candidate on a route: a mean and a covariance, as of the route's `at`."""

    mean: list[float]
    covariance: list[list[float]]
    at: int = 0
    seen: float = 0.0


class LearnerState(Struct):
    """All that a learner knows, to be kept as JSON. Keys of `arms` are `route` newline `ref`."""

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
        if half_life_requests is None or half_life_requests > 0:
            self.state.half_life_requests = half_life_requests

    def offset(self, context: Context, ref: str) -> Offset:
        """Give what outcomes say of a candidate; nothing, with the prior's sd, if there are none."""
        x = context.features()
        arm = self.state.arms.get(_key(context.route, ref))
        unknown = sum(v * a * a for v, a in zip(_PRIOR, x, strict=True))
        if arm is None:
            return Offset(0.0, math.sqrt(unknown))
        # As `_faded`, without its matrix: this is on a request's way.
        keep = self._keep(context.route, arm)
        known = sum(
            a * sum(map(mul, row, x)) for a, row in zip(x, arm.covariance, strict=True) if a
        )
        variance = keep * known + (1.0 - keep) * unknown
        mean = keep * sum(map(mul, arm.mean, x))
        return Offset(mean, math.sqrt(max(variance, 0.0)), keep * arm.seen)

    def learn(self, context: Context, ref: str, reward: float, weight: float = 1.0) -> None:
        """Take in how well a candidate did, 0 to 1; `weight` is how much that is worth, 0 to 1."""
        route = context.route
        count = self.state.requests[route] = self.state.requests.get(route, 0) + 1
        key = _key(route, ref)
        arm = self.state.arms.pop(key, None) or _fresh(count)
        arm = self._faded(route, arm)
        x = context.features()
        spread = [sum(map(mul, row, x)) for row in arm.covariance]
        variance = max(sum(map(mul, spread, x)), 0.0)
        logit = max(-MAX_LOGIT, min(MAX_LOGIT, context.logit + sum(map(mul, arm.mean, x))))
        p = _sigmoid(logit)
        slope = weight * p * (1.0 - p)
        scale = 1.0 / (1.0 + slope * variance)
        step = scale * weight * (min(max(reward, 0.0), 1.0) - p)
        arm.mean = [m + step * s for m, s in zip(arm.mean, spread, strict=True)]
        shrink = slope * scale
        arm.covariance = [
            [c - shrink * a * b for c, b in zip(row, spread, strict=True)]
            for row, a in zip(arm.covariance, spread, strict=True)
        ]
        arm.seen += weight
        self.state.arms[key] = arm
        while len(self.state.arms) > MAX_ARMS:
            del self.state.arms[next(iter(self.state.arms))]

    def _keep(self, route: str, arm: Arm) -> float:
        half = self.state.half_life_requests
        age = self.state.requests.get(route, 0) - arm.at
        return 1.0 if half is None or age <= 0 else 0.5 ** (age / half)

    def _faded(self, route: str, arm: Arm) -> Arm:
        keep = self._keep(route, arm)
        return Arm(
            [keep * m for m in arm.mean],
            [
                [
                    keep * c + ((1.0 - keep) * _PRIOR[i] if i == j else 0.0)
                    for j, c in enumerate(row)
                ]
                for i, row in enumerate(arm.covariance)
            ],
            self.state.requests.get(route, 0),
            keep * arm.seen,
        )


def explored(
    best: str,
    costs_usd: Mapping[str, float],
    offsets: Mapping[str, Offset],
    *,
    share: float,
    dial: float,
    draw: random.Random,
) -> str:
    """Give `best`, or in a `share` of the calls another candidate, to learn how it does.

    The dial bounds what that may cost: at 0 nothing dearer than `best` is tried, at 1 anything of
    `costs_usd`. The less certain a candidate is, the more often it is tried.
    """
    if share <= 0.0 or draw.random() >= share:
        return best
    low = costs_usd[best]
    high = max(costs_usd.values())
    limit = low + min(max(dial, 0.0), 1.0) * max(high - low, 0.0)
    within: Sequence[str] = [
        ref for ref, cost in costs_usd.items() if ref != best and cost <= limit
    ]
    if not within:
        return best
    return draw.choices(within, weights=[offsets[ref].sd ** 2 for ref in within])[0]


def _fresh(at: int) -> Arm:
    return Arm(
        [0.0] * DIMENSIONS,
        [[s * s if i == j else 0.0 for j in range(DIMENSIONS)] for i, s in enumerate(PRIOR_SD)],
        at,
    )


def _key(route: str, ref: str) -> str:
    return f"{route}\n{ref}"


def _squashed(x: float) -> float:
    return x / (1.0 + abs(x))


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))
