"""Every installed file against its package's RECORD, and code that no RECORD names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pointsman.trust.environment.packages import Package
from pointsman.trust.findings import Finding
from pointsman.trust.rules.environment import (
    CACHE_UNCHECKED,
    FILE_CHANGED,
    FILE_MISSING,
    FILE_UNRECORDED,
)

__all__ = ["check_files", "check_unrecorded"]

# What can be imported or run. Lines of .pth files that run are another rule's.
CODE_SUFFIXES = (".py", ".so", ".pyd", ".dylib", ".dll", ".egg", ".zip")
# PEP 552: magic, then flags; bit 0 says by hash, bit 1 that the source is to be looked at.
PYC_HEADER_BYTES, HASHED, CHECKED = 8, 0b01, 0b10

Progress = Callable[[int, int], None]


def check_files(packages: Sequence[Package], progress: Progress | None = None) -> Iterator[Finding]:
    """Hash every file that a RECORD has a hash of; yield what changed or is gone.

    `progress` is told (files done, files in all).
    """
    total = sum(len(package.files or ()) for package in packages)
    done = 0
    for package in packages:
        for each in package.files or ():
            done += 1
            if progress is not None and done % 64 == 0:
                progress(done, total)
            if each.sha256 is None:
                continue
            path = package.site / each.path
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                yield FILE_MISSING.finding(str(path), f"{package.title} was installed with it")
                continue
            except OSError as error:
                yield FILE_MISSING.finding(
                    str(path), f"{package.title} has it, and it cannot be read: {error.strerror}"
                )
                continue
            if digest != each.sha256:
                yield FILE_CHANGED.finding(
                    str(path),
                    f"{package.title} was installed with SHA-256 {each.sha256}; it is {digest}",
                )
    if progress is not None:
        progress(total, total)


def check_unrecorded(sites: Sequence[Path], packages: Sequence[Package]) -> Iterator[Finding]:
    """Yield code in the site folders that no package brought, and caches that run unread."""
    recorded = {
        os.path.normpath(package.site / each.path)
        for package in packages
        for each in package.files or ()
    }
    for site in sites:
        for folder, folders, names in os.walk(site, followlinks=False):
            folders.sort()
            for name in sorted(names):
                path = f"{folder}/{name}"
                if name.endswith(".pyc"):
                    yield from _cache(Path(path), path in recorded)
                elif name.endswith(CODE_SUFFIXES) and os.path.normpath(path) not in recorded:
                    yield FILE_UNRECORDED.finding(path, "no installed package brought it")


def _cache(path: Path, recorded: bool) -> Iterator[Finding]:
    if path.parent.name != "__pycache__":
        if not recorded:
            yield CACHE_UNCHECKED.finding(str(path), "it is imported without any source beside it")
        return
    try:
        with path.open("rb") as file:
            head = file.read(PYC_HEADER_BYTES)
    except OSError:
        return
    flags = int.from_bytes(head[4:8], "little")
    if flags & HASHED and not flags & CHECKED:
        yield CACHE_UNCHECKED.finding(str(path), "it says that its source need not be looked at")
