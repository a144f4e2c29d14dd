"""What came of a routed request: numbers of its decision, what it cost, and what people said of it.

An outcome holds no prompt, no answer and no key: what is kept of the prompt are the reading's numbers.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pointsman.errors import RequestError
from pointsman.router.online import Context, Learner

__all__ = ["Candidacy", "Feedback", "Outcome", "feedback_of", "passed_over", "reward_of", "told"]

# What a word is worth to the learner, next to one of the user's. A model's verdict has the judge's mistakes
# in it; a request that comes again says something of its answer, not all; an edit says it in a roundabout way.
JUDGE_WEIGHT, TRAFFIC_WEIGHT, EDIT_WEIGHT = 0.5, 0.3, 0.5


class Candidacy(Struct, frozen=True, array_like=True):
    """What was thought of one candidate: the prompt model's logit, all signals' probability, its cost."""

    ref: str
    logit: float
    p_success: float
    sd: float
    cost_usd: float | None


class Outcome(Struct, kw_only=True, omit_defaults=True):
    """One routed request. Times in Unix seconds, costs in US dollars.

    `asked` are the refs that were asked in their order, `ref` the one that answered, empty if none
    did. `facts` are the request's own numbers, by the names of the policy's facts; `reading` those of
    the prompt model; `run` those of the trajectory. `share` is the probability with which the
    exploring policy took `ref`, 1 if it did not explore. `per_usd` is what a dollar weighed in it, in
    successes, None where that was nothing finite. `variant` is the A/B's name and side.
    """

    request_id: str
    route: str
    ref: str
    at_s: float
    dial: float | None = None
    per_usd: float | None = None
    policy: str = ""
    reasons: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    candidates: tuple[Candidacy, ...] = ()
    facts: dict[str, float] = {}
    reading: dict[str, float] = {}
    loadings: tuple[float, ...] = ()
    run: dict[str, float] = {}
    conversation: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    latency_s: float | None = None
    finish: str | None = None
    status: int | None = None
    attempts: int = 1
    share: float = 1.0
    variant: str = ""

    def context(self, ref: str) -> Context:
        """Give the context in which a candidate was judged, for the learner."""
        logit = next((each.logit for each in self.candidates if each.ref == ref), 0.0)
        return Context(
            self.route,
            logit,
            self.reading.get("difficulty", 0.0),
            self.reading.get("rank", 0.5),
            self.run.get("excess", 0.0),
            self.loadings,
        )


class Feedback(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody said of an answer; at least one of the four.

    `score` 0 to 1; `thumbs` up or down; `edited` the share of the answer that was changed, 0 to 1;
    `succeeded` whether the task did. `source` is who said it.
    """

    score: float | None = None
    thumbs: Literal["up", "down"] | None = None
    edited: float | None = None
    succeeded: bool | None = None
    source: Literal["user", "judge", "traffic"] = "user"
    at_s: float = 0.0


def feedback_of(
    *,
    score: float | None = None,
    thumbs: Literal["up", "down"] | None = None,
    edited: float | None = None,
    succeeded: bool | None = None,
    source: Literal["user", "judge", "traffic"] = "user",
    at_s: float = 0.0,
) -> Feedback:
    """Give the feedback, checked.

    Raises:
        RequestError: nothing is said, or a number is out of its range.
    """
    if score is None and thumbs is None and edited is None and succeeded is None:
        raise RequestError("feedback needs one of score, thumbs, edited and succeeded")
    for name, value in (("score", score), ("edited", edited)):
        if value is not None and not 0.0 <= value <= 1.0:
            raise RequestError(f"{name} is a number from 0 to 1, not {value}", param=name)
    return Feedback(
        score=score, thumbs=thumbs, edited=edited, succeeded=succeeded, source=source, at_s=at_s
    )


def reward_of(feedback: Feedback) -> tuple[float, float]:
    """Give how well the answer did, 0 to 1, and what that is worth, 0 to 1.

    The most direct word counts: whether the task succeeded, then a score, thumbs, and the edit, where
    half of the answer changed is as bad as it gets.
    """
    weight = {"user": 1.0, "judge": JUDGE_WEIGHT, "traffic": TRAFFIC_WEIGHT}[feedback.source]
    if feedback.succeeded is not None:
        return float(feedback.succeeded), weight
    if feedback.score is not None:
        return feedback.score, weight
    if feedback.thumbs is not None:
        return float(feedback.thumbs == "up"), weight
    return 1.0 - min(1.0, 2.0 * (feedback.edited or 0.0)), EDIT_WEIGHT * weight


def told(learner: Learner, outcome: Outcome, feedback: Feedback) -> None:
    """Have a learner take in what was said of an answer; nothing if nobody answered."""
    if outcome.ref:
        reward, weight = reward_of(feedback)
        learner.learn(outcome.context(outcome.ref), outcome.ref, reward, weight)


def passed_over(outcome: Outcome) -> str:
    """Give the candidate that was chosen and failed before another one answered; empty if none did."""
    chosen = outcome.candidates[0].ref if outcome.candidates else ""
    failed = outcome.attempts > 1 and not outcome.asked and outcome.ref not in ("", chosen)
    return chosen if failed else ""
