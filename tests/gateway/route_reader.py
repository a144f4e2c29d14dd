"""A classifier and a verifier for tests of routes: what they make of a prompt and an answer is known."""

from __future__ import annotations

import zlib

from pointsman.router.answer import FEATURES
from pointsman.router.verify import Verifier
from pointsman.types import Ability, Estimate, PromptReading

ABLE = {"cheap": 0.0, "dear": 2.0}
ANSWER_TOKENS = 50.0


class Reader:
    """Reads prompts with `word` in them as of one difficulty, and others by their hash, easy to hard."""

    def __init__(self, word: str, difficulty: float = 0.0) -> None:
        self.word = word
        self.difficulty = difficulty

    def read(self, text: str) -> PromptReading:
        spread = zlib.crc32(text.encode()) % 1000 / 1000 * 8 - 4
        difficulty = self.difficulty if self.word in text else spread
        return PromptReading((1.0,), difficulty, ANSWER_TOKENS, 0.5, 1.0)

    def ability(self, model: str, price: float | None = None) -> Ability:
        return Ability((ABLE.get(model, 0.0),), 0.2, "a test")

    def estimate(self, text: str) -> Estimate:
        return Estimate(0.5, 0.5)


def by_likelihood() -> Verifier:
    """A verifier that goes by the mean log-probability and plain faults: 0 is near 1, −4 near 0."""
    weights = {"mean_logprob": 2.0, "refused": -10.0, "empty": -10.0, "truncated": -4.0}
    count = len(FEATURES)
    return Verifier(
        features=FEATURES,
        weights=tuple(weights.get(name, 0.0) for name in FEATURES),
        means=(0.0,) * count,
        scales=(1.0,) * count,
        bias=4.0,
        source="a test",
        rows=0,
        date="2026-11-24",
    )
