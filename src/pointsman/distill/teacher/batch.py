"""Asks the teacher through a provider's batch API: half the price, an answer within a day.

A batch's id is in the ledger as soon as it is known. A run that was stopped waits on for the batches
that it finds there. Between the provider's taking a batch and its id reaching the ledger lies one
moment in which a kill leaves a batch without an id; the provider is then asked for it by what marks
it as ours, and only if it can't be found are its requests counted as spent and asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct

from pointsman.distill.teacher.asking import Answer, Question, Teacher, key_of, lean
from pointsman.distill.teacher.budget import Budget
from pointsman.distill.teacher.ledger import Asked, Ledger, Submitted
from pointsman.errors import DistillError, ProviderError
from pointsman.types import Chat

__all__ = ["BatchCaller", "BatchHost", "BatchState", "Failure"]

MAX_REQUESTS = 5_000
TRIES = 3
POLL_TRIES = 8
FIRST_POLL_S, MAX_POLL_S = 5.0, 120.0
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class BatchState(Struct, frozen=True, kw_only=True):
    """Where a batch stands. `failed` says why it was turned down as a whole."""

    ended: bool
    done: int = 0
    failed: str | None = None


class Failure(Struct, frozen=True):
    """A request of a batch that got no answer, and was not charged."""

    message: str


class BatchHost(Protocol):
    """A provider's batch API, made ready by the host."""

    async def submit(self, tag: str, chats: Mapping[str, Chat]) -> str:
        """Hand in requests by their keys, and give the batch's id.

        Raises:
            ProviderError: it was not taken, or nobody knows whether it was.
        """
        ...

    async def find(self, batch: Submitted) -> str | None:
        """Give the id of a batch that was handed in, if the provider has it."""
        ...

    async def state(self, batch_id: str) -> BatchState:
        """Give where a batch stands."""
        ...

    async def results(self, batch_id: str) -> Mapping[str, Answer | Failure]:
        """Give what came of the requests of a batch that ended, by key; some may be missing."""
        ...


class BatchCaller:
    """Puts questions as batches; otherwise as `Caller`. `on_wait` is told where a batch stands."""

    def __init__(
        self,
        teacher: Teacher,
        host: BatchHost,
        ledger: Ledger,
        budget: Budget,
        *,
        seed: int,
        on_wait: Callable[[BatchState], None] = lambda state: None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.budget = budget
        self.stopped: str | None = None
        self.on_answer: Callable[[], None] = lambda: None
        self.failures: list[str] = []
        self._teacher = teacher
        self._host = host
        self._ledger = ledger
        self._seed = seed
        self._on_wait = on_wait
        self._sleep = sleep
        self._picked_up = False

    def is_paid(self, question: Question) -> bool:
        """Whether the answer to a question is in the ledger already."""
        return self._ledger.answer(self._key(question)) is not None

    async def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """Give an answer for each question, in order; None for one that was not asked or failed.

        Raises:
            ProviderError: the provider takes no batch, or cannot be reached for long.
            DistillError: it turned a batch down.
        """
        self.stopped = None
        await self._pick_up()
        by_key = {self._key(question): question for question in questions}
        for _ in range(TRIES):
            open_keys = self._affordable(by_key)
            if not open_keys:
                break
            for start in range(0, len(open_keys), MAX_REQUESTS):
                part = open_keys[start : start + MAX_REQUESTS]
                await self._run({key: by_key[key] for key in part})
        kept = [self._ledger.answer(key) for key in by_key]
        return [None if each is None else each.answer for each in kept]

    def _key(self, question: Question) -> str:
        return key_of(question, self._teacher.ref, self._seed)

    def _affordable(self, by_key: Mapping[str, Question]) -> list[str]:
        """The questions without an answer that the budget allows, in order."""
        found: list[str] = []
        usd, calls = self.budget.left_usd(), self.budget.left_calls()
        for key, question in by_key.items():
            if self._ledger.answer(key) is not None:
                continue
            usd -= self.budget.bound_usd(question.chat)
            calls -= 1
            if usd < 0 or calls < 0:
                self.stopped = self.budget.refusal(self.budget.bound_usd(question.chat)) or (
                    "the cap on what may be spent"
                )
                break
            found.append(key)
        return found

    async def _run(self, by_key: Mapping[str, Question]) -> None:
        """Hand a batch in, wait for its end and keep its answers."""
        now = time.time()
        bounds = {key: self.budget.bound_usd(each.chat) for key, each in by_key.items()}
        asked = [Asked(key, each.stage, bounds[key], now) for key, each in by_key.items()]
        digest = hashlib.sha256("".join(by_key).encode())
        tag = f"{digest.hexdigest()[:24]}-{len(self._ledger.batches)}"
        batch = Submitted(tag=tag, keys=tuple(by_key), stages=_stages(by_key), at_s=now)
        self._ledger.submit(batch)
        self._ledger.ask(*asked)
        for bound in bounds.values():
            self.budget.reserve(bound)
        chats = {key: question.chat for key, question in by_key.items()}
        try:
            batch_id = await self._submitted(batch, chats)
        except ProviderError as error:
            if not error.retryable:
                self._close(batch, {})
            raise  # Else nobody knows whether it was taken: the next run looks for it.
        await self._finish(msgspec.structs.replace(batch, id=batch_id))

    async def _submitted(self, batch: Submitted, chats: Mapping[str, Chat]) -> str:
        """Hand a batch in; where nobody knows whether it was taken, look before trying again."""
        for tries in range(1, TRIES + 1):
            try:
                return await self._host.submit(batch.tag, chats)
            except ProviderError as error:
                if not error.retryable or tries == TRIES:
                    raise
                await self._sleep(error.retry_after_s or FIRST_POLL_S * 2 ** (tries - 1))
            found = await self._host.find(batch)
            if found is not None:
                return found
        raise AssertionError("the last try returns or raises")

    async def _pick_up(self) -> None:
        """Wait for the batches that an earlier run left behind."""
        if self._picked_up:
            return
        self._picked_up = True
        for batch in [each for each in self._ledger.batches.values() if not each.ended]:
            for key in batch.keys:
                self.budget.reserve(self._ledger.bound_usd(key) or 0.0)
            batch_id = batch.id or await self._host.find(batch)
            if batch_id is None:
                # Killed before it was handed in, or lost: its bounds count as spent.
                for key in batch.keys:
                    bound = self._ledger.bound_usd(key) or 0.0
                    self._ledger.lose(key)
                    self.budget.release(bound)
                    self.budget.spent_usd += bound
                self._ledger.submit(msgspec.structs.replace(batch, ended=True))
                continue
            await self._finish(msgspec.structs.replace(batch, id=batch_id))

    async def _finish(self, batch: Submitted) -> None:
        assert batch.id is not None
        self._ledger.submit(batch)
        pause_s = FIRST_POLL_S
        while not (state := await self._patient(self._host.state, batch.id)).ended:
            self._on_wait(state)
            await self._sleep(pause_s)
            pause_s = min(pause_s * 1.5, MAX_POLL_S)
        if state.failed is not None:
            self._close(batch, {})
            raise DistillError(f"the provider turned the batch down: {state.failed}")
        self._close(batch, await self._patient(self._host.results, batch.id))

    async def _patient(self, ask: Callable[[str], Awaitable[T]], batch_id: str) -> T:
        """Ask for a batch again and again where the provider is away for a while."""
        for tries in range(POLL_TRIES):
            try:
                return await ask(batch_id)
            except ProviderError as error:
                if not error.retryable:
                    raise
                await self._sleep(min(error.retry_after_s or FIRST_POLL_S * 2**tries, MAX_POLL_S))
        return await ask(batch_id)

    def _close(self, batch: Submitted, results: Mapping[str, Answer | Failure]) -> None:
        """Keep the answers of a batch; what it did not answer cost nothing."""
        for key, stage in zip(batch.keys, batch.stages, strict=True):
            bound = self._ledger.bound_usd(key)
            if bound is None:
                continue  # Kept by the run that was killed while it did this.
            result = results.get(key)
            if isinstance(result, Answer):
                cost = self.budget.cost_of(result, bound)
                self._ledger.settle(key, stage, lean(result), cost)
                self.budget.settle(bound, cost)
                self.on_answer()
            else:
                self._ledger.void(key)
                self.budget.release(bound)
                if result is not None:
                    self.failures.append(result.message)
        self._ledger.submit(msgspec.structs.replace(batch, ended=True))


def _stages(by_key: Mapping[str, Question]) -> tuple[str, ...]:
    return tuple(question.stage for question in by_key.values())
