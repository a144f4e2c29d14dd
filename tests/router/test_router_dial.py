"""The dial in the user's terms, budgets, and comparisons."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.router.budget import Budget
from pointsman.router.dial import Gauge, Option, best, curve_of, scale_of
from pointsman.router.experiment import Arm, assigned, verdict_of

NOON_S = 1_700_049_600.0  # 2023-11-15, 12:00 UTC


def sample(count: int = 200, seed: int = 1, sd: float = 0.2):
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        difficulty = draw.gauss(0.0, 1.5)
        rows.append(
            tuple(
                Option(
                    ref, 1 / (1 + math.exp(difficulty - able)), cost * draw.uniform(0.5, 2), 0.0, sd
                )
                for ref, able, cost in (
                    ("small", 0.0, 1e-4),
                    ("mid", 0.8, 1e-3),
                    ("big", 1.6, 1e-2),
                )
            )
        )
    return rows


ROWS = sample()
SCALE = scale_of(ROWS)


def mean(weight: float):
    taken = [best(row, weight) for row in ROWS]
    return (
        sum(each.p_success for each in taken) / len(taken),
        sum(each.cost_usd for each in taken) / len(taken),
    )


@pytest.mark.parametrize("dial", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_the_dial_is_the_share_of_the_way_up_the_ladder(dial):
    place = {"small": 0, "mid": 1, "big": 2}
    taken = [best(row, SCALE.at_dial(dial)).ref for row in ROWS]
    assert sum(place[ref] for ref in taken) / len(taken) / 2 == pytest.approx(dial, abs=0.05)
    assert SCALE.dial_at(SCALE.at_dial(dial)) == pytest.approx(dial, abs=0.05)


@pytest.mark.parametrize("dial", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_between_two_the_dial_is_the_share_of_prompts_that_go_to_the_dearer_one(dial):
    pairs = [(row[0], row[2]) for row in ROWS]
    scale = scale_of(pairs)
    dear = sum(best(row, scale.at_dial(dial)).ref == "big" for row in pairs)
    assert dear / len(pairs) == pytest.approx(dial, abs=0.03)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_dial_never_makes_a_dollar_weigh_more(one, other):
    low, high = sorted((one, other))
    assert SCALE.at_dial(low) >= SCALE.at_dial(high)


@pytest.mark.parametrize("share", [0.8, 0.9, 0.95, 0.99])
def test_quality_keeps_its_share_of_the_strongest_and_no_more_than_it_must(share):
    weight = SCALE.at_quality(share)
    quality = mean(weight)[0]
    assert quality == pytest.approx(share * SCALE.strongest_quality, abs=0.01)
    assert SCALE.strongest == "big"
    assert mean(weight)[1] < mean(0.0)[1]


@pytest.mark.parametrize("usd", [2e-4, 1e-3, 5e-3])
def test_a_spend_is_never_passed(usd):
    assert mean(SCALE.at_cost(usd))[1] <= usd * 1.001
    assert SCALE.at_cost(1e-9) == math.inf
    assert SCALE.at_cost(1.0) == 0.0


def test_where_nothing_costs_anything_the_best_is_taken():
    free = scale_of([(Option("a", 0.2, 0.0), Option("b", 0.9, 0.0))])
    assert free.at_dial(0.3) == 0.0
    assert free.at_dial(0.0) == math.inf


def test_one_candidate_has_a_scale_as_well():
    alone = scale_of([(Option("a", 0.2, 0.1),)])
    assert alone.at_quality(0.95) == math.inf
    assert curve_of([(Option("a", 0.2, 0.1),)], alone, (0.5,)).levels[0].shares == {"a": 1.0}


def test_the_curve_rises_and_its_bands_hold_the_mean_and_widen_with_doubt():
    curve = curve_of(ROWS, SCALE)
    qualities = [level.quality for level in curve.levels]
    assert qualities == sorted(qualities)
    costs = [level.cost_usd for level in curve.levels]
    assert costs == sorted(costs)
    for level in curve.levels:
        assert level.quality_low <= level.quality <= level.quality_high
        assert sum(level.shares.values()) == pytest.approx(1.0, abs=0.01)
    doubtful = sample(sd=1.0)
    wide = curve_of(doubtful, scale_of(doubtful))
    for narrow, broad in zip(curve.levels, wide.levels, strict=True):
        assert broad.quality_high - broad.quality_low > narrow.quality_high - narrow.quality_low
    assert set(curve.singles) == {"small", "mid", "big"}


def test_a_gauge_follows_the_size_of_requests_and_not_a_single_huge_one():
    gauge = Gauge()
    assert gauge.factor == 1.0
    for _ in range(100):
        gauge.note(10.0)
    assert gauge.factor == pytest.approx(10.0, rel=0.1)
    gauge.note(10_000.0)
    assert gauge.factor < 11.0
    for _ in range(1000):
        gauge.note(0.1)
    assert gauge.factor == pytest.approx(0.1, rel=0.3)


# A day's money


def test_what_is_promised_cannot_be_promised_again():
    budget = Budget(1.0)
    budget.reserve(0.6, NOON_S)
    assert budget.left_usd(NOON_S) == pytest.approx(0.4)
    budget.settle(0.6, 0.1, NOON_S)
    assert budget.left_usd(NOON_S) == pytest.approx(0.9)
    budget.resume(0.5, NOON_S)
    assert budget.left_usd(NOON_S) == pytest.approx(0.4)


def test_a_new_day_has_its_own_money_but_not_what_still_runs():
    budget = Budget(1.0)
    budget.reserve(0.3, NOON_S)
    budget.reserve(0.2, NOON_S)
    budget.settle(0.3, 0.3, NOON_S)
    assert budget.left_usd(NOON_S + 86_400) == pytest.approx(0.8)


def test_the_mean_that_a_request_may_cost_follows_the_traffic():
    budget = Budget(1.0)
    assert budget.per_request_usd(NOON_S) is None
    for each in range(60):
        budget.reserve(0.0, NOON_S + each * 60)
    # One a minute, eleven hours of the day left.
    found = budget.per_request_usd(NOON_S + 3600)
    assert found == pytest.approx(1.0 / (11 * 60), rel=0.05)


# A/B


def test_a_share_of_the_conversations_is_dealt_always_the_same_way():
    units = [f"conversation {n}".encode() for n in range(2000)]
    taken = [assigned("new", 0.3, unit) for unit in units]
    assert 0.26 < sum(taken) / len(taken) < 0.34
    assert taken == [assigned("new", 0.3, unit) for unit in units]
    assert taken != [assigned("newer", 0.3, unit) for unit in units]
    assert not any(assigned("new", 0.0, unit) for unit in units)
    assert all(assigned("new", 1.0, unit) for unit in units)


def test_a_difference_is_told_with_its_interval():
    found = verdict_of(Arm("a", 500, 300, 500, 1.0), Arm("b", 500, 360, 500, 1.0))
    assert found.significant
    assert found.difference == pytest.approx(0.12)
    assert found.low < 0.12 < found.high
    # Newcombe (1998), table II, row a: 56/70 against 48/80 gives 0.2 [0.0524, 0.3339].
    known = verdict_of(Arm("a", 80, 48, 80, 0.0), Arm("b", 70, 56, 70, 0.0))
    assert (known.low, known.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_chance_alone_is_significant_as_often_as_it_should():
    draw = random.Random(7)
    hits = 0
    for _ in range(400):
        a, b = (sum(draw.random() < 0.7 for _ in range(200)) for _ in range(2))
        hits += verdict_of(Arm("a", 200, a, 200, 0.0), Arm("b", 200, b, 200, 0.0)).significant
    assert hits / 400 < 0.09


@pytest.mark.parametrize(("n", "good"), [(0, 0), (1, 1)])
def test_too_little_says_nothing(n, good):
    found = verdict_of(Arm("a", n, good, n, 0.0), Arm("b", 50, 25, 50, 0.0))
    assert (found.difference, found.p_value, found.significant) == (None, None, False)


def test_all_alike_is_no_difference():
    found = verdict_of(Arm("a", 50, 50, 50, 0.0), Arm("b", 50, 50, 50, 0.0))
    assert (found.difference, found.p_value, found.significant) == (0.0, 1.0, False)
