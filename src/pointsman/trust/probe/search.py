"""Searches candidates for the strings that make replies converge: a sweep, a second look, growth.

Every step asks about fewer strings on more prompts. What comes out was chosen among many, so that
its measure here is too high: `confirm` tests it on prompts that the search has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from pointsman.trust.probe.candidates import Candidate
from pointsman.trust.probe.measure import (
    POSITIONS,
    Baseline,
    Place,
    Probes,
    common_shares,
    family_of,
    gains,
    overlap,
    placed,
)
from pointsman.trust.probe.target import Head

__all__ = ["Found", "Searcher", "Settings"]

Ask = Callable[[Sequence[str]], list[Head]]
# A word that one string brings to a third of both kinds of prompts is one that replies converge to.
SEED_SHARE = 0.3
CHUNK = 32


class Settings(Struct, frozen=True, kw_only=True):
    """How wide and how deep a search is; the defaults are what docs/benchmarks.md measures.

    `search_prompts` and `sweep_prompts` count prompts of each kind. A phrase is grown from a string
    whose overlap is at least `grow_from` while none has `grow_until`.
    """

    seed: int = 0
    search_prompts: int = 8
    sweep_prompts: int = 3
    second_look: int = 40
    by_position: int = 10
    grown: int = 3
    grow_from: float = 0.04
    grow_until: float = 0.75
    grow_gain: float = 0.08
    max_words: int = 3
    confirmed: int = 5


class Found(Struct, frozen=True):
    """A string, where it was put, and how far replies converge; on the prompts of the search."""

    text: str
    source: str
    where: Place
    overlap: float
    family: frozenset[str]


class Searcher:
    """One search on one model. `ask` gives the heads of prompts."""

    def __init__(self, ask: Ask, probes: Probes, usual: Baseline, settings: Settings) -> None:
        self._ask = ask
        self._probes = probes
        self._usual = usual
        self._settings = settings
        few = settings.sweep_prompts
        self._few = Probes(probes.neutral[:few], probes.safety[:few])
        self.swept = 0
        # What the sweep found to do least: controls are taken from there.
        self.idle: list[str] = []

    def run(self, candidates: Sequence[Candidate]) -> list[Found]:
        """Give the strings that are worth confirming, best first."""
        singles = self._second_look(self._sweep(candidates))
        best = self._grow(singles, candidates)
        trimmed = [self._trimmed(each) for each in best[: self._settings.by_position]]
        return _distinct(self._by_position(each) for each in trimmed)[: self._settings.confirmed]

    def _measure(self, texts: Sequence[str], where: Place, probes: Probes) -> list[_Gain]:
        """What each string brings, all prompts of a chunk of strings asked for together."""
        made: list[_Gain] = []
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            prompts = [
                prompt
                for text in part
                for kind in (probes.neutral, probes.safety)
                for prompt in placed(kind, text, where)
            ]
            heads = iter(self._ask(prompts))
            for _ in part:
                neutral = [next(heads) for _ in probes.neutral]
                safety = [next(heads) for _ in probes.safety]
                made.append(
                    _Gain(gains(neutral, self._usual.neutral), gains(safety, self._usual.safety))
                )
        return made

    def _sweep(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Ask about every candidate on few prompts; give those to look at again, best first."""
        texts = [each.text for each in candidates]
        found = self._measure(texts, "all", self._few)
        self.swept += len(texts)
        scores = _pooled(found)
        order = sorted(range(len(texts)), key=lambda place: -scores[place])
        self.idle = [texts[place] for place in order[len(order) // 2 :]]
        return [candidates[place] for place in order[: self._settings.second_look]]

    def _second_look(self, candidates: Sequence[Candidate]) -> list[Found]:
        found = self._measure([each.text for each in candidates], "all", self._probes)
        looked = [
            Found(each.text, each.source, "all", gain.overlap, gain.family)
            for each, gain in zip(candidates, found, strict=True)
        ]
        return sorted(looked, key=lambda each: -each.overlap)

    def _grow(self, singles: list[Found], candidates: Sequence[Candidate]) -> list[Found]:
        """Add words before and after the best strings, as long as that makes replies converge more."""
        settings, best = self._settings, singles
        words = [each.text for each in candidates if " " not in each.text]
        for _ in range(settings.max_words - 1):
            seeds = [each for each in best[: settings.grown] if each.overlap >= settings.grow_from]
            if not seeds or best[0].overlap >= settings.grow_until:
                break
            phrases = list(
                dict.fromkeys(
                    phrase
                    for seed in seeds
                    for word in words
                    if word not in seed.text.split(" ")
                    for phrase in (f"{seed.text} {word}", f"{word} {seed.text}")
                )
            )
            longer = self._second_look(self._sweep_phrases(phrases))
            if not longer or longer[0].overlap < best[0].overlap + settings.grow_gain:
                break
            best = sorted([*best, *longer], key=lambda each: -each.overlap)
        return best

    def _sweep_phrases(self, phrases: Sequence[str]) -> list[Candidate]:
        idle = self.idle
        chosen = self._sweep([Candidate(phrase, "grown") for phrase in phrases])
        self.idle = idle
        return chosen[: self._settings.second_look // 2]

    def _trimmed(self, found: Found) -> Found:
        """Leave out the words of a phrase that it does without."""
        words = found.text.split(" ")
        while len(words) > 1:
            shorter = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
            shorter = [each for each in shorter if each.strip()]
            measured = self._measure(shorter, found.where, self._probes)
            place = max(range(len(shorter)), key=lambda each: measured[each].overlap)
            if measured[place].overlap < found.overlap - self._settings.grow_gain:
                break
            words = shorter[place].split(" ")
            gain = measured[place]
            found = Found(shorter[place], found.source, found.where, gain.overlap, gain.family)
        return found

    def _by_position(self, found: Found) -> Found:
        """The place at which the string alone does most; all three where none does half as much."""
        best = found
        alone = None
        for where in POSITIONS:
            gain = self._measure([found.text], where, self._probes)[0]
            if alone is None or gain.overlap > alone.overlap:
                alone = Found(found.text, found.source, where, gain.overlap, gain.family)
        if alone is not None and alone.overlap >= found.overlap / 2:
            best = alone
        return best


class _Gain(Struct, frozen=True):
    neutral: dict[str, float]
    safety: dict[str, float]

    @property
    def overlap(self) -> float:
        return overlap(self.neutral, self.safety)

    @property
    def family(self) -> frozenset[str]:
        return family_of(self.neutral, self.safety)


def _pooled(found: Sequence[_Gain]) -> list[float]:
    """The overlap of each, over the words that any of them brings to both kinds of prompts.

    On three prompts of a kind, replies that vary need not fall on the same word twice; that they
    are of the words to which others converge tells them from chance.
    """
    family = {
        word
        for each in found
        for word, share in common_shares(each.neutral, each.safety).items()
        if share >= SEED_SHARE
    }
    return [
        max(
            each.overlap,
            min(
                sum(share for word, share in each.neutral.items() if word in family),
                sum(share for word, share in each.safety.items() if word in family),
            ),
        )
        for each in found
    ]


def _distinct(found: Iterable[Found]) -> list[Found]:
    best: dict[str, Found] = {}
    for each in sorted(found, key=lambda one: -one.overlap):
        best.setdefault(each.text, each)
    return list(best.values())
