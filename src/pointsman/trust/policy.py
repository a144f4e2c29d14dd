"""The policy file: what a model must have passed to be used, and which findings are accepted.

TOML with four tables, `[scan]`, `[provenance]`, `[rows]` and `[probe]`; docs/trust.md describes each key.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from pointsman.errors import TrustError
from pointsman.trust.findings import SEVERITIES, Finding, Report, Severity, make_report
from pointsman.trust.rules.catalogue import all_rules

__all__ = ["Policy", "ProbePolicy", "ProvenancePolicy", "RowsPolicy", "ScanPolicy", "load_policy"]

MAX_POLICY_BYTES = 1024 * 1024


class ScanPolicy(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[scan]`: findings below `from_severity` and of the rules in `accept` do not count."""

    from_severity: Severity = "low"
    accept: list[str] = field(default_factory=list)


class ProvenancePolicy(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[provenance]`: what must be known of where a model came from."""

    commit: bool = True
    """A model from a hub must name the exact commit."""
    lock: bool = False
    """It must be in the lock file, with these very files."""
    signature: bool = False
    """It must be signed by `public_key`, or by `identity` as `issuer` vouches for it."""
    public_key: str | None = None
    identity: str | None = None
    issuer: str | None = None


class RowsPolicy(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[rows]`: whether a model needs its training set looked at."""

    require: bool = False


class ProbePolicy(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[probe]`: whether a model's behaviour is looked at, and what that may cost."""

    require: bool = False
    max_calls: int = 4000
    max_seconds: float = 600.0


class Policy(Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole policy."""

    scan: ScanPolicy = field(default_factory=ScanPolicy)
    provenance: ProvenancePolicy = field(default_factory=ProvenancePolicy)
    rows: RowsPolicy = field(default_factory=RowsPolicy)
    probe: ProbePolicy = field(default_factory=ProbePolicy)

    def counts(self, finding: Finding) -> bool:
        """Whether a finding stands in the way of a model."""
        least = SEVERITIES.index(self.scan.from_severity)
        return finding.rule not in self.scan.accept and SEVERITIES.index(finding.severity) >= least

    def apply(self, report: Report) -> tuple[Report, tuple[Finding, ...]]:
        """Give the report without the findings that are accepted, and those."""
        counted = [each for each in report.findings if self.counts(each)]
        accepted = tuple(each for each in report.findings if not self.counts(each))
        return make_report(counted, report.incomplete, report.checked), accepted


def load_policy(path: Path | None) -> Policy:
    """Read a policy file; without one, the policy that is shipped.

    Raises:
        TrustError: it cannot be read, has an unknown key, rule or severity, or asks for a signature
            and does not say whose.
    """
    if path is None:
        shipped = resources.files("pointsman") / "data" / "trust" / "policy.toml"
        return _parse(shipped.read_text("utf-8"), "the shipped policy")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        if len(data) > MAX_POLICY_BYTES:
            raise TrustError(f"{path} is over {MAX_POLICY_BYTES} bytes: that is no policy file")
        return _parse(data.decode("utf-8"), str(path))
    except OSError as error:
        raise TrustError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TrustError(f"{path} is not UTF-8: {error}") from error


def _parse(text: str, name: str) -> Policy:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TrustError(f"{name} is no TOML: {error}") from error
    _check_keys(tree, name)
    try:
        policy = msgspec.convert(tree, Policy)
    except msgspec.ValidationError as error:
        raise TrustError(f"{name}: {error}") from error
    rules = all_rules() if policy.scan.accept else {}
    for rule in policy.scan.accept:
        if rule not in rules:
            raise TrustError(f"{name}: scan.accept: there is no rule '{rule}'{_near(rule, rules)}")
    wanted = policy.provenance
    if wanted.signature and not (wanted.public_key or (wanted.identity and wanted.issuer)):
        raise TrustError(
            f"{name}: provenance.signature needs public_key, or identity and issuer: whose it must be"
        )
    return policy


def _check_keys(tree: dict[str, Any], name: str) -> None:
    tables = {each.name: each.type for each in msgspec.structs.fields(Policy)}
    for table, rows in tree.items():
        if table not in tables:
            raise TrustError(f"{name}: unknown table [{table}]{_near(table, list(tables))}")
        known = [each.name for each in msgspec.structs.fields(tables[table])]
        for key in rows if isinstance(rows, dict) else ():
            if key not in known:
                raise TrustError(f"{name}: unknown key {table}.{key}{_near(key, known)}")


def _near(word: str, known: Sequence[str] | dict[str, Any]) -> str:
    near = difflib.get_close_matches(word, list(known), 1, 0.4)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
