"""What is written down of a model beside its files, and the hashes that they are held against."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.defaults import Defaults

__all__ = [
    "MANIFEST",
    "Manifest",
    "StoredFile",
    "hash_file",
    "note_file",
    "read_manifest",
    "sha256_of",
    "sync_folder",
    "write_manifest",
]

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 1024 * 1024


class StoredFile(Struct, frozen=True, omit_defaults=True):
    """A file of a model. `path` is absolute, or the name of a file in the model's folder.

    `mtime_ns` is its time of change when its hash was last checked; 0 if that never was.
    """

    path: str
    bytes: int
    sha256: str
    mtime_ns: int = 0


class Manifest(Struct, frozen=True, omit_defaults=True):
    """What is written down of a model. `created_at` is an ISO 8601 time in UTC.

    `files` are its weights, the first the one that is loaded (a split model has several).
    `projector` is what turns images and sound into its embeddings (mmproj); `adapters` are LoRAs;
    `source` is a ref of `pull`, or says what else it came from; `commit` is the exact one, where
    the source has commits. `template` is a chat template in
    Jinja in the place of the file's own.
    """

    name: str
    source: str
    created_at: str
    files: tuple[StoredFile, ...]
    projector: StoredFile | None = None
    adapters: tuple[StoredFile, ...] = ()
    licence: str = ""
    defaults: Defaults = Defaults()
    template: str | None = None
    warnings: tuple[str, ...] = ()
    commit: str = ""

    def all_files(self) -> tuple[StoredFile, ...]:
        """Its weights, its projector and its adapters."""
        extra = () if self.projector is None else (self.projector,)
        return (*self.files, *extra, *self.adapters)


def read_manifest(file: Path, name: str) -> Manifest:
    """Read the manifest of the model `name`; no file of it leads out of its folder by a relative path.

    Raises:
        FileNotFoundError: there is none.
        LocalError: it cannot be read.
    """
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise LocalError(f"{file} is over {MAX_MANIFEST_BYTES} bytes; pull '{name}' again")
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise
    except (OSError, msgspec.DecodeError) as error:
        raise LocalError(f"{file} cannot be read: {error}; pull '{name}' again") from error
    if not manifest.files:
        raise LocalError(f"{file} names no file; pull '{name}' again")
    for each in manifest.all_files():
        if not Path(each.path).is_absolute() and (
            Path(each.path).name != each.path or each.path in ("", "..")
        ):
            raise LocalError(f"{file} names a file outside of its folder")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest down whole: a reader sees the old one or the new one, after a crash too.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{MANIFEST}.new"
    with scratch.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / MANIFEST)
    sync_folder(folder)


def note_file(path: Path, sha256: str, *, inside: bool) -> StoredFile:
    """Describe a file that was hashed just now; `inside` if it lies in the model's folder."""
    stat = path.stat()
    return StoredFile(path.name if inside else str(path), stat.st_size, sha256, stat.st_mtime_ns)


def sha256_of(path: Path) -> str:
    """Hash a file in bounded memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_file(path: Path, progress: Callable[[int], None]) -> tuple[str, int]:
    """Give a file's hash, and its time of change from before: a change during it must not pass."""
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                done += len(piece)
                progress(done)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest(), mtime_ns


def sync_folder(folder: Path) -> None:
    """Have the folder's renames on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
