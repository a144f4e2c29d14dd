"""Carries out a policy that asks first: calls, held answers, and the one that the client gets.

An answer that may be given is held as it came, so that it can still be passed on byte for byte; the
others are closed. What was asked for and not given is counted as spent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pointsman.errors import PointsmanError, ProviderError
from pointsman.resolve import Candidate
from pointsman.router.decision import Decision
from pointsman.router.steps import Attempt, Call, Classify, Done, Policy, Step, attempt_of
from pointsman.served import Served
from pointsman.types import Completion, ModelCard, PromptReading, Usage

__all__ = ["Ask", "Carried", "Run", "Spent", "carry", "decided"]

_log = logging.getLogger("pointsman")

# A model that does not give log-probabilities says so with one of these; it is asked again without.
_REFUSED = frozenset((400, 403, 404, 422))
MAX_REMEMBERED = 1024
# A sample or a verdict is short; the answer itself may be as long as any.
MAX_SIDE_BYTES = 4 * 1024 * 1024

# Opens one call: of a Call (None: the request as it came) to these candidates, with log-probabilities or
# without, as a stream or whole.
Ask: TypeAlias = Callable[[Call | None, Sequence[Candidate], bool, bool], Awaitable[Served]]


class Run(Struct, frozen=True):
    """A policy under way: its first call, and what its host must know to carry it out; `notes` are for the
    header.
    """

    policy: Policy
    step: Step
    candidates: dict[str, Candidate]
    fallback: tuple[Candidate, ...]
    classify: Callable[[str], PromptReading | None]
    holdback_tokens: int
    holdback_s: float
    prompt_tokens: int
    notes: str = ""


class Spent(Struct, frozen=True):
    """What was asked and not given to the client; `cost_usd` None where the price is unknown."""

    card: ModelCard
    usage: Usage | None
    cost_usd: float | None


class Carried(Struct, frozen=True):
    """An answer that began, how it was decided, and what else was spent; `asked` counts all requests."""

    served: Served
    done: Done
    spent: tuple[Spent, ...]
    asked: int
    verdicts: tuple[tuple[str, float], ...] = ()


class _Held(Struct):
    served: Served
    usage: Usage | None


class _Carrier:
    """One run: what is held, what was spent."""

    def __init__(self, run: Run, ask: Ask, silent: set[str], *, stream: bool, limit: int) -> None:
        self._run = run
        self._ask = ask
        self._silent = silent
        self._stream = stream
        self._limit = limit
        self.held: dict[int, _Held] = {}
        self.spent: list[Spent] = []
        self.asked = 0

    async def drive(self) -> Done:
        step, number = self._run.step, 0
        try:
            while True:
                if isinstance(step, Classify):
                    step = self._run.policy.send(self._run.classify(step.text))
                    continue
                heard = await self._attempt(step, number)
                number += 1
                step = self._run.policy.send(heard)
        except StopIteration as end:
            done: Done = end.value
            return done

    async def _attempt(self, call: Call, number: int) -> Attempt:
        candidate = self._run.candidates.get(call.ref)
        if candidate is None:
            return Attempt(call.ref, number, error=f"there is no candidate {call.ref}")
        try:
            served = await self._open(call, candidate)
        except PointsmanError as error:
            _log.info("%s was passed over: %s", call.ref, error.message)
            return Attempt(call.ref, number, error=error.code)
        try:
            return await self._look(call, number, served)
        except PointsmanError as error:
            _log.info("%s was passed over: %s", call.ref, error.message)
            await served.close()
            self.held.pop(number, None)
            return Attempt(call.ref, number, error=error.code)
        except BaseException:
            await served.close()
            raise

    async def _open(self, call: Call, candidate: Candidate) -> Served:
        """Ask, with log-probabilities if the policy wants them and the model gives them."""
        stream = self._stream and call.purpose == "answer"
        wanted = call.logprobs and candidate.card.logprobs and call.ref not in self._silent
        self.asked += 1
        try:
            return await self._ask(call, (candidate,), wanted, stream)
        except ProviderError as error:
            if not wanted or error.status not in _REFUSED:
                raise
        self.asked += 1
        served = await self._ask(call, (candidate,), False, stream)
        # It answers without, so that was why.
        if len(self._silent) < MAX_REMEMBERED:
            self._silent.add(call.ref)
        return served

    async def _look(self, call: Call, number: int, served: Served) -> Attempt:
        if call.purpose != "answer":
            completion = await served.completion(MAX_SIDE_BYTES)
            self._spend(served.candidate.card, completion.usage)
            return _attempt(call.ref, number, completion)
        self.held[number] = _Held(served, None)
        if self._stream:
            run = self._run
            head, whole = await served.hold(run.holdback_tokens, run.holdback_s, self._limit)
            # What a stream costs that is given up is not told: the prompt, and about what came.
            seen = attempt_of(call.ref, number, head.choices[0] if head.choices else None, None)
            tokens = len(seen.logprobs or ()) or max(len(seen.text) // 4, 1)
            self.held[number].usage = head.usage or Usage(run.prompt_tokens, tokens)
            return msgspec.structs.replace(_attempt(call.ref, number, head), whole=whole)
        completion = await served.keep(self._limit)
        self.held[number].usage = completion.usage
        return _attempt(call.ref, number, completion)

    def _spend(self, card: ModelCard, usage: Usage | None) -> None:
        cost = 0.0 if card.local else card.cost_usd(usage) if usage else None
        self.spent.append(Spent(card, usage, cost))

    async def settle(self, given: int | None) -> None:
        """Close all that is held but one, and count it as spent."""
        for number in [each for each in self.held if each != given]:
            held = self.held.pop(number)
            await held.served.close()
            self._spend(held.served.candidate.card, held.usage)


async def carry(run: Run, ask: Ask, silent: set[str], *, stream: bool, limit_bytes: int) -> Carried:
    """Carry a policy out and give the answer that it ends with.

    `silent` are the refs known not to give log-probabilities; those that turn out so are added.

    Raises:
        PointsmanError: every candidate failed, and no answer is at hand.
    """
    carrier = _Carrier(run, ask, silent, stream=stream, limit=limit_bytes)
    try:
        done = await carrier.drive()
        number = done.answer if done.answer in carrier.held else None
        if number is None:
            served, done, number = await _ask_on(run, carrier, ask, done, stream)
        else:
            served = carrier.held[number].served
        await carrier.settle(number)
        served.attempts = carrier.asked
        return Carried(served, done, tuple(carrier.spent), carrier.asked)
    except BaseException:
        await carrier.settle(None)
        raise


async def _ask_on(
    run: Run, carrier: _Carrier, ask: Ask, done: Done, stream: bool
) -> tuple[Served, Done, int | None]:
    """Ask those that are left, in order; if all fail, an answer at hand is better than none."""
    found = [run.candidates[ref] for ref in done.order if ref in run.candidates]
    try:
        served = await ask(None, (*found, *run.fallback), False, stream)
    except PointsmanError:
        if done.spare not in carrier.held:
            raise
        spare = carrier.held[done.spare].served
        reasons = ("an abler one failed: the answer at hand", *done.reasons)
        changed = msgspec.structs.replace(done, choice=spare.candidate.card.ref, reasons=reasons)
        return spare, changed, done.spare
    carrier.asked += served.attempts
    return served, done, None


def decided(done: Done, ref: str | None = None) -> Decision | None:
    """Give the decision as it came to be: the choice first, with the policy's own reasons."""
    decision = done.decision
    if decision is None:
        return None
    first = ref or done.choice
    if (
        first == decision.chosen
        and done.order == decision.order
        and done.reasons == decision.reasons
    ):
        return decision
    order = tuple(dict.fromkeys((first, *done.order, *decision.order)))
    place = {each: number for number, each in enumerate(order)}
    views = tuple(sorted(decision.views, key=lambda view: place[view.ref]))
    return msgspec.structs.replace(
        decision, chosen=first, order=order, views=views, reasons=done.reasons
    )


def _attempt(ref: str, number: int, completion: Completion) -> Attempt:
    choice = completion.choices[0] if completion.choices else None
    return attempt_of(ref, number, choice, completion.usage)
