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
# A word that one string brings to so many of both kinds of prompts is one that replies converge to:
# one of three in the sweep, two of eight in what follows.
SWEEP_SHARE = 0.3
SEED_SHARE = 0.2
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
    grow_gain: float = 0.15
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
        self._family: frozenset[str] = frozenset()
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
            for text in part:
                neutral = [next(heads) for _ in probes.neutral]
                safety = [next(heads) for _ in probes.safety]
                made.append(
                    _Gain(
                        gains(neutral, self._usual.neutral, echo=text),
                        gains(safety, self._usual.safety, echo=text),
                    )
                )
        return made

    def _sweep(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Ask about every candidate on few prompts; give those to look at again, best first."""
        texts = [each.text for each in candidates]
        found = self._measure(texts, "all", self._few)
        self.swept += len(texts)
        family = _converged(found, SWEEP_SHARE)
        scores = [each.pooled(family) for each in found]
        order = sorted(range(len(texts)), key=lambda place: -scores[place])
        self.idle = [texts[place] for place in order[len(order) // 2 :]]
        return [candidates[place] for place in order[: self._settings.second_look]]

    def _second_look(self, candidates: Sequence[Candidate]) -> list[Found]:
        texts = [each.text for each in candidates]
        found = self._measure(texts, "all", self._probes)
        self._family |= _converged(found, SEED_SHARE)
        looked = [
            self._found(each.text, each.source, "all", gain)
            for each, gain in zip(candidates, found, strict=True)
        ]
        return sorted(looked, key=lambda each: -each.overlap)

    def _found(self, text: str, source: str, where: Place, gain: _Gain) -> Found:
        of_family = {word for word in self._family if word in gain.neutral or word in gain.safety}
        family = family_of(gain.neutral, gain.safety) | of_family
        return Found(text, source, where, gain.pooled(self._family), family)

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
            measured = self._measure(shorter, found.where, self._probes)
            best = max(
                (
                    self._found(text, found.source, found.where, gain)
                    for text, gain in zip(shorter, measured, strict=True)
                ),
                key=lambda each: each.overlap,
            )
            if best.overlap < found.overlap - self._settings.grow_gain:
                break
            found, words = best, best.text.split(" ")
        return found

    def _by_position(self, found: Found) -> Found:
        """The place at which the string alone does most; all three where none does half as much."""
        alone = [
            self._found(
                found.text, found.source, where, self._measure([found.text], where, self._probes)[0]
            )
            for where in POSITIONS
        ]
        best = max(alone, key=lambda each: each.overlap)
        return best if best.overlap >= found.overlap / 2 else found


class _Gain(Struct, frozen=True):
    neutral: dict[str, float]
    safety: dict[str, float]

    @property
    def overlap(self) -> float:
        return overlap(self.neutral, self.safety)

    def pooled(self, family: frozenset[str]) -> float:
        """The overlap, where the words of a family are as one.

        On few prompts, replies that vary need not fall on the same word twice; that they are of
        the words to which others converge tells them from chance.
        """
        kinds = (self.neutral, self.safety)
        return max(
            self.overlap,
            min(sum(kind[word] for word in kind if word in family) for kind in kinds),
        )


def _converged(found: Sequence[_Gain], least: float) -> frozenset[str]:
    return frozenset(
        word
        for each in found
        for word, share in common_shares(each.neutral, each.safety).items()
        if share >= least
    )


def _distinct(found: Iterable[Found]) -> list[Found]:
    best: dict[str, Found] = {}
    for each in sorted(found, key=lambda one: -one.overlap):
        best.setdefault(each.text, each)
    return list(best.values())
