"""Outcomes: kept off the hot path, learned from, bounded, and never in a request's way."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import msgspec
import pytest

from pointsman.errors import RequestError
from pointsman.outcome_store import Store, read_learner, read_outcomes
from pointsman.outcomes import Outcomes, UnknownRequest
from pointsman.router.outcomes import Candidacy, Feedback, Outcome, feedback_of, reward_of

CHEAP, DEAR = "a:small", "b:big"


def outcome(number: int | str, **more: object) -> Outcome:
    found = Outcome(
        request_id=f"req-{number}",
        route="auto",
        ref=CHEAP,
        at_s=1000.0 + (number if isinstance(number, int) else 0),
        candidates=(Candidacy(CHEAP, 0.0, 0.5, 0.6, 1e-5), Candidacy(DEAR, 0.5, 0.6, 0.6, 1e-3)),
        reading={"difficulty": 0.2, "rank": 0.4},
        loadings=(0.3,),
        cost_usd=0.001,
        status=200,
    )
    return msgspec.structs.replace(found, **more)


def offset(outcomes: Outcomes, ref: str = CHEAP) -> float:
    return outcomes.offset(outcome(1).context(ref), ref).logit


async def test_feedback_teaches_and_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "outcomes.sqlite"
    outcomes = Outcomes(path)
    for number in range(20):
        outcomes.record(outcome(number))
        await outcomes.feedback(f"req-{number}", feedback_of(thumbs="down"))
    learned = offset(outcomes)
    assert learned < -0.5
    outcomes.close()
    again = Outcomes(path)
    assert offset(again) == pytest.approx(learned)
    known = await again.feedback("req-3", feedback_of(score=0.5, source="judge"))
    assert known.ref == CHEAP, "an outcome of an earlier process is found in the store"
    again.close()
    rows = list(read_outcomes(path))
    assert [each.request_id for each, _ in rows] == [f"req-{number}" for number in range(20)]
    assert [len(said) for _, said in rows] == [1] * 3 + [2] + [1] * 16


async def test_what_was_said_after_the_learner_was_written_is_learned_at_the_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "outcomes.sqlite"
    store = Store(path)
    store.put(outcome(1))
    store.say("req-1", feedback_of(thumbs="up"))
    store.say("req-1", feedback_of(thumbs="down"))
    store.close()
    state, later = read_learner(path)
    assert state is None
    assert [each.thumbs for _, each in later] == ["up"], "of each source the first word counts"
    outcomes = Outcomes(path)
    assert offset(outcomes) > 0
    outcomes.close()


async def test_an_unknown_request_is_said_so(tmp_path: Path) -> None:
    for path in (None, tmp_path / "outcomes.sqlite"):
        outcomes = Outcomes(path)
        with pytest.raises(UnknownRequest, match="'nobody'") as caught:
            await outcomes.feedback("nobody", feedback_of(thumbs="up"))
        assert caught.value.status == 404
        outcomes.close()


async def test_the_second_word_of_a_source_is_kept_but_not_learned() -> None:
    outcomes = Outcomes(None)
    outcomes.record(outcome(1))
    await outcomes.feedback("req-1", feedback_of(thumbs="down"))
    once = offset(outcomes)
    await outcomes.feedback("req-1", feedback_of(thumbs="down"))
    assert offset(outcomes) == once
    await outcomes.feedback("req-1", feedback_of(score=0.0, source="judge"))
    assert offset(outcomes) < once
    await outcomes.feedback("req-1", feedback_of(thumbs="up"))
    ((_, reward),) = outcomes.rewarded()
    assert reward == pytest.approx(1.0 / 1.5), "the last word of each source, by its weight"


def test_a_failed_candidate_and_a_retry_count_as_outcomes() -> None:
    outcomes = Outcomes(None)
    outcomes.record(outcome(1, ref=DEAR, attempts=2))
    failed = offset(outcomes)
    assert failed < 0
    talk = {"conversation": "c", "run": {"excess": 0.1}, "facts": {"prompt_tokens": 900}}
    outcomes.record(outcome(2, latency_s=2.0, **talk))
    outcomes.record(outcome(3, at_s=5000.0, **talk))
    assert offset(outcomes) == failed, "much later is no retry"
    outcomes.record(outcome(4, at_s=5010.0, **talk | {"facts": {"prompt_tokens": 950}}))
    assert offset(outcomes) == failed, "the next turn is none either"
    outcomes.record(outcome(5, at_s=5020.0, **talk | {"facts": {"prompt_tokens": 950}}))
    assert offset(outcomes) < failed


@pytest.mark.parametrize("broken", ["a folder", "no database", "a newer version", "no folder"])
async def test_a_broken_store_costs_no_request(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outcomes.sqlite"
    if broken == "a folder":
        path.mkdir()
    elif broken == "no database":
        path.write_bytes(b"not a database, " * 64)
    elif broken == "a newer version":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "outcomes.sqlite"
    with caplog.at_level(logging.WARNING):
        outcomes = Outcomes(path)
        outcomes.record(outcome(1))
        await outcomes.feedback("req-1", feedback_of(thumbs="down"))
        with pytest.raises(UnknownRequest):
            await outcomes.feedback("req-2", feedback_of(thumbs="down"))
        assert offset(outcomes) < 0
        assert len(outcomes.rewarded()) <= 1
        outcomes.close()
    assert str(path) in caplog.text
    assert caplog.text.count("are not kept") == 1, "it is said once"


async def test_rows_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    store = Store(path)
    store.put(outcome(1))
    store.put(outcome(2))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE outcomes SET body = x'7b' WHERE request_id = 'req-1'")
    connection.close()
    assert [each.request_id for each, _ in read_outcomes(path)] == ["req-2"]


def test_rows_are_bounded_in_number_and_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointsman.outcome_store.PRUNE_EVERY", 10)
    path = tmp_path / "outcomes.sqlite"
    store = Store(path, max_rows=5, max_age_s=8.0, clock=lambda: 1010.0)
    for number in range(10):
        store.put(outcome(number))
        store.say(f"req-{number}", feedback_of(thumbs="up"))
    store.close()
    kept = list(read_outcomes(path))
    assert [each.request_id for each, _ in kept] == [f"req-{number}" for number in range(5, 10)]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM feedback").fetchone()[0] <= 6
    connection.close()


def test_of_one_answer_so_much_is_said_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    store = Store(path)
    store.put(outcome(1))
    for _ in range(40):
        store.say("req-1", feedback_of(thumbs="up"))
    assert store.flush()
    store.close()
    ((_, said),) = read_outcomes(path)
    assert len(said) == 16


def test_the_file_is_its_owners_alone_and_holds_no_prompt(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    store = Store(path)
    store.put(outcome(1))
    store.close()
    assert path.stat().st_mode & 0o077 == 0
    fields = set(Outcome.__struct_fields__)
    assert not fields & {"prompt", "text", "messages", "key", "answer"}


def test_feedback_is_checked_and_weighed() -> None:
    with pytest.raises(RequestError, match="one of score"):
        feedback_of()
    for bad in ({"score": 1.2}, {"score": -0.1}, {"edited": 2.0}, {"score": float("nan")}):
        with pytest.raises(RequestError, match="0 to 1"):
            feedback_of(**bad)
    assert reward_of(Feedback(succeeded=True, score=0.0)) == (1.0, 1.0)
    assert reward_of(Feedback(score=0.25)) == (0.25, 1.0)
    assert reward_of(Feedback(thumbs="down", source="judge")) == (0.0, 0.5)
    assert reward_of(Feedback(edited=0.25)) == (0.5, 0.5)
    assert reward_of(Feedback(edited=0.9)) == (0.0, 0.5)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_route_spent_is_summed(tmp_path: Path, kept: bool) -> None:
    outcomes = Outcomes(tmp_path / "outcomes.sqlite" if kept else None)
    assert outcomes.spent_usd("auto", 0.0) == 0.0
    for number in range(4):
        outcomes.record(outcome(number, cost_usd=None if number == 3 else 0.5))
    outcomes.record(outcome("other", route="other"))
    assert outcomes.spent_usd("auto", 0.0) == 1.5
    assert outcomes.spent_usd("auto", 1001.0) == 1.0
    outcomes.close()


def test_feedback_after_a_clearing_is_learned_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.sqlite"
    store = Store(path)
    store.put(outcome(1))
    store.say("req-1", feedback_of(thumbs="up"))
    store.keep(msgspec.json.encode(Outcomes(None).learner.state))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM feedback")
    connection.close()
    store = Store(path)
    store.say("req-1", feedback_of(thumbs="down"))
    store.close()
    assert [each.thumbs for _, each in read_learner(path)[1]] == ["down"]
