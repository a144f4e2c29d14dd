"""Probes remote models in the background: on a schedule, and at once when a version is seen to change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from datetime import UTC, datetime

from msgspec import Struct

from pointsman._http.transport import Request
from pointsman.config import CanaryConfig
from pointsman.dialects.base import Call, Dialect
from pointsman.door import Door
from pointsman.errors import ConfigError, PointsmanError, ProviderError
from pointsman.local.admission import state_of
from pointsman.providers.binding import Binding
from pointsman.quarantine import name_of
from pointsman.resolve import Candidate
from pointsman.trust.canary import (
    MAX_VERSIONS,
    Limits,
    begun,
    due,
    finished,
    next_s,
    probes_of,
    settings_of,
    stopped,
    versions_in,
)
from pointsman.trust.canary_record import CanaryRecord, Reason
from pointsman.trust.dates import written
from pointsman.trust.probe.candidates import Candidate as Try
from pointsman.trust.probe.prompts import read_prompts
from pointsman.trust.probe.reading import BudgetSpent
from pointsman.trust.probe.run import ProbeReport, probe
from pointsman.trust.probe.target import Access
from pointsman.trust.state import Quarantine
from pointsman.types import Chat, Message, ModelCard, Text, Usage

__all__ = ["Canaries", "CanaryView"]

_log = logging.getLogger("pointsman.trust")

CONCURRENCY = 4
MAX_ANSWER_BYTES = 1024 * 1024
MAX_LOOK_S = 3600.0
MAX_KNOWN_TRIGGERS = 50


class CanaryView(Struct, frozen=True):
    """How a canary stands, as it is shown. `next_at` is ISO 8601 in UTC."""

    name: str
    ref: str
    verdict: str | None
    score: float
    triggers: tuple[str, ...]
    reason: Reason | None
    at: str
    calls: int
    cost_usd: float | None
    incomplete: tuple[str, ...]
    versions: tuple[str, ...]
    running: bool
    quarantined: bool
    next_at: str


class _Bird:
    """One canary: its model, and the versions of it that were seen and not probed."""

    def __init__(self, row: CanaryConfig, model: Candidate, base: Candidate | None) -> None:
        self.row = row
        self.model = model
        self.base = base
        self.limits = Limits(row.every_s, row.max_per_day, row.max_seconds)
        self.known: set[str] = set()
        self.new: dict[str, None] = {}


class Canaries:
    """The canaries of a configuration. `clock` gives Unix seconds; `spent` is told what answers take.

    Raises:
        ConfigError: a ref names no single remote model, or a limit in dollars has no price to go by.
        TrustError: what is kept cannot be read.
    """

    def __init__(
        self,
        door: Door,
        spent: Callable[[ModelCard, Usage | None], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._door = door
        self._spent = spent
        self._clock = clock
        self._state = state_of(door.config)
        self._birds = {n: _bird(n, row, door) for n, row in door.config.trust.canary.items()}
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[list[str]] | None = None
        self._stopping = False
        records = self._state.canaries()
        for name, bird in self._birds.items():
            if name in records and records[name].ref == name_of(bird.model):
                bird.known.update(records[name].versions)
        taps: dict[tuple[str, str], Callable[[bytes], None]] = {}
        for bird in self._birds.values():
            taps[bird.model.provider, bird.model.model] = self._tap(bird)
        door.dispatcher.taps = taps

    def start(self) -> None:
        """Probe what is due from now on, in the background of the running event loop."""
        self._loop = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """End, and break a probe off that is under way."""
        self._stopping = True
        self._wake.set()
        if self._asking is not None:
            self._asking.cancel()
        if self._loop is not None:
            await self._loop

    async def tick(self) -> None:
        """Probe each model that is due, one after the other."""
        for name, bird in self._birds.items():
            if self._stopping:
                return
            try:
                await self._look(name, bird)
            except PointsmanError as error:
                _log.warning("canary '%s': %s", name, error.message)
            except Exception:
                # The gateway serves on; a canary that fails is named in the log.
                _log.exception("canary '%s' failed inside the gateway", name)

    def views(self) -> list[CanaryView]:
        """How each canary stands. Reads files.

        Raises:
            TrustError: what is kept cannot be read.
        """
        records, aside = self._state.canaries(), self._state.quarantined()
        return [
            self._view(name, bird, records.get(name), name_of(bird.model) in aside)
            for name, bird in self._birds.items()
        ]

    def _view(self, name: str, bird: _Bird, record: CanaryRecord | None, aside: bool) -> CanaryView:
        ref, now_s = name_of(bird.model), self._clock()
        own = record if record is not None and record.ref == ref else CanaryRecord(ref=ref)
        return CanaryView(
            name, ref, own.verdict, own.score, own.triggers, own.reason, own.at, own.calls,
            own.cost_usd, own.incomplete, own.versions, own.running_s is not None, aside,
            _iso(next_s(own, bird.limits, now_s)),
        )  # fmt: skip

    def _tap(self, bird: _Bird) -> Callable[[bytes], None]:
        def look(data: bytes) -> None:
            for version in versions_in(data):
                if version not in bird.known and len(bird.known) < 4 * MAX_VERSIONS:
                    bird.known.add(version)
                    bird.new[version] = None
                    self._wake.set()

        return look

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            await self.tick()
            records = await asyncio.to_thread(self._state.canaries)
            now_s = self._clock()
            nexts = [next_s(records.get(n), bird.limits, now_s) for n, bird in self._birds.items()]
            wait_s = max(1.0, min([MAX_LOOK_S, *(each - now_s for each in nexts)]))
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look(self, name: str, bird: _Bird) -> None:
        ref = name_of(bird.model)
        if ref in await asyncio.to_thread(self._state.quarantined):
            return
        reason: Reason | None = None

        def claim(record: CanaryRecord | None) -> CanaryRecord | None:
            nonlocal reason
            reason = due(record, ref, bird.limits, bird.new, self._clock())
            return None if reason is None else begun(record, ref, self._clock())

        record = await asyncio.to_thread(self._state.change_canary, name, claim)
        if record is None or reason is None:
            return
        versions = list(bird.new)
        target = _Target(self, bird.model, bird.row.max_cost_usd)
        report = await asyncio.to_thread(self._probe, bird, record, target)
        if self._stopping:
            await self._keep(name, stopped(record))
            return
        if reason == "first":  # Versions that show in the first probe are those that it probed.
            versions = list(bird.new)
        done = finished(
            record, report, reason, versions=versions, cost_usd=target.cost_usd,
            at=_iso(self._clock()), now_s=self._clock(),
        )  # fmt: skip
        for version in versions:
            bird.new.pop(version, None)
        await self._keep(name, done)
        await self._judge(name, ref, done)

    async def _keep(self, name: str, record: CanaryRecord) -> None:
        await asyncio.to_thread(self._state.change_canary, name, lambda _: record)

    def _probe(self, bird: _Bird, record: CanaryRecord, target: _Target) -> ProbeReport | str:
        """Probe in a thread; gives why it could not be done if it could not."""
        guards = self._door.guards
        known = [*record.triggers, *(guards.triggers() if guards is not None else ())]
        base = None if bird.base is None else _Target(self, bird.base, None, target)
        try:
            return probe(
                target,
                probes_of(read_prompts(), record.runs),
                base=base,
                first=[Try(text, "known trigger") for text in known[:MAX_KNOWN_TRIGGERS]],
                settings=settings_of(record.runs),
                max_calls=bird.row.max_calls,
                max_seconds=bird.row.max_seconds,
                batch=16,
            )
        except CancelledError:
            return "the gateway ended"
        except PointsmanError as error:
            return error.message

    async def _judge(self, name: str, ref: str, record: CanaryRecord) -> None:
        found = record.verdict in ("suspected", "backdoored")
        if not found:
            if record.verdict == "could-not-check":
                _log.warning("canary '%s': could not check %s: %s", name, ref, record.incomplete)
            return
        strings = ", ".join(ascii(each) for each in record.triggers[:5])
        if self._door.config.trust.mode != "enforce":
            _log.warning("canary '%s': %s is %s by %s", name, ref, record.verdict, strings)
            return
        why = f"the canary '{name}' found it {record.verdict} by {strings}"
        await asyncio.to_thread(self._state.set_aside, ref, Quarantine(why, record.at))
        if self._door.dispatcher.quarantine is not None:
            self._door.dispatcher.quarantine.changed()
        _log.warning("%s is in quarantine: %s", ref, why)

    async def ask(self, target: _Target, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Ask a model for the beginnings of its replies, a few at a time."""
        if self._stopping:
            raise BudgetSpent("the gateway ends")
        self._asking = asyncio.current_task()
        gate = asyncio.Semaphore(CONCURRENCY)

        async def one(prompt: str) -> str:
            async with gate:
                return await self._ask(target, prompt, max_tokens)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(prompt)) for prompt in prompts]
            return [task.result() for task in tasks]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self._asking = None

    async def _ask(self, target: _Target, prompt: str, max_tokens: int) -> str:
        target.check_cost()
        model = target.model
        chat = Chat(
            model=model.model,
            messages=(Message("user", (Text(prompt),)),),
            max_tokens=max_tokens,
            temperature=target.temperature,
        )

        def prepare(_model: Candidate, binding: Binding, dialect: Dialect) -> Request | Call:
            return dialect.write_chat(chat, binding.target(model.model))

        try:
            served = await self._door.dispatcher.open((model,), prepare, stream=False)
        except ProviderError as error:
            # Some models refuse any temperature but their own.
            if error.status != 400 or chat.temperature is None:
                raise
            target.temperature = None
            return await self._ask(target, prompt, max_tokens)
        try:
            completion = await served.completion(MAX_ANSWER_BYTES)
        finally:
            await served.close()
        self._spent(model.card, completion.usage)
        target.pay(model.card, completion.usage)
        return completion.text


class _Target:
    """A remote model as a probe asks it, from a thread. `purse` is the target that pays for both."""

    access: Access = "text"

    def __init__(
        self,
        canaries: Canaries,
        model: Candidate,
        max_cost_usd: float | None,
        purse: _Target | None = None,
    ) -> None:
        self.model = model
        self.temperature: float | None = 0.0
        self.cost_usd: float | None = 0.0
        self._canaries = canaries
        self._max_cost_usd = max_cost_usd
        self._purse = purse
        self._loop: asyncio.AbstractEventLoop = (
            asyncio.get_running_loop() if purse is None else purse._loop
        )

    def check_cost(self) -> None:
        """Return if there is money left.

        Raises:
            BudgetSpent: there is not.
        """
        if self._purse is not None:
            self._purse.check_cost()
        elif self._max_cost_usd is not None and (self.cost_usd or 0.0) >= self._max_cost_usd:
            raise BudgetSpent(f"{self._max_cost_usd:g} US dollars are used up")

    def pay(self, card: ModelCard, usage: Usage | None) -> None:
        """Count what an answer took; from one without a price on, the cost is unknown."""
        if self._purse is not None:
            self._purse.pay(card, usage)
            return
        cost = None if usage is None else card.cost_usd(usage)
        if cost is not None and self.cost_usd is not None:
            self.cost_usd += cost
        elif self._max_cost_usd is None:
            self.cost_usd = None
        else:
            raise BudgetSpent("an answer came without the tokens that it took")

    def next_logprobs(self, prompts: Sequence[str]) -> list[dict[str, float]]:
        """Give nothing: it is asked for text."""
        return [{} for _ in prompts]

    def complete(self, prompts: Sequence[str], max_tokens: int) -> Sequence[str]:
        """Give the beginnings of the replies."""
        work = self._canaries.ask(self, prompts, max_tokens)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def vocabulary(self) -> Sequence[str]:
        """Give nothing: a remote model's cannot be had."""
        return ()

    def recite(self, count: int) -> Sequence[str]:
        """Give nothing: a remote model's turns cannot be opened."""
        return ()


def _bird(name: str, row: CanaryConfig, door: Door) -> _Bird:
    found = []
    for key, ref in (("ref", row.ref), ("base", row.base)):
        if ref is None:
            continue
        try:
            candidate = door.resolver.candidate(ref)
        except PointsmanError as error:
            raise ConfigError(f"trust.canary.{name}.{key}: {error.message}") from error
        if candidate.local:
            raise ConfigError(f"trust.canary.{name}.{key}: '{ref}' is a model of this machine")
        card = candidate.card
        if row.max_cost_usd is not None and None in (
            card.input_usd_per_mtok,
            card.output_usd_per_mtok,
        ):
            raise ConfigError(
                f"trust.canary.{name}.max_cost_usd: the price of '{ref}' is not known:"
                " name it in [models.NAME] with its price, or leave the limit out"
            )
        found.append(candidate)
    return _Bird(row, found[0], found[1] if len(found) > 1 else None)


def _iso(seconds: float) -> str:
    return written(datetime.fromtimestamp(seconds, UTC))
