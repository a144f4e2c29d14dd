"""Asks the teacher: many questions at once, each paid once, within the budget.

An answer that is in the ledger is given from there. A rate limit (429) halves the number of
requests at a time and holds all of them back as long as the provider asks; each answer lets it rise
again, up to `parallel`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pointsman._http.transport import TransportError
from pointsman.distill.teacher.asking import Answer, Question, Teacher, key_of, lean
from pointsman.distill.teacher.budget import Budget
from pointsman.distill.teacher.ledger import Asked, Ledger
from pointsman.errors import PointsmanError, ProviderError

__all__ = ["Asker", "Caller"]

TRIES = 6
CUT_TRIES = 3
BACKOFF_S = 1.0
MAX_PAUSE_S = 300.0
# What says that this one request is wrong (too long, a filter), not that the provider is.
_OWN_FAULTS = frozenset((400, 413, 422))
Sleep = Callable[[float], Awaitable[None]]


class Asker(Protocol):
    """Whoever puts questions: one by one (`Caller`) or as a batch.

    `stopped` names the cap that ended the asking, None while there is none. `on_answer` is called
    after each answer that was paid.
    """

    budget: Budget
    stopped: str | None
    on_answer: Callable[[], None]

    async def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """Give an answer for each question, in order; None for one that was not asked or failed.

        Raises:
            PointsmanError: the teacher cannot be asked at all.
        """
        ...

    def is_paid(self, question: Question) -> bool:
        """Whether the answer to a question is in the ledger already."""
        ...


class Caller:
    """Asks one teacher by single requests. Belongs to one event loop.

    `failures` are the messages of questions that were given up.
    """

    def __init__(
        self,
        teacher: Teacher,
        ledger: Ledger,
        budget: Budget,
        *,
        seed: int,
        parallel: int = 8,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.budget = budget
        self.stopped: str | None = None
        self.on_answer: Callable[[], None] = lambda: None
        self.failures: list[str] = []
        self._teacher = teacher
        self._ledger = ledger
        self._seed = seed
        self._parallel = max(parallel, 1)
        self._limit = float(self._parallel)
        self._active = 0
        self._resume_at = 0.0
        self._fault: PointsmanError | None = None
        self._turn = asyncio.Condition()
        self._sleep = sleep

    async def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """Give an answer for each question, in order; None for one that was not asked or failed.

        When the teacher cannot be asked, what is under way is waited for first: it is paid.

        Raises:
            PointsmanError: the teacher cannot be asked (no key, no such model, it stays down).
        """
        self._fault = self.stopped = None
        answers = await asyncio.gather(*(self._one(question) for question in questions))
        if self._fault is not None:
            raise self._fault
        return answers

    def is_paid(self, question: Question) -> bool:
        """Whether the answer to a question is in the ledger already."""
        return self._ledger.answer(key_of(question, self._teacher.ref, self._seed)) is not None

    async def _one(self, question: Question) -> Answer | None:
        key = key_of(question, self._teacher.ref, self._seed)
        kept = self._ledger.answer(key)
        if kept is not None:
            return kept.answer
        bound = self.budget.bound_usd(question.chat)
        cuts = 0
        for tries in range(1, TRIES + 1):
            if not await self._enter(bound):
                return None
            pause_s: float | None = None
            try:
                return await self._paid(key, question, bound)
            except ProviderError as error:
                cuts += _may_be_charged(error)
                pause_s = self._after(error, tries, cuts)
                if pause_s is None:
                    return None
            except PointsmanError as error:
                self._fault = self._fault or error
                return None
            finally:
                await self._leave()
            await self._sleep(pause_s)
        return None

    async def _paid(self, key: str, question: Question, bound: float) -> Answer:
        """Ask once, with the ledger told before and after."""
        self._ledger.ask(Asked(key, question.stage, bound, time.time()))
        try:
            answer = lean(await self._teacher.ask(question.chat))
        except PointsmanError as error:
            if _may_be_charged(error):
                self._ledger.lose(key)
                self.budget.settle(bound, bound)
            else:
                self._ledger.void(key)
                self.budget.release(bound)
            raise
        cost = self.budget.cost_of(answer, bound)
        self._ledger.settle(key, question.stage, answer, cost)
        self.budget.settle(bound, cost)
        self._limit = min(self._limit + 1 / self._limit, self._parallel)
        self.on_answer()
        return answer

    def _after(self, error: ProviderError, tries: int, cuts: int) -> float | None:
        """Seconds to wait after an error; None where the question is given up."""
        if error.status == 429:
            self._limit = max(self._limit / 2, 1.0)
        if error.retryable and tries < TRIES and cuts < CUT_TRIES:
            asked_s = error.retry_after_s if error.status == 429 else None
            pause_s = BACKOFF_S * 2.0 ** (tries - 1) if asked_s is None else asked_s
            pause_s = min(pause_s, MAX_PAUSE_S)
            if error.status == 429:
                self._resume_at = max(self._resume_at, time.monotonic() + pause_s)
            return pause_s
        self.failures.append(error.message)
        own = error.status in _OWN_FAULTS or _may_be_charged(error)
        if not own or not self._ledger.calls:
            self._fault = self._fault or error
        return None

    async def _enter(self, bound: float) -> bool:
        """Wait for a turn; gives whether the question may be asked."""
        async with self._turn:
            while True:
                if self._fault is not None:
                    return False
                refusal = self.budget.refusal(bound)
                if refusal is not None and self._active == 0:
                    self.stopped = refusal
                    return False
                # What is under way will cost less than was set aside for it: wait and see.
                if refusal is None and self._active < int(self._limit):
                    break
                await self._turn.wait()
            self._active += 1
            self.budget.reserve(bound)
        pause_s = self._resume_at - time.monotonic()
        if pause_s > 0:
            await self._sleep(pause_s)
        return True

    async def _leave(self) -> None:
        async with self._turn:
            self._active -= 1
            self._turn.notify_all()


def _may_be_charged(error: PointsmanError) -> bool:
    """Whether the provider may have done the work: the answer broke off on its way here.

    Providers charge for no answer with an error status; a connection that never stood carried none.
    """
    if not isinstance(error, ProviderError):
        return False
    cause = error.__cause__
    if isinstance(cause, TransportError):
        return cause.kind != "connect"
    return error.code in ("provider_bad_answer", "stream_cut", "provider_timeout")
