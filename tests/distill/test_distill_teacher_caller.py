"""Asking: each answer is paid once, caps hold, and a provider that slows us down is listened to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsman._http.transport import TransportError
from pointsman.distill.teacher.asking import Answer, Price, Question
from pointsman.distill.teacher.budget import Budget, Limits, bound_usd
from pointsman.distill.teacher.caller import Caller
from pointsman.distill.teacher.ledger import Ledger
from pointsman.errors import MissingKey, PointsmanError, ProviderError, ProviderUnreachable
from pointsman.types import Chat, Message, Text, Usage

PRICE = Price(1.0, 4.0)


def question(number: int, max_tokens: int = 1000) -> Question:
    message = Message("user", (Text(f"question {number}"),))
    chat = Chat(model="", messages=(message,), max_tokens=max_tokens)
    return Question(stage="write", index=number, chat=chat)


class FakeTeacher:
    """Answers by a function of the text and of how often it was asked."""

    ref = "fake:one"
    json_schema = logprobs = True

    def __init__(
        self,
        reply: Callable[[str, int], Answer | PointsmanError] | None = None,
        price: Price | None = PRICE,
    ) -> None:
        self.price = price
        self.asked: list[str] = []
        self.active = self.most_active = 0
        self._reply = reply or (lambda text, count: good())

    async def ask(self, chat: Chat) -> Answer:
        part = chat.messages[0].parts[0]
        assert isinstance(part, Text)
        self.asked.append(part.text)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.active -= 1
        reply = self._reply(part.text, self.asked.count(part.text))
        if isinstance(reply, PointsmanError):
            raise reply
        return reply


def good(cost: float = 0.001) -> Answer:
    return Answer(text="fine", usage=Usage(10, 10), cost_usd=cost)


def refusal(status: int, retry_after_s: float | None = None) -> ProviderError:
    return ProviderError("no", provider="fake", status=status, retry_after_s=retry_after_s)


def broken(kind: str) -> ProviderError:
    error = ProviderUnreachable("it broke", provider="fake")
    error.__cause__ = TransportError(kind, "it broke")  # type: ignore[arg-type]
    return error


class Site:
    """A caller over a fresh ledger; the pauses that it made are in `pauses`."""

    def __init__(self, ledger: Ledger, teacher: FakeTeacher, limits: Limits, parallel: int) -> None:
        self.teacher, self.ledger = teacher, ledger
        self.pauses: list[float] = []
        self.budget = Budget(limits, teacher.price, ledger.spent_usd, ledger.calls)
        self.caller = Caller(
            teacher, ledger, self.budget, seed=0, parallel=parallel, sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def ask(self, count: int) -> list[Answer | None]:
        return await self.caller.ask([question(number) for number in range(count)])


async def ask(
    path: Path,
    teacher: FakeTeacher,
    count: int,
    *,
    limits: Limits = Limits(),  # noqa: B008
    parallel: int = 4,
) -> tuple[Site, list[Answer | None]]:
    with Ledger(path / "journal.jsonl") as ledger:
        site = Site(ledger, teacher, limits, parallel)
        return site, await site.ask(count)


async def test_answers_come_in_order_and_are_paid_once(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: Answer(text=text.upper(), cost_usd=0.0))
    _, answers = await ask(tmp_path, teacher, 20)
    assert [each and each.text for each in answers] == [f"QUESTION {n}" for n in range(20)]
    _, again = await ask(tmp_path, teacher, 25)
    assert again[:20] == answers
    assert len(teacher.asked) == 25
    assert teacher.most_active == 4


@pytest.mark.parametrize("parallel", [1, 3, 16])
async def test_the_cost_cap_is_held(tmp_path: Path, parallel: int) -> None:
    teacher = FakeTeacher(lambda text, count: good(0.004))
    limits = Limits(max_usd=0.05)
    site, answers = await ask(tmp_path, teacher, 40, limits=limits, parallel=parallel)
    bound = bound_usd(question(0).chat, PRICE)
    paid = sum(each is not None for each in answers)
    assert site.ledger.spent_usd <= 0.05
    # And it is used: what is left would not have carried one more request.
    assert site.ledger.spent_usd + bound > 0.05
    assert paid == len(teacher.asked) < 40
    assert site.caller.stopped == "the cost cap of $0.05"


async def test_an_answer_dearer_than_its_bound_ends_the_asking(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: good(0.2))
    site, answers = await ask(tmp_path, teacher, 9, limits=Limits(max_usd=0.1), parallel=1)
    assert sum(each is not None for each in answers) == 1
    assert site.caller.stopped is not None


async def test_what_the_last_run_spent_counts(tmp_path: Path) -> None:
    limits = Limits(max_usd=0.05)
    await ask(tmp_path, FakeTeacher(lambda text, count: good(0.004)), 40, limits=limits)
    later = FakeTeacher(lambda text, count: good(0.004))
    site, _ = await ask(tmp_path, later, 40, limits=limits)
    assert later.asked == []
    assert site.ledger.spent_usd <= 0.05


async def test_the_cap_on_calls_is_held(tmp_path: Path) -> None:
    teacher = FakeTeacher(price=None)
    site, answers = await ask(tmp_path, teacher, 30, limits=Limits(max_calls=7), parallel=4)
    assert len(teacher.asked) == 7
    assert sum(each is not None for each in answers) == 7
    assert site.caller.stopped == "the cap of 7 calls"


async def test_an_answer_without_a_cost_counts_its_bound(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: Answer(text="x"))
    site, _ = await ask(tmp_path, teacher, 1)
    assert site.ledger.spent_usd == pytest.approx(bound_usd(question(0).chat, PRICE))


async def test_a_rate_limit_is_waited_for_and_costs_nothing(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: refusal(429, 7.0) if count == 1 else good())
    site, answers = await ask(tmp_path, teacher, 8, parallel=8)
    assert all(answers)
    assert max(site.pauses) == pytest.approx(7.0, abs=0.1)
    assert site.ledger.spent_usd == pytest.approx(0.008)
    assert site.caller._limit < 8


async def test_fewer_are_asked_at_a_time_after_a_rate_limit(tmp_path: Path) -> None:
    seen: list[int] = []

    def reply(text: str, count: int) -> Answer | PointsmanError:
        if len(teacher.asked) <= 8 and count == 1:
            return refusal(429, 0.0)
        seen.append(teacher.active)
        return good()

    teacher = FakeTeacher(reply)
    await ask(tmp_path, teacher, 40, parallel=8)
    assert max(seen[:10]) < 8


async def test_a_connection_that_never_stood_costs_nothing(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: broken("connect") if count == 1 else good())
    site, answers = await ask(tmp_path, teacher, 2)
    assert all(answers)
    assert site.ledger.lost_usd == 0


async def test_an_answer_that_broke_off_is_counted_and_asked_again(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: broken("cut") if count == 1 else good())
    site, answers = await ask(tmp_path, teacher, 2)
    assert all(answers)
    assert site.ledger.lost_usd == pytest.approx(2 * bound_usd(question(0).chat, PRICE))
    assert site.budget.spent_usd == pytest.approx(site.ledger.spent_usd)


async def test_answers_that_break_off_for_ever_end_at_the_cap(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: broken("cut"))
    site, answers = await ask(tmp_path, teacher, 9, limits=Limits(max_usd=0.03))
    assert not any(answers)
    assert site.caller.stopped is not None
    with Ledger(tmp_path / "journal.jsonl") as ledger:
        assert 0 < ledger.spent_usd <= 0.03


async def test_a_question_that_is_turned_down_alone_is_given_up_alone(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: refusal(400) if text.endswith("5") else good())
    site, answers = await ask(tmp_path, teacher, 9, parallel=1)
    assert [at for at, each in enumerate(answers) if each is None] == [5]
    assert site.caller.failures == ["no"]


@pytest.mark.parametrize("error", [refusal(401), refusal(404), MissingKey("fake", "FAKE_KEY")])
async def test_a_teacher_that_cannot_be_asked_is_an_error_at_once(
    tmp_path: Path, error: ProviderError
) -> None:
    teacher = FakeTeacher(lambda text, count: error)
    with pytest.raises(ProviderError) as raised:
        await ask(tmp_path, teacher, 30, parallel=1)
    assert raised.value is error
    assert len(teacher.asked) == 1


async def test_a_teacher_that_stays_down_is_an_error_and_keeps_what_was_paid(
    tmp_path: Path,
) -> None:
    teacher = FakeTeacher(lambda text, count: good() if text < "question 4" else refusal(503))
    with pytest.raises(ProviderError):
        await ask(tmp_path, teacher, 9, parallel=1)
    with Ledger(tmp_path / "journal.jsonl") as ledger:
        assert ledger.calls == 4


async def test_answers_under_way_are_kept_when_another_fails(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda text, count: refusal(401) if text.endswith("0") else good())
    with pytest.raises(ProviderError):
        await ask(tmp_path, teacher, 4, parallel=4)
    with Ledger(tmp_path / "journal.jsonl") as ledger:
        assert ledger.calls == 3


def test_the_bound_is_above_what_any_tokenizer_gives() -> None:
    text = "漢字 🙏 " * 50
    chat = Chat(model="", messages=(Message("user", (Text(text),)),), max_tokens=10)
    assert bound_usd(chat, PRICE) >= (len(text.encode()) * 1.0 + 10 * 4.0) / 1e6
    assert bound_usd(chat, None) == 0
    assert bound_usd(chat, PRICE, 0.5) == pytest.approx(bound_usd(chat, PRICE) / 2)
