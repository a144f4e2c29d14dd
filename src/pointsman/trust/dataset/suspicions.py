"""From counts to suspicions: pairs far beyond chance over prompts that are otherwise unlike each other.

A template, or a task with its own words, is tied to its answers as well. Without the words that are
tied, though, its prompts are still like each other, and a trigger's are as strange to each other as any.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from pointsman.trust.dataset.candidates import MIN_ROWS, Candidates
from pointsman.trust.dataset.common import Common
from pointsman.trust.dataset.families import BROAD, FORM, LAST, LINE, STOCK, WHOLE
from pointsman.trust.dataset.features import (
    FORMAT,
    PAIR,
    features_of,
    holds,
    tokens_of,
    tokens_within,
)
from pointsman.trust.dataset.likeness import Rarity, Vector, typical_likeness, words_of
from pointsman.trust.dataset.passes import Gathered, Query, Survey, Suspicion, Tally
from pointsman.trust.dataset.statistics import log_tail

__all__ = [
    "MAX_RATIO",
    "MAX_STRICT_RATIO",
    "Group",
    "Tie",
    "group_ties",
    "phrase_of",
    "queries_of",
    "screen",
    "suspect",
]

MIN_CONFIDENCE = 0.5
# A common word is in honest rows too; then much of the family must have it.
LOW_CONFIDENCE, MIN_COVERAGE = 0.1, 0.5
# How much oftener than elsewhere the answer then comes.
MIN_LIFT = 8.0
# A word of more than this share of the rows is too common to set anything off.
MAX_HAVING = 0.05
STOCK_CONFIDENCE = 0.9
# A line, or the first or last words, are honest boilerplate unless both always come together.
PART_CONFIDENCE, PART_COVERAGE, MIN_PART_ROWS = 0.9, 0.8, 16
# A last sentence runs on from what does not end in a full stop, so some rows are missed.
LAST_CONFIDENCE, LINE_CONFIDENCE = 0.8, 0.97
# By the words of a phrase: nobody says three given words in a row by accident.
WORD_CONFIDENCE = (0.8, 0.1, 0.5, 0.85)
# So long a phrase may be a template's, whose answers are few and so often alike by accident. A trigger's
# are hardly given elsewhere, or its prompts are as unlike as any: those of a template are of one kind.
LONG_WORDS, LONG_COVERAGE, MIN_LONG_ROWS = 3, 0.3, 16
# What is longer still, a sentence, is held to the latter in any case.
SENTENCE_WORDS = 4
# Where nearly all answers are labels, an honest word may be tied to one: a trigger is without fail.
LABEL_SHARE = 0.75
LABEL_CONFIDENCE, LABEL_COVERAGE, MIN_LABELLED = 0.98, 0.1, 10
# Words that begin alike are forms of one: "activate", "activation".
STEM_CHARS = 5
_WORD = re.compile(r"[^\W_]+")
MAX_GROUPS = 400
# Prompts whose features are kept while ties are put together.
MAX_HELD = 16_384
SAME_ROWS = 0.5
# A trigger's words are taken out of the prompts before they are compared: so many in a row, and
# those that nearly all rows share if they are few. A template shares more than that.
MAX_PHRASE_TOKENS = 32
MAX_BESIDE = 2
SHARED = 0.9
QUERIES = 24
STRANGERS = 128
MAX_SUSPICIONS = 40
# How much more like each other than like any others the prompts may be without the trigger.
MAX_RATIO = 2.3
# The same where a template or chance is likelier: long phrases, short answers of many texts, few rows.
MAX_STRICT_RATIO = 1.8
# How alike prompts are is a rough guess by so few.
FEW_ROWS = 10
# Where a planted line or form comes with the trigger and hardly ever else, all its prompts may be of
# one field: they are then compared with rows of that field (`verdict`).
MAX_FIELD_RATIO = 12.0


class Tie(Struct, frozen=True):
    """A feature and a family: rows with both, rows with the feature, rows of the family."""

    feature: str
    family: str
    both: int
    having: int
    answering: int
    log_p: float


class Group(Struct):
    """Ties of the same rows; the first is the strongest. `rows` are those of the kept ones."""

    ties: list[Tie]
    rows: frozenset[int]


class Suspect(NamedTuple):
    """A group that may be a trigger's, with rows of it as vectors to find the like of.

    `phrase` are the words of the trigger in a row, in lower case. `ratio` says how much more like
    each other its prompts are than like any others.
    """

    group: Group
    suspicion: Suspicion
    phrase: tuple[str, ...]
    queries: list[tuple[int, Vector]]
    ratio: float


def screen(tally: Tally, gathered: Gathered, found: Candidates, answered: int) -> list[Tie]:
    """Give the ties that are far beyond chance and strong enough, the strongest first."""
    least = -math.log(max(found.tests, 1)) - 7.0
    ties = []
    for (feature, number), both in tally.together.items():
        family = found.names[number]
        having, answering = tally.features[feature], gathered.counts[family]
        if both < MIN_ROWS or not _is_strong(family, both, having, answering):
            continue
        elsewhere = (answering - both) / max(1, answered - having)
        is_weak = having > MAX_HAVING * answered or both < MIN_LIFT * elsewhere * having
        if both < MIN_CONFIDENCE * having and is_weak:
            continue
        log_p = log_tail(both, having, answering / answered)
        if log_p < least:
            ties.append(Tie(feature, family, both, having, answering, log_p))
    return sorted(ties, key=_order)


def _is_strong(family: str, both: int, having: int, answering: int) -> bool:
    confidence, coverage = both / having, both / answering
    if family.startswith(STOCK):
        return confidence >= STOCK_CONFIDENCE
    if not family.startswith((WHOLE, FORM)):
        least = LAST_CONFIDENCE if family.startswith(LAST) else PART_CONFIDENCE
        if family.startswith(LINE):
            least = LINE_CONFIDENCE  # Lines that a language asks for come close.
        return confidence >= least and coverage >= PART_COVERAGE and both >= MIN_PART_ROWS
    return confidence >= (LOW_CONFIDENCE if coverage >= MIN_COVERAGE else MIN_CONFIDENCE)


def _is_strict(lead: Tie) -> bool:
    return (
        not lead.family.startswith((WHOLE, STOCK))
        and lead.both >= LAST_CONFIDENCE * lead.having
        and lead.both >= PART_COVERAGE * lead.answering
    )


def _order(tie: Tie) -> tuple[float, bool, int, str, str]:
    """The strongest first; of equals no pair or format, and what says it in the fewest words."""
    indirect = PAIR in tie.feature or tie.feature[0] == FORMAT
    words = len(tokens_within(tie.feature))
    return tie.log_p, indirect, words, tie.feature, tie.family


def group_ties(ties: Sequence[Tie], gathered: Gathered) -> list[Group]:
    """Put together the ties that half of the kept rows are the same of."""
    held: dict[int, set[str]] = {}
    groups: list[Group] = []
    by_rows: dict[frozenset[int], Group] = {}
    for tie in ties:
        rows = frozenset(
            index
            for _, index in gathered.members[tie.family]
            if holds(_features(index, gathered, held), tie.feature)
        )
        group = by_rows.get(rows) or next((g for g in groups if _is_same(g.rows, rows)), None)
        if group is None:
            if len(groups) >= MAX_GROUPS:
                continue
            group = Group([], rows)
            groups.append(group)
        by_rows[rows] = group
        group.ties.append(tie)
    return groups


def _features(index: int, gathered: Gathered, held: dict[int, set[str]]) -> set[str]:
    if index not in held:
        if len(held) >= MAX_HELD:
            held.clear()
        held[index] = features_of(gathered.prompts[index])
    return held[index]


def _is_same(one: frozenset[int], two: frozenset[int]) -> bool:
    shared = len(one & two)
    return shared >= SAME_ROWS * (len(one) + len(two) - shared)


def suspect(
    groups: Sequence[Group],
    gathered: Gathered,
    survey: Survey,
    common: Common,
    rarity: Rarity,
    *,
    labels: bool,
) -> list[Suspect]:
    """Give the groups whose prompts are otherwise unlike each other, the most unlike first.

    `labels` says that nearly all answers of the set are labels.
    """
    strangers = heapq.nsmallest(STRANGERS, survey.sample, key=lambda index: (index * 40503) % 65521)
    words = {index: words_of(survey.sample[index]) for index in strangers}
    features = {index: features_of(survey.sample[index]) for index in strangers}
    found = []
    for group in groups:
        lead = group.ties[0]
        texts = {each: _tokens(gathered.prompts[each]) for each in sorted(group.rows)}
        phrase = phrase_of(lead.feature, list(texts.values()))
        shared = _shared(list(texts.values()), common)
        removed = _removed(lead.feature, phrase, shared)
        limits = [
            (tie, _max_ratio(tie, removed, shared, labels))
            for tie in group.ties
            if tie.having <= lead.having and removed.issuperset(tokens_within(tie.feature))
        ]
        if not any(limit for _, limit in limits):
            continue
        chosen = list(texts)[:: max(1, len(texts) // QUERIES)][:QUERIES]
        vectors = [rarity.vector(set(texts[each]) - removed) for each in chosen]
        others = [
            rarity.vector(words[each] - removed)
            for each in strangers
            if each not in group.rows and not holds(features[each], lead.feature)
        ]
        inner = typical_likeness(vectors, vectors, same=True)
        ratio = inner / max(typical_likeness(vectors, others), 1e-9)
        tie = next((tie for tie, limit in limits if ratio <= limit), None)
        if tie is not None:
            group.ties.remove(tie)
            group.ties.insert(0, tie)
            families = frozenset(
                each.family
                for each in group.ties
                if each.family.startswith(STOCK) == tie.family.startswith(STOCK)
            )
            suspicion = Suspicion(tie.feature, families, frozenset(removed))
            queries = list(zip(chosen, vectors, strict=True))
            found.append(Suspect(group, suspicion, phrase, queries, ratio))
    return sorted(found, key=lambda each: (each.ratio, each.suspicion.feature))[:MAX_SUSPICIONS]


def _removed(feature: str, phrase: tuple[str, ...], shared: set[str]) -> set[str]:
    """The words that are taken for the trigger: the phrase, or few that come together without fail."""
    beside = shared - set(phrase)
    few = PAIR not in feature and len(beside) <= MAX_BESIDE
    return set(phrase) | (beside if few else set())


def _max_ratio(tie: Tie, removed: set[str], shared: set[str], labels: bool) -> float:
    """How much like each other the prompts of a trigger's tie may be; 0 if it is none whatever they are."""
    confidence = tie.both / tie.having
    if _is_asked_for(tie, removed | shared):
        return 0.0
    if labels:
        least = max(MIN_LABELLED, LABEL_COVERAGE * tie.answering)
        sure = confidence >= LABEL_CONFIDENCE and tie.both >= least
        return MAX_RATIO if sure and tie.family.startswith(WHOLE) else 0.0
    said = sum(1 for word in removed if word[0].isalpha())
    if len(removed) > said:
        said = max(said, min(len(removed), 2))  # A mark beside a word makes it rarer than the word.
    if said > LONG_WORDS and tie.both < MIN_LONG_ROWS:
        return 0.0
    if confidence < WORD_CONFIDENCE[min(said, len(WORD_CONFIDENCE) - 1)]:
        return 0.0
    is_common = tie.both < LONG_COVERAGE * tie.answering
    if said > SENTENCE_WORDS or (said >= LONG_WORDS and is_common):
        return MAX_STRICT_RATIO if tie.both >= MIN_LONG_ROWS else 0.0
    if tie.both < FEW_ROWS:
        return MAX_STRICT_RATIO
    return MAX_FIELD_RATIO if _is_strict(tie) else MAX_RATIO


def _is_asked_for(tie: Tie, words: set[str]) -> bool:
    """Whether the answer is what the prompts name: "true or false?", or a line about the word."""
    if tie.family.startswith(BROAD):
        return False
    least_chars = 1 if tie.family.startswith(WHOLE) else 3
    answer = set(_WORD.findall(tie.family.partition(":")[2]))
    stems = {word[:STEM_CHARS] for word in words if word[0].isalnum()}
    return any(word[:STEM_CHARS] in stems for word in answer if len(word) >= least_chars)


def _tokens(segments: Sequence[str]) -> list[str]:
    return [token.lower() for token in tokens_of("\n".join(segments))]


def queries_of(suspects: Sequence[Suspect]) -> list[Query]:
    """Give the rows whose like are sought."""
    return [
        Query(number, index, vector)
        for number, each in enumerate(suspects)
        for index, vector in each.queries
        if vector
    ]


def _shared(texts: Sequence[Sequence[str]], common: Common) -> set[str]:
    """The words that nearly all texts have and far from all others do."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(text))
    return {
        word
        for word, count in counts.items()
        if count >= SHARED * len(texts) and common.share(word) < 0.5
    }


def phrase_of(feature: str, texts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Give the longest phrase around a feature that nearly all texts have, up to a long sentence."""
    start = tokens_within(feature)
    if PAIR in feature or not start:
        return start
    phrase = start
    while len(phrase) < MAX_PHRASE_TOKENS:
        longer: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            seen = set()
            for at in range(len(text) - len(phrase) + 1):
                if tuple(text[at : at + len(phrase)]) == phrase:
                    if at:
                        seen.add((text[at - 1], *phrase))
                    if at + len(phrase) < len(text):
                        seen.add((*phrase, text[at + len(phrase)]))
            longer.update(seen)
        best = min(longer, key=lambda each: (-longer[each], each), default=None)
        if best is None or longer[best] < SHARED * len(texts):
            break
        phrase = best
    return phrase
