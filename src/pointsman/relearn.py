"""Learns a route's learner anew from recorded outcomes, and says what that is worth.

Each outcome is predicted before it is learned from, so what is reported of the predictions is of outcomes
that the learner had not seen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
from msgspec import Struct

from pointsman.config import Config
from pointsman.errors import RouteError
from pointsman.outcomes import Outcomes
from pointsman.replay import Record, by_ref
from pointsman.resolve import Plan
from pointsman.router.online import Learner, LearnerState
from pointsman.router.outcomes import Candidacy, Feedback, Outcome, passed_over, reward_of
from pointsman.router.outlook import probability
from pointsman.routing import Routing

__all__ = ["Learned", "Relearned", "Told", "merged", "relearn", "told_by_file", "told_by_store"]

BINS = 10


class Told(Struct, frozen=True):
    """An outcome, and what is known of who did how well: (ref, reward 0 to 1, weight 0 to 1)."""

    outcome: Outcome
    rewards: tuple[tuple[str, float, float], ...]


class Learned(Struct, frozen=True):
    """A candidate: the mean of its rewards, and what was predicted of it before and with the learner."""

    ref: str
    outcomes: int
    reward: float
    p_prompt: float
    p_learned: float
    offset: float
    changes: int


class Relearned(Struct, frozen=True):
    """What came of it. Losses are the mean log loss, errors the expected calibration error, over
    predictions made before each outcome was learned from; `prompt` without the learner.
    """

    route: str
    outcomes: int
    rewards: int
    candidates: tuple[Learned, ...]
    loss_prompt: float | None
    loss_learned: float | None
    error_prompt: float | None
    error_learned: float | None


def told_by_store(rows: Iterable[tuple[Outcome, Sequence[Feedback]]]) -> list[Told]:
    """Give what a store's outcomes tell: of each source the first word, and who failed."""
    found = []
    for outcome, said in rows:
        rewards = []
        for each in {each.source: each for each in reversed(said)}.values():
            if outcome.ref:
                rewards.append((outcome.ref, *reward_of(each)))
        if failed := passed_over(outcome):
            rewards.append((failed, 0.0, 1.0))
        found.append(Told(outcome, tuple(rewards)))
    return found


def told_by_file(records: Iterable[Record], plan: Plan, config: Config) -> list[Told]:
    """Give what a file's scores tell of the route's candidates; requests that it cannot serve are left
    out. Rows without a time are dealt in an order of their own, the same each time.

    Raises:
        RouteError: there is no router to read the prompts with.
    """
    routing = Routing(config, Outcomes(None))
    if routing.bench(plan).classifier is None:
        raise RouteError("a file's prompts need a router to be read with: see the warning above")
    found = []
    for number, each in enumerate(records):
        record = by_ref(each, plan)
        if record.chat is None:
            continue
        try:
            decision = routing.decide(plan, record.chat, 0.5)
        except RouteError:
            continue
        reading = decision.reading
        outcome = Outcome(
            request_id=f"row-{number}",
            route=plan.route or "",
            ref=decision.chosen,
            at_s=record.at_s,
            candidates=tuple(
                Candidacy(v.ref, v.logit, v.p_success, v.sd, v.cost_usd) for v in decision.views
            ),
        )
        if reading is not None:
            outcome.reading = {"difficulty": reading.difficulty, "rank": reading.rank}
            outcome.loadings = reading.loadings
        known = {view.ref for view in decision.views}
        rewards = tuple((ref, s, 1.0) for ref, s in record.scores.items() if ref in known)
        found.append(Told(outcome, rewards))
    if len({each.outcome.at_s for each in found}) == 1:
        # A file without times is often sorted by subject: to a learner that would be one drift after another.
        random.Random(0).shuffle(found)  # noqa: S311  # no secret
    return found


def relearn(route: str, told: Sequence[Told]) -> tuple[Learner, Relearned]:
    """Learn from the outcomes in their order. The same ones give the same learner."""
    learner = Learner()
    predicted: list[tuple[str, float, float, float]] = []
    for each in sorted(told, key=lambda one: one.outcome.at_s):
        views = {view.ref: view for view in each.outcome.candidates}
        for ref, reward, weight in each.rewards:
            context = each.outcome.context(ref)
            view = views.get(ref)
            if view is not None:
                offset = learner.offset(context, ref)
                with_it = probability(view.logit + offset.logit, view.sd)
                predicted.append((ref, reward, probability(view.logit, view.sd), with_it))
            learner.learn(context, ref, reward, weight)
    return learner, Relearned(
        route=route,
        outcomes=len(told),
        rewards=sum(len(each.rewards) for each in told),
        candidates=_candidates(route, learner, predicted),
        loss_prompt=_loss([(p, r) for _, r, p, _ in predicted]),
        loss_learned=_loss([(p, r) for _, r, _, p in predicted]),
        error_prompt=_error([(p, r) for _, r, p, _ in predicted]),
        error_learned=_error([(p, r) for _, r, _, p in predicted]),
    )


def merged(route: str, old: LearnerState | None, new: LearnerState) -> LearnerState:
    """Give the old state with a route's part replaced by the new one's."""
    old = old or LearnerState()
    kept = {key: arm for key, arm in old.arms.items() if key.partition("\n")[0] != route}
    return msgspec.structs.replace(
        old, arms=kept | new.arms, requests={**old.requests, **new.requests}
    )


def _candidates(
    route: str, learner: Learner, predicted: Sequence[tuple[str, float, float, float]]
) -> tuple[Learned, ...]:
    found = []
    for ref in sorted({each[0] for each in predicted}):
        own = [each for each in predicted if each[0] == ref]
        arm = learner.state.arms.get(f"{route}\n{ref}")
        shared = learner.state.arms.get(f"{route}\n")
        offset = (arm.mean[0] if arm else 0.0) + (shared.mean[0] if shared else 0.0)
        found.append(
            Learned(
                ref,
                len(own),
                _short(sum(each[1] for each in own) / len(own)),
                _short(sum(each[2] for each in own) / len(own)),
                _short(sum(each[3] for each in own) / len(own)),
                _short(offset),
                arm.changes if arm else 0,
            )
        )
    return tuple(found)


def _loss(pairs: Sequence[tuple[float, float]]) -> float | None:
    if not pairs:
        return None
    total = sum(
        r * math.log(max(p, 1e-9)) + (1.0 - r) * math.log(max(1.0 - p, 1e-9)) for p, r in pairs
    )
    return _short(-total / len(pairs))


def _error(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Over bins of equally many. Source: Naeini et al., AAAI 2015, with equal-mass bins."""
    if not pairs:
        return None
    ordered = sorted(pairs)
    edges = [len(ordered) * n // BINS for n in range(BINS + 1)]
    parts = [ordered[low:high] for low, high in pairwise(edges)]
    return _short(sum(abs(sum(p - r for p, r in part)) for part in parts) / len(ordered))


def _short(value: float) -> float:
    return round(value, 4)
