from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from pointsman.distill.calibrate import (
    best_thresholds,
    calibrate,
    platt,
    probabilities,
    temperature,
)

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((4000, 4)) * 2


def drawn(p):
    """One label for each row, by its probabilities."""
    places = (p.cumsum(axis=1) > RNG.random((len(p), 1))).argmax(axis=1)
    return np.eye(p.shape[1])[places]


def test_the_temperature_that_made_the_rows_is_found() -> None:
    targets = drawn(softmax(LOGITS, axis=1))
    assert temperature(LOGITS * 3, targets) == pytest.approx(3, rel=0.1)


def test_rows_told_right_without_fail_do_not_make_it_sure_of_everything() -> None:
    logits = np.tile([2.0, 0.0], (50, 1))
    targets = np.tile([1.0, 0.0], (50, 1))
    p = softmax(logits / temperature(logits, targets), axis=1)
    assert 0.95 < p[0, 0] < 0.999


def test_the_curve_that_made_the_rows_is_found() -> None:
    truth = expit(0.5 * LOGITS[:, :1] - 1)
    targets = (RNG.random((4000, 1)) < truth).astype(float)
    found = platt(LOGITS[:, :1], targets)
    assert found.slope[0] == pytest.approx(0.5, abs=0.08)
    assert found.offset[0] == pytest.approx(-1, abs=0.15)


def test_a_label_that_no_held_out_row_has_borrows_the_common_curve_and_threshold() -> None:
    targets = (RNG.random((4000, 3)) < expit(LOGITS[:, :3] - 1)).astype(float)
    targets[:, 2] = 0
    cuts = best_thresholds(expit(LOGITS[:, :3]), targets)
    assert np.isfinite(cuts).all()
    assert 0 < cuts[2] < 1
    assert np.isfinite(platt(LOGITS[:, :3], targets).offset).all()


def test_a_threshold_gives_the_best_f1_where_rows_are_plain() -> None:
    p = np.linspace(0, 1, 1000)[:, None]
    targets = (p > 0.7).astype(np.float32)
    assert best_thresholds(p, targets)[0] == pytest.approx(0.7, abs=0.02)


def test_single_label_rows_get_one_label_each() -> None:
    targets = drawn(softmax(LOGITS, axis=1))
    found = calibrate(LOGITS * 2, targets, multi=False)
    p = found.probabilities(LOGITS * 2)
    assert p.sum(axis=1) == pytest.approx(1)
    told = found.told(p, ("a", "b", "c", "d"))
    assert told[0] == ("abcd"[int(p[0].argmax())],)
    assert found.thresholds is None
    assert found.reject is None


def test_with_an_other_class_few_rows_of_the_rest_are_given_up() -> None:
    targets = drawn(softmax(LOGITS, axis=1))
    found = calibrate(LOGITS, targets, multi=False, other=True)
    assert found.reject is not None
    labels = ("a", "b", "c", "other")
    told = found.told(found.probabilities(LOGITS), labels)
    rejected = [each == ("other",) for each, row in zip(told, targets, strict=True) if row[3] == 0]
    plain = calibrate(LOGITS, targets, multi=False).told(found.probabilities(LOGITS), labels)
    before = [each == ("other",) for each, row in zip(plain, targets, strict=True) if row[3] == 0]
    assert 0 <= np.mean(rejected) - np.mean(before) < 0.04


def test_multi_label_rows_get_what_reaches_its_threshold() -> None:
    targets = (RNG.random(LOGITS.shape) < expit(LOGITS)).astype(np.float32)
    found = calibrate(LOGITS, targets, multi=True)
    p = found.probabilities(LOGITS)
    assert p == pytest.approx(expit(LOGITS), abs=0.06)
    labels = ("a", "b", "c", "d")
    for told, row in zip(found.told(p[:50], labels), p[:50], strict=True):
        assert told == tuple(
            label for label, x, cut in zip(labels, row, found.thresholds, strict=True) if x >= cut
        )


def test_probabilities_are_a_softmax_or_a_sigmoid_each() -> None:
    assert probabilities(LOGITS, multi=False) == pytest.approx(softmax(LOGITS, axis=1))
    assert probabilities(LOGITS, multi=True) == pytest.approx(expit(LOGITS))
