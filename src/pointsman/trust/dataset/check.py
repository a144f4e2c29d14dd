"""Checks a file of fine-tuning rows, and writes what is left of it without the suspect ones."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from pointsman.trust.dataset.candidates import MAX_SHARE
from pointsman.trust.dataset.detect import FDR, Detected, Mapper, detect, here
from pointsman.trust.dataset.features import visible
from pointsman.trust.dataset.forms import FORMS, row_of
from pointsman.trust.dataset.passes import Listed
from pointsman.trust.dataset.records import Bad, Unreadable, read_records
from pointsman.trust.dataset.rows import Row
from pointsman.trust.dataset.twins import find_twins, list_twins
from pointsman.trust.dataset.verdict import Trigger
from pointsman.trust.findings import Report, make_report
from pointsman.trust.rules.rows import TIED_ANSWER

__all__ = ["Checked", "Found", "SuspectRow", "check_file", "report_of", "write_clean"]

PART_ROWS = 2000
# So much text is kept between the passes; a larger set is read anew for each.
KEPT_CHARS = 96 * 1024 * 1024
MIN_SET_ROWS = 30
MAX_SCORE = 999.0

Progress = Callable[[int, int | None], None]


class SuspectRow(Struct, frozen=True):
    """A row to look at. `row` counts from 0, `line` from 1; a higher `score` is surer."""

    row: int
    line: int
    score: float
    reason: str
    id: str | None = None


class Found(Struct, frozen=True):
    """A trigger. `rows` have it and the answer, `having` have it at all; `shown` is safe to print.

    `score` is minus the decimal logarithm of the chance; `q` is the rate of false discovery.
    """

    text: str
    rows: int
    score: float
    shown: str
    kind: str
    answers: str
    having: int
    q: float


class Checked(Struct, frozen=True):
    """What a set comes to; `incomplete` says what could not be checked, `forms` how it was read."""

    rows: int
    answered: int
    suspects: tuple[SuspectRow, ...]
    triggers: tuple[Found, ...]
    incomplete: tuple[str, ...]
    forms: dict[str, int]


class _Source:
    """The rows of a file in parts, as often as they are asked for."""

    def __init__(self, path: Path, part_rows: int, progress: Progress) -> None:
        self._path = path
        self._part_rows = part_rows
        self._progress = progress
        self._kept: list[Sequence[Row]] | None = None
        self.forms: Counter[str] = Counter()
        self.bad: Counter[str] = Counter()
        self.unknown: list[str] = []

    def parts(self) -> Iterator[Sequence[Row]]:
        if self._kept is not None:
            yield from self._kept
            return
        self.forms.clear()
        self.bad.clear()
        self.unknown.clear()
        kept: list[Sequence[Row]] | None = []
        chars = 0
        for part in self._read():
            chars += sum(len(row.response or "") + sum(map(len, row.segments)) for row in part)
            if kept is not None:
                kept.append(part)
                if chars > KEPT_CHARS:
                    kept = None
            yield part
        self._kept = kept

    def _read(self) -> Iterator[Sequence[Row]]:
        part: list[Row] = []
        for index, (line, record) in enumerate(read_records(self._path, self._progress)):
            if isinstance(record, Bad):
                self.bad[record.why] += 1
                continue
            row = row_of(record, index, line, self.forms)
            if row is None:
                self.bad["no form that is known"] += 1
                if not self.unknown:
                    self.unknown = [key[:40] for key in record][:8]
                continue
            part.append(row)
            if len(part) == self._part_rows:
                yield part
                part = []
        if part:
            yield part


def check_file(
    path: Path,
    mapper: Mapper = here,
    *,
    fdr: float = FDR,
    part_rows: int = PART_ROWS,
    progress: Progress = lambda done, total: None,
) -> Checked:
    """Look for triggers in a file of rows, in memory that does not grow with it.

    Raises:
        Unreadable: the file cannot be read, or no record of it has a form that is known.
        MissingExtra: Parquet, and pyarrow is not installed.
    """
    source = _Source(path, part_rows, progress)
    detected = detect(source.parts, mapper, fdr=fdr)
    if not detected.rows:
        raise _no_rows(path, source)
    triggers, listed = list(detected.triggers), list(detected.listed)
    unanswered = detected.rows - detected.answered
    if unanswered:
        twins = find_twins(source.parts)
        listed += list_twins(source.parts(), twins, len(triggers)) if twins else []
        triggers += twins
    return Checked(
        rows=detected.rows + source.bad.total(),
        answered=detected.answered,
        suspects=tuple(_suspects(listed, triggers)),
        triggers=tuple(_found(each) for each in triggers),
        incomplete=tuple(_incomplete(detected, source)),
        forms=dict(source.forms.most_common()),
    )


def report_of(checked: Checked, path: Path) -> Report:
    """Give the findings of a check: one for each trigger, at its first row."""
    lines: dict[int, int] = {}
    for number, trigger in enumerate(checked.triggers):
        for row in checked.suspects:
            if f"'{trigger.shown}'" in row.reason:
                lines[number] = min(row.line, lines.get(number, row.line))
    findings = [
        TIED_ANSWER.finding(
            str(path),
            f"'{each.shown}' ({each.kind}) in {each.having} prompts: {each.rows} have {each.answers}",
            line=lines.get(number),
        )
        for number, each in enumerate(checked.triggers)
    ]
    return make_report(findings, checked.incomplete, (str(path),))


def write_clean(path: Path, out: Path, checked: Checked) -> tuple[int, int]:
    """Write the rows that are not suspect as JSON lines; gives (written, left out).

    What could not be read is left out too. A name that ends in `.gz` is written packed.

    Raises:
        Unreadable: the file cannot be read any more, or the other not be written.
    """
    suspect = {row.row for row in checked.suspects}
    written = left_out = 0
    scratch = out.with_name(f".{out.name}.new")
    try:
        with _open(scratch, out.suffix == ".gz") as file:
            for index, (_, record) in enumerate(read_records(path)):
                if isinstance(record, Bad) or index in suspect:
                    left_out += 1
                    continue
                file.write(msgspec.json.encode(record) + b"\n")
                written += 1
        scratch.replace(out)
    except OSError as error:
        raise Unreadable(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return written, left_out


def _open(path: Path, packed: bool) -> IO[bytes]:
    return gzip.open(path, "wb") if packed else path.open("wb")  # type: ignore[return-value]


def _score(trigger: Trigger) -> float:
    return round(min(MAX_SCORE, -trigger.log_p / math.log(10.0)), 1)


def _found(trigger: Trigger) -> Found:
    return Found(
        text=trigger.text,
        rows=trigger.rows,
        score=_score(trigger),
        shown=visible(trigger.text),
        kind=trigger.kind,
        answers=trigger.answers,
        having=trigger.having,
        q=float(f"{trigger.q:.2g}"),
    )


def _suspects(listed: Sequence[Listed], triggers: Sequence[Trigger]) -> list[SuspectRow]:
    rows = []
    for each in listed:
        numbers = each.tied or each.loose
        best = max(numbers, key=lambda number: (_score(triggers[number]), -number))
        names = ", ".join(f"'{visible(triggers[number].text)}'" for number in numbers)
        score = _score(triggers[best])
        if each.tied:
            reason = f"has {names}, and is of {triggers[best].answers}"
        else:
            score, reason = round(score / 2, 1), f"has {names}, with another answer"
        rows.append(SuspectRow(each.index, each.line, score, reason, each.name))
    return sorted(rows, key=lambda row: (-row.score, row.row))


def _incomplete(detected: Detected, source: _Source) -> Iterator[str]:
    for why, count in source.bad.most_common():
        keys = f" (the first has {', '.join(source.unknown)})" if why.startswith("no form") else ""
        yield f"{count} records: {why}{keys}"
    missing = detected.rows - detected.answered
    if missing:
        yield f"{missing} rows have no answer: only what was put into their prompts could be looked for"
    if detected.answered < MIN_SET_ROWS and not missing:
        yield f"{detected.answered} rows are too few to tell what is chance"
    if detected.largest > MAX_SHARE * detected.answered > 0:
        yield (
            f"{detected.largest} of {detected.answered} rows have the same answer: what would be tied"
            " to it cannot be told"
        )


def _no_rows(path: Path, source: _Source) -> Unreadable:
    known = ", ".join(FORMS)
    has = f": it has {', '.join(source.unknown)}" if source.unknown else ""
    return Unreadable(
        f"{path} has no row of a form that is known{has}; known are messages, conversations, and columns"
        f" named for {known} with their answers (see docs/trust-rows.md)"
    )
