"""Writes a report as SARIF 2.1.0, for code scanning dashboards.

Source: OASIS SARIF 2.1.0 plus errata 01, sections 3.13 (log), 3.19 (driver), 3.20 (invocation),
3.27 (result), 3.49 (reportingDescriptor).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pointsman.trust.findings import Finding, Report
from pointsman.trust.rules.base import Rule
from pointsman.trust.rules.catalogue import all_rules

__all__ = ["sarif_log"]

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS = {"low": "note", "medium": "warning", "high": "error", "critical": "error"}
# GitHub sorts by this number: https://docs.github.com/code-security/code-scanning (SARIF support).
_SCORES = {"low": "3.0", "medium": "5.5", "high": "8.0", "critical": "9.5"}


def sarif_log(report: Report, version: str) -> dict[str, Any]:
    """Give a SARIF log of one run; what could not be checked are its notifications."""
    rules = all_rules()
    used = sorted({finding.rule for finding in report.findings})
    index = {rule: number for number, rule in enumerate(used)}
    driver = {
        "name": "Pointsman",
        "semanticVersion": version,
        "rules": [_descriptor(rules[rule]) if rule in rules else {"id": rule} for rule in used],
    }
    invocation: dict[str, Any] = {"executionSuccessful": not report.incomplete}
    if report.incomplete:
        invocation["toolExecutionNotifications"] = [
            {"level": "warning", "message": {"text": f"Could not check {reason}"}}
            for reason in report.incomplete
        ]
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, index[finding.rule]) for finding in report.findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _descriptor(rule: Rule) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": rule.id,
        "name": "".join(part.capitalize() for part in rule.id.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.what},
        "help": {"text": f"{rule.why}\n\n{rule.fix}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"security-severity": _SCORES[rule.severity], "tags": ["security"]},
    }
    addresses = [
        each for each in rule.references if each.startswith("https://") and " " not in each
    ]
    if addresses:
        found["helpUri"] = addresses[0]
    return found


def _result(finding: Finding, index: int) -> dict[str, Any]:
    file, _, member = finding.path.partition("!")
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(file, safe="/-._~")}}
    region: dict[str, int] = {}
    # A member's bytes and lines are not the file's.
    if finding.line is not None and not member:
        region["startLine"] = finding.line
    elif finding.offset is not None and not member:
        region.update(byteOffset=finding.offset, byteLength=0)
    if region:
        physical["region"] = region
    location: dict[str, Any] = {"physicalLocation": physical}
    if member:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path, "kind": "member"}]
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message} {finding.why} {finding.fix}".strip()},
        "locations": [location],
        "properties": {"severity": finding.severity},
    }
