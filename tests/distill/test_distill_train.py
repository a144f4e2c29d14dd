from __future__ import annotations

import numpy as np
import pytest

from pointsman.distill.model import TextClassifier
from pointsman.distill.rows import Row
from pointsman.distill.train import TrainSettings, train
from pointsman.errors import DistillError

QUICK = TrainSettings(size_bytes=64 * 1024, quick=True)
WORDS = {
    "billing": "invoice refund charge payment card price receipt",
    "sales": "buy order discount quote demo trial upgrade",
    "technical": "crash error bug login broken slow install",
}


def rows(count: int = 90, *, multi: bool = False, seed: int = 0) -> list[Row]:
    """Sentences around words of their class; multi-label ones may have words of two, or of none."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        labels = (sorted(WORDS)[number % 3],)
        if multi:
            drawn = rng.choice(sorted(WORDS), rng.integers(0, 3), replace=False)
            labels = tuple(sorted(drawn.tolist()))
        own = [str(rng.choice(WORDS[label].split())) for label in labels for _ in range(2)]
        words = ["please", "my", "the", "help", *own, f"n{rng.integers(1000)}"]
        found.append(Row(" ".join(rng.permutation(words).tolist()), labels))
    return found


@pytest.fixture(scope="module")
def single():
    return train(rows(), QUICK)


def test_a_classifier_is_learned_and_fits_its_size(single) -> None:
    model = TextClassifier.load(single.onnx)
    assert len(single.onnx) <= QUICK.size_bytes
    assert model.labels == single.labels == ("billing", "sales", "technical")
    new = rows(60, seed=1)
    right = sum(model.classify(row.text).labels == row.labels for row in new)
    assert right >= 55
    assert single.rows == 90
    assert single.thresholds == ()
    assert not single.multi


def test_what_is_held_out_is_told_row_by_row(single) -> None:
    held = single.held_out_rows
    assert single.held_out.rows == len(held.places) == len(held.told) == len(held.probabilities)
    right = [
        rows()[place].labels == told for place, told in zip(held.places, held.told, strict=True)
    ]
    assert single.held_out.accuracy == pytest.approx(np.mean(right))
    assert held.probabilities.sum(axis=1) == pytest.approx(1)


def test_the_same_rows_and_seed_give_the_same_bytes(single) -> None:
    assert train(rows(), QUICK).onnx == single.onnx
    other = TrainSettings(size_bytes=QUICK.size_bytes, quick=True, seed=1)
    assert train(rows(), other).onnx != single.onnx


def test_the_ensemble_teaches_too() -> None:
    found = train(rows(30), TrainSettings(size_bytes=64 * 1024))
    model = TextClassifier.load(found.onnx)
    assert sum(model.classify(row.text).labels == row.labels for row in rows(30)) >= 27


def test_multi_label_rows_get_any_number_of_labels() -> None:
    found = train(rows(240, multi=True), QUICK)
    assert found.multi
    assert len(found.thresholds) == 3
    model = TextClassifier.load(found.onnx)
    told = model.classify("refund the invoice, and a crash error")
    assert set(told.labels) == {"billing", "technical"}
    assert model.classify("please help the my").labels == ()


def test_an_other_class_takes_what_belongs_to_none() -> None:
    found = train(rows(150), TrainSettings(size_bytes=64 * 1024, quick=True, other=True))
    assert found.labels == ("billing", "sales", "technical", "other")
    assert 0 < found.reject < 1
    assert found.rejected > 0.8
    model = TextClassifier.load(found.onnx)
    told = [model.classify(row.text).labels for row in rows(60, seed=2)]
    assert sum(each == ("other",) for each in told) < 10
    assert model.classify("La luna è bella stasera, andiamo al mare.").labels == ("other",)


def test_soft_labels_are_learned_from_where_there_are_any() -> None:
    soft = {"billing": 0.5, "sales": 0.5}
    data = [Row(f"word number {n}", ("billing",), soft) for n in range(30)] + rows(30)
    model = TextClassifier.load(train(data, QUICK).onnx)
    scores = model.classify("word number").scores
    assert min(scores[:2]) > 0.2
    assert scores[2] < 0.2


def test_a_class_of_one_row_and_empty_texts_do_no_harm() -> None:
    data = [*rows(60), Row("something rare", ("rare",)), Row("", ("sales",)), Row("  ", ("sales",))]
    found = train(data, QUICK)
    assert found.labels == ("billing", "rare", "sales", "technical")


@pytest.mark.slow
def test_a_thousand_labels_fit() -> None:
    data = [Row(f"code{number} code{number}x", (f"label {number}",)) for number in range(1000)]
    found = train(data * 2, TrainSettings(size_bytes=128 * 1024, quick=True))
    assert len(found.onnx) <= 128 * 1024
    assert len(found.labels) == 1000


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (rows(3), QUICK, "3 rows are too few"),
        ([Row(f"t{n}", ("a",)) for n in range(20)], QUICK, "only the label 'a'"),
        ([Row("same", ("ab"[n % 2],)) for n in range(20)], QUICK, "the same text"),
        (rows(30), TrainSettings(size_bytes=10_000), "10000 bytes are too few for 3 labels: give"),
        (rows(30, multi=True), TrainSettings(other=True), "multi-label rows need no other class"),
    ],
)
def test_what_cannot_be_learned_is_said(data, settings, message: str) -> None:
    with pytest.raises(DistillError, match=message):
        train(data, settings)


def test_the_least_size_that_an_error_names_is_enough() -> None:
    with pytest.raises(DistillError) as caught:
        train(rows(30), TrainSettings(size_bytes=10_000, quick=True))
    least = int(str(caught.value).split("give ")[1].split()[0])
    assert len(train(rows(30), TrainSettings(size_bytes=least, quick=True)).onnx) <= least


def test_progress_comes_to_its_end() -> None:
    told = []
    train(rows(30), QUICK, lambda stage, done, total: told.append((stage, done, total)))
    assert told[0] == ("read", 0, 1)
    stages = [each for each in told if each[0] == "learn"]
    assert stages[-1][1] == stages[-1][2]
    assert [each[1] for each in stages] == sorted(each[1] for each in stages)
