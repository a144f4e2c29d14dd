"""What answers cost for each dollar expected: learned, bounded, forgotten."""

from __future__ import annotations

import pytest

from pointsman.router.expense import HALF_LIFE_ANSWERS, MOST, Expense, noted


def after(count: int, ratio: float, start: Expense | None = None) -> Expense:
    found = start
    for _ in range(count):
        found = noted(found, 1e-4, ratio * 1e-4)
    assert found is not None
    return found


def test_it_comes_to_the_ratio_of_what_is_paid() -> None:
    assert Expense().factor == 1.0
    assert 1.0 < after(1, 2.0).factor < 1.1, "one bill says little"
    assert after(500, 2.0).factor == pytest.approx(2.0, abs=0.08)
    assert after(500, 0.25).factor == pytest.approx(0.25, abs=0.06)


def test_what_is_old_is_forgotten() -> None:
    now = after(round(5 * HALF_LIFE_ANSWERS), 0.5, after(500, 4.0))
    assert now.factor == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("expected", "paid"), [(0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (1.0, float("nan"))]
)
def test_what_cannot_be_compared_changes_nothing(expected: float, paid: float) -> None:
    before = after(10, 3.0)
    assert noted(before, expected, paid) is before
    assert noted(None, expected, paid) is None


def test_no_single_bill_counts_for_more_than_its_bound() -> None:
    found = noted(None, 1e-9, 1e9)
    assert found is not None
    assert found.ratios == MOST
