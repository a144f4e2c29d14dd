"""Texts that belong to no class, to learn the other class from: everyday sentences, and noise.

The sentences are the project's own and come with it; noise is made from the letters of the texts at
hand. Half of the sentences teach and half measure, so that what is measured was not learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["OTHER", "everyday", "outliers"]

OTHER = "other"
SENTENCES = "data/distill/everyday.txt"
# How many of the texts made are sentences, and how many two of them in one; the rest are noise.
SENTENCE_SHARE, PAIR_SHARE = 0.5, 0.2
MOST_NOISE_CHARS = 200


@cache
def everyday() -> tuple[str, ...]:
    """Give the everyday sentences. Reads the package's data."""
    text = files("pointsman").joinpath(SENTENCES).read_text("utf-8")
    return tuple(line for line in text.splitlines() if line)


def outliers(texts: Sequence[str], count: int, seed: int, *, measuring: bool) -> list[str]:
    """Give `count` texts that are like none of `texts`; the same arguments give the same texts.

    With `measuring` they share no sentence with those given without it.
    """
    import numpy as np

    rng = np.random.default_rng([seed, int(measuring)])
    sentences = everyday()[int(measuring) :: 2]
    return [_outlier(texts, sentences, rng) for _ in range(count)]


def _outlier(texts: Sequence[str], sentences: Sequence[str], rng: Any) -> str:
    draw = rng.random()
    one: str = sentences[rng.integers(len(sentences))]
    if draw < SENTENCE_SHARE:
        return one
    if draw < SENTENCE_SHARE + PAIR_SHARE:
        return f"{one} {sentences[rng.integers(len(sentences))]}"
    letters = list(texts[rng.integers(len(texts))][:MOST_NOISE_CHARS]) or ["?"]
    return "".join(letters[place] for place in rng.integers(len(letters), size=len(letters)))
