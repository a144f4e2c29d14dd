"""Says why a route chose as it did, in values that a person or a page can show."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pointsman.router.classifier import OnnxClassifier
from pointsman.router.decision import Decision
from pointsman.router.features import SURFACE, look
from pointsman.types import Classifier

__all__ = ["Considered", "Explanation", "Push", "explain"]


class Considered(Struct, frozen=True):
    """What became of a candidate, and why. `price_usd_per_mtok` is blended; None if unknown.

    `p_success` is the probability of a good answer, `sd` the spread of its logit, `cost_usd` what the
    request is expected to cost, `utility` what was compared; None without a classifier.
    """

    ref: str
    status: Literal["chosen", "fallback", "excluded"]
    why: str
    price_usd_per_mtok: float | None = None
    p_success: float | None = None
    sd: float | None = None
    cost_usd: float | None = None
    utility: float | None = None


class Push(Struct, frozen=True):
    """By how much a feature of the prompt raised `p_weak` (lowered it, if negative)."""

    feature: str
    by: float


class Explanation(Struct, frozen=True):
    """A decision, spread out. `surface` and `pushes` hold features of the prompt; empty without a
    classifier. `strong` and `weak` are the pair whose outcomes the classifier learned from. `runner_up` is
    the second best; `per_usd` what a dollar weighs, in successes, None where it is infinite or unknown.
    """

    chosen: str
    order: tuple[str, ...]
    dial: float
    p_weak: float | None
    rank: float | None
    reasons: tuple[str, ...]
    excluded: dict[str, str]
    candidates: tuple[Considered, ...]
    pushes: tuple[Push, ...]
    surface: dict[str, float]
    strong: str | None = None
    weak: str | None = None
    runner_up: str | None = None
    per_usd: float | None = None


def explain(decision: Decision, classifier: Classifier | None, prompt: str) -> Explanation:
    """Give the explanation of a decision for a prompt; slower than the decision by far."""
    estimate = None if classifier is None else classifier.estimate(prompt)
    router = classifier if isinstance(classifier, OnnxClassifier) else None
    return Explanation(
        chosen=decision.chosen,
        order=decision.order,
        dial=decision.dial,
        p_weak=estimate.p_weak if estimate else None,
        rank=estimate.rank if estimate else None,
        reasons=decision.reasons,
        excluded=dict(decision.excluded),
        candidates=_candidates(decision),
        pushes=tuple(Push(name, round(by, 4)) for name, by in router.pushes(prompt))
        if router
        else (),
        surface=dict(zip(SURFACE, (round(v, 4) for v in look(prompt).surface), strict=True))
        if classifier is not None
        else {},
        strong=router.card.strong if router else None,
        weak=router.card.weak if router else None,
        runner_up=decision.order[1] if len(decision.order) > 1 else None,
        per_usd=decision.per_usd if decision.per_usd != float("inf") else None,
    )


def _candidates(decision: Decision) -> tuple[Considered, ...]:
    """In the order in which they would be asked, the excluded ones last."""
    prices = dict(decision.prices)
    views = {view.ref: view for view in decision.views}
    found = []
    for place, ref in enumerate(decision.order):
        why = (
            "; ".join(decision.reasons)
            if place == 0
            else f"asked if {decision.order[place - 1]} fails"
        )
        price = prices.get(ref)
        price = None if price is None else round(price, 6)
        status: Literal["chosen", "fallback"] = "fallback" if place else "chosen"
        view = views.get(ref)
        if view is None:
            found.append(Considered(ref, status, why, price))
            continue
        utility = round(view.utility, 6)
        found.append(
            Considered(
                ref,
                status,
                why,
                price,
                round(view.p_success, 4),
                round(view.sd, 4),
                round(view.cost_usd, 9),
                utility,
            )
        )
    found += [Considered(ref, "excluded", why) for ref, why in decision.excluded]
    return tuple(found)
