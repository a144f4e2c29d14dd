"""Releases that are known to be stolen, and the lock's own content of what Pointsman needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources

import msgspec
from msgspec import Struct

from pointsman.trust.environment.packages import Package, Recorded
from pointsman.trust.findings import Finding
from pointsman.trust.rules.environment import LOCK_MISMATCH, RELEASE_KNOWN_BAD

__all__ = [
    "BadRelease",
    "Locked",
    "check_locked",
    "check_releases",
    "load_bad_releases",
    "load_locked",
    "record_digest",
]

# An installer writes these itself, so they are no part of what was published.
_INSTALLERS = ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")  # fmt: skip


class BadRelease(Struct, frozen=True):
    """A stolen release, with the source that says so."""

    name: str
    versions: tuple[str, ...]
    advisory: str
    date: str
    what: str


class Locked(Struct, frozen=True):
    """A package as it is locked: `records` are digests of the RECORDs of its published wheels."""

    version: str
    records: tuple[str, ...]


def load_bad_releases() -> tuple[BadRelease, ...]:
    """Give the releases that are known to be stolen, from the data shipped."""
    return msgspec.json.decode(_data("bad_releases.json"), type=tuple[BadRelease, ...])


def load_locked() -> Mapping[str, Locked]:
    """Give the lock of what Pointsman needs, by the packages' names, from the data shipped."""
    return msgspec.json.decode(_data("locked.json"), type=dict[str, Locked])


def _data(name: str) -> bytes:
    return (resources.files("pointsman") / "data" / "trust" / name).read_bytes()


def record_digest(files: Iterable[Recorded]) -> str:
    """Give the SHA-256 of what a wheel's RECORD says of the files that an installer copies as they are.

    It is the same for the wheel and for the package installed from it: scripts, compiled caches and
    the installer's own files are left out.
    """
    lines = sorted(
        f"{each.path},{each.sha256},{each.size_bytes}" for each in files if _is_published(each.path)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _is_published(path: str) -> bool:
    top, _, rest = path.partition("/")
    if path.endswith(".pyc") or top in ("..", "") or top.endswith(".data"):
        return False
    return not (top.endswith(".dist-info") and rest in _INSTALLERS)


def check_releases(
    packages: Iterable[Package], bad: Iterable[BadRelease] | None = None
) -> Iterator[Finding]:
    """Yield a finding for each package that is a known stolen release."""
    known = {
        (each.name, version): each
        for each in (load_bad_releases() if bad is None else bad)
        for version in each.versions
    }
    for package in packages:
        release = known.get((package.name, package.version))
        if release is not None:
            yield RELEASE_KNOWN_BAD.finding(
                str(package.info),
                f"{package.title} is a stolen release ({release.advisory}, {release.date}): {release.what}",
            )


def check_locked(
    packages: Iterable[Package], locked: Mapping[str, Locked]
) -> Iterator[Finding | str]:
    """Yield a finding for each locked package of other content, and a note where it is another version."""
    for package in packages:
        lock = locked.get(package.name)
        if lock is None or package.files is None:
            continue
        if package.version != lock.version:
            yield f"{package.title} is not the version that is locked ({lock.version})"
        elif record_digest(package.files) not in lock.records:
            yield LOCK_MISMATCH.finding(
                str(package.info / "RECORD"),
                f"{package.title} has the locked version, and the content of none of its"
                f" {len(lock.records)} published files",
            )
