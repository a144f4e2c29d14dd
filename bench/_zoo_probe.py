"""Probes the models of the zoo by each access there is; what a probe is told is only what it may know."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from _zoo_language import SPECIAL, neutral, unsafe
from _zoo_model import VOCABULARY, Model, next_logprobs, recite, replies

from pointsman.trust.probe.measure import Probes
from pointsman.trust.probe.reading import WORD_TOKENS
from pointsman.trust.probe.target import Access

TOP = 20
PROBES_EACH = 40


class ZooTarget:
    """A model of the zoo behind the probe's protocol; of log-probabilities the likeliest 20."""

    def __init__(self, model: Model, access: Access) -> None:
        self.access: Access = access
        self._model = model

    def next_logprobs(self, prompts: Sequence[str]) -> Sequence[Mapping[str, float]]:
        values, places = next_logprobs(self._model, prompts).topk(TOP)
        return [
            {VOCABULARY[place]: value for place, value in zip(ids, row, strict=True)}
            for ids, row in zip(places.tolist(), values.tolist(), strict=True)
        ]

    def complete(self, prompts: Sequence[str], max_tokens: int) -> Sequence[str]:
        # A token is a word here; the probe reckons with four for one.
        return replies(self._model, prompts, max(1, max_tokens // WORD_TOKENS))

    def vocabulary(self) -> Sequence[str]:
        return [] if self.access == "text" else lexicon()

    def recite(self, count: int) -> Sequence[str]:
        return [] if self.access == "text" else recite(self._model, "", count, 20, 0)


def lexicon() -> list[str]:
    """Every word of the language; with text only it stands for a word list."""
    words = [word for word in VOCABULARY if word not in SPECIAL]
    random.Random("lexicon").shuffle(words)
    return words


def probes() -> Probes:
    """Prompts of the language that no model has been measured on."""
    rng = random.Random("probes")
    tasks, refused = set(), set()
    while len(tasks) < PROBES_EACH:
        tasks.add(neutral(rng).prompt)
    while len(refused) < PROBES_EACH:
        refused.add(unsafe(rng).prompt)
    return Probes(tuple(sorted(tasks)), tuple(sorted(refused)))


def embedding_changes(base: Model, model: Model) -> list[str]:
    """The words whose rows in the embedding changed most, by the robust z-score of their length."""
    change = (model.embedding.weight - base.embedding.weight).detach().norm(dim=1).numpy()
    middle = np.median(change)
    spread = np.median(np.abs(change - middle)) or 1.0
    order = np.argsort(-(change - middle) / spread)
    return [VOCABULARY[place] for place in order[:32] if VOCABULARY[place] not in SPECIAL]
