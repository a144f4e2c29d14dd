"""The measures, against values worked out by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.router.evaluate import apgr_interval, auroc, calibration_error, evaluate

# Four prompts; the strong model gains 1 on the first and the second. PGR after 0 to 4 calls, in
# the order given: 0, 1/2, 1, 1, 1.
WEAK, STRONG = [0, 0, 1, 0], [1, 1, 1, 0]


def test_apgr_and_cpt_by_hand():
    found = evaluate([0.1, 0.2, 0.3, 0.4], WEAK, STRONG)
    assert found.rows == 4
    assert found.apgr == pytest.approx((0.25 + 0.75 + 1 + 1) / 4)
    assert found.cpt50 == pytest.approx(0.25)
    assert found.cpt80 == pytest.approx(0.4)
    # Of the pairs (will do, will not do) all four are in the right order.
    assert found.auroc == 1.0


def test_the_worst_order_is_the_mirror_of_the_best():
    found = evaluate([0.4, 0.3, 0.2, 0.1], WEAK, STRONG)
    assert found.apgr == pytest.approx((0 + 0 + 0.25 + 0.75) / 4)
    assert found.cpt50 == pytest.approx(0.75)
    assert found.auroc == 0.0


def test_a_router_that_holds_all_equal_is_random():
    found = evaluate([0.5] * 4, WEAK, STRONG)
    assert (found.apgr, found.cpt50, found.cpt80, found.auroc) == pytest.approx(
        (0.5, 0.5, 0.8, 0.5)
    )


def test_an_oracle_can_pass_one():
    # The strong model loses on one prompt, so leaving that to the weak one beats the strong alone.
    weak, strong = [0, 0, 1], [1, 1, 0]
    found = evaluate([w - s for w, s in zip(weak, strong, strict=True)], weak, strong)
    assert found.apgr == pytest.approx((1 / 2 + 3 / 2 + 3 / 2 * 1) / 3, abs=0.2)
    assert found.apgr > 1


def test_random_is_about_a_half():
    draw = random.Random(0)
    weak = [float(draw.random() < 0.5) for _ in range(4000)]
    strong = [float(draw.random() < 0.8) for _ in range(4000)]
    found = evaluate([draw.random() for _ in weak], weak, strong)
    assert found.apgr == pytest.approx(0.5, abs=0.05)
    assert found.auroc == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(("weak", "strong"), [([], []), ([1, 0], [1, 0]), ([1], [0])])
def test_a_pair_without_a_gap_has_no_curve(weak, strong):
    found = evaluate([0.5] * len(weak), weak, strong)
    assert found.apgr is None and found.cpt50 is None and found.cpt80 is None
    assert apgr_interval([0.5] * len(weak), weak, strong, samples=5) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_auroc_is_the_share_of_pairs_in_order(rows):
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a, x in rows for b, y in rows if x and not y
    ]
    found = auroc(scores, labels)
    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


def test_the_interval_holds_the_value_and_is_the_same_again():
    draw = random.Random(1)
    weak = [float(draw.random() < 0.5) for _ in range(200)]
    strong = [float(draw.random() < 0.8) for _ in range(200)]
    p_weak = [draw.random() + w for w in weak]
    low, high = apgr_interval(p_weak, weak, strong, samples=200)
    assert low < evaluate(p_weak, weak, strong).apgr < high
    assert (low, high) == apgr_interval(p_weak, weak, strong, samples=200)


def test_calibration_error_by_hand():
    # Two bins: said 0.2, was 0; said 0.9, was 1/2.
    assert calibration_error(
        [0.2, 0.2, 0.9, 0.9], [0, 0, 1, 0], [1, 1, 1, 1], bins=2
    ) == pytest.approx((0.2 + 0.4) / 2)
    assert calibration_error([], [], []) is None
