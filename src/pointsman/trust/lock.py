"""`pointsman.lock`: what a model's files were when they were checked, and what the check came to.

The file is JSON and made to be committed: names are sorted, and nothing in it depends on the machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec
from msgspec import Struct

from pointsman.errors import TrustError
from pointsman.trust.findings import Status

__all__ = [
    "LOCK_FILE",
    "FileStatus",
    "LockedFile",
    "LockedModel",
    "ModelLock",
    "Verdict",
    "compare",
    "read_lock",
    "with_model",
    "write_lock",
]

LOCK_FILE = "pointsman.lock"
LOCK_VERSION = 1
MAX_LOCK_BYTES = 64 * 1024 * 1024
MAX_FILES = 100_000

FileStatus = Literal["ok", "changed", "missing", "added"]


class LockedFile(Struct, frozen=True):
    """A file by its path within the model, with `/` between the parts."""

    path: str
    sha256: str
    size_bytes: int


class Verdict(Struct, frozen=True):
    """What a check came to, and with what it was made. `at` is ISO 8601 in UTC."""

    status: Status
    rules: tuple[str, ...]
    incomplete: int
    tools: dict[str, str]
    at: str


class LockedModel(Struct, frozen=True, omit_defaults=True):
    """A model as it was locked.

    `source` is the ref that it came from, `commit` the exact one where the source has commits.
    `templates` are the SHA-256 of its chat templates, by where each was found.
    """

    name: str
    files: tuple[LockedFile, ...]
    verdict: Verdict
    source: str = ""
    commit: str = ""
    templates: dict[str, str] = {}


class ModelLock(Struct, frozen=True):
    """All models that are locked in one file, sorted by name."""

    version: int = LOCK_VERSION
    models: tuple[LockedModel, ...] = ()

    def find(self, name: str) -> LockedModel | None:
        """The model of that name."""
        return next((each for each in self.models if each.name == name), None)


def read_lock(path: Path) -> ModelLock:
    """Read a lock file; one that is not there is empty.

    Raises:
        TrustError: it is too large, no lock file, of a later version, or names a path that leads out.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LOCK_BYTES + 1)
    except FileNotFoundError:
        return ModelLock()
    except OSError as error:
        raise TrustError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_LOCK_BYTES:
        raise TrustError(f"{path} is over {MAX_LOCK_BYTES} bytes: that is no lock file")
    try:
        lock = msgspec.json.decode(data, type=ModelLock)
    except msgspec.DecodeError as error:
        raise TrustError(f"{path} is no lock file: {error}") from error
    if lock.version != LOCK_VERSION:
        raise TrustError(
            f"{path} is of version {lock.version}, this Pointsman reads {LOCK_VERSION}: lock anew"
        )
    for model in lock.models:
        if len(model.files) > MAX_FILES:
            raise TrustError(f"{path}: '{model.name}' has over {MAX_FILES} files")
        for each in model.files:
            if PurePosixPath(each.path).is_absolute() or ".." in PurePosixPath(each.path).parts:
                raise TrustError(f"{path}: '{model.name}' has a path that leads out: {each.path!r}")
    return lock


def write_lock(path: Path, lock: ModelLock) -> None:
    """Write a lock file whole: a reader sees the old one or the new one.

    Raises:
        TrustError: it cannot be written.
    """
    scratch = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(lock), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        raise TrustError(f"{path} cannot be written: {error.strerror or error}") from error


def with_model(lock: ModelLock, model: LockedModel) -> ModelLock:
    """Give the lock with a model put in, in the place of one of the same name."""
    rest = [each for each in lock.models if each.name != model.name]
    return ModelLock(models=tuple(sorted((*rest, model), key=lambda each: each.name)))


def compare(
    locked: Iterable[LockedFile], now: Mapping[str, str]
) -> list[tuple[str, str | None, FileStatus]]:
    """Hold files against their lock: (path, SHA-256 now, status), sorted by path.

    `now` is path → SHA-256 of the files that are there.
    """
    expected = {each.path: each.sha256 for each in locked}
    rows: list[tuple[str, str | None, FileStatus]] = []
    for path in sorted({*expected, *now}):
        digest = now.get(path)
        status: FileStatus
        if digest is None:
            status = "missing"
        elif path not in expected:
            status = "added"
        else:
            status = "ok" if digest == expected[path] else "changed"
        rows.append((path, digest, status))
    return rows
