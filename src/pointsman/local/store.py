"""The models on this machine: what was pulled or imported, and what the configuration names.

A model is a folder with a manifest. Its files lie in the folder, or elsewhere (an Ollama store, a
Hugging Face cache): those are served where they lie, and never deleted from here.
"""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from pointsman.errors import LocalError, NoLocalModel
from pointsman.local.defaults import Defaults
from pointsman.local.manifest import (
    MANIFEST,
    Manifest,
    StoredFile,
    hash_file,
    read_manifest,
    write_manifest,
)
from pointsman.local.names import folder_of, is_name, match_name, name_of

__all__ = ["ConfiguredModel", "LocalModel", "ModelStore", "Removed"]

# Bytes hashed so far, and in all.
Progress = Callable[[int, int], None]


class ConfiguredModel(Struct, frozen=True):
    """A model of the configuration: a file, another model by its name, or a remote engine's URL.

    What is set here goes over what the other model has.
    """

    path: Path | None = None
    ref: str | None = None
    url: str | None = None
    context_tokens: int | None = None
    slots: int | None = None
    idle_s: float | None = None
    projector: Path | None = None
    adapters: tuple[Path, ...] = ()
    flags: dict[str, Any] = field(default_factory=dict)


class LocalModel(Struct, frozen=True):
    """A model that can be run. `bytes` is the size of all its files, `sha256` the first one's.

    `verified` says that every file's hash was checked and that none has been touched since (size
    and time of change are as they were). `url` is of a remote engine, which then has no `path`.
    """

    name: str
    path: str
    bytes: int
    sha256: str | None
    verified: bool
    source: str
    defaults: Defaults = Defaults()
    licence: str | None = None
    projector: str | None = None
    adapters: tuple[str, ...] = ()
    template: str | None = None
    created_at: str = ""
    warnings: tuple[str, ...] = ()
    url: str | None = None
    slots: int | None = None
    idle_s: float | None = None
    commit: str = ""


class Removed(Struct, frozen=True):
    """What a removal freed, and the files that were left where they lie, as they are not ours."""

    bytes: int
    kept: tuple[str, ...] = ()


class ModelStore:
    """Reads, copies and removes models; `pull` and `import` add them.

    A model of the configuration goes before a stored one of the same name.
    """

    def __init__(
        self, directory: Path, configured: Mapping[str, ConfiguredModel] | None = None
    ) -> None:
        self.directory = directory
        self._configured = dict(configured or {})

    def is_configured(self, name: str) -> bool:
        """Whether the name is one of the configuration's."""
        return name in self._configured

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        try:
            with os.scandir(self.directory) as entries:
                stored = [name for each in entries if (name := _stored_name(each))]
        except FileNotFoundError:
            stored = []
        return sorted({*self._configured, *stored})

    def stamp(self) -> int:
        """A number that is another once a model was added, changed or removed."""
        try:
            return self.directory.stat().st_mtime_ns
        except OSError:
            return 0

    def find(self, asked: str) -> str:
        """Give the full name of the model that is meant by `asked`; see `match_name`.

        Raises:
            LocalError: there is none; the message names the nearest.
        """
        if asked in self._configured or (is_name(asked) and self._manifest_of(asked).exists()):
            return asked
        names = self.names()
        name = match_name(asked, names)
        if name is None:
            near = difflib.get_close_matches(asked, names, 3, 0.3) or names[:8]
            raise NoLocalModel(f"no local model '{asked}' (there are: {', '.join(near) or 'none'})")
        return name

    def list(self) -> list[LocalModel]:
        """All models; one whose file is gone is left out."""
        found = []
        for name in self.names():
            try:
                found.append(self.get(name))
            except LocalError:
                continue
        return found

    def get(self, asked: str) -> LocalModel:
        """Give a model.

        Raises:
            LocalError: there is none, a file of it is gone, or what is written down cannot be read.
        """
        name = self.find(asked)
        if name in self._configured:
            return self._own(name, self._configured[name])
        manifest = self.manifest(name)
        same, size = True, 0
        for file in manifest.all_files():
            path = self.path_of(name, file)
            try:
                stat = path.stat()
            except OSError as error:
                raise LocalError(f"the file of '{name}' is gone; pull it again: {path}") from error
            size += stat.st_size
            same &= (stat.st_size, stat.st_mtime_ns) == (file.bytes, file.mtime_ns)
        first, projector = manifest.files[0], manifest.projector
        return LocalModel(
            name=name,
            path=str(self.path_of(name, first)),
            bytes=size,
            sha256=first.sha256,
            verified=same,
            source=manifest.source,
            defaults=manifest.defaults,
            licence=manifest.licence or None,
            projector=None if projector is None else str(self.path_of(name, projector)),
            adapters=tuple(str(self.path_of(name, each)) for each in manifest.adapters),
            template=manifest.template,
            created_at=manifest.created_at,
            warnings=manifest.warnings,
            commit=manifest.commit,
        )

    def verify(self, asked: str, progress: Progress = lambda done, total: None) -> LocalModel:
        """Give a model all of whose files were hashed just now; touched but equal ones are noted.

        A configured file has no hash to be held against: it is given with `sha256` filled in and
        `verified` false. Reads the whole files; a remote model has none.

        Raises:
            LocalError: as `get`, or a file is not the one that was pulled.
        """
        model = self.get(asked)
        name = model.name
        if model.url is not None:
            return model
        if model.sha256 is None:
            digest, _ = hash_file(Path(model.path), lambda done: progress(done, model.bytes))
            return msgspec.structs.replace(model, sha256=digest)
        # A model that the configuration names by `ref` is another one's.
        owner = name
        while (own := self._configured.get(owner)) is not None and own.ref is not None:
            owner = self.find(own.ref)
        manifest = self.manifest(owner)
        done = 0

        def check(file: StoredFile) -> StoredFile:
            nonlocal done
            path, before = self.path_of(owner, file), done
            digest, mtime_ns = hash_file(path, lambda more: progress(before + more, model.bytes))
            done += file.bytes
            if digest != file.sha256:
                raise LocalError(
                    f"the file of '{owner}' is not the one that was pulled (sha256 {digest},"
                    f" expected {file.sha256}); remove it and pull it again: {path}"
                )
            return msgspec.structs.replace(file, mtime_ns=mtime_ns)

        checked = msgspec.structs.replace(
            manifest,
            files=tuple(check(each) for each in manifest.files),
            projector=manifest.projector and check(manifest.projector),
            adapters=tuple(check(each) for each in manifest.adapters),
        )
        if checked != manifest:
            self.write(checked)
        return self.get(name)

    def manifest(self, name: str) -> Manifest:
        """Give what is written down of a stored model, by its full name.

        Raises:
            LocalError: no such model, or it cannot be read.
        """
        if not is_name(name):
            raise NoLocalModel(f"no model is named '{name}'")
        try:
            return read_manifest(self._manifest_of(name), name)
        except FileNotFoundError as error:
            known = ", ".join(self.names()) or "none"
            raise NoLocalModel(f"no local model '{name}' (there are: {known})") from error

    def known_hashes(self, model: LocalModel) -> dict[Path, str]:
        """Give every file that a model's manifest names, with its hash; of a configured file none is known."""
        owner = model.name
        while (own := self._configured.get(owner)) is not None:
            if own.ref is None:
                return {}
            owner = self.find(own.ref)
        files = self.manifest(owner).all_files()
        return {self.path_of(owner, each): each.sha256 for each in files}

    def folder(self, name: str) -> Path:
        """Where a model of that name has its manifest, and mostly its files.

        Raises:
            LocalError: it is no name.
        """
        if not is_name(name):
            raise LocalError(
                f"'{name}' cannot be a model's name: letters, digits and '._-', parts by '/', a"
                " tag after ':'"
            )
        return self.directory / folder_of(name)

    def path_of(self, name: str, file: StoredFile) -> Path:
        """The full path of a file of a model."""
        return self.directory / folder_of(name) / file.path

    def write(self, manifest: Manifest) -> None:
        """Write a manifest down whole: a reader sees the old one or the new one, after a crash too.

        With it the model is there, so its files must be.

        Raises:
            LocalError: the name is taken by the configuration, or it cannot be written.
        """
        if self.is_configured(manifest.name):
            raise LocalError(f"'{manifest.name}' is named in the configuration")
        folder = self.folder(manifest.name)
        try:
            write_manifest(folder, manifest)
            os.utime(self.directory)  # Else only a new folder is a change of it.
        except OSError as error:
            raise LocalError(f"{folder} cannot be written: {error.strerror or error}") from error

    def copy(self, asked: str, name: str) -> LocalModel:
        """Give a stored model a second name; its files are linked, and take no more space.

        Raises:
            LocalError: there is no such model, it is the configuration's, or it cannot be written.
        """
        source = self.find(asked)
        manifest = self.manifest(source)
        folder = self.folder(name)
        if source == name:
            return self.get(name)

        def linked(file: StoredFile) -> StoredFile:
            if not Path(file.path).is_absolute():
                link = folder / file.path
                link.unlink(missing_ok=True)
                os.link(self.path_of(source, file), link)
            return file

        try:
            folder.mkdir(parents=True, exist_ok=True)
            for each in manifest.all_files():
                linked(each)
        except OSError as error:
            raise LocalError(f"{folder} cannot be written: {error.strerror or error}") from error
        self.write(msgspec.structs.replace(manifest, name=name))
        return self.get(name)

    def remove(self, asked: str) -> Removed:
        """Delete a stored model, whatever state it is in; files that are not ours are left.

        A process that has a file open keeps it until it ends.

        Raises:
            LocalError: no such model, it is a file of the configuration's, or it cannot be deleted.
        """
        name = self.find(asked)
        if name in self._configured:
            raise LocalError(f"'{name}' is a file of yours, named in the configuration")
        folder = self.directory / folder_of(name)
        try:
            files = self.manifest(name).all_files()
        except LocalError:
            files = ()  # It cannot be read, and goes all the same.
        kept = tuple(each.path for each in files if Path(each.path).is_absolute())
        try:
            stats = [each.lstat() for each in folder.iterdir()]
            # What has another name still is not freed.
            freed = sum(each.st_size for each in stats if each.st_nlink == 1)
            # First, so that one that is stopped halfway is no model any more.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            raise LocalError(f"{folder} cannot be deleted: {error.strerror or error}") from error
        return Removed(freed, kept)

    def _manifest_of(self, name: str) -> Path:
        return self.directory / folder_of(name) / MANIFEST

    def _own(self, name: str, own: ConfiguredModel) -> LocalModel:
        if own.url is not None:
            model = LocalModel(name, "", 0, None, False, own.url, url=own.url)
        elif own.ref is not None:
            model = self._other(name, own.ref)
        else:
            path = own.path or Path()
            model = LocalModel(name, str(path), _size_of(name, path), None, False, f"file:{path}")
        defaults = msgspec.structs.replace(
            model.defaults,
            context_tokens=own.context_tokens or model.defaults.context_tokens,
            flags={**model.defaults.flags, **own.flags},
        )
        more = own.adapters if own.projector is None else (own.projector, *own.adapters)
        return msgspec.structs.replace(
            model,
            bytes=model.bytes + sum(_size_of(name, each) for each in more),
            defaults=defaults,
            projector=str(own.projector) if own.projector else model.projector,
            adapters=tuple(map(str, own.adapters)) or model.adapters,
            slots=own.slots,
            idle_s=own.idle_s,
        )

    def _other(self, name: str, ref: str) -> LocalModel:
        try:
            other = self.find(ref)
        except LocalError as error:
            raise LocalError(
                f"'{name}' is '{ref}' by the configuration, which is not here;"
                f" run: pointsman pull {ref}"
            ) from error
        if other in self._configured:
            raise LocalError(f"'{name}' is '{ref}', which is of the configuration too")
        return msgspec.structs.replace(self.get(other), name=name)


def _size_of(name: str, path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise LocalError(f"the file of '{name}' is not there: {path}") from error


def _stored_name(entry: os.DirEntry[str]) -> str | None:
    if entry.name.startswith(".") or not os.path.exists(f"{entry.path}/{MANIFEST}"):  # noqa: PTH110  # thousands of them
        return None
    return name_of(entry.name)
