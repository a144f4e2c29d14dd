from __future__ import annotations

import pytest

from pointsman.distill.recipe import Measure, layout, measure, recipe


def test_texts_are_measured() -> None:
    found = measure([b"red green", b"red blue", b"quite another"])
    assert found.rows == 3
    assert found.ngrams > 50
    assert 0 < found.repeated < 40


def test_a_part_stands_for_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointsman.distill.recipe.MEASURE_ROWS", 100)
    texts = [b"the same text"] * 1000
    few = measure(texts[:100])
    assert measure(texts).ngrams == 10 * few.ngrams


@pytest.mark.parametrize(
    ("repeated", "labels", "spare_bytes", "wanted"),
    [
        (10_000, 77, 250_000, (128, 16)),
        (40_000, 77, 250_000, (64, 8)),
        (40_000, 2, 250_000, (16, 2)),
        (350_000, 7, 250_000, (16, 1)),
        (350_000, 28, 250_000, (64, 4)),
        (40_000, 77, 1_000_000, (128, 16)),
        (40_000, 2, 1_000, (16, 1)),
    ],
)
def test_rows_are_as_rich_as_room_allows(
    repeated: int, labels: int, spare_bytes: int, wanted: tuple[int, int]
) -> None:
    assert layout(Measure(1000, 10**6, repeated), labels, spare_bytes) == wanted


@pytest.mark.parametrize("rows", [10, 100, 10_000, 1_000_000])
def test_work_is_bounded_and_small_sets_are_seen_often(rows: int) -> None:
    found = recipe(Measure(rows, rows * 200, rows), 64, 8)
    passes = found.teachers * found.teacher_epochs + (1 + found.made) * (found.epochs + 4)
    assert passes * rows * 200 < 1.5e9
    assert found.epochs * (1 + found.made) * -(-rows // found.batch_rows) >= 250
    assert recipe(Measure(rows, rows * 200, rows), 64, 8, quick=True).teachers == 0
