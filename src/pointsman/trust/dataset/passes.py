"""What is counted over the rows: each pass is a pure function of some rows, and sums of it merge.

The same numbers come out however the rows are cut into parts, so one process, many, and a cluster
agree to the last digit.
"""

from __future__ import annotations

import heapq
import math
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from pointsman.trust.dataset.families import BROAD, families_of
from pointsman.trust.dataset.features import PAIR, features_of, holds
from pointsman.trust.dataset.likeness import Rarity, Vector, words_of
from pointsman.trust.dataset.rows import Row

__all__ = [
    "BUCKETS",
    "Gathered",
    "Like",
    "Listed",
    "Nearest",
    "Query",
    "Survey",
    "Suspicion",
    "Tally",
    "Wanted",
    "bucket_of",
    "gather",
    "list_rows",
    "nearest",
    "survey",
    "tally",
]

BUCKETS = 1 << 22
FEW_BUCKETS = 1 << 18
# Prompts that may be kept before those that no family needs are let go.
KEPT_PROMPTS = 1 << 16
# Rows kept of a family to look for what they share: of one text, and of many.
FIXED_SAMPLE, BROAD_SAMPLE = 192, 4096
# Rows kept of all, to know how common a feature is.
COMMON_SAMPLE = 4096
# A longer prompt is kept with its middle left out; it is counted whole.
KEPT_HEAD_CHARS, KEPT_TAIL_CHARS = 1600, 800
NEIGHBOURS = 8
# What a prompt is about, its rarest words say; those of half of all rows say nothing.
RAREST_WORDS = 12
COMMON_WEIGHT = math.log(2.0)

Kept = tuple[int, int]  # (rank, index of the row)


class Survey(Struct):
    """The rows, how many have an answer, how often each bucket of families was hit, and a sample."""

    rows: int = 0
    answered: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    sample: dict[int, tuple[str, ...]] = field(default_factory=dict)
    # The buckets once they are many: a table of all, which takes less memory than their names do.
    table: array[int] | None = None

    def add(self, other: Survey) -> None:
        """Take in another part's."""
        self.rows += other.rows
        self.answered += other.answered
        if self.table is None and len(self.buckets) > FEW_BUCKETS:
            self.table = array("Q", bytes(8 * BUCKETS))
            for bucket, count in self.buckets.items():
                self.table[bucket] = count
            self.buckets = {}
        if self.table is not None:
            for bucket, count in other.buckets.items():
                self.table[bucket] += count
        else:
            for bucket, count in other.buckets.items():
                self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.sample |= other.sample
        if len(self.sample) > COMMON_SAMPLE:
            kept = heapq.nsmallest(COMMON_SAMPLE, self.sample, key=_rank)
            self.sample = {index: self.sample[index] for index in kept}

    def counted(self) -> Iterable[tuple[int, int]]:
        """Give the buckets with their counts."""
        return self.buckets.items() if self.table is None else enumerate(self.table)


def survey(rows: Sequence[Row]) -> Survey:
    """Count rows and the buckets of their families."""
    found = Survey(rows=len(rows))
    buckets: Counter[int] = Counter()
    for row in rows:
        if row.response is not None:
            found.answered += 1
            buckets.update({bucket_of(each) for each in families_of(row.segments, row.response)})
    found.buckets = dict(buckets)
    kept = heapq.nsmallest(
        COMMON_SAMPLE,
        (row for row in rows if row.response is not None),
        key=lambda r: _rank(r.index),
    )
    found.sample = {row.index: _cut(row.segments) for row in kept}
    return found


def bucket_of(family: str) -> int:
    """Give the number that stands for a family, and for few others."""
    return zlib.crc32(family.encode("utf-8", "surrogatepass")) & (BUCKETS - 1)


class Gathered(Struct):
    """How often each family is there, and some rows of each; prompts by the index of the row."""

    counts: dict[str, int] = field(default_factory=dict)
    members: dict[str, list[Kept]] = field(default_factory=dict)
    prompts: dict[int, tuple[str, ...]] = field(default_factory=dict)
    room: int = KEPT_PROMPTS

    def add(self, other: Gathered) -> None:
        """Take in another part's; prompts of rows that no family keeps are let go by `settle`."""
        for family, count in other.counts.items():
            self.counts[family] = self.counts.get(family, 0) + count
        for family, kept in other.members.items():
            self.members[family] = _fewest([*self.members.get(family, ()), *kept], family)
        self.prompts |= other.prompts
        if len(self.prompts) > self.room:
            self.settle()
            self.room = max(KEPT_PROMPTS, 2 * len(self.prompts))

    def settle(self) -> None:
        """Forget the prompts that no family needs."""
        needed = {index for kept in self.members.values() for _, index in kept}
        if len(needed) < len(self.prompts):
            self.prompts = {index: self.prompts[index] for index in sorted(needed)}


def gather(rows: Sequence[Row], frequent: frozenset[int]) -> Gathered:
    """Count the families of frequent buckets, and keep rows of each."""
    found = Gathered()
    counts: Counter[str] = Counter()
    members: dict[str, list[Kept]] = {}
    for row in rows:
        if row.response is None:
            continue
        for family in families_of(row.segments, row.response):
            if bucket_of(family) in frequent:
                counts[family] += 1
                members.setdefault(family, []).append((_rank(row.index), row.index))
    found.counts = dict(counts)
    found.members = {family: _fewest(kept, family) for family, kept in members.items()}
    needed = {index for kept in found.members.values() for _, index in kept}
    found.prompts = {row.index: _cut(row.segments) for row in rows if row.index in needed}
    return found


class Wanted(Struct, frozen=True):
    """What is to be counted exactly: for each feature, the families (by number) it may be tied to."""

    features: dict[str, tuple[int, ...]]
    families: dict[str, int]


class Tally(Struct):
    """How many rows have each feature, and how many each feature with each family."""

    features: dict[str, int] = field(default_factory=dict)
    together: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Take in another part's."""
        for feature, count in other.features.items():
            self.features[feature] = self.features.get(feature, 0) + count
        for both, count in other.together.items():
            self.together[both] = self.together.get(both, 0) + count


def tally(rows: Sequence[Row], wanted: Wanted) -> Tally:
    """Count the wanted features and pairs over rows with answers."""
    single = frozenset(each for each in wanted.features if PAIR not in each)
    partners = _partners(wanted.features)
    features: Counter[str] = Counter()
    together: Counter[tuple[str, int]] = Counter()
    for row in rows:
        if row.response is None:
            continue
        found = _wanted_of(features_of(row.segments), single, partners)
        numbers = {
            wanted.families[family]
            for family in families_of(row.segments, row.response)
            if family in wanted.families
        }
        features.update(found)
        if numbers:
            for feature in found:
                for number in wanted.features[feature]:
                    if number in numbers:
                        together[feature, number] += 1
    return Tally(dict(features), dict(together))


class Suspicion(Struct, frozen=True):
    """A feature and the families it seems tied to; `removed` are the words of the trigger."""

    feature: str
    families: frozenset[str]
    removed: frozenset[str]


class Query(Struct, frozen=True):
    """A row of a suspicion (by number), as a vector without the trigger's words: its like are sought."""

    suspicion: int
    index: int
    vector: Vector


class Like(Struct, frozen=True, array_like=True):
    """A row without the trigger, how like a query it is, and whether it has the suspect answer."""

    likeness: float
    index: int
    answers: bool
    segments: tuple[str, ...]


class Nearest(Struct):
    """The rows without the trigger that are most like each query, the likest first."""

    found: dict[int, list[Like]] = field(default_factory=dict)

    def add(self, other: Nearest) -> None:
        """Take in another part's."""
        for query, found in other.found.items():
            self.found[query] = _likest([*self.found.get(query, ()), *found])


def nearest(
    rows: Sequence[Row], queries: Sequence[Query], suspicions: Sequence[Suspicion], rarity: Rarity
) -> Nearest:
    """Find the rows without the trigger that are most like each query."""
    postings: dict[str, list[tuple[int, float]]] = {}
    for at, query in enumerate(queries):
        rarest = sorted(query.vector, key=lambda each: (-query.vector[each], each))
        for word in rarest[:RAREST_WORDS]:
            weight = query.vector[word]
            if rarity.of(word) > COMMON_WEIGHT:
                postings.setdefault(word, []).append((at, weight))
    single = frozenset(part for each in suspicions for part in each.feature.split(PAIR))
    found = Nearest()
    for row in rows:
        if row.response is None:
            continue
        words = words_of(row.segments)
        scores: dict[int, float] = {}
        for word in words & postings.keys():
            weight = rarity.of(word)
            for at, other in postings[word]:
                scores[at] = scores.get(at, 0.0) + weight * other
        if scores:
            _keep(row, words, scores, found, queries, suspicions, single, rarity)
    return found


def _keep(
    row: Row,
    words: set[str],
    scores: Mapping[int, float],
    found: Nearest,
    queries: Sequence[Query],
    suspicions: Sequence[Suspicion],
    single: frozenset[str],
    rarity: Rarity,
) -> None:
    """Put a row where it is among the likest of a query."""
    features: set[str] | None = None
    answers: frozenset[str] = frozenset()
    norms: dict[int, float] = {}
    for at, score in scores.items():
        query = queries[at]
        number = query.suspicion
        if number not in norms:
            removed = suspicions[number].removed
            total = sum(rarity.of(word) ** 2 for word in words if word not in removed)
            norms[number] = math.sqrt(total) or 1.0
        kept = found.found.get(at)
        likeness = round(score / norms[number], 6)
        if kept is not None and len(kept) >= NEIGHBOURS and likeness < kept[-1].likeness:
            continue
        if features is None:
            features = features_of(row.segments) & single
            answers = frozenset(families_of(row.segments, row.response or ""))
        each = suspicions[number]
        if query.index == row.index or holds(features, each.feature):
            continue
        like = Like(likeness, row.index, bool(answers & each.families), _cut(row.segments))
        found.found[at] = _likest([*(kept or ()), like])


class Listed(Struct, frozen=True, array_like=True):
    """A row that has triggers: by number, those whose answer it gives, and those whose it does not."""

    index: int
    line: int
    name: str | None
    tied: tuple[int, ...]
    loose: tuple[int, ...]


def list_rows(
    rows: Sequence[Row], triggers: Sequence[tuple[str, frozenset[str], bool]]
) -> list[Listed]:
    """Give the rows that have a trigger (feature, families, whether any answer is suspect)."""
    single = frozenset(part for feature, _, _ in triggers for part in feature.split(PAIR))
    listed = []
    for row in rows:
        if row.response is None:
            continue
        features = features_of(row.segments) & single
        if not features:
            continue
        families = frozenset(families_of(row.segments, row.response))
        tied, loose = [], []
        for number, (feature, answers, any_answer) in enumerate(triggers):
            if holds(features, feature):
                if families & answers:
                    tied.append(number)
                elif any_answer:
                    loose.append(number)
        if tied or loose:
            listed.append(Listed(row.index, row.line, row.name, tuple(tied), tuple(loose)))
    return listed


def _wanted_of(
    found: set[str], single: frozenset[str], partners: Mapping[str, Sequence[tuple[str, str]]]
) -> set[str]:
    wanted = found & single
    for one in found & partners.keys():
        wanted.update(pair for other, pair in partners[one] if other in found)
    return wanted


def _partners(features: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    partners: dict[str, list[tuple[str, str]]] = {}
    for feature in features:
        if PAIR in feature:
            one, _, other = feature.partition(PAIR)
            partners.setdefault(one, []).append((other, feature))
    return partners


def _rank(index: int) -> int:
    """A number that puts rows in an order that has nothing to do with their place."""
    mixed = (index + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return mixed ^ (mixed >> 31)


def _fewest(kept: list[Kept], family: str) -> list[Kept]:
    limit = BROAD_SAMPLE if family.startswith(BROAD) else FIXED_SAMPLE
    return heapq.nsmallest(limit, kept) if len(kept) > limit else kept


def _likest(found: list[Like]) -> list[Like]:
    return sorted(found, key=lambda each: (-each.likeness, each.index))[:NEIGHBOURS]


def _cut(segments: tuple[str, ...]) -> tuple[str, ...]:
    limit = KEPT_HEAD_CHARS + KEPT_TAIL_CHARS
    if sum(map(len, segments)) <= limit:
        return segments
    return tuple(
        each if len(each) <= limit else f"{each[:KEPT_HEAD_CHARS]} {each[-KEPT_TAIL_CHARS:]}"
        for each in segments
    )
