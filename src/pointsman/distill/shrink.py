"""Makes the table small: product quantisation, with the rounding in the loop of learning.

Each row is cut into parts, and each part is one of 256 vectors of a code book. Code 0 of each book is
the zero vector, for buckets that no training text has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pointsman.distill.product import product

__all__ = ["CODES", "Packed", "Quantiser", "unpack"]

CODES = 256
ROUNDS = 12
# K-means learns from this many rows, drawn by how often they occur.
SAMPLE_ROWS = 40_000
CHUNK_ROWS = 8_192
LEVELS = 127


class Packed(Struct, frozen=True):
    """A table as it is stored; arrays.

    `codes` (buckets, parts) uint8, `books` (parts x 256, width / parts) int8, `scale` (width,)
    float32: what to multiply the sum of book entries by.
    """

    codes: Any
    books: Any
    scale: Any


class Quantiser:
    """Code books that follow a table as it is learned. `counts` say how often each row occurs."""

    def __init__(self, parts: int, counts: Any, seed: int) -> None:
        import numpy as np

        self._parts = parts
        self._counts = counts.astype(np.float64)
        self._seed = seed
        self._books: list[Any] | None = None

    def residual(self, table: Any) -> Any:
        """Give what to add to the table to have it as it will be stored; the books move along."""
        return self.stored(table) - table

    def stored(self, table: Any) -> Any:
        """Give the table as it will be stored, but for the rounding of the books to 8 bits."""
        import numpy as np

        codes, books = self._encode(table)
        return np.concatenate(
            [book[codes[:, part]] for part, book in enumerate(books)], axis=1, dtype=np.float32
        )

    def pack(self, table: Any, places: Any, buckets: int) -> Packed:
        """Give the whole table: row i of `table` is bucket `places[i]`, all others are zero."""
        import numpy as np

        found, books = self._encode(table)
        codes = np.zeros((buckets, self._parts), np.uint8)
        codes[places] = found
        peaks = [np.abs(book).max(axis=0) + 1e-12 for book in books]
        whole = [np.rint(book / peak * LEVELS) for book, peak in zip(books, peaks, strict=True)]
        scale = (np.concatenate(peaks) / LEVELS).astype(np.float32)
        return Packed(codes, np.concatenate(whole).astype(np.int8), scale)

    def _encode(self, table: Any) -> tuple[Any, list[Any]]:
        import numpy as np

        width = table.shape[1] // self._parts
        cuts = [
            np.ascontiguousarray(table[:, part * width : (part + 1) * width])
            for part in range(self._parts)
        ]
        if self._books is None:
            self._books = [
                _k_means(cut, self._counts, self._seed + part) for part, cut in enumerate(cuts)
            ]
        codes = np.stack(
            [_nearest(cut, book) for cut, book in zip(cuts, self._books, strict=True)], axis=1
        )
        self._books = [
            _means(cut, codes[:, part], self._counts, book)
            for part, (cut, book) in enumerate(zip(cuts, self._books, strict=True))
        ]
        return codes, self._books


def unpack(packed: Packed) -> Any:
    """Give the table (buckets, width) float32 that `packed` stands for."""
    import numpy as np

    parts = packed.codes.shape[1]
    places = packed.codes.astype(np.int64) + CODES * np.arange(parts)
    return packed.books[places].reshape(len(packed.codes), -1) * packed.scale


def _k_means(vectors: Any, counts: Any, seed: int) -> Any:
    import numpy as np

    rng = np.random.default_rng(seed)
    size = min(SAMPLE_ROWS, len(vectors))
    chosen = rng.choice(len(vectors), size, replace=False, p=counts / counts.sum())
    sample = vectors[chosen]
    # A sample drawn by weight is not weighted again, nor is a sample of all left unweighted.
    weights = counts[chosen] if size == len(vectors) else np.ones(size)
    book = sample[rng.choice(size, CODES, replace=size < CODES)].copy()
    book[0] = 0
    for _ in range(ROUNDS):
        codes = _nearest(sample, book)
        book = _means(sample, codes, weights, book)
        unused = np.bincount(codes, minlength=CODES) == 0
        unused[0] = False
        book[unused] = sample[rng.choice(size, int(unused.sum()))]
    return book


def _nearest(vectors: Any, book: Any) -> Any:
    import numpy as np

    half = np.einsum("ij,ij->i", book, book) / 2
    found = np.empty(len(vectors), np.uint8)
    for begin in range(0, len(vectors), CHUNK_ROWS):
        part = slice(begin, begin + CHUNK_ROWS)
        found[part] = np.argmax(product(vectors[part], book.T) - half, axis=1)
    return found


def _means(vectors: Any, codes: Any, weights: Any, book: Any) -> Any:
    """The weighted mean of what has each code; a code that nothing has keeps its vector."""
    import numpy as np

    total = np.bincount(codes, weights, CODES)
    columns: Sequence[Any] = [
        np.bincount(codes, weights * vectors[:, column], CODES) for column in range(book.shape[1])
    ]
    means = np.stack(columns, axis=1) / np.maximum(total, 1e-12)[:, None]
    found = np.where(total[:, None] > 0, means, book).astype(np.float32)
    found[0] = 0
    return found
