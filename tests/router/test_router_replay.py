"""`route replay` and `route calibrate`: recorded traffic through a route's policy, and what it teaches."""

from __future__ import annotations

import gzip
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from router_site import CONFIG

from pointsman.cli import cli
from pointsman.config import parse_config
from pointsman.distill.engines import Here, Pool
from pointsman.door import Caller, Door
from pointsman.errors import RequestError
from pointsman.noting import answered
from pointsman.outcome_store import read_learner
from pointsman.relearn import merged, relearn, told_by_file, told_by_store
from pointsman.replay import Work, by_ref, read_traffic, replay, stored
from pointsman.router.online import Learner
from pointsman.router.outcomes import feedback_of
from pointsman.types import Chat, Message, Text, Usage

SMALL, BIG = "o:small", "o:big"
TOPICS = ("the capital of France", "17 * 23 + 4", "a poem on rain", "x such that x^2 = 2 mod 7")


def rows(count: int = 40) -> list[dict[str, Any]]:
    draw = random.Random(1)
    found: list[dict[str, Any]] = []
    for number in range(count):
        text = f"{TOPICS[number % len(TOPICS)]}, number {number}: say what it is"
        score = {"small": {"s": float(draw.random() < 0.3)}, BIG: {"s": 4, "scale": 5}}
        if number % 2:
            found.append({"prompt": text, "models": score})
        else:
            found.append({"messages": [{"role": "user", "content": text}], "models": score})
    return found


@pytest.fixture
def traffic(tmp_path: Path) -> Path:
    path = tmp_path / "traffic.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows())
    return path


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Gives a function (arguments) → what the command printed as JSON."""
    (tmp_path / "pointsman.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTSMAN_HOME", str(tmp_path / "home"))

    def run(*args: str) -> Any:
        done = CliRunner().invoke(cli, ["route", *args, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


def test_replay_says_what_each_dial_would_have_done(call: Any, traffic: Path) -> None:
    found = call("replay", str(traffic), "--dials", "0,1")
    low, high = found["dials"]
    assert found["route"] == "auto"
    assert low["refs"] == {SMALL: 40}
    assert low["cost_usd"] < high["cost_usd"] / 20
    assert high["refs"].get(BIG, 0) > 0
    assert low["recorded"] == 40
    share = sum(row["models"]["small"]["s"] for row in rows()) / 40
    assert low["recorded_quality"] == pytest.approx(share, abs=1e-4)
    assert low["quality_95"][0] < low["quality"] < low["quality_95"][1]
    assert low["same"] is None


def test_a_pool_gives_the_same_as_one_process(
    traffic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointsman.replay.PART_RECORDS", 10)
    plan = Door(parse_config(CONFIG)).resolver.resolve("auto")
    work = Work(plan=plan, dials=(0.2, 0.8))
    records = list(read_traffic(traffic))
    here = replay(records, work, Here())
    pool = replay(records, work, Pool(2))
    assert here == pool


def test_too_much_traffic_is_refused(traffic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointsman.replay.MAX_TRAFFIC_BYTES", 1000)
    with pytest.raises(RequestError, match="over 1000 bytes"):
        list(read_traffic(traffic))


def ask(door: Door, number: int, history: int = 0) -> str:
    """Route a request as the gateway would, have it answered, and say who was chosen."""
    talk = [Message("user", (Text(f"{TOPICS[number % 4]}, number {number}"),))]
    for turn in range(history):
        talk += [Message("assistant", (Text("Well."),)), Message("user", (Text(f"And {turn}?"),))]
    chat = Chat(model="auto", messages=tuple(talk))
    choice = door.choose("auto", lambda: chat, None, lambda: Caller(f"req-{number}-{history}"))
    candidate = choice.candidates[0]
    assert choice.ticket is not None
    answered(
        choice.ticket, door.routing.outcomes, None, candidate, Usage(50, 20), now_s=time.time()
    )
    return candidate.card.ref


def test_recorded_requests_go_where_they_went() -> None:
    door = Door(parse_config(CONFIG))
    for number in range(12):
        ask(door, number)
        ask(door, number, history=1)
    recorded = door.routing.outcomes.rewarded("auto")
    assert len(recorded) == 24
    plan = door.resolver.resolve("auto")
    (found,) = replay(list(stored(recorded)), Work(plan=plan, dials=(None,)), Here())
    assert found.same == 1.0
    (other,) = replay(list(stored(recorded)), Work(plan=plan, dials=(0.0,)), Here())
    assert other.refs[SMALL] >= found.refs.get(SMALL, 0)


async def test_calibrate_learns_from_the_store_and_replay_uses_it(
    call: Any, tmp_path: Path
) -> None:
    config = parse_config(CONFIG)
    config.home = str(tmp_path / "home")
    door = Door(config)
    for number in range(30):
        ask(door, number)
        outcomes = door.routing.outcomes
        await outcomes.feedback(f"req-{number}-0", feedback_of(succeeded=False))
    door.routing.outcomes.close()
    report = call("calibrate")
    assert report["outcomes"] == report["rewards"] == 30
    learned = {each["ref"]: each for each in report["candidates"]}
    assert all(each["reward"] == 0.0 and each["offset"] < 0 for each in learned.values())
    assert report["loss_learned"] < report["loss_prompt"]
    state, later = read_learner(tmp_path / "home" / "outcomes.sqlite")
    assert state is not None and not later
    assert call("replay", "--dials", "0.4")["dials"][0]["requests"] == 30
    assert call("replay", "--no-learner", "--dials", "0.4")["dials"][0]["recorded"] > 0


def test_calibrate_from_a_file_writes_where_it_is_told(
    call: Any, traffic: Path, tmp_path: Path
) -> None:
    out = tmp_path / "learner.json"
    report = call("calibrate", str(traffic), "--out", str(out))
    assert report["written"] == str(out)
    costs = [level["cost_usd"] for level in report["dial"]]
    assert report["weighed"] == 40 and costs == sorted(costs)
    rewards = {each["ref"]: each["reward"] for each in report["candidates"]}
    assert rewards[BIG] == pytest.approx(0.8)
    before = call("replay", str(traffic), "--dials", "0.5")["dials"][0]
    after = call("replay", str(traffic), "--dials", "0.5", "--learner", str(out))["dials"][0]
    assert abs(after["quality"] - after["recorded_quality"]) < abs(
        before["quality"] - before["recorded_quality"]
    )


def test_nothing_to_go_by_is_said_so(call: Any, tmp_path: Path) -> None:
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"prompt": "x"}\n')
    run = CliRunner()
    for args, says in (
        (["replay"], "no recorded request"),
        (["calibrate"], "nobody said"),
        (["calibrate", str(bare)], "nobody said"),
        (["replay", str(bare), "-m", "o:small"], "no route"),
        (["replay", str(bare), "--dials", "2"], "0 to 1"),
    ):
        done = run.invoke(cli, ["route", *args])
        code = getattr(done.exception, "exit_code", None) or done.exit_code
        assert code == 2, args
        assert says in done.output + str(done.exception)


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"prompt": 5}', '{"messages": 7}', '{"prompt": "x", "models": {"a": 1}}']
)
def test_a_line_that_is_no_request_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f'{{"prompt": "fine"}}\n\n{line}\n')
    with pytest.raises(RequestError, match="line 3"):
        list(read_traffic(path))


def test_the_order_of_a_route_is_replayed_too(traffic: Path) -> None:
    config = parse_config(CONFIG.replace("dial = 0.4", 'policy = "order"'))
    plan = Door(config).resolver.resolve("auto")
    (found,) = replay(list(read_traffic(traffic)), Work(plan=plan, dials=(None,)), Here())
    assert found.refs == {SMALL: 40}


def test_relearning_is_the_same_each_time_and_leaves_other_routes_alone(traffic: Path) -> None:
    config = parse_config(CONFIG)
    plan = Door(config).resolver.resolve("auto")
    one, report = relearn("auto", told_by_file(read_traffic(traffic), plan, config))
    other, again = relearn("auto", told_by_file(read_traffic(traffic), plan, config))
    assert one.state == other.state and report == again
    old = Learner().state
    old.arms = {
        "auto\ngone": next(iter(one.state.arms.values())),
        "other\nx": one.state.arms["auto\n"],
    }
    both = merged("auto", old, one.state)
    assert set(both.arms) == {"other\nx", *one.state.arms}
    assert told_by_store([]) == []
    record = by_ref(next(iter(read_traffic(traffic))), plan)
    assert set(record.scores) == {SMALL, BIG}
