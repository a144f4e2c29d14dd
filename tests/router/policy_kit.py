"""Candidates, readings and a scripted host, for tests of policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pointsman.router.answer import FEATURES
from pointsman.router.facts import Facts
from pointsman.router.ranking import Situation
from pointsman.router.steps import Attempt, Call, Done, Policy, drive
from pointsman.router.verify import Verifier
from pointsman.types import Ability, Chat, Message, ModelCard, PromptReading, Text, TokenLogprob

FACTS = Facts(text="a question", prompt_tokens=100, answer_tokens=100)
ASKED = Chat(model="auto", messages=(Message("user", (Text("a question"),)),))


def card(ref: str, price: float | None = 1.0, **more: Any) -> ModelCard:
    return ModelCard(
        ref=ref,
        provider="p",
        model=ref,
        input_usd_per_mtok=price,
        output_usd_per_mtok=price,
        **more,
    )


CHEAP, MIDDLE, DEAR = card("cheap", 0.1), card("middle", 1.0), card("dear", 10.0)
LADDER = (DEAR, CHEAP, MIDDLE)
ABLE = {"cheap": 0.0, "middle": 1.0, "dear": 2.0}


def reading(difficulty: float = 0.0, familiar: float = 1.0) -> PromptReading:
    return PromptReading((1.0,), difficulty, 100.0, 0.5, familiar)


def situation(cards=LADDER, able: Mapping[str, float] = ABLE, **more: Any) -> Situation:
    abilities = {c.ref: Ability((able.get(c.ref, 0.0),), 0.2, "a test") for c in cards}
    given = {"facts": FACTS, "chat": ASKED, "per_usd": 50.0, "abilities": abilities, **more}
    return Situation(cards=tuple(cards), **given)


def sure(text: str = "42", logprob: float = -0.01, **more: Any) -> Attempt:
    tokens = tuple(TokenLogprob(piece, logprob) for piece in text.split() or [text])
    return Attempt("", text=text, finish_reason="stop", logprobs=tokens, **more)


class Host:
    """Answers a policy's calls from a script by ref, and remembers them."""

    def __init__(
        self,
        answers: Mapping[str, Attempt | Callable[[Call], Attempt]],
        read: PromptReading | None = None,
    ) -> None:
        self.answers = answers
        self.read = read
        self.calls: list[Call] = []

    def run(self, policy: Policy) -> Done:
        return drive(policy, lambda text: self.read, self._call)

    def _call(self, call: Call, number: int) -> Attempt:
        self.calls.append(call)
        answer = self.answers[call.ref]
        found = answer(call) if callable(answer) else answer
        return msgspec.structs.replace(found, ref=call.ref, number=number)


def verifier(**weights: float) -> Verifier:
    """A verifier with these weights, others 0; without any a plausible one."""
    given = weights or {
        "mean_logprob": 2.0,
        "has_agreement": -3.0,
        "agreement": 4.0,
        "refused": -10.0,
        "empty": -10.0,
        "truncated": -4.0,
    }
    count = len(FEATURES)
    return Verifier(
        features=FEATURES,
        weights=tuple(float(given.get(name, 0.0)) for name in FEATURES),
        means=(0.0,) * count,
        scales=(1.0,) * count,
        bias=4.0,
        source="a test",
        rows=0,
        date="2026-11-24",
    )
