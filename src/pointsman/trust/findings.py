"""What a check has found, and what it could not check: values, the same for every check.

A finding is a value and no error. "Could not check" is never a pass: a report that holds a reason
in `incomplete` and no finding has the status "incomplete".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec import Struct

from pointsman.errors import TrustError

__all__ = [
    "EXIT_CODES",
    "NOTHING_FOUND",
    "SEVERITIES",
    "CannotCheck",
    "Finding",
    "Report",
    "Severity",
    "Status",
    "make_report",
    "merge",
    "worst_severity",
]

Severity = Literal["low", "medium", "high", "critical"]
Status = Literal["clean", "findings", "incomplete"]

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
# A finding is the stronger statement: it stands whatever else could not be looked at.
EXIT_CODES: dict[Status, int] = {"clean": 0, "findings": 1, "incomplete": 2}
# What a person reads where the JSON says "clean".
NOTHING_FOUND = "nothing found in this search space"


class CannotCheck(TrustError):
    """What was asked for could not be checked at all: no such file, or nothing to compare with."""

    exit_code: ClassVar[int] = 2


class Finding(Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong, where it is, why it matters and what to do.

    `rule` is stable: it names an entry of docs/rules.md. `path` is relative to what was checked; a
    member of an archive follows after `!`. `offset` counts bytes of the file (or of the member)
    from 0, `line` counts lines from 1.
    """

    rule: str
    severity: Severity
    path: str
    message: str
    why: str = ""
    fix: str = ""
    offset: int | None = None
    line: int | None = None


class Report(Struct, frozen=True):
    """What a check comes to.

    `incomplete` says what could not be checked, each with the reason; `checked` names what was.
    """

    status: Status
    findings: tuple[Finding, ...] = ()
    incomplete: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 nothing found, 1 findings, 2 could not check all of it."""
        return EXIT_CODES[self.status]


def make_report(
    findings: Iterable[Finding] = (),
    incomplete: Iterable[str] = (),
    checked: Iterable[str] = (),
) -> Report:
    """Give the report with its status; the worst findings come first, else in the order given."""
    found = sorted(findings, key=lambda each: -SEVERITIES.index(each.severity))
    missing = tuple(incomplete)
    status: Status = "findings" if found else "incomplete" if missing else "clean"
    return Report(status, tuple(found), missing, tuple(checked))


def merge(reports: Iterable[Report]) -> Report:
    """Give one report that holds all of several."""
    parts = list(reports)
    return make_report(
        (finding for part in parts for finding in part.findings),
        (reason for part in parts for reason in part.incomplete),
        (name for part in parts for name in part.checked),
    )


def worst_severity(findings: Iterable[Finding]) -> Severity | None:
    """The highest severity there is, or None where nothing was found."""
    ranks = [SEVERITIES.index(each.severity) for each in findings]
    return SEVERITIES[max(ranks)] if ranks else None
