"""What the verbs of `pointsman trust` print of a report, and how they exit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import msgspec

from pointsman.trust.findings import NOTHING_FOUND, CannotCheck, Finding, Report

__all__ = ["report_lines", "write_json_file"]

_COLOURS = {"low": "cyan", "medium": "yellow", "high": "red", "critical": "bright_red"}
WIDTH = 96


def report_lines(report: Report, subject: str, thing: str = "file") -> Iterator[str]:
    """Give a report as lines for a person: each rule once, with where, why and what to do.

    `thing` is what the report's `checked` are, one of them.
    """
    ordered = sorted(report.findings, key=_place(report))
    for _, group in groupby(ordered, key=lambda each: (each.severity, each.rule)):
        found = list(group)
        head = f"{found[0].severity}: {found[0].rule}"
        yield click.style(head, fg=_COLOURS[found[0].severity], bold=True)
        for each in found:
            yield from _one(each)
        yield from _wrapped("why", found[0].why)
        yield from _wrapped("do", found[0].fix)
        yield ""
    if report.incomplete:
        yield click.style("could not check", fg="yellow", bold=True)
        for reason in report.incomplete:
            yield f"  {reason}"
        yield ""
    yield _verdict(report, subject, thing)


def _place(report: Report) -> Any:
    """Sort by severity as the report does, then by rule, so that each rule stands once."""
    first: dict[tuple[str, str], int] = {}
    for number, each in enumerate(report.findings):
        first.setdefault((each.severity, each.rule), number)
    return lambda each: first[each.severity, each.rule]


def _one(finding: Finding) -> Iterator[str]:
    where = finding.path
    if finding.offset is not None:
        where += f" (byte {finding.offset})"
    first, *rest = finding.message.splitlines() or [""]
    yield f"  {where}: {first}"
    yield from (f"    {line}" for line in rest)


def _wrapped(word: str, text: str) -> Iterator[str]:
    if text:
        yield from textwrap.wrap(
            text, WIDTH, initial_indent=f"    {word}: ", subsequent_indent=" " * (6 + len(word))
        )


def _verdict(report: Report, subject: str, thing: str) -> str:
    checked = f"{len(report.checked)} {thing}{'' if len(report.checked) == 1 else 's'}"
    if report.status == "findings":
        more = (
            f", and {len(report.incomplete)} things could not be checked"
            if report.incomplete
            else ""
        )
        count = len(report.findings)
        return f"{subject}: {count} finding{'' if count == 1 else 's'} in {checked}{more}. Don't use it before each is cleared."
    if report.status == "incomplete":
        return f"{subject}: not all of it could be checked ({checked}). That is no pass."
    return f"{subject}: {NOTHING_FOUND} ({checked})."


def write_json_file(path: Path, value: Any) -> None:
    """Write a value as indented JSON.

    Raises:
        CannotCheck: the file cannot be written.
    """
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    except OSError as error:
        raise CannotCheck(f"{path} cannot be written: {error.strerror or error}") from error
