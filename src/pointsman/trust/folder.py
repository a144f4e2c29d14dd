"""Walks a folder of model files: gives the files, and says what is wrong with what lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from pointsman.trust.formats.context import Scan
from pointsman.trust.formats.names import confusable, same_but_for_form
from pointsman.trust.rules.companions import (
    HIDDEN_FILE,
    LINK_OUTSIDE,
    NAME_CONFUSABLE,
    SPECIAL_FILE,
)

__all__ = ["FoundFile", "check_names", "walk_folder"]

MAX_DEPTH = 32
_USUAL_HIDDEN = {
    ".gitattributes",
    ".gitignore",
    ".gitkeep",
    ".git",
    ".cache",
    ".huggingface",
    ".ds_store",
    ".locks",
    ".no_exist",
    ".dockerignore",
    ".pre-commit-config.yaml",
    ".github",
}
# What no loader reads, and git and the Hub's client keep beside the files.
_PASSED_OVER = {".git", ".locks", ".no_exist"}


class FoundFile(Struct, frozen=True):
    """A regular file: what to call it, and where it is once links are followed."""

    name: str
    path: Path
    size: int


def walk_folder(root: Path, scan: Scan) -> Iterator[FoundFile]:
    """Give the files below a folder, by name; links that stay inside are followed to files only.

    Names, links and what is no file are reported on the way.
    """
    real_root = root.resolve()
    waiting = [("", root, 0)]
    count = 0
    while waiting:
        prefix, folder, depth = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                rows = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            scan.cannot_check(
                prefix or ".", f"the folder cannot be read: {error.strerror or error}"
            )
            continue
        check_names(prefix, [row.name for row in rows], scan)
        inner = []
        for row in rows:
            name = f"{prefix}{_printable(row.name)}"
            count += 1
            if count > scan.limits.files:
                scan.cannot_check(
                    prefix or ".",
                    f"there are over {scan.limits.files} files; the rest was not looked at",
                )
                return
            if row.is_dir(follow_symlinks=False):
                if row.name in _PASSED_OVER:
                    continue
                if depth >= MAX_DEPTH:
                    scan.cannot_check(name, f"folders are nested over {MAX_DEPTH} deep")
                else:
                    inner.append((f"{name}/", Path(row.path), depth + 1))
                continue
            found = _file(row, name, real_root, scan)
            if found is not None:
                yield found
        waiting.extend(reversed(inner))


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def check_names(prefix: str, names: list[str], scan: Scan) -> None:
    """Report names of one folder that are hidden, or are not what they look like."""
    for name in names:
        why = confusable(name)
        shown = f"{prefix}{_printable(name)}"
        if why:
            scan.add(NAME_CONFUSABLE, shown, f"The name {name!a} {why}.")
        if name.startswith(".") and name.lower() not in _USUAL_HIDDEN:
            scan.add(HIDDEN_FILE, shown, "It is hidden: its name begins with a dot.")
    for one, other in same_but_for_form(names):
        scan.add(
            NAME_CONFUSABLE,
            f"{prefix}{_printable(other)}",
            f"Some file systems take {other!a} and {one!a} as one.",
        )


def _file(row: os.DirEntry[str], name: str, root: Path, scan: Scan) -> FoundFile | None:
    path = Path(row.path)
    try:
        if row.is_symlink():
            target = path.resolve()
            if not _is_within(target, root):
                scan.add(
                    LINK_OUTSIDE,
                    name,
                    f"It is a link to {str(path.readlink())[:200]!a}, outside the folder.",
                )
                return None
            path = target
        status = path.lstat()
    except (OSError, RuntimeError) as error:
        scan.add(
            LINK_OUTSIDE,
            name,
            f"It is a link that leads nowhere, or cannot be read: {str(error)[:100]!a}.",
        )
        return None
    if stat.S_ISREG(status.st_mode):
        return FoundFile(name, path, status.st_size)
    if not stat.S_ISDIR(status.st_mode):
        scan.add(SPECIAL_FILE, name, "It is a device, a pipe or a socket.")
    elif row.is_symlink():
        # A folder within is walked by its own name.
        return None
    return None


def _is_within(target: Path, root: Path) -> bool:
    """Whether a link's target is inside, or in the blobs of the same repository of the Hub's cache.

    Source: huggingface_hub, "Understand caching": `models--X/snapshots/COMMIT/F` links to
    `models--X/blobs/HASH`.
    """
    if target.is_relative_to(root):
        return True
    for parent in (root, *root.parents):
        if parent.name.startswith(("models--", "datasets--")):
            return target.parent == parent / "blobs"
    return False
