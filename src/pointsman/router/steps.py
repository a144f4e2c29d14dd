"""What a policy says and hears: a route's policy is a generator of steps, and makes no call itself.

It yields `Classify` and hears a reading, yields `Call` and hears an `Attempt`, and returns a `Done`.
Whoever drives it (the gateway, the client, a replay, a test) carries the steps out; `drive` does so
with two functions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Literal, TypeAlias

from msgspec import Struct

from pointsman.router.decision import Decision
from pointsman.types import (
    Chat,
    FinishReason,
    PromptReading,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from pointsman.types import Choice as AnswerChoice

__all__ = [
    "Attempt",
    "Call",
    "Classify",
    "Done",
    "Heard",
    "Judged",
    "Policy",
    "Step",
    "attempt_of",
    "drive",
]


class Classify(Struct, frozen=True):
    """A step: the host sends back the reading of `text`, or None if it has no classifier."""

    text: str


class Call(Struct, frozen=True):
    """A step: the host asks a candidate and sends back an Attempt, whatever becomes of it.

    `chat` is what is asked, None for the request as it came. An `answer` may become the one that the
    client gets, and is held for it; a `sample` and a judge's word never are. `head` says that of a
    stream its first part will do. `logprobs` asks for the tokens' probabilities, from those who give
    them.
    """

    ref: str
    chat: Chat | None = None
    purpose: Literal["answer", "sample", "judge"] = "answer"
    logprobs: bool = False
    head: bool = False


class Attempt(Struct, frozen=True):
    """What came of a Call. `error` says why there is no answer; `whole` is false for a stream's head.

    Numbered by the host from 0, in the order of the calls.
    """

    ref: str
    number: int = 0
    text: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    usage: Usage | None = None
    error: str | None = None
    whole: bool = True


class Judged(Struct, frozen=True):
    """What a policy made of an answer: the probability that it is good, what counted most, and the
    score of a judge, 0 to 1, if one was asked.
    """

    ref: str
    p_good: float
    why: str
    accepted: bool
    score: float | None = None


class Done(Struct, frozen=True):
    """A policy's last word: whom to ask, in order, or which answer to give.

    `answer` is the number of the call whose answer the client gets; without one the refs of `order`
    are asked. If all of them fail, the answer of the call `spare` is better than none. `decision` is
    what was thought before any call.
    """

    choice: str
    order: tuple[str, ...]
    reasons: tuple[str, ...]
    answer: int | None = None
    spare: int | None = None
    judged: tuple[Judged, ...] = ()
    decision: Decision | None = None


Step: TypeAlias = Classify | Call
Heard: TypeAlias = PromptReading | Attempt | None
Policy: TypeAlias = Generator[Step, Heard, Done]


def attempt_of(
    ref: str,
    number: int,
    choice: AnswerChoice | None,
    usage: Usage | None,
    *,
    whole: bool = True,
) -> Attempt:
    """Give the attempt for the first choice of an answer in the middle form."""
    parts = choice.parts if choice else ()
    return Attempt(
        ref=ref,
        number=number,
        text="".join(part.text for part in parts if isinstance(part, Text)),
        refusal="".join(part.text for part in parts if isinstance(part, Refusal)),
        tool_calls=tuple(part for part in parts if isinstance(part, ToolCall)),
        finish_reason=choice.finish_reason if choice else None,
        logprobs=choice.logprobs if choice else None,
        usage=usage,
        error=None if choice else "the answer is empty",
        whole=whole,
    )


def drive(
    policy: Policy,
    classify: Callable[[str], PromptReading | None],
    call: Callable[[Call, int], Attempt],
) -> Done:
    """Carry a policy's steps out, one after the other; `call` also gets the number of the call."""
    calls = 0
    try:
        step = next(policy)
        while True:
            if isinstance(step, Classify):
                step = policy.send(classify(step.text))
            else:
                heard = call(step, calls)
                calls += 1
                step = policy.send(heard)
    except StopIteration as end:
        done: Done = end.value
        return done
