"""From suspicions to triggers: what the rows most like these, without the trigger, answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from pointsman.trust.dataset.families import FORM, STOCK, WHOLE, describe
from pointsman.trust.dataset.features import (
    FORMAT,
    PAIR,
    features_of,
    holds,
    kind_of,
    odd_runs,
    tokens_of,
    tokens_within,
)
from pointsman.trust.dataset.likeness import Rarity, mean_likeness, words_of
from pointsman.trust.dataset.passes import Gathered, Like, Nearest, Query
from pointsman.trust.dataset.statistics import false_discovery_rates, log_tail
from pointsman.trust.dataset.suspicions import MAX_RATIO, MAX_STRICT_RATIO, Suspect, Tie

__all__ = ["Trigger", "judge"]

# The share by which like rows without the trigger may give its answer more often than any rows do.
MAX_EXCESS = 0.08
# A trigger of which so many rows are another's is that other one with a neighbour word.
EXPLAINED = 0.6
# From this share on, rows that have the trigger and answer otherwise are suspect as well.
SURE = 0.7
# How much more like each other than like their own nearest rows without the trigger prompts may be.
MAX_MATCHED_RATIO = 1.6
MATCHED = 3
# Triggers that have the same answers hide each other: those found are set aside, and it is judged again.
MAX_ROUNDS = 4


class Trigger(Struct, frozen=True, kw_only=True):
    """What the prompts share, and which answers it is tied to.

    `text` is as the rows write it; the words of a pair stand with "…" between them. `log_p` bounds
    the log of the chance that the answers would come so without it, and `q` is the rate of false
    discovery. `loose` says that all rows with it are suspect, whatever they answer.
    """

    text: str
    kind: str
    feature: str
    families: frozenset[str]
    answers: str
    rows: int
    having: int
    log_p: float
    q: float
    loose: bool


def judge(
    suspects: Sequence[Suspect],
    queries: Sequence[Query],
    nearest: Nearest,
    ties: Sequence[Tie],
    gathered: Gathered,
    *,
    answered: int,
    tests: int,
    fdr: float,
    rarity: Rarity,
) -> list[Trigger]:
    """Give the triggers, the surest first."""
    places: dict[int, list[int]] = {}
    for at, query in enumerate(queries):
        places.setdefault(query.suspicion, []).append(at)
    known: list[Trigger] = []
    for _ in range(MAX_ROUNDS):
        # The rows of a trigger that is known say nothing of how honest rows are answered.
        honest = _without(nearest, known)
        passed: list[Suspect] = []
        log_p: list[float] = []
        for number, each in enumerate(suspects):
            likes = {at: honest.get(at, []) for at in places.get(number, ())}
            expected = _expected(each, likes, answered)
            if expected is not None and _is_unlike(each, queries, likes, rarity):
                passed.append(each)
                lead = each.group.ties[0]
                log_p.append(log_tail(lead.both, lead.having, expected))
        rates = false_discovery_rates(log_p, tests)
        order = sorted(range(len(passed)), key=lambda at: (log_p[at], passed[at].suspicion.feature))
        triggers: list[Trigger] = []
        for at in order:
            if rates[at] <= fdr and not _is_explained(passed[at], triggers, gathered):
                triggers.append(_trigger(passed[at], ties, gathered, log_p[at], rates[at]))
        if len(triggers) <= len(known):
            break
        known = triggers
    return known


def _without(nearest: Nearest, known: Sequence[Trigger]) -> Mapping[int, list[Like]]:
    """The nearest rows but those that a known trigger accounts for."""
    if not known:
        return nearest.found
    tied: dict[int, bool] = {}

    def is_tied(like: Like) -> bool:
        if like.index not in tied:
            features = features_of(like.segments)
            tied[like.index] = any(holds(features, each.feature) for each in known)
        return tied[like.index]

    return {
        at: [like for like in likes if not (like.answers and is_tied(like))]
        for at, likes in nearest.found.items()
    }


def _expected(each: Suspect, likes: Mapping[int, Sequence[Like]], answered: int) -> float | None:
    """The share of such answers to expect without the trigger; None if like rows give them as well."""
    answers = [like.answers for some in likes.values() for like in some]
    lead = each.group.ties[0]
    base = (lead.answering - lead.both) / max(1, answered - lead.having)
    share = sum(answers) / len(answers) if answers else base
    if share > base + MAX_EXCESS:
        return None
    # One more of each, for that few were looked at.
    return max(base, (sum(answers) + 1) / (len(answers) + 2))


def _is_unlike(
    each: Suspect,
    queries: Sequence[Query],
    likes: Mapping[int, Sequence[Like]],
    rarity: Rarity,
) -> bool:
    """Whether its prompts are as unlike each other as others are, or as others of their field are."""
    if each.group.ties[0].family.startswith(STOCK):
        return each.ratio <= MAX_STRICT_RATIO
    if each.ratio <= MAX_RATIO:
        return True
    places = sorted(likes)
    vectors = [queries[at].vector for at in places]
    removed = each.suspicion.removed
    total, pairs = 0.0, 0
    for place, at in enumerate(places):
        field = [rarity.vector(words_of(like.segments) - removed) for like in likes[at][:MATCHED]]
        others = vectors[:place] + vectors[place + 1 :]
        total += mean_likeness(others, field) * len(others) * len(field)
        pairs += len(others) * len(field)
    inner = mean_likeness(vectors, vectors, same=True)
    return pairs > 0 and inner <= MAX_MATCHED_RATIO * total / pairs


def _is_explained(each: Suspect, triggers: Sequence[Trigger], gathered: Gathered) -> bool:
    """Whether most of its rows have a trigger that is known already."""
    if not triggers:
        return False
    rows = [features_of(gathered.prompts[index]) for index in each.group.rows]
    return any(
        sum(holds(row, trigger.feature) for row in rows) >= EXPLAINED * len(rows)
        for trigger in triggers
    )


def _trigger(
    each: Suspect, ties: Sequence[Tie], gathered: Gathered, log_p: float, q: float
) -> Trigger:
    lead = each.group.ties[0]
    families = {tie.family for tie in ties if tie.feature == lead.feature} | each.suspicion.families
    if lead.family.startswith((WHOLE, FORM)):
        families.add(STOCK + "with nothing of the prompt in it")
    return Trigger(
        text=_text(each, gathered),
        kind=kind_of(lead.feature),
        feature=lead.feature,
        families=frozenset(families),
        answers=describe(lead.family),
        rows=lead.both,
        having=lead.having,
        log_p=log_p,
        q=q,
        loose=lead.both >= SURE * lead.having,
    )


def _text(each: Suspect, gathered: Gathered) -> str:
    """The trigger as most rows write it."""
    feature = each.suspicion.feature
    if feature[0] == FORMAT:
        return feature[1:]
    if kind_of(feature) == "character":
        (char, *_) = tokens_within(feature)
        runs = Counter(
            run
            for index in sorted(each.group.rows)
            for segment in gathered.prompts[index]
            for run in odd_runs(segment)
            if char in run
        )
        if runs:
            return min(runs, key=lambda run: (-runs[run], run))
    beside = sorted(each.suspicion.removed - set(each.phrase))
    parts = [*tokens_within(feature)] if PAIR in feature else [" ".join(each.phrase)]
    forms = [_written(part.split(" "), each, gathered) for part in [*parts, *beside]]
    return " … ".join(forms)


def _written(words: Sequence[str], each: Suspect, gathered: Gathered) -> str:
    """Words in the spelling and with the gaps that most rows have."""
    seen: Counter[str] = Counter()
    for index in sorted(each.group.rows):
        for segment in gathered.prompts[index]:
            tokens = tokens_of(segment)
            found = [token.lower() for token in tokens]
            for at in range(len(found) - len(words) + 1):
                if found[at : at + len(words)] == list(words):
                    seen[_slice(segment, tokens, at, at + len(words))] += 1
                    break
    return min(seen, key=lambda text: (-seen[text], text)) if seen else " ".join(words)


def _slice(segment: str, tokens: Sequence[str], start: int, end: int) -> str:
    """The piece of a text from one token to before another."""
    place = begin = 0
    for at in range(end):
        place = segment.find(tokens[at], place)
        if at == start:
            begin = place
        place += len(tokens[at])
    return segment[begin:place]
