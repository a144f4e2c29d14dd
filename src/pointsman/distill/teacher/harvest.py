"""The rows so far: what was kept, what was turned away and why, and how often the teacher agreed
with itself."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from pointsman.distill.rows import Row
from pointsman.distill.teacher.dedupe import NearDuplicates
from pointsman.distill.teacher.label import BlindLabel
from pointsman.distill.teacher.language import is_wrong_language
from pointsman.distill.teacher.plan import Plan

__all__ = ["Agreement", "Candidate", "Harvest", "Kept", "Rejected"]

HELD_OUT_EVERY = 5
MIN_BLIND = 20
WEAK_KAPPA = 0.6
"""Source: Landis, Koch 1977, "The measurement of observer agreement": below 0.6 it is moderate at best."""


class Candidate(Struct, frozen=True, kw_only=True):
    """A text that the teacher wrote, and what it was to be. `wanted` is None for the user's own."""

    text: str
    wanted: tuple[str, ...] | None
    stage: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class Kept(Struct, frozen=True, kw_only=True):
    """A row to learn from, and where it comes from. The layout of a line in `data.jsonl`."""

    text: str
    labels: tuple[str, ...]
    stage: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    blind: tuple[str, ...] = ()
    soft: Mapping[str, float] | None = None
    lang: str | None = None

    @property
    def held_out(self) -> bool:
        """Whether the row is kept from the student that judges progress; the same for ever."""
        return zlib.crc32(self.text.encode("utf-8", "surrogatepass")) % HELD_OUT_EVERY == 0

    def row(self) -> Row:
        """The row as the trainer takes it."""
        return Row(text=self.text, labels=self.labels, soft=self.soft, lang=self.lang)


class Rejected(Struct, frozen=True, kw_only=True):
    """A text that was turned away. The layout of a line in `rejected.jsonl`."""

    text: str
    wanted: tuple[str, ...] | None
    stage: str
    reason: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    blind: tuple[str, ...] | None = None


class Agreement(Struct, frozen=True, kw_only=True):
    """How often the teacher, blind, gave a text the label that it was written for.

    `share` is that share of `rows`; `kappa` is it above chance (Cohen), None for multi-label rows.
    """

    rows: int
    share: float
    kappa: float | None

    @property
    def too_weak(self) -> bool:
        """Whether the teacher does not know its own classes apart."""
        if self.rows < MIN_BLIND:
            return False
        return (self.share if self.kappa is None else self.kappa) < WEAK_KAPPA


class Harvest:
    """Collects rows. `known` texts (a test set, the examples) are never taken in again."""

    def __init__(
        self, plan: Plan, *, multi: bool, known: Iterable[tuple[str, str]] = (), seed: int = 0
    ) -> None:
        self.kept: list[Kept] = []
        self.rejected: list[Rejected] = []
        self.faults: Counter[str] = Counter()
        self.asked = 0
        self._plan = plan
        self._multi = multi
        self._seen = NearDuplicates(seed=seed)
        self._pairs: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        for text, reason in known:
            self._seen.add(text, reason)

    def screen(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Give the texts that are worth a blind label; the others are turned away."""
        passed = []
        for each in candidates:
            reason = self._seen.add(each.text, "near duplicate")
            language = each.attributes.get("language")
            if reason is None and language and is_wrong_language(each.text, language):
                reason = "wrong language"
            if reason is None:
                passed.append(each)
            else:
                self._turn_away(each, reason)
        return passed

    def judge(
        self, candidates: Sequence[Candidate], blind: Sequence[BlindLabel | None], missing: str
    ) -> int:
        """Keep the texts whose blind label agrees with what was asked for; gives how many.

        `missing` is the reason for texts without a blind label.
        """
        before = len(self.kept)
        for each, label in zip(candidates, blind, strict=True):
            if label is None:
                self._turn_away(each, missing)
                continue
            if each.wanted is not None:
                self._pairs.append((each.wanted, label.labels))
            if each.wanted is None or self._agree(each.wanted, label.labels):
                self._keep(each, label)
            else:
                self._turn_away(each, "blind label differs", label.labels)
        return len(self.kept) - before

    def turn_away(self, candidate: Candidate, reason: str) -> None:
        """Turn a text away for a reason found elsewhere."""
        self._turn_away(candidate, reason)

    def counts(self) -> dict[str, int]:
        """Give the rows kept of each class; a row with several counts for each."""
        found = dict.fromkeys(self._plan.names, 0)
        for row in self.kept:
            for label in row.labels:
                found[label] += 1
        return found

    def reasons(self) -> dict[str, int]:
        """Give how many rows are missing or turned away, by reason, most first."""
        found = self.faults + Counter(each.reason for each in self.rejected)
        return dict(found.most_common())

    def agreement(self) -> Agreement:
        """Give how far the teacher agrees with itself."""
        rows = len(self._pairs)
        if not rows:
            return Agreement(rows=0, share=0.0, kappa=None)
        share = sum(self._agree(wanted, blind) for wanted, blind in self._pairs) / rows
        if self._multi:
            return Agreement(rows=rows, share=share, kappa=None)
        wanted = Counter(each[0] for each in self._pairs)
        blind = Counter(each[1] for each in self._pairs)
        chance = sum(wanted[label] * blind[label] for label in wanted) / rows**2
        kappa = (share - chance) / (1 - chance) if chance < 1 else 0.0
        return Agreement(rows=rows, share=share, kappa=kappa)

    def _agree(self, wanted: tuple[str, ...], blind: tuple[str, ...]) -> bool:
        if not self._multi:
            return wanted == blind
        # A text that was to show one thing may well show another too; what it lacks is a fault.
        return set(wanted) <= set(blind) and len(blind) <= len(wanted) + 1

    def _keep(self, each: Candidate, label: BlindLabel) -> None:
        soft = label.soft
        if soft is not None:
            soft = {name: round(value, 4) for name, value in soft.items()}
        self.kept.append(
            Kept(
                text=each.text,
                labels=label.labels,
                stage=each.stage,
                attributes=each.attributes,
                blind=label.labels,
                soft=soft,
                lang=each.attributes.get("language"),
            )
        )

    def _turn_away(
        self, each: Candidate, reason: str, blind: tuple[str, ...] | None = None
    ) -> None:
        self.rejected.append(
            Rejected(
                text=each.text,
                wanted=each.wanted,
                stage=each.stage,
                reason=reason,
                attributes=each.attributes,
                blind=blind,
            )
        )
