"""The policies of a route: each a generator of steps, a few dozen lines, that compose. Pure.

`classifier`, `order` and `bandit` decide before anything is asked. `cascade` asks a cheap candidate,
looks at its answer and gives it or goes on; `consistency` and `judge` are the cascade with a closer
look. A policy is driven by its host, by `steps.drive`, or by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pointsman.errors import RouteError
from pointsman.router.answer import FEATURES, agreement, answer_features
from pointsman.router.decision import INFINITE, Decision, View
from pointsman.router.experiment import assigned
from pointsman.router.judging import judge_chat, score_of
from pointsman.router.limits import forbidden
from pointsman.router.ranking import Situation, ranked
from pointsman.router.steps import Attempt, Call, Done, Heard, Judged, Policy, Step
from pointsman.router.verify import Verifier
from pointsman.types import Chat

__all__ = ["Check", "Look", "bandit", "cascade", "classifier", "consistency", "judge", "order"]

# A cheap answer is looked at so often before the rest of the candidates are simply asked in order.
MAX_ASKED = 3
SAMPLE_TEMPERATURE = 0.7
# How much more the verdict of a judge weighs than the verifier's, in a mean of the two.
JUDGE_SHARE = 0.7
# Features that need no verifier to be held against an answer.
PLAINLY_WRONG = ("empty", "truncated", "refused", "filtered", "format_wrong", "call_wrong")


class Check(Struct, frozen=True):
    """What a cascade judges answers by: a verifier, None without one, and a bar in place of the dial's."""

    verifier: Verifier | None = None
    accept: float | None = None


class Seen(Struct, frozen=True):
    """What a look at an answer gave: the probability that it is good, what speaks for it and what against,
    and a judge's score.
    """

    p_good: float
    pro: str
    con: str
    score: float | None = None


Look: TypeAlias = Callable[
    [Situation, Check, Attempt, View], Generator[Step, Heard, Seen]
]  # Looks at an answer; may take steps of its own.


def order(situation: Situation) -> Policy:
    """Ask in the order given: no estimate, and only what the route forbids is left out.

    Raises:
        RouteError: it forbids all of them.
    """
    refs, why = [], []
    for card in situation.cards:
        reason = forbidden(situation.facts, card, situation.limits)
        if reason is None:
            refs.append(card.ref)
        else:
            why.append(f"{card.ref}: {reason}")
    if not refs:
        each = "; ".join(why) or "it has no candidates"
        raise RouteError(f"no candidate of the route can serve this request: {each}")
    return Done(refs[0], tuple(refs), ("policy=order",))
    yield  # A policy is a generator, also where it takes no step.


def classifier(situation: Situation) -> Policy:
    """Ask whom the prompt, the run and earlier outcomes speak for, under the dial."""
    decision = yield from ranked(situation)
    return _plain(decision)


def bandit(situation: Situation) -> Policy:
    """As `classifier`, but a share of the requests tries another candidate, to learn how it does."""
    decision = yield from ranked(situation, situation.explore)
    return _plain(decision)


def cascade(situation: Situation, check: Check, look: Look | None = None) -> Policy:
    """Ask a cheap candidate, look at its answer, and give it or go on to an abler one.

    An answer is given if it is likelier good than the next candidate's would be, less what that costs
    under the dial (or if it reaches `check.accept`). A candidate is not asked first if its cost is
    more than what it is likely to save. One that fails is passed over.
    """
    decision = yield from ranked(situation)
    if not decision.views or decision.per_usd in (0.0, INFINITE):
        return _plain(decision)
    look = look or _look
    judged: list[Judged] = []
    numbers: dict[str, int] = {}
    p_good: dict[str, float] = {}
    rung: View | None = _first(decision)
    for _ in range(MAX_ASKED):
        if rung is None or _next(decision, rung, 0.0) is None:
            break  # Nobody is abler: what it answers is what there is.
        attempt = yield Call(rung.ref, logprobs=True, head=situation.stream)
        if not isinstance(attempt, Attempt) or attempt.error is not None:
            judged.append(Judged(rung.ref, 0.0, "it failed", accepted=False))
            rung = _next(decision, rung, 0.0)
            continue
        numbers[rung.ref] = attempt.number
        seen = yield from look(situation, check, attempt, rung)
        p_good[rung.ref] = seen.p_good
        abler = _next(decision, rung, seen.p_good, check.accept)
        word = seen.pro if abler is None else seen.con
        judged.append(Judged(rung.ref, seen.p_good, word, abler is None, seen.score))
        if abler is None:
            why = f"its answer will do: {word}"
            return _done(decision, rung.ref, why, judged, answer=attempt.number)
        rung = abler
    # A stream's head is given up for good once another is asked; a whole answer is kept as a spare.
    best = max(p_good, key=p_good.__getitem__) if p_good and not situation.stream else None
    tried = [each.ref for each in judged]
    last = rung.ref if rung is not None else None
    last = last or next((ref for ref in decision.order if ref not in tried), decision.chosen)
    why = f"{tried[-1]} would not do: {judged[-1].why}" if judged else decision.reasons[0]
    # Whose head was no good is the last resort of a stream: it does answer.
    again = tuple(sorted(p_good, key=lambda ref: -p_good[ref])) if situation.stream else ()
    spare = None if best is None else numbers[best]
    return _done(decision, last, why, judged, spare=spare, tried=tried, again=again)


def consistency(situation: Situation, check: Check, samples: int) -> Policy:
    """A cascade that asks the candidate again and sees whether its answers agree."""

    def look(
        situation: Situation, check: Check, attempt: Attempt, view: View
    ) -> Generator[Step, Heard, Seen]:
        texts = [attempt.text]
        chat = _sampled(situation.chat) if situation.chat else None
        for _ in range(samples - 1):
            other = yield Call(view.ref, chat, "sample")
            if isinstance(other, Attempt) and other.error is None:
                texts.append(other.text)
        if len(texts) < 2:
            return _seen(situation, check, attempt, view, None, "no other sample came; ")
        return _seen(situation, check, attempt, view, agreement(texts))

    return (yield from cascade(situation, check, look))


def judge(situation: Situation, check: Check, ref: str, share: float, unit: bytes) -> Policy:
    """A cascade in which a judge model scores the answers of a share of the conversations.

    A judge that fails, or whose word cannot be read, is left out, and the reason says so.
    """
    asked = assigned("judge", share, unit)

    def look(
        situation: Situation, check: Check, attempt: Attempt, view: View
    ) -> Generator[Step, Heard, Seen]:
        plain = _seen(situation, check, attempt, view, None)
        if not asked or situation.chat is None or not attempt.whole:
            return plain
        verdict = yield Call(ref, judge_chat(situation.chat, attempt), "judge")
        score = score_of(verdict.text) if isinstance(verdict, Attempt) else None
        if score is None:
            failed = "the judge failed; "
            return Seen(plain.p_good, failed + plain.pro, failed + plain.con)
        p = JUDGE_SHARE * score + (1 - JUDGE_SHARE) * plain.p_good
        word = f"the judge gives {score:.2f}"
        return Seen(p, word, word, score)

    return (yield from cascade(situation, check, look))


def _look(
    situation: Situation, check: Check, attempt: Attempt, view: View
) -> Generator[Step, Heard, Seen]:
    return _seen(situation, check, attempt, view, None)
    yield  # As in `order`.


def _seen(
    situation: Situation,
    check: Check,
    attempt: Attempt,
    view: View,
    agreed: float | None,
    prefix: str = "",
) -> Seen:
    """What the answer's features come to; without a verifier, what is plainly wrong and else the prompt's
    own probability."""
    chat = situation.chat or Chat(model="", messages=())
    values = answer_features(attempt, chat, view.logit + view.shift, agreed)
    if check.verifier is not None:
        return Seen(
            check.verifier.p_good(values),
            prefix + check.verifier.why(values, good=True),
            prefix + check.verifier.why(values, good=False),
        )
    wrong = _wrong(values)
    p = 0.02 if wrong else view.p_success
    if agreed is not None and not wrong:
        p = 0.5 * (p + agreed)
    word = f"{prefix}no verifier; {wrong or 'nothing is plainly wrong'}"
    return Seen(p, word, word)


def _wrong(values: tuple[float, ...]) -> str:
    named = dict(zip(FEATURES, values, strict=True))
    return next((name for name in PLAINLY_WRONG if named[name]), "")


def _first(decision: Decision) -> View:
    """The candidate that is asked first: the cheapest whose likely saving is more than its cost."""
    ladder = sorted(decision.views, key=lambda view: view.cost_usd)
    for place, view in enumerate(ladder[:-1]):
        dearer = min(
            (v.cost_usd for v in ladder[place + 1 :] if v.p_success > view.p_success),
            default=None,
        )
        if dearer is not None and view.p_success * dearer > view.cost_usd:
            return view
    return decision.views[0]


def _next(
    decision: Decision, view: View, p_good: float, accept: float | None = None
) -> View | None:
    """The abler candidate that is worth asking in place of an answer at hand; None if none is.

    With a bar, an answer that reaches it is enough and one that does not never is.
    """
    abler = [each for each in decision.views if each.p_success > view.p_success]
    if not abler or (accept is not None and p_good >= accept):
        return None
    per_usd = decision.per_usd or 0.0
    best = max(abler, key=lambda each: each.p_success - per_usd * each.cost_usd)
    worth = best.p_success - per_usd * best.cost_usd
    return best if accept is not None or worth > p_good else None


def _plain(decision: Decision) -> Done:
    return Done(decision.chosen, decision.order, decision.reasons, decision=decision)


def _done(
    decision: Decision,
    ref: str,
    why: str,
    judged: list[Judged],
    *,
    answer: int | None = None,
    spare: int | None = None,
    tried: Sequence[str] = (),
    again: tuple[str, ...] = (),
) -> Done:
    """The end of a cascade. Who was asked already is asked once more only as `again` says."""
    rest = tuple(each for each in decision.order if each != ref and each not in tried)
    return Done(
        choice=ref,
        order=tuple(dict.fromkeys((ref, *rest, *again))),
        reasons=(why, *decision.reasons[1:]),
        answer=answer,
        spare=spare,
        judged=tuple(judged),
        decision=decision,
    )


def _sampled(chat: Chat) -> Chat:
    """The request for another sample: as it came, but drawn, whole, and without a fixed seed."""
    warm = chat.temperature if chat.temperature else SAMPLE_TEMPERATURE
    return msgspec.structs.replace(chat, temperature=warm, seed=None, stream=False, n=None)
