"""How common each feature is, by a sample of all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from pointsman.trust.dataset.features import PAIR, features_of

__all__ = ["Common", "common_of"]


class Common(Struct):
    """How many of a sample of all rows have each feature."""

    rows: int
    counts: Counter[str]

    def share(self, feature: str) -> float:
        """The chance that a row has the feature; never 0. For a pair, as if its words were strangers."""
        if PAIR in feature:
            one, _, other = feature.partition(PAIR)
            return self.share(one) * self.share(other)
        return (self.counts.get(feature, 0) + 0.5) / (self.rows + 1.0)


def common_of(sample: Iterable[Sequence[str]]) -> Common:
    """Count the features of the sample of all rows."""
    counts: Counter[str] = Counter()
    rows = 0
    for segments in sample:
        rows += 1
        counts.update(features_of(segments))
    return Common(rows, counts)
