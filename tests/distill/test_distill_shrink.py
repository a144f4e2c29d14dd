from __future__ import annotations

import numpy as np
import pytest

from pointsman.distill.shrink import CODES, Quantiser, unpack


def table(rows: int, width: int, seed: int = 0):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.mark.parametrize(("rows", "width", "parts"), [(3, 4, 1), (200, 8, 2), (3000, 16, 4)])
def test_a_packed_table_is_near_what_it_was(rows: int, width: int, parts: int) -> None:
    values = table(rows, width)
    quantiser = Quantiser(parts, np.ones(rows), seed=0)
    packed = quantiser.pack(values, np.arange(rows), rows)
    assert packed.codes.shape == (rows, parts)
    assert packed.books.shape == (CODES * parts, width // parts)
    off = unpack(packed) - values
    # Few rows fit the books but for their rounding; of many, most of the variance is kept.
    assert float((off**2).mean()) < (1e-3 if rows < CODES else 0.35)


def test_buckets_that_no_text_has_are_zero() -> None:
    values = table(50, 8)
    places = np.arange(50) * 2
    packed = Quantiser(2, np.ones(50), seed=0).pack(values, places, 101)
    found = unpack(packed)
    assert not found[1::2].any()
    assert np.abs(found[places]).sum() > 0


def test_frequent_rows_are_kept_better() -> None:
    values = table(4000, 8)
    counts = np.ones(4000)
    counts[:200] = 500
    packed = Quantiser(1, counts, seed=0).pack(values, np.arange(4000), 4000)
    off = ((unpack(packed) - values) ** 2).mean(axis=1)
    assert off[:200].mean() < off[200:].mean() / 2


def test_books_follow_the_table() -> None:
    quantiser = Quantiser(2, np.ones(600), seed=0)
    first = quantiser.stored(table(600, 8))
    moved = table(600, 8) + 0.5
    for _ in range(5):
        second = quantiser.stored(moved)
    assert float(((second - moved) ** 2).mean()) < float(((first - moved) ** 2).mean())
    assert np.allclose(quantiser.residual(moved) + moved, quantiser.stored(moved), atol=0.2)


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, other = (
        Quantiser(2, np.ones(500), seed=4).pack(table(500, 8), np.arange(500), 500)
        for _ in range(2)
    )
    assert one.codes.tobytes() == other.codes.tobytes()
    assert one.books.tobytes() == other.books.tobytes()
