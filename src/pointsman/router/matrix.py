"""Prompts as numbers in numpy. Needs it, and for training scipy; the caller has made sure of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pointsman.router.features import SURFACE, Sight

__all__ = ["BUCKETS", "CLIP", "FIRST", "SECOND", "SHIFT", "Scaling", "bucketed", "word_matrix"]

BUCKETS = 4096
# A pair (a, b) lies in bucket ((a·FIRST + b·SECOND) >> SHIFT) mod BUCKETS, a word (b) in the bucket
# of (0, b). Both factors are odd and below 2^30, so that sums of 32-bit words stay below 2^63.
FIRST, SECOND, SHIFT = 0x2545F491, 0x1E3779B1, 20
# Standardised features beyond this many standard deviations say no more: a prompt of a million
# characters is not a thousand times harder.
CLIP = 3.0


def bucketed(words: Sequence[int]) -> Any:
    """Give the buckets of a sight's words and word pairs, ascending, each once; never none.

    Presence ranks prompts as well as counts do, and needs no weights.
    """
    import numpy as np

    numbers = np.array(words, np.int64)
    last = numbers[1:] * SECOND
    present = np.zeros(BUCKETS, bool)
    present[(last >> SHIFT) % BUCKETS] = True
    present[(numbers[:-1] * FIRST + last >> SHIFT) % BUCKETS] = True
    return present.nonzero()[0]


def word_matrix(sights: Sequence[Sight]) -> Any:
    """Give the words of all prompts as a sparse matrix, a row of length 1 for each."""
    import numpy as np
    import scipy.sparse as sparse

    found = [bucketed(sight.words) for sight in sights]
    sizes = np.array([len(buckets) for buckets in found])
    values = np.repeat(1 / np.sqrt(sizes), sizes)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    return sparse.csr_matrix((values, np.concatenate(found), indptr), shape=(len(found), BUCKETS))


class Scaling(Struct, frozen=True):
    """How the surface is standardised: (value − mean) / spread, cut at ±CLIP. Arrays of numpy."""

    mean: Any
    spread: Any

    @classmethod
    def of(cls, sights: Sequence[Sight], weights: Any) -> Scaling:
        """Fit to prompts, each with its weight."""
        import numpy as np

        values = np.array([sight.surface for sight in sights])
        mean = np.average(values, axis=0, weights=weights)
        spread = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
        # A feature that never varied here must not shout when it does elsewhere.
        return cls(mean, np.where(spread < 1e-3, 1.0, spread))

    def apply(self, sights: Sequence[Sight]) -> Any:
        """Give the standardised surface, a row for each prompt."""
        import numpy as np

        values = np.array([sight.surface for sight in sights]).reshape(len(sights), len(SURFACE))
        return np.clip((values - self.mean) / self.spread, -CLIP, CLIP)
