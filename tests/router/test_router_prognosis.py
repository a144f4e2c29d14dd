"""The prognosis: trouble raises it, recovery lowers it, the unknown makes it unsure; and the level holds."""

from __future__ import annotations

import math

import msgspec
import pytest

from pointsman.errors import RouteError
from pointsman.router.prognosis import (
    SIGNS,
    Level,
    Prognosis,
    default_model,
    prognosis_of,
    read_model,
    settle,
    shift,
)
from pointsman.router.trajectory import Trajectory

CALM = {"messages": 14, "user_turns": 3, "calls": 5, "reads": 4, "user_chars": 600}
TEXT = {"assistant_chars": 1500, "tool_chars": 3000}


def run(**more: object) -> Trajectory:
    return Trajectory(**{**CALM, **TEXT, **more})


@pytest.mark.parametrize(
    "trouble",
    [
        {"recent_errors": 2.0},
        {"recent_repeats": 1.5},
        {"recent_corrections": 1.0},
        {"test_state": "fail"},
        {"reads_since_write": 20},
        {"compactions": 1},
        {"tool_chars": 9000},
    ],
)
def test_trouble_raises_the_risk(trouble: dict[str, object]) -> None:
    calm, bad = prognosis_of(run()), prognosis_of(run(**trouble))
    assert bad.p_fail > calm.p_fail
    assert bad.excess > calm.excess
    assert bad.reasons


def test_tests_that_pass_again_lower_it() -> None:
    fixed = prognosis_of(run(test_state="pass", tests_recovered=1))
    assert fixed.excess < prognosis_of(run()).excess
    assert "tests pass again" in fixed.reasons


def test_a_chat_without_calls_has_no_excess() -> None:
    found = prognosis_of(Trajectory(messages=30, user_chars=90_000, recent_corrections=2.0))
    assert (found.excess, found.reasons) == (0.0, ())


def test_what_is_unlike_training_is_said_to_be_unsure() -> None:
    known = prognosis_of(run())
    strange = prognosis_of(run(tool_chars=4_000_000))
    assert strange.familiar < 0.5 < known.familiar
    assert strange.sd > known.sd
    assert abs(strange.excess) < 0.8, "an unheard-of length is no proof of trouble"
    tools = prognosis_of(run(unfamiliar_calls=5))
    assert tools.familiar < known.familiar
    guessed = prognosis_of(run(test_state="fail"))
    assert guessed.sd > known.sd, "the weight of tests is not learned"


def test_numbers_stay_within_bounds() -> None:
    worst = Trajectory(
        messages=10**6,
        calls=10**6,
        recent_errors=1e9,
        recent_repeats=1e9,
        recent_corrections=1e9,
        reads_since_write=10**9,
        compactions=10**6,
        tool_chars=10**12,
        test_state="fail",
    )
    found = prognosis_of(worst)
    assert 0 < found.p_fail < 1
    assert found.excess < 6
    assert math.isfinite(found.sd)
    assert 0 < prognosis_of(Trajectory()).p_fail < 1


def seen(excess: float, sd: float = 0.0) -> Prognosis:
    return Prognosis(0.5, excess, sd)


def test_the_level_rises_at_once_and_falls_slowly_past_a_margin() -> None:
    level = settle(Level(), seen(1.0))
    assert level.excess == 1.0
    assert settle(level, seen(0.8)).excess == 1.0, "a little better changes nothing"
    first = settle(level, seen(0.0)).excess
    assert 0.4 < first < 0.6
    for _ in range(6):
        level = settle(level, seen(0.0))
    assert level.excess == 0.0, "once the trouble is over it is forgotten"
    assert settle(Level(), seen(-2.0)).excess == 0.0
    assert settle(Level(), seen(1.0, sd=3.0)).excess < 0.6, "what is unsure counts for less"


def test_weak_candidates_are_moved_and_the_ablest_is_not() -> None:
    level = Level(0.9)
    assert shift(level, 0.0) == -0.9
    assert shift(level, 0.5) == pytest.approx(-0.45)
    assert shift(level, 1.0) == 0.0
    assert shift(level, 7.0) == 0.0
    assert shift(Level(), 0.0) == 0.0


def test_the_shipped_model_has_a_card_and_its_signs() -> None:
    model = default_model()
    assert len(model.weights) == len(SIGNS) == len(model.learned)
    assert all(weight >= 0 for weight in model.weights)
    assert {"trained_on", "runs", "tasks", "made_by", "limits"} <= set(model.card)
    assert not model.learned[SIGNS.index("tests")]


def test_a_damaged_model_is_refused() -> None:
    good = msgspec.json.decode(msgspec.json.encode(default_model()))
    for wrong in (
        {"weights": [0.1]},
        {"load_sd": 0.0},
        {"covariance": [[1.0]]},
        {"intercept": "x"},
        {"learned": []},
    ):
        with pytest.raises(RouteError, match="model of trajectories"):
            read_model(msgspec.json.encode(good | wrong))
    for data in (b"", b"{}", b"[" * 100_000, b" " * 100_000):
        with pytest.raises(RouteError, match="model of trajectories"):
            read_model(data)
