"""Whether a model may be used: the checks that a policy asks for, put together into one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from msgspec import Struct

from pointsman.errors import MissingExtra, TrustError
from pointsman.trust.dates import written
from pointsman.trust.findings import Finding, Report, make_report, merge
from pointsman.trust.formats.context import Template
from pointsman.trust.lock import FileStatus, LockedFile, LockedModel, Verdict, compare
from pointsman.trust.policy import Policy
from pointsman.trust.rules.provenance import (
    FILE_ADDED,
    FILE_GONE,
    FILE_NOT_AS_LOCKED,
    NOT_LOCKED,
    NOT_SIGNED,
    SIGNATURE_WRONG,
    SOURCE_CHANGED,
    SOURCE_UNPINNED,
)
from pointsman.trust.scan import Scanned, ScannedFile, scan_path
from pointsman.trust.signing import SIGNATURE_FILE, Signer, check_signature
from pointsman.trust.subject import Subject
from pointsman.trust.template.compare import template_sha256

__all__ = ["FileRow", "Part", "Verified", "locked_model", "scan_subject", "verify"]

Part = Literal["scan", "provenance", "lock", "signature", "rows", "probe"]
# Refs of sources whose names can come to mean something else.
HUBS = ("hf:",)
_STATUS_RULES = {"changed": FILE_NOT_AS_LOCKED, "missing": FILE_GONE, "added": FILE_ADDED}

Progress = Callable[[int, int | None], None]


class FileRow(Struct, frozen=True):
    """A file of the model. `status` is against the lock; "unlocked" where there is none."""

    path: str
    sha256: str | None
    status: FileStatus | Literal["unlocked"]


class Verified(Struct, frozen=True):
    """What a verification comes to. `accepted` are findings that the policy does not count."""

    report: Report
    accepted: tuple[Finding, ...]
    files: tuple[FileRow, ...]
    scanned: Scanned
    parts: dict[Part, str]


def scan_subject(
    subject: Subject, base: Path | None, progress: Progress | None, *, hashes: bool = True
) -> Scanned:
    """Scan all of a model's files; with `hashes` each is read whole for its SHA-256.

    Raises:
        TrustError: as `scan_path`, or two of its files have one name.
    """
    parts = [
        scan_path(path, base=base, hashes=hashes, progress=progress if number == 0 else None)
        for number, path in enumerate(subject.paths)
    ]
    files = tuple(each for part in parts for each in part.files)
    names = [each.name for each in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TrustError(f"'{subject.name}' has two files named {twice}")
    return Scanned(
        merge([part.report for part in parts]),
        files,
        tuple(each for part in parts for each in part.templates),
        tuple(each for part in parts for each in part.pickles),
    )


def locked_model(
    subject: Subject, scanned: Scanned, report: Report, tools: Mapping[str, str], now: datetime
) -> LockedModel:
    """Give a model's entry of the lock. `tools` is name → version of what checked it; `now` is in UTC."""
    return LockedModel(
        name=subject.name,
        files=tuple(
            LockedFile(each.name, each.sha256 or "", each.size_bytes)
            for each in sorted(scanned.files, key=lambda each: each.name)
            if not _is_signature(each.name)
        ),
        verdict=Verdict(
            status=report.status,
            rules=tuple(sorted({each.rule for each in report.findings})),
            incomplete=len(report.incomplete),
            tools=dict(sorted(tools.items())),
            at=written(now),
        ),
        source=subject.source,
        commit=subject.commit,
        templates=templates_of(scanned.templates),
    )


def templates_of(templates: Sequence[Template]) -> dict[str, str]:
    """Where each chat template was found → its SHA-256, sorted."""
    return dict(
        sorted((f"{each.path}:{each.name}", template_sha256(each.text)) for each in templates)
    )


def verify(
    subject: Subject,
    policy: Policy,
    *,
    locked: LockedModel | None = None,
    signature: Path | None = None,
    signer: Signer | None = None,
    base: Path | None = None,
    others: Mapping[Part, Report] | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Check a model by a policy: its files, where they came from, its lock, its signature.

    `others` are reports that were made elsewhere: of its rows, of its behaviour. What the policy
    requires and nobody checked makes it incomplete.

    Raises:
        TrustError: a path is not there; `base` holds no chat template.
    """
    others = others or {}
    scanned = scan_subject(subject, base, progress)
    parts: dict[Part, str] = {"scan": f"{len(scanned.files)} files"}
    reports = [scanned.report, *others.values()]
    rows = _rows(scanned.files, locked)
    found = [*_provenance(subject, policy, locked), *_against_lock(subject, policy, locked, rows)]
    parts["provenance"] = subject.source or "unknown"
    if locked is not None:
        parts["lock"] = f"locked {locked.verdict.at}"
    signed, why_not = _signature(subject, policy, signature, signer)
    if signed is not None:
        parts["signature"] = signed if isinstance(signed, str) else signed.message
        found += [] if isinstance(signed, str) else [signed]
    missing = [why_not] if why_not else []
    required: dict[Part, tuple[bool, str]] = {
        "rows": (policy.rows.require, "its training set: --data FILE"),
        "probe": (
            policy.probe.require,
            "its behaviour: verify it by a ref that answers, with --probe",
        ),
    }
    for part, (asked, how) in required.items():
        if part in others:
            parts[part] = others[part].status
        elif asked:
            missing.append(f"{subject.name}: the policy asks for a look at {how}")
    whole = merge([*reports, make_report(found, missing)])
    counted, accepted = policy.apply(whole)
    return Verified(counted, accepted, rows, scanned, parts)


def _rows(files: Sequence[ScannedFile], locked: LockedModel | None) -> tuple[FileRow, ...]:
    now = {each.name: each.sha256 or "" for each in files if not _is_signature(each.name)}
    if locked is None:
        return tuple(FileRow(path, digest, "unlocked") for path, digest in sorted(now.items()))
    return tuple(FileRow(*row) for row in compare(locked.files, now))


def _is_signature(name: str) -> bool:
    return PurePosixPath(name).name == SIGNATURE_FILE


def _provenance(subject: Subject, policy: Policy, locked: LockedModel | None) -> Iterator[Finding]:
    if policy.provenance.commit and subject.source.startswith(HUBS) and not subject.commit:
        yield SOURCE_UNPINNED.finding(
            subject.name, f"it comes from {subject.source}, and no commit is written down"
        )
    if locked is None or not subject.source or not locked.source:
        return
    then, now = _place(locked.source, locked.commit), _place(subject.source, subject.commit)
    if then != now:
        yield SOURCE_CHANGED.finding(subject.name, f"it was locked from {then}, and is from {now}")


def _place(source: str, commit: str) -> str:
    return f"{source} at {commit}" if commit else source


def _against_lock(
    subject: Subject, policy: Policy, locked: LockedModel | None, rows: Sequence[FileRow]
) -> Iterator[Finding]:
    if locked is None:
        if policy.provenance.lock:
            yield NOT_LOCKED.finding(
                subject.name, "the policy asks that it is locked, and it is not"
            )
        return
    expected = {each.path: each.sha256 for each in locked.files}
    for row in rows:
        rule = _STATUS_RULES.get(row.status)
        if rule is None:
            continue
        messages = {
            "changed": f"it was locked with SHA-256 {expected.get(row.path)}; it is {row.sha256}",
            "missing": f"it was locked with SHA-256 {expected.get(row.path)}",
            "added": f"it has SHA-256 {row.sha256}",
        }
        yield rule.finding(row.path, messages[row.status])


def _signature(
    subject: Subject, policy: Policy, signature: Path | None, signer: Signer | None
) -> tuple[str | Finding | None, str | None]:
    """What became of the signature, None if none was asked for; and why it could not be checked."""
    wanted = policy.provenance
    if signer is None and wanted.signature:
        key = Path(wanted.public_key) if wanted.public_key else None
        signer = Signer(key) if key else Signer(None, wanted.identity, wanted.issuer)
    if signer is None:
        return None, None
    if len(subject.paths) != 1:
        return None, f"{subject.name}: a signature is of one file or folder, and it has several"
    path = subject.paths[0]
    place = signature or (
        path / SIGNATURE_FILE if path.is_dir() else path.with_name(SIGNATURE_FILE)
    )
    if not place.is_file():
        return NOT_SIGNED.finding(str(place), "there is no signature"), None
    try:
        check_signature(path, place, signer)
    except MissingExtra as error:
        return None, error.message
    except TrustError as error:
        return SIGNATURE_WRONG.finding(str(place), error.message), None
    return f"signed by {signer}", None
