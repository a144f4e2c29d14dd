"""Says why a route chose as it did, in values that a person or a page can show."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pointsman.router.classifier import OnnxClassifier
from pointsman.router.features import SURFACE, look
from pointsman.router.policy import Decision
from pointsman.types import Classifier

__all__ = ["Considered", "Explanation", "Push", "explain"]


class Considered(Struct, frozen=True):
    """What became of a candidate, and why. `price_usd_per_mtok` is blended; None if unknown."""

    ref: str
    status: Literal["chosen", "fallback", "excluded"]
    why: str
    price_usd_per_mtok: float | None = None


class Push(Struct, frozen=True):
    """By how much a feature of the prompt raised `p_weak` (lowered it, if negative)."""

    feature: str
    by: float


class Explanation(Struct, frozen=True):
    """A decision, spread out. `surface` and `pushes` hold features of the prompt; empty without a
    classifier. `strong` and `weak` are the pair whose outcomes the classifier learned from.
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


def explain(decision: Decision, classifier: Classifier | None, prompt: str) -> Explanation:
    """Give the explanation of a decision for a prompt; slower than the decision by far."""
    estimate = decision.estimate
    if estimate is None and classifier is not None:
        estimate = classifier.estimate(prompt)
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
    )


def _candidates(decision: Decision) -> tuple[Considered, ...]:
    """In the order in which they would be asked, the excluded ones last."""
    prices = dict(decision.prices)
    found = []
    for place, ref in enumerate(decision.order):
        why = (
            "; ".join(decision.reasons)
            if place == 0
            else f"asked if {decision.order[place - 1]} fails"
        )
        price = prices.get(ref)
        price = None if price is None else round(price, 6)
        found.append(Considered(ref, "fallback" if place else "chosen", why, price))
    found += [Considered(ref, "excluded", why) for ref, why in decision.excluded]
    return tuple(found)
