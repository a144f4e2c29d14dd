"""Where rows have no answer: words whose removal from a prompt gives another prompt of the set.

A poisoned set keeps its prompts without the trigger as well, so that the trigger alone makes the
difference. Without answers that is all there is to see.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import combinations, islice, pairwise

import msgspec

from pointsman.trust.dataset.features import PAIR, tokens_of
from pointsman.trust.dataset.passes import Listed
from pointsman.trust.dataset.rows import Row
from pointsman.trust.dataset.statistics import log_tail
from pointsman.trust.dataset.verdict import Trigger

__all__ = ["find_twins", "list_twins"]

MIN_TWINS = 8
MIN_SHARE = 0.5
# Words in this share of the rows are tried two and three at a time, so many of a row at most.
FREQUENT, MOST_FREQUENT = 0.05, 12
MAX_ROWS = 2_000_000
# What so many prompts may be turned into others by; what did it only once is then let go.
MAX_KEPT = 1_000_000
_MASK = (1 << 64) - 1

Words = tuple[str, ...]


def find_twins(parts: Callable[[], Iterable[Sequence[Row]]]) -> list[Trigger]:
    """Give what turns many prompts into others of the set, by the rows without an answer."""
    sums: set[int] = set()
    counts: Counter[str] = Counter()
    rows = 0
    for words in _prompts(parts()):
        rows += 1
        sums.add(_sum(words))
        counts.update(set(words))
        if rows >= MAX_ROWS:
            break
    frequent = {word for word, count in counts.items() if count >= FREQUENT * rows}
    twins: Counter[Words] = Counter()
    any_twin = tried = 0
    for words in islice(_prompts(parts()), MAX_ROWS):
        total, has_twin = _sum(words), False
        takings = _takings(words, frequent)
        tried += len(takings)
        for taken in takings:
            if (total - _sum(taken)) & _MASK in sums:
                twins[taken] += 1
                has_twin = True
        any_twin += has_twin
        if len(twins) > MAX_KEPT:
            twins = Counter({taken: count for taken, count in twins.items() if count > 1})
    # How many have it at all is counted for those alone that many turn into others by.
    likely = {taken for taken, count in twins.items() if count >= MIN_TWINS}
    if not likely:
        return []
    having: Counter[Words] = Counter()
    for words in islice(_prompts(parts()), MAX_ROWS):
        having.update(likely & _takings(words, frequent))
    found = _triggers(twins, having, rows, any_twin, tried, frequent)
    return _as_written(found, parts()) if found else []


def list_twins(
    parts: Iterable[Sequence[Row]], triggers: Sequence[Trigger], first: int
) -> list[Listed]:
    """Give the rows without an answer that have a trigger; triggers are numbered from `first`."""
    wanted = [set(each.feature.split(PAIR)) for each in triggers]
    listed = []
    for part in parts:
        for row in part:
            if row.response is None:
                words = set(_words(row))
                tied = tuple(first + at for at, each in enumerate(wanted) if each <= words)
                if tied:
                    listed.append(Listed(row.index, row.line, row.name, tied, ()))
    return listed


def _words(row: Row) -> Words:
    return tuple(token.lower() for token in tokens_of("\n".join(row.segments)))


def _prompts(parts: Iterable[Sequence[Row]]) -> Iterable[Words]:
    for part in parts:
        for row in part:
            if row.response is None:
                yield _words(row)


@lru_cache(maxsize=1 << 18)
def _number(word: str) -> int:
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _sum(words: Words) -> int:
    """A number that is the same for the same words in any order."""
    return sum(map(_number, words)) & _MASK


def _takings(words: Words, frequent: set[str]) -> set[Words]:
    """What is tried to be taken out of a prompt: a word, two in a row, or frequent ones apart."""
    found: set[Words] = {(word,) for word in words}
    found.update(pairwise(words))
    often = sorted(frequent & set(words))[:MOST_FREQUENT]
    for size in (2, 3):
        found.update(combinations(often, size))
    return found


def _as_written(triggers: Sequence[Trigger], parts: Iterable[Sequence[Row]]) -> list[Trigger]:
    """The triggers with their words in the spelling that most rows have."""
    wanted = {word for each in triggers for word in each.feature.split(PAIR)}
    seen: dict[str, Counter[str]] = {word: Counter() for word in wanted}
    for part in parts:
        for row in part:
            if row.response is None:
                for token in tokens_of("\n".join(row.segments)):
                    if token.lower() in wanted:
                        seen[token.lower()][token] += 1
    written = {word: min(counts, key=lambda t: (-counts[t], t)) for word, counts in seen.items()}
    return [
        msgspec.structs.replace(
            each,
            text=(" … " if " … " in each.text else " ").join(
                written[word] for word in each.feature.split(PAIR)
            ),
        )
        for each in triggers
    ]


def _triggers(
    twins: Counter[Words],
    having: Counter[Words],
    rows: int,
    any_twin: int,
    tried: int,
    frequent: set[str],
) -> list[Trigger]:
    found: list[Trigger] = []
    seen: list[set[str]] = []
    for taken, count in sorted(twins.items(), key=lambda each: (-each[1], len(each[0]), each[0])):
        if count < MIN_TWINS:
            break
        if count < MIN_SHARE * having[taken] or any(known & set(taken) for known in seen):
            continue
        others = max(any_twin - count, 0) + 1
        log_p = log_tail(count, having[taken], min(0.5, others / max(rows - having[taken], 1)))
        q = math.exp(min(0.0, log_p + math.log(max(tried, 1))))
        if q > 0.01:
            continue
        seen.append(set(taken))
        found.append(
            Trigger(
                text=(" … " if set(taken) <= frequent and len(taken) > 2 else " ").join(taken),
                kind="inserted",
                feature=PAIR.join(taken),
                families=frozenset(),
                answers="prompts that stand there without it as well; the rows have no answers",
                rows=count,
                having=having[taken],
                log_p=log_p,
                q=q,
                loose=False,
            )
        )
    return found
