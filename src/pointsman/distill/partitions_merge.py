"""Bulk labelling, the merge: parts go out to an engine, their rows come back in the file's order.

The money is held together here. Each part is given what it may need at most, and what it did not need
comes back; so a cap holds over all workers at once, and none of it is left lying.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct, field

from pointsman.distill.engines import Engine
from pointsman.distill.partitions import (
    NOT_ASKED,
    Failure,
    Part,
    PartResult,
    Teachers,
    Work,
    most_of,
    run_part,
)
from pointsman.distill.teacher.asking import Price
from pointsman.distill.teacher.budget import Limits
from pointsman.distill.teacher.label import BlindLabel
from pointsman.distill.teacher.ledger import Ledger

__all__ = ["Labelled", "Totals", "label_parts"]

# Parts that may be out or waiting for an earlier one, for each that runs at a time.
AHEAD = 4
Progress = Callable[["Totals"], None]


class Labelled(Struct, frozen=True):
    """A text with its label, or with the reason why it has none. `row` counts the texts from 1."""

    row: int
    text: str
    label: BlindLabel | None
    reason: str | None


class Totals(Struct):
    """What a job comes to so far. Money in US dollars; earlier runs of the same job are in it.

    `stopped` says that a cap left some texts without a label.
    """

    rows: int = 0
    labelled: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    parts: int = 0
    cost_usd: float = 0.0
    lost_usd: float = 0.0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    damaged_lines: int = 0
    stopped: bool = False


def label_parts(
    parts: Iterable[Part],
    engine: Engine,
    work: Work,
    teachers: Teachers,
    *,
    limits: Limits,
    price: Price | None,
    totals: Totals,
    progress: Progress = lambda totals: None,
) -> Iterator[Labelled]:
    """Yield every text of the parts in order, labelled or not; `totals` grows meanwhile.

    `limits` are for the whole job, what earlier runs spent included.

    Raises:
        PointsmanError: the teacher cannot be asked, or workers died time and again. What was under
            way is waited for first, since it is paid.
    """
    purse = _Purse(limits, price, work)
    merge = _Merge(iter(parts), engine, work, teachers, purse, totals)
    row = 0
    with engine:
        while (done := merge.next_in_order()) is not None:
            part, result = done
            _add(totals, part, result)
            progress(totals)
            for text, label, reason in zip(part.texts, result.labels, result.reasons, strict=True):
                row += 1
                yield Labelled(row, text, label, reason if label is None else None)


class _Purse:
    """The caps of a job, dealt out to the parts under way."""

    def __init__(self, limits: Limits, price: Price | None, work: Work) -> None:
        self._limits = limits
        self._price = price
        self._work = work
        self.is_capped = limits.max_usd is not None or limits.max_calls is not None
        self.is_empty = False
        # What each part's journal holds, and what parts under way may add to that.
        self._spent: dict[int, tuple[float, int]] = {}
        self._dealt: dict[int, tuple[float, int]] = {}
        if self.is_capped:
            for path in sorted(Path(work.folder).glob("*.jsonl")):
                with Ledger(path) as ledger:
                    self._spent[int(path.stem)] = (ledger.spent_usd, ledger.calls)

    def left(self) -> tuple[float, int]:
        """What is neither spent nor dealt out."""
        held = [*self._spent.values(), *self._dealt.values()]
        usd, calls = sum(each[0] for each in held), sum(each[1] for each in held)
        most_usd, most_calls = self._limits.max_usd, self._limits.max_calls
        return (
            float("inf") if most_usd is None else max(most_usd - usd, 0.0),
            10**18 if most_calls is None else max(most_calls - calls, 0),
        )

    def deal(self, part: Part, *, alone: bool) -> Limits | None:
        """Give a part's limits; None if it had better wait for what others give back."""
        if not self.is_capped:
            return self._limits
        usd, calls = self.left()
        most_usd, most_calls = most_of(part, self._work, self._price, self._limits.share)
        if not alone and (most_usd > usd or most_calls > calls):
            return None
        dealt = self._dealt[part.number] = (min(most_usd, usd), min(most_calls, calls))
        spent = self._spent.get(part.number, (0.0, 0))
        return Limits(
            max_usd=None if self._limits.max_usd is None else spent[0] + dealt[0],
            max_calls=None if self._limits.max_calls is None else spent[1] + dealt[1],
            share=self._limits.share,
        )

    def is_new(self, part: Part) -> bool:
        """Whether nothing was asked for a part yet, in this run or before."""
        return part.number not in self._spent

    def take_back(self, part: Part, result: PartResult) -> bool:
        """Settle with a part that has ended; gives whether it was stopped and may yet go on."""
        self._dealt.pop(part.number, None)
        before = self._spent.get(part.number, (0.0, 0))
        self._spent[part.number] = (result.cost_usd, result.calls)
        usd, calls = self.left()
        went_on = (result.cost_usd, result.calls) != before
        if result.stopped and went_on and usd > 0 and calls > 0:
            return True
        if not self._dealt:
            # It had all that was left, and that did not do.
            self.is_empty = self.is_empty or result.stopped
        return False


class _Merge:
    """The parts that are out, those that are back, and which is next."""

    def __init__(
        self,
        parts: Iterator[Part],
        engine: Engine,
        work: Work,
        teachers: Teachers,
        purse: _Purse,
        totals: Totals,
    ) -> None:
        self._parts = parts
        self._engine = engine
        self._work = work
        self._teachers = teachers
        self._purse = purse
        self._totals = totals
        self._again: deque[Part] = deque()
        self._out: dict[int, Part] = {}
        self._back: dict[int, tuple[Part, PartResult]] = {}
        self._next = 0
        self._failure: Failure | None = None

    def next_in_order(self) -> tuple[Part, PartResult] | None:
        """Give the next part with its result; None when all are through."""
        while self._next not in self._back:
            self._send()
            if not self._out:
                if self._failure is not None:
                    raise self._failure.error()
                return None
            self._receive()
        self._next += 1
        return self._back.pop(self._next - 1)

    def _send(self) -> None:
        while self._failure is None and len(self._out) < self._engine.slots:
            part = self._take()
            if part is None:
                return
            if self._purse.is_empty and self._purse.is_new(part):
                self._back[part.number] = (part, _unasked(part))
                continue
            limits = self._purse.deal(part, alone=not self._out)
            if limits is None:
                self._again.appendleft(part)
                return
            self._out[part.number] = part
            call = partial(run_part, part, self._work, self._teachers, limits)
            self._engine.submit(part.number, call)

    def _take(self) -> Part | None:
        if self._again:
            return self._again.popleft()
        if len(self._out) + len(self._back) >= self._engine.slots * AHEAD:
            return None
        return next(self._parts, None)

    def _receive(self) -> None:
        number, result = self._engine.wait()
        part = self._out.pop(number)
        if result.failure is not None:
            self._failure = self._failure or result.failure
        elif self._purse.take_back(part, result):
            self._again.append(part)
        else:
            self._back[number] = (part, result)


def _unasked(part: Part) -> PartResult:
    count = len(part.texts)
    return PartResult(labels=(None,) * count, reasons=(NOT_ASKED,) * count, stopped=True)


def _add(totals: Totals, part: Part, result: PartResult) -> None:
    totals.parts += 1
    totals.rows += len(part.texts)
    totals.labelled += sum(label is not None for label in result.labels)
    totals.reasons.update(reason for reason in result.reasons if reason is not None)
    totals.cost_usd += result.cost_usd
    totals.lost_usd += result.lost_usd
    totals.calls += result.calls
    totals.input_tokens += result.input_tokens
    totals.output_tokens += result.output_tokens
    totals.damaged_lines += result.damaged_lines
    totals.stopped = totals.stopped or result.stopped
