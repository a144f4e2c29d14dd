"""Near-duplicates: MinHash over character n-grams finds candidates, the exact overlap decides.

Written here, in a few lines of NumPy, because a library for it (datasketch) would bring SciPy and
storage back ends for what is one table in memory.
Source: Broder, "On the resemblance and containment of documents" (1997); banding after Leskovec,
Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from typing import Any

import numpy as np

__all__ = ["NearDuplicates", "normal_form"]

GRAM_CHARS = 4
BANDS, ROWS = 24, 3
THRESHOLD = 0.65
MAX_CHARS = 4000
_PRIME = (1 << 31) - 1
_SPACE = re.compile(r"\s+")
_DIGITS = re.compile(r"\d+")
_MARKS = re.compile(r"[^\w\s]+")


def normal_form(text: str) -> str:
    """Give what two texts share that differ in case, numbers, marks and spaces only."""
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()
    folded = _DIGITS.sub("0", _MARKS.sub(" ", folded))
    return _SPACE.sub(" ", folded).strip() or text[:MAX_CHARS].strip()


class NearDuplicates:
    """Texts seen so far. `add` gives the name of one that is nearly the same.

    Two texts are when at least `threshold` (0–1) of their character 4-grams are shared.
    """

    def __init__(self, threshold: float = THRESHOLD, seed: int = 0) -> None:
        self._threshold = threshold
        chooser = np.random.default_rng(seed)
        self._a = chooser.integers(1, _PRIME, BANDS * ROWS, dtype=np.int64)[:, None]
        self._b = chooser.integers(0, _PRIME, BANDS * ROWS, dtype=np.int64)[:, None]
        self._exact: dict[str, str] = {}
        self._bands: dict[tuple[int, bytes], list[int]] = {}
        self._grams: list[tuple[str, frozenset[int]]] = []

    def find(self, text: str) -> str | None:
        """Give the name of a text that is nearly the same, None if there is none."""
        plain = normal_form(text)
        if plain in self._exact:
            return self._exact[plain]
        grams = _grams(plain)
        return self._near(grams, self._keys(grams))

    def add(self, text: str, name: str) -> str | None:
        """Keep a text under a name, unless one is nearly the same: then give that one's name."""
        plain = normal_form(text)
        if plain in self._exact:
            return self._exact[plain]
        grams = _grams(plain)
        keys = self._keys(grams)
        near = self._near(grams, keys)
        if near is not None:
            return near
        self._exact[plain] = name
        for key in keys:
            self._bands.setdefault(key, []).append(len(self._grams))
        self._grams.append((name, grams))
        return None

    def _near(self, grams: frozenset[int], keys: list[tuple[int, bytes]]) -> str | None:
        seen: set[int] = set()
        for key in keys:
            for at in self._bands.get(key, ()):
                if at in seen:
                    continue
                seen.add(at)
                name, other = self._grams[at]
                shared = len(grams & other)
                if shared >= self._threshold * (len(grams) + len(other) - shared):
                    return name
        return None

    def _keys(self, grams: frozenset[int]) -> list[tuple[int, bytes]]:
        values: Any = np.fromiter(grams, dtype=np.int64, count=len(grams))
        least = ((self._a * values + self._b) % _PRIME).min(axis=1).astype(np.int32)
        return [(band, least[band * ROWS : (band + 1) * ROWS].tobytes()) for band in range(BANDS)]


def _grams(plain: str) -> frozenset[int]:
    padded = f" {plain} "
    count = max(len(padded) - GRAM_CHARS + 1, 1)
    return frozenset(
        zlib.crc32(padded[at : at + GRAM_CHARS].encode("utf-8", "surrogatepass")) & 0x7FFFFFFF
        for at in range(count)
    )
