"""What a source of models gives, and what it gets."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from pointsman.errors import LocalError
from pointsman.local.defaults import Defaults
from pointsman.local.download import Cancelled, download
from pointsman.local.manifest import Manifest, StoredFile
from pointsman.local.progress import Progress, Step

__all__ = ["Fetched", "Found", "Job", "Plan", "fetch_file", "hash_file", "same_hashes"]

PIECE_BYTES = 1024 * 1024


class Job(Struct, frozen=True):
    """Who is told how far it is, and when to stop; `env` is the environment of the configuration."""

    progress: Progress = lambda step: None
    env: Mapping[str, str] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Stop here if the pull was cancelled.

        Raises:
            Cancelled: it was.
        """
        if self.cancelled.is_set():
            raise Cancelled("the pull was cancelled; what has come is kept for the next")


class Found(Struct, frozen=True):
    """A file with its hash. One that is `in_place` stays where it is; another is moved."""

    path: Path
    sha256: str
    in_place: bool = False


class Fetched(Struct, frozen=True):
    """A model's files and what comes with them; see `Manifest`."""

    files: tuple[Found, ...]
    projector: Found | None = None
    adapters: tuple[Found, ...] = ()
    licence: str = ""
    defaults: Defaults = Defaults()
    template: str | None = None
    warnings: tuple[str, ...] = ()
    commit: str = ""


class Plan(Protocol):
    """What is to be fetched, after the source was asked what it has."""

    @property
    def name(self) -> str:
        """What the model is called unless the user says."""
        ...

    @property
    def source(self) -> str:
        """Where it comes from, as it is written down: a ref without secrets."""
        ...

    def holds(self, manifest: Manifest) -> bool:
        """Whether what is stored of this name is what would be fetched."""
        ...

    def fetch(self, job: Job, scratch: Path) -> Fetched:
        """Have the files, their hashes checked where the source gives one.

        `scratch` is on the store's file system. What is left in it after a pull that was cut short
        is there at the next one; if that is no journal of a download, it is deleted.
        """
        ...


def fetch_file(
    job: Job,
    url: str,
    target: Path,
    *,
    size_bytes: int | None = None,
    sha256: str | None = None,
    headers: Mapping[str, str] = {},
    label: str | None = None,
    keep_journal: bool = False,
) -> str:
    """Have the file at `target`; one that is there and has the hash is not fetched.

    Gives its sha256. `label` is its name for the user.

    Raises:
        LocalError: as `download`.
    """
    name = label or target.name
    if sha256 is not None and target.is_file():
        if hash_file(job, target, name) == sha256:
            return sha256
        target.unlink()

    def report(done: int, total: int | None) -> None:
        job.progress(Step("downloading", name, sha256, done, total))

    return download(
        url, target, size_bytes=size_bytes, sha256=sha256, headers=headers, progress=report,
        cancelled=job.cancelled, keep_journal=keep_journal,
    )  # fmt: skip


def hash_file(job: Job, path: Path, label: str | None = None) -> str:
    """Give a file's sha256, and say how far it is.

    Raises:
        LocalError: it cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                job.check()
                digest.update(piece)
                done += len(piece)
                if done % (32 * PIECE_BYTES) == 0 or done == size:
                    job.progress(Step("verifying", label or path.name, None, done, size))
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def same_hashes(files: tuple[StoredFile, ...], hashes: list[str]) -> bool:
    """Whether the stored files have these hashes, in this order."""
    return [each.sha256 for each in files] == hashes
