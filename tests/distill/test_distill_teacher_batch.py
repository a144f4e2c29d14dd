"""The batch APIs: half the price, resumed by the batch's id, found again when a kill lost the id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from pointsman.cli.distill_teacher import ClientTeacher, as_answer, prepared
from pointsman.client import AsyncClient
from pointsman.config import parse_config
from pointsman.dialects import get_dialect
from pointsman.distill.teacher.asking import Answer, Question
from pointsman.distill.teacher.batch import BatchCaller, BatchHost, BatchState, Failure
from pointsman.distill.teacher.batch_wire import batch_host
from pointsman.distill.teacher.budget import BATCH_SHARE, Budget, Limits
from pointsman.distill.teacher.ledger import Ledger, Submitted
from pointsman.door import Door
from pointsman.errors import DistillError, ProviderError, RequestError
from pointsman.testing import Answer as Scripted
from pointsman.testing import FakeProvider, Fault, Recorded
from pointsman.types import Chat, Message, Text


def question(number: int) -> Question:
    chat = Chat(
        model="", messages=(Message("user", (Text(f"question {number}"),)),), max_tokens=500
    )
    return Question(stage="write", index=number, chat=chat)


class Killed(BaseException):
    """Ends a run where a kill would."""


class Site:
    """A batch caller over a fake provider; `kill_at` ends it at the n-th pause."""

    def __init__(self, url: str, dialect: str, path: Path, limits: Limits | None = None) -> None:
        self.config = prepared(
            parse_config(
                f'[providers.fake]\nbase_url = "{url}/v1"\ndialect = "{dialect}"\n'
                '[models.teacher]\nref = "fake:m"\nprice = { input = 1.0, output = 4.0 }\n'
            ),
            "teacher",
        )
        self.path = path / "journal.jsonl"
        self.limits = limits or Limits(share=BATCH_SHARE)
        self.pauses: list[float] = []
        self.spent_usd = 0.0
        self.wrap: type[Lost] | None = None

    async def ask(self, count: int, kill_at: int | None = None) -> list[Answer | None]:
        door = Door(self.config)
        meant = door.resolver.resolve("teacher")
        candidate = meant.candidates[0]
        binding = door.dispatcher.binding("fake")

        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            if kill_at is not None and len(self.pauses) >= kill_at:
                raise Killed
            await asyncio.sleep(0)

        async with AsyncClient(self.config) as client:
            teacher = ClientTeacher(client, self.config, meant)
            host = batch_host(
                binding,
                get_dialect(binding.dialect),
                candidate.model,
                door.dispatcher.fetch,
                lambda completion: as_answer(completion, candidate.card),
            )
            if self.wrap is not None:
                host = self.wrap(host)
            with Ledger(self.path) as ledger:
                budget = Budget(self.limits, teacher.price, ledger.spent_usd, ledger.calls)
                caller = BatchCaller(teacher, host, ledger, budget, seed=0, sleep=sleep)
                try:
                    return await caller.ask([question(number) for number in range(count)])
                finally:
                    self.stopped = caller.stopped
                    self.spent_usd = ledger.spent_usd
                    await door.aclose()


class Lost:
    """A host whose provider takes a batch, while the run is killed before it hears of it."""

    def __init__(self, host: BatchHost) -> None:
        self._host = host

    async def submit(self, tag: str, chats: Mapping[str, Chat]) -> str:
        await self._host.submit(tag, chats)
        raise Killed

    async def find(self, batch: Submitted) -> str | None:
        return await self._host.find(batch)

    async def state(self, batch_id: str) -> BatchState:
        return await self._host.state(batch_id)

    async def results(self, batch_id: str) -> Mapping[str, Answer | Failure]:
        return await self._host.results(batch_id)


def reply(request: Recorded) -> Scripted | Fault:
    if b"question 3" in request.raw:
        return Fault(status=400, message="not this one")
    return Scripted(text="an answer", input_tokens=100, output_tokens=50)


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_batch_is_answered_at_half_the_price(tmp_path: Path, dialect: str) -> None:
    with FakeProvider(reply, batch_polls=3) as fake:
        site = Site(fake.url, dialect, tmp_path)
        answers = await site.ask(6)
        assert [at for at, each in enumerate(answers) if each is None] == [3]
        assert site.spent_usd == pytest.approx(5 * 0.5 * (100 * 1.0 + 50 * 4.0) / 1e6)
        assert site.pauses[1] > site.pauses[0]
        # The one that failed is tried again, and the others are not.
        sizes = [len(each.lines) for each in fake.batches.made.values()]
        assert sizes == [6, 1, 1]
        assert await site.ask(3) == answers[:3]
        assert len(fake.batches.made) == 3


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_killed_run_waits_on_for_its_batch(tmp_path: Path, dialect: str) -> None:
    with FakeProvider([Scripted(text="fine")], batch_polls=3) as fake:
        with pytest.raises(Killed):
            await Site(fake.url, dialect, tmp_path).ask(4, kill_at=2)
        site = Site(fake.url, dialect, tmp_path)
        assert [each and each.text for each in await site.ask(4)] == ["fine"] * 4
        assert len(fake.batches.made) == 1


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_a_batch_whose_id_was_lost_is_found_again(tmp_path: Path, dialect: str) -> None:
    with FakeProvider([Scripted(text="fine")]) as fake:
        site = Site(fake.url, dialect, tmp_path)
        site.wrap = Lost
        with pytest.raises(Killed):
            await site.ask(4)
        site.wrap = None
        assert all(await site.ask(4))
        assert len(fake.batches.made) == 1


async def test_a_batch_that_was_never_handed_in_counts_as_spent_and_is_asked_again(
    tmp_path: Path,
) -> None:
    with FakeProvider([Scripted(text="fine", input_tokens=1, output_tokens=1)]) as fake:
        site = Site(fake.url, "openai", tmp_path)
        site.wrap = Lost
        with pytest.raises(Killed):
            await site.ask(2)
        fake.batches.made.clear()
        site.wrap = None
        assert all(await site.ask(2))
        assert site.spent_usd > 0.001


async def test_the_cap_limits_a_batch(tmp_path: Path) -> None:
    with FakeProvider([Scripted(text="fine")]) as fake:
        limits = Limits(max_usd=0.01, share=BATCH_SHARE)
        site = Site(fake.url, "openai", tmp_path, limits)
        answers = await site.ask(40)
        assert 0 < sum(each is not None for each in answers) < 40
        assert site.spent_usd <= 0.01
        assert site.stopped is not None


async def test_a_provider_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    class Away(Lost):
        failed = 0

        async def submit(self, tag: str, chats: Mapping[str, Chat]) -> str:
            return await self._host.submit(tag, chats)

        async def state(self, batch_id: str) -> BatchState:
            Away.failed += 1
            if Away.failed < 4:
                raise ProviderError("away", provider="fake", status=503)
            return await self._host.state(batch_id)

    with FakeProvider([Scripted(text="fine")]) as fake:
        site = Site(fake.url, "openai", tmp_path)
        site.wrap = Away
        assert all(await site.ask(2))


async def test_a_batch_that_is_turned_down_is_an_error_with_its_reason(tmp_path: Path) -> None:
    class Down(Lost):
        async def submit(self, tag: str, chats: Mapping[str, Chat]) -> str:
            return "batch_1"

        async def state(self, batch_id: str) -> BatchState:
            return BatchState(ended=True, failed="too many lines")

    with FakeProvider() as fake:
        site = Site(fake.url, "openai", tmp_path)
        site.wrap = Down
        with pytest.raises(DistillError, match="too many lines"):
            await site.ask(2)
        assert site.spent_usd == 0


def test_a_dialect_without_batches_is_an_error() -> None:
    door = Door(
        parse_config('[providers.g]\nbase_url = "http://127.0.0.1:9/v1beta"\ndialect = "gemini"\n')
    )
    binding = door.dispatcher.binding("g")
    with pytest.raises(RequestError, match="leave out --batch"):
        batch_host(
            binding, get_dialect("gemini"), "m", door.dispatcher.fetch, lambda c: as_answer(c, None)
        )
