"""What the ensemble is taught and teaches, and how it keeps to a time."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from pointsman.distill.fit import matrix, scales
from pointsman.distill.learn import MOST_ONCE, Recipe, learn, lesson
from pointsman.distill.ngrams import scheme
from pointsman.distill.product import MOST_MULTIPLICATIONS, product

TEXTS = [f"{word} number {at}" for at in range(20) for word in ("sunny", "frosty")]
TARGETS = np.eye(2, dtype=np.float32)[[0, 1] * 20]
WEIGHTS = np.ones(40, np.float32)
ALL = np.ones(40, bool)
RECIPE = Recipe(
    width=8, parts=2, teachers=4, teacher_width=8, teacher_buckets=4096, teacher_epochs=10,
    made=2, epochs=8, batch_rows=8,
)  # fmt: skip


def taught(known=ALL, **options):
    return lesson(TEXTS, TARGETS, WEIGHTS, known, RECIPE, multi=False, seed=1, **options)


def test_all_texts_are_labelled_and_more_are_made_from_those_that_may_be_known() -> None:
    known = np.arange(40) < 30
    found = taught(known)
    assert found.texts[:40] == [text.encode() for text in TEXTS]
    assert len(found.texts) == len(found.targets) == len(found.weights) == 40 + 2 * 30
    assert (found.teachers, found.epochs) == (4, 8)
    assert found.targets.sum(axis=1) == pytest.approx(1, abs=1e-5)
    # Rows that were not learned from are told by the ensemble, and pulled to their labels.
    assert (found.targets[:40].argmax(axis=1) == TARGETS.argmax(axis=1)).all()
    assert found.targets[30:40].max() < 1


def test_what_may_not_be_known_changes_nothing_of_what_is_taught() -> None:
    known = np.arange(40) < 30
    wrong = TARGETS.copy()
    wrong[30:] = wrong[30:, ::-1]
    other = lesson(TEXTS, wrong, WEIGHTS, known, RECIPE, multi=False, seed=1)
    assert np.array_equal(other.targets[40:], taught(known).targets[40:])
    assert np.array_equal(other.targets[:30], taught(known).targets[:30])


@pytest.mark.parametrize(
    ("budget_s", "teachers", "epochs"),
    # A reading of the clock every second: the first pair takes some seconds, whatever it is.
    [(1e9, 4, 8), (0.5, 2, 3)],
)
def test_a_slow_machine_learns_less(budget_s: float, teachers: int, epochs: int) -> None:
    ticks = count()
    found = taught(budget_s=budget_s, clock=lambda: float(next(ticks)))
    assert (found.teachers, found.epochs) == (teachers, epochs)


def test_without_an_ensemble_the_rows_are_the_lesson() -> None:
    plain = Recipe(
        **{each: getattr(RECIPE, each) for each in RECIPE.__struct_fields__} | {"teachers": 0}
    )
    found = lesson(TEXTS, TARGETS, WEIGHTS, ALL, plain, multi=False, seed=1, budget_s=0)
    assert len(found.texts) == 40 and found.targets is TARGETS
    assert (found.teachers, found.epochs) == (0, 8)


@pytest.mark.parametrize("few", [True, False])
def test_what_one_text_alone_has_is_left_out_where_there_is_enough_else(few: bool) -> None:
    how = scheme(5000)
    texts = ["warm sun", "cold snow"] if few else ["warm sun", "cold snow"] * 30
    texts.append("zebra")
    features = matrix([text.encode() for text in texts], how)
    targets = np.eye(2, dtype=np.float32)[np.arange(len(texts)) % 2]
    student = learn(
        features, targets, np.ones(len(texts), np.float32), how, RECIPE,
        rows=len(texts), multi=False, seed=1,
    )  # fmt: skip
    own = np.setdiff1d(features[-1].indices, features[:-1].indices)
    once = np.asarray((features > 0).sum(axis=0)).ravel() == 1
    share = features[:, np.flatnonzero(once)].sum() / features.sum()
    assert bool(share > MOST_ONCE) == few
    assert student.packed.codes[own].any(axis=1).any() == few


def test_scales_count_what_was_left_out_too() -> None:
    features = matrix([b"abc", b""], scheme(500))
    assert scales(features)[:, 0] == pytest.approx(1 / np.sqrt(features.sum(axis=1)).A1)


@pytest.mark.parametrize("shape", [(3, 4, 5), (300, 64, 77), (1, 600, 700), (0, 4, 5)])
def test_a_product_in_pieces_is_the_product(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal(shape[:2], np.float32)
    other = rng.standard_normal(shape[1:], np.float32)
    assert product(one, other) == pytest.approx(one @ other, abs=1e-4)
    assert max(np.prod((300, 64, 77)), np.prod((1, 600, 700))) > MOST_MULTIPLICATIONS
