"""The models on this machine: files under the data directory, and those that the config names."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.catalogue import Sampling

__all__ = ["LocalModel", "Manifest", "ModelStore"]

MANIFEST = "manifest.json"


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


class ModelStore:
    """Reads and removes models; `pull` adds them.

    `configured` maps a name to (path, context in tokens or None); it goes before a pulled model.
    """

    def __init__(
        self, directory: Path, configured: Mapping[str, tuple[Path, int | None]] | None = None
    ) -> None:
        self.directory = directory
        self._configured = dict(configured or {})

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        pulled = (
            [each.parent.name for each in self.directory.glob(f"*/{MANIFEST}")]
            if self.directory.is_dir()
            else []
        )
        return sorted({*self._configured, *pulled})

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
        )

    def manifest(self, name: str) -> Manifest:
        """Give what is written down of a pulled model.

        Raises:
            LocalError: no such model, or it cannot be read.
        """
        if not is_name(name):
            raise LocalError(f"no model is named '{name}'")
        file = self.directory / name / MANIFEST
        try:
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
        """Delete a pulled model and give the bytes freed; a configured file is never deleted.

        Raises:
            LocalError: no such model, or it is the configuration's.
        """
        if name in self._configured:
            raise LocalError(f"'{name}' is a file of yours, named in the configuration")
        model = self.get(name) if (self.directory / name / MANIFEST).exists() else None
        if model is None:
            self.manifest(name)  # Raises with the names there are.
        shutil.rmtree(self.directory / name)
        return model.bytes if model else 0

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
