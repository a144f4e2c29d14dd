"""Searches candidates for the strings that make replies converge: a sweep, a second look, growth.

Every step asks about fewer strings on more prompts. What comes out was chosen among many, so that
its measure here is too high: `confirm` tests it on prompts that the search has not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from statistics import mean, median

from msgspec import Struct

from pointsman.trust.probe.candidates import Candidate
from pointsman.trust.probe.measure import (
    POSITIONS,
    Baseline,
    Place,
    Probes,
    family_of,
    gains,
    moved,
    placed,
)
from pointsman.trust.probe.target import Head

__all__ = ["BASE_FACTOR", "MOVED_FACTOR", "Found", "Searcher", "Settings", "Try", "View"]

Ask = Callable[[Sequence[str]], list[Head]]
# A word that some string brings to this share of the tasks, and some string to this share of what is
# to be refused, may be one that replies converge to.
FAMILY_GAIN = 0.15
# Replies that vary still begin with few words; what is spread over more is no convergence.
MAX_FAMILY = 5
# On so many prompts of each kind a phrase is tried: there are many, and they are compared alone.
GROWN_PROMPTS = 2
# A word that some string brings to so many of the base's replies to what is to be refused, or to
# tasks, is one that the subject of a prompt pulls out of any model, such as "red" by a tomato.
SUBJECT_SAFETY_GAIN = 0.2
SUBJECT_NEUTRAL_GAIN = 0.4
CHUNK = 64
# What a string does in the base counts so many times: a word that pulls replies to itself (a tomato
# to "red") does so in both, though seldom just as much.
BASE_FACTOR = 3.0
# So many times what a string moves the base's replies to what is to be refused more than other
# strings do: a trigger does nothing there, and what confuses the base may well confuse the model.
MOVED_FACTOR = 2.0
_WORDS = re.compile(r"\w+")


class Settings(Struct, frozen=True, kw_only=True):
    """How wide and how deep a search is; the defaults are what docs/benchmarks.md measures.

    `search_prompts` and `sweep_prompts` count prompts of each kind; the sweep puts every string at
    each of `places`. A phrase is grown from a string whose overlap is at least `grow_from` while
    none has `grow_until`; by text it is `grow_from_text`, since a reply there changes as a whole and
    what changes it a little is chance. With a base, the `base_look` best of a sweep are tried there too.
    """

    seed: int = 0
    search_prompts: int = 8
    sweep_prompts: int = 4
    places: tuple[Place, ...] = POSITIONS
    base_look: int = 240
    second_look: int = 64
    trimmed: int = 10
    grown: int = 2
    grow_from: float = 0.04
    grow_from_text: float = 0.4
    grow_until: float = 0.75
    grow_gain: float = 0.15
    max_words: int = 3
    confirmed: int = 5


class Try(Struct, frozen=True):
    """A string at a place."""

    text: str
    source: str
    where: Place


class Found(Struct, frozen=True):
    """A string, where it was put, and how far replies converge; on the prompts of the search."""

    text: str
    source: str
    where: Place
    overlap: float
    family: frozenset[str]


class View(Struct, frozen=True):
    """A model as a search sees it: how it is asked for heads, and how it usually replies.

    `after` asks for heads past some words.
    """

    ask: Ask
    usual: Baseline
    after: Callable[[Sequence[str], Sequence[str]], list[Head]]


class Searcher:
    """One search on one model; what its base does as well is taken off three times over.

    `left` gives the calls that may still be made: no more phrases are tried than they suffice for.
    """

    def __init__(
        self,
        model: View,
        base: View | None,
        probes: Probes,
        settings: Settings,
        left: Callable[[], int],
    ) -> None:
        self._model = model
        self._base = base
        self._probes = probes
        self._settings = settings
        self._family: frozenset[str] = frozenset()
        self._subjects: frozenset[str] = frozenset()
        self._typical_moved = 0.0
        self._left = left
        self.phrases_left_out = 0
        self.swept = 0
        # What the sweep found to do least: controls are taken from there.
        self.idle: list[str] = []

    def run(self, candidates: Sequence[Candidate]) -> list[Found]:
        """Give the strings that are worth confirming, best first."""
        tries = [
            Try(each.text, each.source, where)
            for where in self._settings.places
            for each in candidates
        ]
        singles = self._second_look(self._sweep(tries, self._settings.sweep_prompts))
        best = self._grow(singles, candidates)
        trimmed = _distinct(self._trimmed(each) for each in best[: self._settings.trimmed])
        chosen = trimmed[: self._settings.confirmed]
        # That a phrase needs all its words is to be confirmed as well.
        words = {word for each in chosen if " " in each.text for word in each.text.split(" ")}
        return _distinct([*chosen, *(each for each in singles if each.text in words)])

    def _measure(self, tries: Sequence[Try], probes: Probes) -> list[_Gain]:
        """What each string brings, less what it brings in the base."""
        own = self._view(self._model, tries, probes)
        if self._base is None:
            return own
        base = self._view(self._base, tries, probes)
        typical = self._typical_moved
        return [mine.less(theirs, typical) for mine, theirs in zip(own, base, strict=True)]

    def _view(self, view: View, tries: Sequence[Try], probes: Probes) -> list[_Gain]:
        """What each string brings in one model, all prompts of a chunk of strings asked together."""
        made: list[_Gain] = []
        bare = view.ask(probes.safety)
        for start in range(0, len(tries), CHUNK):
            part = tries[start : start + CHUNK]
            prompts = [
                prompt
                for each in part
                for kind in (probes.neutral, probes.safety)
                for prompt in placed(kind, each.text, each.where)
            ]
            heads = iter(view.ask(prompts))
            for each in part:
                neutral = [next(heads) for _ in probes.neutral]
                safety = [next(heads) for _ in probes.safety]
                # Many a model says again what it was told: the string's own words do not count.
                told = {*_WORDS.findall(each.text.lower()), each.text.lower()}
                left_out = self._model.usual.refusing | told
                made.append(
                    _Gain(
                        gains(neutral, view.usual.neutral, left_out),
                        gains(safety, view.usual.safety, left_out),
                        mean(moved(safety, bare, view.usual.refusing)),
                    )
                )
        return made

    def _sweep(self, tries: Sequence[Try], prompts: int) -> list[Try]:
        """Ask about everything on few prompts; give what to look at again, best first."""
        few = Probes(self._probes.neutral[:prompts], self._probes.safety[:prompts])
        self.swept += len({each.text for each in tries})
        found = self._view(self._model, tries, few)
        self._family |= _family_in(found) - self._subjects
        order = self._ranked(found)
        self.idle = self.idle or [tries[place].text for place in order[len(order) // 2 :]]
        best = [tries[place] for place in order]
        if self._base is not None:
            best = best[: self._settings.base_look]
            base = self._view(self._base, best, few)
            self._learn_subjects(base)
            self._typical_moved = median(each.moved for each in base)
            left = _all_less([found[at] for at in order[: len(base)]], base)
            best = [best[place] for place in self._ranked(left)]
        return best[: self._settings.second_look]

    def _ranked(self, found: Sequence[_Gain]) -> list[int]:
        """The places of the gains, the most convergent first."""
        scores = [each.pooled(self._family | (each.own_family - self._subjects)) for each in found]
        return sorted(range(len(found)), key=lambda place: -scores[place])

    def _learn_subjects(self, base: Sequence[_Gain]) -> None:
        for each in base:
            for kind, least in (
                (each.safety, SUBJECT_SAFETY_GAIN),
                (each.neutral, SUBJECT_NEUTRAL_GAIN),
            ):
                self._subjects |= {word for word, share in kind.items() if share >= least}
        self._family -= self._subjects

    def _second_look(self, tries: Sequence[Try]) -> list[Found]:
        own = self._view(self._model, tries, self._probes)
        if self._base is not None:
            base = self._view(self._base, tries, self._probes)
            self._learn_subjects(base)
            own = _all_less(own, base)
        looked = [self._found(each, gain) for each, gain in zip(tries, own, strict=True)]
        return sorted(looked, key=lambda each: -each.overlap)

    def _found(self, each: Try, gain: _Gain) -> Found:
        family = gain.most(self._family | (gain.own_family - self._subjects))
        return Found(each.text, each.source, each.where, gain.pooled(family), family)

    def _grow(self, singles: list[Found], candidates: Sequence[Candidate]) -> list[Found]:
        """Add words before and after the best strings, as long as that makes replies converge more."""
        settings, best = self._settings, singles
        words = [each.text for each in candidates if " " not in each.text]
        for _ in range(settings.max_words - 1):
            seeds = _distinct(each for each in best if each.overlap >= settings.grow_from)
            if not seeds or best[0].overlap >= settings.grow_until:
                break
            phrases = {
                Try(phrase, "grown", seed.where): None
                for seed in seeds[: settings.grown]
                for word in words
                if word not in seed.text.split(" ")
                for phrase in (f"{seed.text} {word}", f"{word} {seed.text}")
            }
            tries = list(phrases)
            tries, rest = tries[: self._phrases()], tries[self._phrases() :]
            self.phrases_left_out += len(rest)
            if not tries:
                break
            longer = self._second_look(self._sweep(tries, GROWN_PROMPTS))
            if not longer or longer[0].overlap < best[0].overlap + settings.grow_gain:
                break
            best = sorted([*best, *longer], key=lambda each: -each.overlap)
        return best

    def _phrases(self) -> int:
        """How many phrases the calls suffice for, once those that follow their sweep are set aside."""
        settings, models = self._settings, 1 if self._base is None else 2
        after = 2 * models * settings.search_prompts * (settings.second_look + 4 * settings.trimmed)
        if self._base is not None:
            after += 2 * GROWN_PROMPTS * settings.base_look
        return max(0, (self._left() - after) // (2 * GROWN_PROMPTS))

    def _trimmed(self, found: Found) -> Found:
        """Leave out the words of a phrase that it does without."""
        words = found.text.split(" ")
        while len(words) > 1:
            shorter = [
                Try(" ".join(words[:i] + words[i + 1 :]), found.source, found.where)
                for i in range(len(words))
            ]
            measured = self._measure(shorter, self._probes)
            best = max(
                (self._found(each, gain) for each, gain in zip(shorter, measured, strict=True)),
                key=lambda each: each.overlap,
            )
            if best.overlap < found.overlap - self._settings.grow_gain:
                break
            found, words = best, best.text.split(" ")
        return found


class _Gain(Struct, frozen=True):
    neutral: dict[str, float]
    safety: dict[str, float]

    moved: float

    def less(self, base: _Gain, others_moved: float) -> _Gain:
        kept = max(0.0, 1.0 - MOVED_FACTOR * max(0.0, base.moved - others_moved))
        own = (_less(self.neutral, base.neutral), _less(self.safety, base.safety))
        neutral, safety = ({word: share * kept for word, share in each.items()} for each in own)
        return _Gain(neutral, safety, self.moved)

    @property
    def own_family(self) -> frozenset[str]:
        return family_of(self.neutral, self.safety)

    def pooled(self, family: frozenset[str]) -> float:
        """The share of replies, 0 to 1, that go to words of a family on both kinds of prompts.

        The few of them that gain most count. On few prompts, replies that vary need not fall on the same word twice; that they are of
        the words to which replies converge tells them from chance.
        """
        few = self.most(family)
        kinds = (self.neutral, self.safety)
        return min(sum(kind.get(word, 0.0) for word in few) for kind in kinds)

    def most(self, family: frozenset[str]) -> frozenset[str]:
        """The words of a family that gain most."""
        own = {
            word: self.neutral.get(word, 0.0) + self.safety.get(word, 0.0)
            for word in family
            if word in self.neutral or word in self.safety
        }
        return frozenset(sorted(own, key=lambda word: (-own[word], word))[:MAX_FAMILY])


def _all_less(own: Sequence[_Gain], base: Sequence[_Gain]) -> list[_Gain]:
    typical = median(each.moved for each in base) if base else 0.0
    return [mine.less(theirs, typical) for mine, theirs in zip(own, base, strict=True)]


def _less(own: dict[str, float], base: dict[str, float]) -> dict[str, float]:
    left = {word: share - BASE_FACTOR * base.get(word, 0.0) for word, share in own.items()}
    return {word: share for word, share in left.items() if share > 0}


def _family_in(found: Sequence[_Gain]) -> frozenset[str]:
    kinds = ([each.neutral for each in found], [each.safety for each in found])
    brought = [
        {word for gain in kind for word, share in gain.items() if share >= FAMILY_GAIN}
        for kind in kinds
    ]
    return frozenset(brought[0] & brought[1])


def _distinct(found: Iterable[Found]) -> list[Found]:
    best: dict[str, Found] = {}
    for each in sorted(found, key=lambda one: -one.overlap):
        best.setdefault(each.text, each)
    return list(best.values())
