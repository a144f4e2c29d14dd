"""What a rule is: a stable name, how grave it is, and the text that docs/rules.md shows."""

from __future__ import annotations

from msgspec import Struct

from pointsman.trust.findings import Finding, Severity

__all__ = ["Rule"]


class Rule(Struct, frozen=True):
    """One thing that is looked for.

    `id` never changes its meaning. `what`, `why`, `example`, `references` and `false_positives` are
    the rule's entry in docs/rules.md; `why` and `fix` also go with each finding, so they are
    a sentence or two. `severity` is the usual one: a finding may have another.
    """

    id: str
    severity: Severity
    title: str
    what: str
    why: str
    fix: str
    example: str
    references: tuple[str, ...] = ()
    false_positives: str = "None known."

    def finding(
        self,
        path: str,
        message: str,
        *,
        offset: int | None = None,
        line: int | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """Give a finding of this rule."""
        return Finding(
            rule=self.id,
            severity=severity or self.severity,
            path=path,
            message=message,
            why=self.why,
            fix=self.fix,
            offset=offset,
            line=line,
        )
