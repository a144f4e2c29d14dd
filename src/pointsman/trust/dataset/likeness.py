"""How alike prompts are, by their words, the rarer ones counting for more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pointsman.trust.dataset.common import Common
from pointsman.trust.dataset.features import tokens_of

__all__ = ["Rarity", "Vector", "likeness", "mean_likeness", "typical_likeness", "words_of"]

Vector = dict[str, float]
TYPICAL = 0.8


class Rarity:
    """What a word counts for: the log of how many rows there are to one that has it."""

    def __init__(self, common: Common) -> None:
        self.rarest = math.log(common.rows + 1.0)
        self.known = {
            word: max(0.0, math.log((common.rows + 1.0) / (count + 0.5)))
            for word, count in common.counts.items()
            if " " not in word and word[0] > "\x08"
        }

    def of(self, word: str) -> float:
        """Give the weight of a word, 0 for one that every row has."""
        return self.known.get(word, self.rarest)

    def vector(self, words: Iterable[str]) -> Vector:
        """Give words as a vector of length 1, empty if none of them counts."""
        weights = {word: weight for word in words if (weight := self.of(word)) > 0.0}
        norm = math.sqrt(sum(weight * weight for weight in weights.values()))
        return {word: weight / norm for word, weight in weights.items()} if norm else {}


def words_of(segments: Iterable[str]) -> set[str]:
    """Give the words of a prompt in lower case."""
    return {token.lower() for token in tokens_of("\n".join(segments))}


def likeness(one: Vector, two: Vector) -> float:
    """Give the cosine of two vectors of length 1."""
    if len(one) > len(two):
        one, two = two, one
    return sum(weight * two[word] for word, weight in one.items() if word in two)


def typical_likeness(ones: Sequence[Vector], others: Sequence[Vector], same: bool = False) -> float:
    """Give the mean over all pairs but the likest fifth, of 0 where there are none.

    Two prompts on one thing by accident weigh much where the rows are few; a template's are all alike.
    """
    pairs = sorted(
        likeness(one, other)
        for at, one in enumerate(ones)
        for place, other in enumerate(others)
        if not (same and at == place)
    )
    typical = pairs[: math.ceil(len(pairs) * TYPICAL)]
    return sum(typical) / len(typical) if typical else 0.0


def mean_likeness(ones: Sequence[Vector], others: Sequence[Vector], same: bool = False) -> float:
    """Give the mean over all pairs of one and an other, but that of the same place in both."""
    total, pairs = 0.0, 0
    for at, one in enumerate(ones):
        for place, other in enumerate(others):
            if same and at == place:
                continue
            total += likeness(one, other)
            pairs += 1
    return total / pairs if pairs else 0.0
