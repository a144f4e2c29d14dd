"""Routes over time: their own traffic, a day's money after a restart, and a store that breaks."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import pytest

from pointsman.config import parse_config
from pointsman.door import Door
from pointsman.outcomes import Outcomes
from pointsman.router.outcomes import Candidacy, Outcome
from pointsman.routing import Caller, Routing
from pointsman.types import Ability, Chat, Estimate, Message, PromptReading, Text, Usage

CONFIG = """
[providers.o]
base_url = "http://127.0.0.1:9/v1"
[models.cheap]
ref = "o:cheap"
price = { input = 0.1, output = 0.4, cached = 0.01 }
[models.dear]
ref = "o:dear"
price = { input = 5.0, output = 20.0, cached = 0.5 }
[routes.r]
candidates = ["cheap", "dear"]
"""


class Reader:
    """Reads prompts as of any difficulty, by their hash."""

    def read(self, text: str) -> PromptReading:
        difficulty = zlib.crc32(text.encode()) % 1000 / 1000 * 8 - 4
        return PromptReading((1.0,), difficulty, 100.0, 0.5, 1.0)

    def ability(self, model: str, price: float | None = None) -> Ability:
        return Ability(({"cheap": 0.0, "dear": 2.0}[model],), 0.2, "a test")

    def estimate(self, text: str) -> Estimate:
        return Estimate(0.5, 0.5)


@pytest.fixture(autouse=True)
def reader(monkeypatch):
    monkeypatch.setattr("pointsman.routing.default_classifier", Reader)


def door_of(more: str = "", home: str = "") -> Door:
    config = parse_config(CONFIG + more)
    config.home = home
    return Door(config)


def chat(text: str = "hello") -> Chat:
    return Chat(model="r", messages=(Message("user", (Text(text),)),))


def outcome(number: int, p_cheap: float, **more) -> Outcome:
    both = (Candidacy("o:cheap", 0.0, p_cheap, 0.2, 1e-5), Candidacy("o:dear", 0.0, 0.9, 0.2, 1e-3))
    given = {"at_s": time.time() - 60, "ref": "o:cheap", "candidates": both, **more}
    return Outcome(request_id=f"q{number}", route="r", **given)


def test_a_dial_is_calibrated_anew_once_there_is_enough_traffic():
    routing = door_of().routing
    plan = routing_plan(routing)
    before = routing.bench(plan).scale
    for number in range(199):
        routing.outcomes.record(outcome(number, number / 200))
    assert not routing.recalibrate(plan)
    routing.outcomes.record(outcome(199, 0.99))
    assert routing.recalibrate(plan)
    bench = routing.bench(plan)
    assert bench.source == "the last week's traffic"
    assert bench.scale != before
    # Half of the way in cost is now half of this traffic: the half that the cheap one does worst.
    weight = bench.weight(0.5)
    assert weight is not None
    assert (0.9 - 0.44) / 0.00099 > weight > (0.9 - 0.56) / 0.00099


def test_a_dial_is_about_shares_whatever_the_size_of_requests():
    def share(size: int, cap: int) -> float:
        door = door_of("dial = 0.5")
        taken = []
        for number in range(120):
            text = "x" * size
            told = Chat(
                model="r",
                messages=(
                    Message("system", (Text(text),)),
                    Message("user", (Text(f"question {number}"),)),
                ),
                max_tokens=cap,
            )
            choice = door.choose("r", lambda told=told: told)
            taken.append(choice.candidates[0].card.model == "dear")
        return sum(taken[20:]) / 100

    small, large = share(100, 10), share(60_000, 1000)
    assert abs(small - large) < 0.15
    assert 0.1 < large < 0.95


def routing_plan(routing: Routing):
    from pointsman.resolve import Resolver

    return Resolver(routing.config, list, lambda name: None).resolve("r")


def test_it_is_due_every_so_often():
    routing = door_of().routing
    found = [n for n in range(1, 1501) if routing.due("r")]
    assert found == [500, 1000, 1500]


async def test_a_days_money_outlives_the_process(tmp_path):
    more = "spend_usd_per_day = 0.01"
    first = door_of(more, str(tmp_path))
    choice = first.choose("r:1.0", chat, None, lambda: Caller("one"))
    candidate = choice.candidates[0]
    await first.note(choice, candidate, Usage(1000, 100))
    cost = candidate.card.cost_usd(Usage(1000, 100))
    await first.aclose()
    second = door_of(more, str(tmp_path))
    budget = second.routing.budget(second.resolver.resolve("r"))
    assert budget is not None
    assert budget.left_usd(time.time()) == pytest.approx(0.01 - cost)
    await second.aclose()


async def test_a_request_that_nobody_answers_gives_its_money_back():
    door = door_of("spend_usd_per_day = 0.5")
    budget = door.routing.budget(door.resolver.resolve("r"))
    choice = door.choose("r:1.0", chat)
    assert budget.left_usd(time.time()) < 0.5
    door.note_failed(choice, 503)
    door.note_failed(choice, 503)
    assert budget.left_usd(time.time()) == 0.5
    await door.aclose()


async def test_an_answer_whose_tokens_nobody_counted_costs_the_most_it_may():
    door = door_of("spend_usd_per_day = 0.5")
    budget = door.routing.budget(door.resolver.resolve("r"))
    choice = door.choose("r:1.0", chat)
    left = budget.left_usd(time.time())
    await door.note(choice, choice.candidates[0], None)
    assert budget.left_usd(time.time()) == left
    await door.aclose()


def test_the_spend_of_a_day_sets_the_dial_once_the_traffic_is_known():
    door = door_of("spend_usd_per_day = 1.0\ndial = 1.0")
    routing, plan = door.routing, door.resolver.resolve("r")
    budget = routing.budget(plan)
    assert routing.dial_of(plan) == 1.0
    for _ in range(2000):
        budget.reserve(0.0, time.time())
    assert routing.dial_of(plan) < 0.2


async def test_a_store_that_cannot_be_opened_costs_no_request(tmp_path, caplog):
    (tmp_path / "outcomes.sqlite").mkdir()
    door = door_of("", str(tmp_path))
    for _ in range(3):
        choice = door.choose("r", chat, None, lambda: Caller("a request"))
        await door.note(choice, choice.candidates[0], Usage(10, 10))
    await door.aclose()
    assert caplog.text.count("outcomes are not kept") == 1


async def test_what_is_recorded_of_a_request_holds_nothing_of_it():
    door = door_of()
    told = chat("a secret question " * 3)
    choice = door.choose("r", lambda: told, 0.4, lambda: Caller("one", conversation="mine"))
    await door.note(choice, choice.candidates[0], Usage(10, 5, 2), attempts=2, finish="stop")
    ((found, reward),) = door.routing.outcomes.rewarded("r")
    assert reward is None
    assert (found.request_id, found.ref, found.dial) == ("one", choice.candidates[0].card.ref, 0.4)
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (10, 5, 2)
    assert (found.attempts, found.finish, found.status) == (2, "stop", 200)
    assert found.candidates[0].ref == choice.decision.chosen
    assert "secret" not in repr(found) and "mine" not in repr(found)
    await door.aclose()


def test_an_outcomes_store_in_memory_needs_no_home():
    assert Outcomes(None).path is None
    assert door_of().routing.outcomes.path is None
    assert door_of(home="x").routing.outcomes.path == Path("x") / "outcomes.sqlite"
