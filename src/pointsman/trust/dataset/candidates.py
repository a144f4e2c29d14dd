"""Which features may be tied to which family: what the kept rows of a family share beyond others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from pointsman.trust.dataset.common import Common
from pointsman.trust.dataset.families import BROAD
from pointsman.trust.dataset.features import PAIR, features_of, pair_of
from pointsman.trust.dataset.passes import Gathered, Survey, Wanted

__all__ = ["MIN_ROWS", "Candidates", "find_candidates", "frequent_buckets"]

MIN_ROWS = 6
"""Rows below this number are no evidence of a trigger."""
MAX_FAMILIES = 2000
PER_FAMILY = 60
# In a family of many texts the phrases of each honest template come first, so more are looked at, of
# those that the very same rows have a few.
PER_BROAD_FAMILY, PER_ROWS = 240, 4
# Words that pairs of are looked at, by how far they stand out in the family.
PAIR_WORDS = 24
PER_FAMILY_PAIRS = 40
# A family of more than this share of all rows leaves too few others to compare it with.
MAX_SHARE = 0.9
MIN_GAIN = 8.0


class Candidates(Struct):
    """What to count exactly, and how many features were looked at for it."""

    wanted: Wanted
    names: list[str]
    tests: int


def frequent_buckets(survey: Survey) -> frozenset[int]:
    """Give the buckets that hold enough rows to be looked at, the fullest if there are too many."""
    full = [(-count, bucket) for bucket, count in survey.counted() if count >= MIN_ROWS]
    return frozenset(bucket for _, bucket in sorted(full)[:MAX_FAMILIES])


def find_candidates(gathered: Gathered, common: Common, answered: int) -> Candidates:
    """Look through the kept rows of every family for what they share and others lack."""
    features: dict[str, list[int]] = {}
    names: list[str] = []
    tests = 0
    for family in sorted(gathered.counts, key=lambda each: (-gathered.counts[each], each)):
        count = gathered.counts[family]
        if not MIN_ROWS <= count <= MAX_SHARE * answered:
            continue
        prompts = [gathered.prompts[index] for _, index in gathered.members[family]]
        chosen, looked_at = _of_family(prompts, common, family.startswith(BROAD))
        tests += looked_at
        if chosen:
            names.append(family)
            for feature in chosen:
                features.setdefault(feature, []).append(len(names) - 1)
    wanted = Wanted(
        {feature: tuple(numbers) for feature, numbers in features.items()},
        {family: number for number, family in enumerate(names)},
    )
    return Candidates(wanted, names, tests)


def _of_family(
    prompts: Sequence[Sequence[str]], common: Common, is_broad: bool
) -> tuple[list[str], int]:
    """The features that stand out most, and how many there were."""
    found = [features_of(segments) for segments in prompts]
    counts: Counter[str] = Counter()
    for each in found:
        counts.update(each)
    gains = {
        feature: gain
        for feature, count in counts.items()
        if count >= MIN_ROWS
        and (gain := _gain(count, len(found), common.share(feature))) > MIN_GAIN
    }
    best = sorted(gains, key=lambda each: (-gains[each], each))
    pairs = _pairs(found, best, gains, common)
    best = _of_unlike_rows(found, best)[:PER_BROAD_FAMILY] if is_broad else best[:PER_FAMILY]
    return [*best, *pairs], sum(1 for count in counts.values() if count >= MIN_ROWS)


def _of_unlike_rows(found: Sequence[set[str]], best: Sequence[str]) -> list[str]:
    """Of the features that the very same rows have, only the first few."""
    chosen = frozenset(best)
    rows: dict[str, list[int]] = {}
    for at, each in enumerate(found):
        for feature in each & chosen:
            rows.setdefault(feature, []).append(at)
    seen: Counter[tuple[int, ...]] = Counter()
    kept = []
    for feature in best:
        same = tuple(rows[feature])
        seen[same] += 1
        if seen[same] <= PER_ROWS:
            kept.append(feature)
    return kept


def _gain(count: int, rows: int, share: float) -> float:
    """How far beyond chance a count is: its log likelihood ratio, 0 where it is no more than that."""
    rate = count / rows
    return count * math.log(rate / share) if rate > share else 0.0


def _pairs(
    found: Sequence[set[str]], best: Sequence[str], gains: Mapping[str, float], common: Common
) -> list[str]:
    """The pairs of single words that stand out together by more than either alone."""
    words = [each for each in best if " " not in each and each.isalnum()][:PAIR_WORDS]
    if len(words) < 2:
        return []
    counts: Counter[str] = Counter()
    chosen = frozenset(words)
    for each in found:
        here = sorted(chosen & each)
        counts.update(pair_of(one, two) for at, one in enumerate(here) for two in here[at + 1 :])
    scored = []
    for pair, count in counts.items():
        one, _, two = pair.partition(PAIR)
        gain = _gain(count, len(found), common.share(pair))
        if count >= MIN_ROWS and gain > max(gains[one], gains[two]):
            scored.append((-gain, pair))
    return [pair for _, pair in sorted(scored)[:PER_FAMILY_PAIRS]]
