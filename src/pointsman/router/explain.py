"""Says why a route chose as it did, in values that a person or a page can show."""

from __future__ import annotations

from msgspec import Struct

from pointsman.router.features import SURFACE, surface
from pointsman.router.policy import Decision
from pointsman.types import Classifier

__all__ = ["Explanation", "explain"]


class Explanation(Struct, frozen=True):
    """A decision, spread out. `surface` are the prompt's features by name; None without a classifier."""

    chosen: str
    order: tuple[str, ...]
    dial: float
    p_weak: float | None
    rank: float | None
    reasons: tuple[str, ...]
    excluded: dict[str, str]
    surface: dict[str, float] | None


def explain(decision: Decision, classifier: Classifier | None, prompt: str) -> Explanation:
    """Give the explanation of a decision for a prompt."""
    estimate = decision.estimate
    if estimate is None and classifier is not None:
        estimate = classifier.estimate(prompt)
    return Explanation(
        chosen=decision.chosen,
        order=decision.order,
        dial=decision.dial,
        p_weak=estimate.p_weak if estimate else None,
        rank=estimate.rank if estimate else None,
        reasons=decision.reasons,
        excluded=dict(decision.excluded),
        surface=dict(zip(SURFACE, (round(v, 4) for v in surface(prompt)), strict=True))
        if classifier is not None
        else None,
    )
