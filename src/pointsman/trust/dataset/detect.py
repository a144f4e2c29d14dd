"""Looks through the rows of a set: five passes over its parts, and what is judged between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from pointsman.trust.dataset import passes
from pointsman.trust.dataset.candidates import MIN_ROWS, find_candidates, frequent_buckets
from pointsman.trust.dataset.common import common_of
from pointsman.trust.dataset.families import WHOLE
from pointsman.trust.dataset.likeness import Rarity
from pointsman.trust.dataset.rows import Row
from pointsman.trust.dataset.suspicions import LABEL_SHARE, group_ties, queries_of, screen, suspect
from pointsman.trust.dataset.verdict import Trigger, judge

__all__ = ["FDR", "Detected", "Mapper", "Parts", "detect", "here"]

FDR = 0.01
Parts = Callable[[], Iterable[Sequence[Row]]]
"""Gives the parts of the rows from the first, each time it is called."""


class Mapper(Protocol):
    """Gives what a function makes of each part, in the parts' order."""

    def __call__(
        self, function: Callable[[Sequence[Row]], Any], parts: Iterable[Sequence[Row]]
    ) -> Iterator[Any]:
        """Run the function over the parts."""
        ...


def here(function: Callable[[Sequence[Row]], Any], parts: Iterable[Sequence[Row]]) -> Iterator[Any]:
    """Run a function over parts in this process."""
    return map(function, parts)


class Detected(Struct, frozen=True):
    """What was found: triggers, and the rows that have one.

    `rows` are all, `answered` those with an answer, `largest` those of the most common whole answer.
    """

    rows: int
    answered: int
    largest: int
    triggers: tuple[Trigger, ...]
    listed: tuple[passes.Listed, ...]


def detect(
    parts: Parts,
    mapper: Mapper = here,
    *,
    fdr: float = FDR,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Detected:
    """Find what in the prompts is tied to one kind of answer.

    `parts` is called once for each pass; `progress` gets the passes done and all.
    """
    steps = 5
    survey = passes.Survey()
    for each in mapper(passes.survey, parts()):
        survey.add(each)
    progress(1, steps)
    gathered = passes.Gathered()
    for each in mapper(partial(passes.gather, frequent=frequent_buckets(survey)), parts()):
        gathered.add(each)
    gathered.settle()
    progress(2, steps)
    common = common_of(survey.sample.values())
    candidates = find_candidates(gathered, common, survey.answered)
    tally = passes.Tally()
    for each in mapper(partial(passes.tally, wanted=candidates.wanted), parts()):
        tally.add(each)
    progress(3, steps)
    ties = screen(tally, gathered, candidates, survey.answered)
    rarity = Rarity(common)
    suspects = suspect(
        group_ties(ties, gathered),
        gathered,
        survey,
        common,
        rarity,
        labels=_are_labels(gathered, survey),
    )
    queries = queries_of(suspects)
    suspicions = [each.suspicion for each in suspects]
    nearest = passes.Nearest()
    if queries:
        step = partial(passes.nearest, queries=queries, suspicions=suspicions, rarity=rarity)
        for each in mapper(step, parts()):
            nearest.add(each)
    progress(4, steps)
    triggers = judge(
        suspects,
        queries,
        nearest,
        ties,
        gathered,
        answered=survey.answered,
        tests=candidates.tests,
        fdr=fdr,
        rarity=rarity,
    )
    listed: list[passes.Listed] = []
    if triggers:
        wanted = [(each.feature, each.families, each.loose) for each in triggers]
        for each in mapper(partial(passes.list_rows, triggers=wanted), parts()):
            listed.extend(each)
    progress(5, steps)
    return Detected(
        survey.rows, survey.answered, _largest(gathered), tuple(triggers), tuple(listed)
    )


def _largest(gathered: passes.Gathered) -> int:
    """How many rows have the most common whole answer."""
    whole = (n for family, n in gathered.counts.items() if family.startswith(WHOLE))
    return max(whole, default=0)


def _are_labels(gathered: passes.Gathered, survey: passes.Survey) -> bool:
    """Whether nearly all answers are the same few, as those of a classifier's set."""
    repeated = [
        count
        for family, count in gathered.counts.items()
        if family.startswith(WHOLE) and count >= max(MIN_ROWS, survey.answered // 1000)
    ]
    return sum(repeated) >= LABEL_SHARE * survey.answered
