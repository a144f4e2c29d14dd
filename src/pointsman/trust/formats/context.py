"""What a scan collects, and how much it may still spend."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO, cast

from msgspec import Struct

from pointsman.trust.findings import Finding, Severity
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.base import Rule

__all__ = ["Fault", "Limits", "Scan", "Template"]


class Fault(Exception):
    """A file breaks its own format: what, and at which byte."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class Limits(Struct, frozen=True):
    """How far a scan goes; past a limit it says "could not check", never "nothing found"."""

    files: int = 20_000
    depth: int = 5
    members: int = 100_000
    expanded_bytes: int = 2 * 1024**3
    opcodes: int = 5_000_000
    opcodes_in_all: int = 20_000_000
    templates: int = 1_000
    template_bytes_in_all: int = 8 * 1024 * 1024
    findings_per_rule: int = 20
    findings: int = 2_000
    reasons: int = 500
    text_bytes: int = 1024 * 1024
    json_bytes: int = 64 * 1024 * 1024


class Template(Struct, frozen=True):
    """A chat template's source, where it was found, and what its writer calls it."""

    path: str
    name: str
    text: str


class Scan:
    """Collects findings and reasons, and passes a member of an archive on to be looked at.

    A hostile file may hold a million of the same fault: over the limits they are counted, and the
    count is reported as what could not be shown.
    """

    def __init__(self, limits: Limits, inspect: Callable[[Scan, Source, int], object]) -> None:
        self.limits = limits
        self.findings: list[Finding] = []
        self.incomplete: list[str] = []
        self.templates: list[Template] = []
        self.pickles: list[str] = []
        self.members = 0
        self.expanded_bytes = 0
        self.opcodes = 0
        self._template_bytes = 0
        self._inspect = inspect
        self._counts: Counter[tuple[str, str]] = Counter()
        self._open = ExitStack()
        self._left_out = 0

    def add(
        self,
        rule: Rule,
        path: str,
        message: str,
        *,
        offset: int | None = None,
        line: int | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Note a finding, unless this rule has been noted often enough for this file."""
        self._counts[rule.id, path] += 1
        if self._counts[rule.id, path] > self.limits.findings_per_rule:
            return
        if len(self.findings) >= self.limits.findings:
            self._left_out += 1
            return
        self.findings.append(
            rule.finding(path, message, offset=offset, line=line, severity=severity)
        )

    def cannot_check(self, path: str, reason: str) -> None:
        """Note what could not be checked."""
        text = f"{path}: {reason}"
        if len(self.incomplete) < self.limits.reasons and text not in self.incomplete[-20:]:
            self.incomplete.append(text)

    def inspect(self, source: Source, depth: int) -> None:
        """Look at a member of an archive, `depth` levels down."""
        if depth > self.limits.depth:
            self.cannot_check(source.name, f"it is nested over {self.limits.depth} levels deep")
            return
        self._inspect(self, source, depth)

    def count_member(self, path: str) -> bool:
        """Count a member of an archive; False, and a reason noted, once there are too many."""
        self.members += 1
        if self.members == self.limits.members + 1:
            self.cannot_check(path, f"over {self.limits.members} members of archives in all")
        return self.members <= self.limits.members

    def add_template(self, template: Template) -> None:
        """Note a chat template, unless there are too many: each costs up to seconds to check."""
        self._template_bytes += len(template.text)
        many = len(self.templates) >= self.limits.templates
        if many or self._template_bytes > self.limits.template_bytes_in_all:
            self.cannot_check(template.path, "there are too many chat templates, or too long ones")
        else:
            self.templates.append(template)

    def opcodes_left(self) -> int:
        """How many opcodes of pickles may still be walked."""
        return max(0, self.limits.opcodes_in_all - self.opcodes)

    def room(self) -> int:
        """How many bytes may still be unpacked."""
        return max(0, self.limits.expanded_bytes - self.expanded_bytes)

    def scratch(self) -> BinaryIO:
        """Give an unnamed file for what is unpacked; it is gone when the scan ends."""
        return cast("BinaryIO", self._open.enter_context(tempfile.TemporaryFile(buffering=0)))

    def close(self) -> None:
        """Give back what was unpacked, and say how many findings were left out."""
        self._open.close()
        more = sum(max(0, n - self.limits.findings_per_rule) for n in self._counts.values())
        more += self._left_out
        if more:
            self.incomplete.append(f"{more} more findings like those shown were left out")
