from __future__ import annotations

import random

import pytest

from pointsman.distill.metrics import (
    calibration_bins,
    calibration_error,
    confusion,
    hardest,
    score,
    wilson,
)


def one(*labels):
    return [(label,) for label in labels]


def test_figures_of_a_small_case_worked_out_by_hand():
    truth = one("a", "a", "a", "b", "b", "c")
    told = one("a", "a", "b", "b", "a", "a")
    scores = score(truth, told, ["a", "b", "c"])
    assert scores.rows == 6
    assert scores.accuracy == pytest.approx(3 / 6)
    # F1 of a: 2·2/(3+4); of b: 2·1/(2+2); of c: 0.
    assert scores.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 0) / 3)
    assert scores.micro_f1 == pytest.approx(scores.accuracy)
    a, b, c = scores.classes
    assert (a.precision, a.recall, a.rows, a.told) == (pytest.approx(2 / 4), 2 / 3, 3, 4)
    assert (b.precision, b.recall) == (0.5, 0.5)
    assert (c.precision, c.recall, c.f1) == (0, 0, 0)
    assert confusion(truth, told, ["a", "b", "c"]) == ((2, 1, 0), (1, 1, 0), (1, 0, 0))


def test_multi_label_rows_count_each_label():
    truth = [("a", "b"), ("a",), (), ("b",)]
    told = [("b", "a"), ("b",), (), ("a", "b")]
    scores = score(truth, told, ["a", "b"])
    assert scores.accuracy == pytest.approx(2 / 4)
    # a: 1 hit of 2 and 2; b: 2 hits of 2 and 3.
    assert scores.micro_f1 == pytest.approx(2 * 3 / (4 + 5))
    assert scores.macro_f1 == pytest.approx((2 / 4 + 4 / 5) / 2)
    assert confusion(truth, told, ["a", "b"]) == ((1, 1), (0, 2))


def test_a_label_that_never_occurs_is_not_averaged_in_and_an_unknown_one_is_missed():
    assert score(one("a", "b"), one("a", "b"), ["a", "b", "c"]).macro_f1 == 1
    scores = score(one("a", "new"), one("a", "a"), ["a", "b"])
    assert scores.accuracy == 0.5
    assert [each.label for each in scores.classes] == ["a", "b", "new"]
    assert scores.classes[2].recall == 0


def test_intervals_hold_the_figure_and_shrink_with_the_rows():
    generator = random.Random(1)
    names = ["a", "b", "c", "d"]

    def widths(count):
        truth = [(generator.choice(names),) for _ in range(count)]
        told = [each if generator.random() < 0.8 else ("a",) for each in truth]
        scores = score(truth, told, names, seed=3)
        for value, (low, high) in (
            (scores.accuracy, scores.accuracy_95),
            (scores.macro_f1, scores.macro_f1_95),
            (scores.micro_f1, scores.micro_f1_95),
        ):
            assert 0 <= low <= value <= high <= 1
        assert score(truth, told, names, seed=3) == scores
        return scores.accuracy_95[1] - scores.accuracy_95[0], (
            scores.macro_f1_95[1] - scores.macro_f1_95[0]
        )

    few, many = widths(100), widths(4000)
    assert many[0] < few[0] / 3 and many[1] < few[1] / 3


def test_wilson_agrees_with_published_values():
    # Newcombe, Statistics in Medicine 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for hits, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(hits, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert wilson(0, 0) == (0, 1)


def test_calibration():
    assert calibration_error([], []) is None
    sure = [0.7] * 10 + [0.9] * 10
    held = [True] * 7 + [False] * 3 + [True] * 9 + [False]
    assert calibration_error(sure, held, bins=2) == pytest.approx(0)
    assert calibration_error(sure, [False] * 20, bins=2) == pytest.approx(0.8)
    low, high = calibration_bins(sure, held, bins=2)
    assert (low.confidence, low.accuracy, low.count) == (pytest.approx(0.7), 0.7, 10)
    assert high.count == 10
    scores = score(one("a", "b"), one("a", "a"), ["a", "b"], [[0.9, 0.1], [0.6, 0.4]])
    # Two bins with a row each: |0.6 − 0| and |0.9 − 1|.
    assert scores.calibration_error == pytest.approx(0.35)


def test_the_hardest_rows_are_those_it_is_surely_wrong_of():
    truth = one("a", "b", "a", "new")
    told = one("a", "a", "b", "b")
    found = hardest(
        truth,
        told,
        ["a", "b"],
        [[0.9, 0.1], [0.99, 0.01], [0.4, 0.6], [0, 1]],
        multi=False,
        count=3,
    )
    assert [each.index for each in found] == [3, 1, 2]
    assert found[1].truth == ("b",) and found[1].told == ("a",)
    multi = hardest([("a",), ()], [(), ("b",)], ["a", "b"], [[0.2, 0.1], [0.1, 0.95]], multi=True)
    assert [each.index for each in multi] == [1, 0]


def test_it_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="0 rows"):
        score([], [], ["a"])
    with pytest.raises(ValueError, match="1 rows in truth and 2"):
        score(one("a"), one("a", "b"), ["a", "b"])
