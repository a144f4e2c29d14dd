"""Learns from outcomes which candidate does well where: a discounted Bayesian logistic model each.

The prompt model says how likely a candidate's answer is good; what outcomes add is an offset to its
logit: one number for the candidate on this route, and a few weights for what the prompt is like; and the
same for all candidates of the route together, since a prompt model that is too hard on this traffic is so
with each of them. Each has its own small Gaussian posterior. It forgets towards what it had before any
outcome, by the requests that the route has seen meanwhile: one that was long not asked becomes uncertain
again, and no number can run away. A candidate whose outcomes turn out otherwise than thought, again and
again, has changed: what was known of it is given up at once, but for the mean. Prices are no part of it:
they count when a decision is made, so a change of price needs nothing learned anew. What is learned of
money is how an answer's cost compares with the one expected: see `expense`.

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

from pointsman.router.expense import Expense, noted

__all__ = ["Context", "Learner", "LearnerState", "Offset", "explored"]

# 1 for the candidate itself, then the context's numbers, each about −1 to 1. Of the loadings the first is
# 1 for every prompt and the second the difficulty once more: those after them are taken.
LOADINGS_FROM, MAX_LOADINGS = 2, 2
# How far off the prompt model is thought to be at first, in logits: with all candidates, and with one of
# them. For one's own number that is how unsure the model says it is, and no less than so much: models
# change, and traffic is not what the model was fitted to.
WEIGHT_SD, LEAST_OWN_SD, OWN_SD = 0.4, 0.4, 0.8
SHARED_SD = (0.7, 0.4, 0.4, 0.4, 0.4, 0.4, *[0.4] * MAX_LOADINGS)
DIMENSIONS = len(SHARED_SD)
_SHARED = tuple(sd * sd for sd in SHARED_SD)
_WEIGHTS = (WEIGHT_SD * WEIGHT_SD,) * (DIMENSIONS - 1)
# About the middle of prompts' and of answers' lengths.
MIDDLE_TOKENS = 150.0
VERSION = 2
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

    `logit` is the prompt model's for this candidate, and `sd` how unsure it is of the candidate, in
    logits; `difficulty` the prompt's, in logits around 0; `rank` the share of calibration prompts that
    are harder, 0 to 1; `trouble` the trajectory's excess, in logits; `loadings` the skills that the
    prompt asks for; `answer_tokens` the length that is expected of an answer.
    """

    route: str
    logit: float = 0.0
    difficulty: float = 0.0
    rank: float = 0.5
    trouble: float = 0.0
    loadings: tuple[float, ...] = ()
    answer_tokens: float = MIDDLE_TOKENS
    prompt_tokens: float = MIDDLE_TOKENS
    sd: float = OWN_SD

    def features(self) -> tuple[float, ...]:
        """Give the numbers that the weights are for; the first is 1."""
        end = LOADINGS_FROM + MAX_LOADINGS
        skills = [_squashed(loading) for loading in self.loadings[LOADINGS_FROM:end]]
        return (
            1.0,
            _squashed(self.difficulty),
            2.0 * self.rank - 1.0,
            _squashed(self.trouble),
            _length(self.answer_tokens),
            _length(self.prompt_tokens),
            *skills,
            *_NONE[len(skills) :],
        )

    def prior(self) -> tuple[float, ...]:
        """Give the variances of a candidate's own numbers before any outcome."""
        sd = max(self.sd, LEAST_OWN_SD)
        return (sd * sd, *_WEIGHTS)


class Offset(Struct, frozen=True):
    """What outcomes add to a candidate's logit, and how sure that is.

    `own_sd` is the candidate's own part of `sd`, without what is unsure of all of the route alike. `seen`
    is the outcomes' faded number, those of other candidates of the route at a tenth. `cost` is what its
    answers cost for each dollar that was expected.
    """

    logit: float
    sd: float
    seen: float = 0.0
    own_sd: float = 0.0
    cost: float = 1.0


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

    Keys of `arms` and `costs` are `route` newline `ref`; without a ref it is what all of the route share.
    """

    arms: dict[str, Arm] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    half_life_requests: float | None = HALF_LIFE_REQUESTS
    costs: dict[str, Expense] = field(default_factory=dict)
    version: int = VERSION


class Learner:
    """Offsets for candidates, learned from rewards.

    `half_life_requests` is how fast it forgets, None for never. A state of another version, whose numbers
    mean something else, is put aside. Not safe to share between threads.
    """

    def __init__(
        self, state: LearnerState | None = None, *, half_life_requests: float | None = -1.0
    ) -> None:
        self.state = state if state and state.version == VERSION else LearnerState()
        self._last: tuple[object, tuple[float, float, float]] | None = None
        if half_life_requests is None or half_life_requests > 0:
            self.state.half_life_requests = half_life_requests

    @property
    def knows(self) -> bool:
        """Whether it has learned anything."""
        return bool(self.state.arms or self.state.costs)

    def offset(self, context: Context, ref: str) -> Offset:
        """Give what outcomes say of a candidate; nothing, with the prior's sd, if there are none."""
        x = context.features()
        own, own_variance, own_seen = self._belief(context.route, ref, x, context.prior())
        # The same for all candidates of a request, which are asked for one after another.
        asked = (context.route, x, self.state.requests.get(context.route, 0))
        if self._last is None or self._last[0] != asked:
            self._last = (asked, self._belief(context.route, "", x, _SHARED))
        shared, variance, seen = self._last[1]
        sd = math.sqrt(max(own_variance + variance, 0.0))
        spent = self.state.costs.get(_key(context.route, ref))
        return Offset(
            own + shared,
            sd,
            own_seen + OTHERS * (seen - own_seen),
            math.sqrt(max(own_variance, 0.0)),
            1.0 if spent is None else spent.factor,
        )

    def learn(self, context: Context, ref: str, reward: float, weight: float = 1.0) -> None:
        """Take in how well a candidate did, 0 to 1; `weight` is how much that is worth, 0 to 1."""
        route = context.route
        self.state.requests[route] = self.state.requests.get(route, 0) + 1
        own = self._arm(route, ref, context.prior())
        shared = self._arm(route, "", _SHARED)
        _update(own, shared, context, min(max(reward, 0.0), 1.0), min(max(weight, 0.0), 1.0))
        # The ones used last stand last; the others are forgotten first when there are too many.
        for key, arm in ((_key(route, ""), shared), (_key(route, ref), own)):
            self.state.arms.pop(key, None)
            self.state.arms[key] = arm
        while len(self.state.arms) > MAX_ARMS:
            del self.state.arms[next(iter(self.state.arms))]

    def paid(self, route: str, ref: str, expected_usd: float, paid_usd: float) -> None:
        """Take in what an answer cost, next to what was expected before any correction.

        It needs nobody's word on the answer; where nothing was expected there is nothing to compare.
        """
        found = noted(self.state.costs.get(_key(route, ref)), expected_usd, paid_usd)
        if found is None:
            return
        self.state.costs.pop(_key(route, ref), None)
        self.state.costs[_key(route, ref)] = found
        while len(self.state.costs) > MAX_ARMS:
            del self.state.costs[next(iter(self.state.costs))]

    def factor(self, route: str, ref: str) -> float:
        """What an answer of a candidate costs for each dollar that was expected; 1 before any bill."""
        found = self.state.costs.get(_key(route, ref))
        return 1.0 if found is None else found.factor

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
        own.covariance, _ = _aged(own.covariance, own.mean, KEPT_ON_ALARM, context.prior())
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
    logits: Mapping[str, float],
    *,
    share: float,
    dial: float,
    draw: random.Random,
    per_usd: float = 0.0,
) -> str:
    """Give `best`, or in at most a `share` of the calls another candidate, to learn how it does.

    In such a share each one's success is drawn from what is believed of it (`logits`, all signals
    together, and its own uncertainty), and who then has the most for its price is taken: mostly `best`
    again, once it is known to be that, so that trying ends by itself. The dial bounds what it may cost:
    at 0 nothing dearer than `best` is tried, at 1 anything of `costs_usd`.

    Source: Thompson sampling, as Chapelle and Li, NeurIPS 2011.
    """
    if share <= 0.0 or draw.random() >= share:
        return best
    low = costs_usd[best]
    limit = low + min(max(dial, 0.0), 1.0) * max(max(costs_usd.values()) - low, 0.0)
    weight = min(per_usd, 1e9)  # At the cheapest it is infinite; the bound holds anyway.
    drawn = {
        ref: _within(draw.gauss(logits[ref], offsets[ref].own_sd))
        for ref, cost in costs_usd.items()
        if cost <= limit
    }
    return max(drawn, key=lambda ref: 1 / (1 + math.exp(-drawn[ref])) - weight * costs_usd[ref])


def _key(route: str, ref: str) -> str:
    return f"{route}\n{ref}"


def _squashed(x: float) -> float:
    return x / (1.0 + abs(x))


def _length(tokens: float) -> float:
    return _squashed(math.log(max(tokens, 1.0) / MIDDLE_TOKENS))


def _within(logit: float) -> float:
    return min(max(logit, -20.0), 20.0)
