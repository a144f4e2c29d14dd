"""The models on this machine: files under the data directory, and those that the config names."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.catalogue import Sampling

__all__ = ["LocalModel", "Manifest", "ModelStore", "sha256_of", "sync_folder", "write_manifest"]

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1024 * 1024


class Manifest(Struct, frozen=True):
    """What is written down beside a pulled file. `pulled_at` is an ISO 8601 time in UTC."""

    name: str
    file: str
    source: str
    bytes: int
    sha256: str
    licence: str
    pulled_at: str
    mtime_ns: int
    sampling: Sampling = Sampling()


class LocalModel(Struct, frozen=True):
    """A model that can be run. `verified` says that its hash was checked and that the file has not
    been touched since (size and time of change are as they were).
    """

    name: str
    path: str
    bytes: int
    sha256: str | None
    verified: bool
    source: str
    context_tokens: int | None = None
    sampling: Sampling = Sampling()
    licence: str | None = None


class ModelStore:
    """Reads and removes models; `pull` adds them.

    `configured` maps a name to (path, context in tokens or None); it goes before a pulled model.
    """

    def __init__(
        self, directory: Path, configured: Mapping[str, tuple[Path, int | None]] | None = None
    ) -> None:
        self.directory = directory
        self._configured = dict(configured or {})

    def is_configured(self, name: str) -> bool:
        """Whether the name is a file of the configuration's."""
        return name in self._configured

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        pulled = [each.parent.name for each in self.directory.glob(f"*/{MANIFEST}")]
        return sorted({*self._configured, *filter(is_name, pulled)})

    def list(self) -> list[LocalModel]:
        """All models; one whose file is gone is left out."""
        found = []
        for name in self.names():
            try:
                found.append(self.get(name))
            except LocalError:
                continue
        return found

    def get(self, name: str) -> LocalModel:
        """Give a model.

        Raises:
            LocalError: there is none, its file is gone, or what is written down cannot be read.
        """
        if name in self._configured:
            return self._own(name)
        manifest = self.manifest(name)
        path = self.directory / name / manifest.file
        try:
            stat = path.stat()
        except OSError as error:
            raise LocalError(f"the file of '{name}' is gone; pull it again: {path}") from error
        same = stat.st_size == manifest.bytes and stat.st_mtime_ns == manifest.mtime_ns
        return LocalModel(
            name=name,
            path=str(path),
            bytes=stat.st_size,
            sha256=manifest.sha256,
            verified=same,
            source=manifest.source,
            sampling=manifest.sampling,
            licence=manifest.licence,
        )

    def verify(self, name: str) -> LocalModel:
        """Give a model whose whole file was hashed just now; a touched but equal file is noted.

        A configured file has no hash to be held against: it is given with `sha256` filled in and
        `verified` false. Reads the whole file.

        Raises:
            LocalError: as `get`, or the file is not the one that was pulled.
        """
        model = self.get(name)
        path = Path(model.path)
        try:
            before = path.stat().st_mtime_ns
            digest = sha256_of(path)
        except OSError as error:
            raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error
        if model.sha256 is None:
            return msgspec.structs.replace(model, sha256=digest)
        if digest != model.sha256:
            raise LocalError(
                f"the file of '{name}' is not the one that was pulled (sha256 {digest}, expected"
                f" {model.sha256}); remove it and pull it again: {path}"
            )
        if not model.verified:
            # The time from before the hash: a change during it must not pass for checked.
            manifest = msgspec.structs.replace(self.manifest(name), mtime_ns=before)
            write_manifest(self.directory / name, manifest)
        return self.get(name)

    def manifest(self, name: str) -> Manifest:
        """Give what is written down of a pulled model.

        Raises:
            LocalError: no such model, or it cannot be read.
        """
        if not is_name(name):
            raise LocalError(f"no model is named '{name}'")
        file = self.directory / name / MANIFEST
        try:
            if file.stat().st_size > MAX_MANIFEST_BYTES:
                raise LocalError(f"{file} is over {MAX_MANIFEST_BYTES} bytes; pull '{name}' again")
            manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
        except FileNotFoundError as error:
            known = ", ".join(self.names()) or "none"
            raise LocalError(f"no local model '{name}' (there are: {known})") from error
        except (OSError, msgspec.DecodeError) as error:
            raise LocalError(f"{file} cannot be read: {error}; pull '{name}' again") from error
        if Path(manifest.file).name != manifest.file:
            raise LocalError(f"{file} names a file outside of its folder")
        return manifest

    def remove(self, name: str) -> int:
        """Delete a pulled model, whatever state it is in, and give the bytes freed.

        A process that has the file open keeps it until it ends.

        Raises:
            LocalError: no such model, it is a file of the configuration's, or it cannot be deleted.
        """
        if name in self._configured:
            raise LocalError(f"'{name}' is a file of yours, named in the configuration")
        folder = self.directory / name
        if not is_name(name) or not (folder / MANIFEST).exists():
            self.manifest(name)  # Raises with the names there are.
        try:
            freed = sum(each.lstat().st_size for each in folder.iterdir())
            # First, so that one that is stopped halfway is no model any more.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            raise LocalError(f"{folder} cannot be deleted: {error.strerror or error}") from error
        return freed

    def _own(self, name: str) -> LocalModel:
        path, context = self._configured[name]
        try:
            size = path.stat().st_size
        except OSError as error:
            raise LocalError(f"the file of '{name}' is not there: {path}") from error
        return LocalModel(name, str(path), size, None, False, f"file:{path}", context)


def is_name(name: str) -> bool:
    """Whether a name may be a folder's: letters, digits, '.', '_' and '-', no leading dot."""
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    return plain.isascii() and plain.isalnum() and not name.startswith(".")


def sha256_of(path: Path) -> str:
    """Hash a file in bounded memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest down whole: a reader sees the old one or the new one, after a crash too."""
    scratch = folder / f".{MANIFEST}.new"
    with scratch.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / MANIFEST)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Have the folder's renames on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
