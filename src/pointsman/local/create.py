"""Makes a new model of an old one, or of GGUF files: what a Modelfile asks for."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError, RequestError
from pointsman.local.blobs import FOLDER
from pointsman.local.defaults import Defaults
from pointsman.local.gguf import read_head
from pointsman.local.gguf_metadata import GgufOutline, read_outline
from pointsman.local.manifest import Manifest, StoredFile
from pointsman.local.ollama.architectures import unusable_projector
from pointsman.local.ollama.contents import file_warnings
from pointsman.local.ollama.modelfile import ROLES
from pointsman.local.ollama.parameters import layered
from pointsman.local.placing import Base, drop_others, place
from pointsman.local.refs import split_names
from pointsman.local.store import LocalModel, ModelStore

__all__ = ["create"]

MAX_MESSAGES = 1_000
MAX_FILES = 1_000
PIECE_BYTES = 1024 * 1024
# What was said of parameters that are set anew is said anew.
_OF_PARAMETER = "the parameter '"

# Bytes hashed so far, and in all.
Progress = Callable[[int, int], None]


class _Given(Struct, frozen=True):
    """A file that was given, with its hash. `name` is what its giver calls it."""

    name: str
    path: Path
    sha256: str
    mtime_ns: int
    outline: GgufOutline


def create(
    store: ModelStore,
    name: str,
    *,
    source: str | None = None,
    files: Mapping[str, Path] = {},
    adapters: Mapping[str, Path] = {},
    parameters: Mapping[str, Any] = {},
    system: str | None = None,
    messages: Sequence[tuple[str, str]] = (),
    licence: str | None = None,
    progress: Progress = lambda done, total: None,
) -> LocalModel:
    """Have a model of that name: another stored one, or the GGUF files, with settings over its own.

    `files` and `adapters` are by the names that their giver has for them. A file is linked into the
    model's folder, and takes no space; one on another disk is served where it lies. What was not
    sent as a blob is hashed, and `progress` is told. None leaves `system` and `licence` as they
    are, as nothing does `messages` and `adapters`; an empty `system` takes it away. A model that
    has the name is replaced. Parameters that are nothing to llama.cpp become warnings.

    Raises:
        RequestError: neither or both of `source` and `files`, a wrong message, a bad name.
        LocalError: no such model, a file that is no GGUF or not fit, a name of the configuration.
    """
    if (source is None) == (not files):
        raise RequestError("name one model to begin with, or the GGUF files of one")
    if len(files) + len(adapters) > MAX_FILES:
        raise RequestError(f"there are over {MAX_FILES} files")
    _check_messages(messages)
    folder = store.folder(name)
    if store.is_configured(name):
        raise LocalError(f"'{name}' is named in the configuration")
    loras = _given(store, adapters, progress)
    for each in loras:
        if each.outline.text("general.type") != "adapter":
            raise LocalError(f"{each.name} is no adapter: its general.type is not 'adapter'")
    base = None if source is not None else Base(_of_files(store, files, progress), folder)
    with _only_one(store.directory):
        if base is None:
            base = _copied(store, source or "")
        wanted = _settled(base.manifest, parameters, system, messages, licence)
        if loras:
            wanted = msgspec.structs.replace(wanted, adapters=tuple(map(_noted, loras)))
        manifest = place(name, wanted, base, folder)
        store.write(manifest)
        drop_others(folder, manifest)
    return store.get(name)


def _check_messages(messages: Sequence[tuple[str, str]]) -> None:
    if len(messages) > MAX_MESSAGES:
        raise RequestError(f"there are over {MAX_MESSAGES} messages")
    for role, _ in messages:
        if role not in ROLES:
            raise RequestError(f"a message is of one of {', '.join(ROLES)}, not '{role[:40]}'")


def _copied(store: ModelStore, asked: str) -> Base:
    source = store.find(asked)
    if store.is_configured(source):
        raise LocalError(
            f"'{source}' is named in the configuration; set there what it is to have, or begin with"
            " a pulled model"
        )
    return Base(store.manifest(source), store.folder(source))


def _settled(
    base: Manifest,
    parameters: Mapping[str, Any],
    system: str | None,
    messages: Sequence[tuple[str, str]],
    licence: str | None,
) -> Manifest:
    """The manifest with the settings over its own; pure."""
    defaults, said = layered(base.defaults, parameters)
    told = tuple(
        each
        for each in base.warnings
        if not any(each.startswith(f"{_OF_PARAMETER}{name}'") for name in parameters)
    )
    return msgspec.structs.replace(
        base,
        defaults=msgspec.structs.replace(
            defaults,
            system=defaults.system if system is None else (system or None),
            messages=tuple(messages) or defaults.messages,
        ),
        licence=base.licence if licence is None else licence,
        warnings=(*told, *(each for each in said if each not in told)),
    )


def _of_files(store: ModelStore, files: Mapping[str, Path], progress: Progress) -> Manifest:
    given = _given(store, files, progress)
    weights = [each for each in given if each.outline.architecture != "clip"]
    projectors = [each for each in given if each.outline.architecture == "clip"]
    if not weights:
        raise LocalError("there is no model among the files")
    if len(projectors) > 1:
        raise LocalError("there is more than one projector among the files")
    for each in weights:
        if each.outline.text("general.type") == "adapter":
            raise LocalError(f"{each.name} is an adapter; name it as one, beside a model")
    weights = _in_order(weights)
    warnings = list(file_warnings(weights[0].outline))
    projector = projectors[0] if projectors else None
    if projector is not None and (why := unusable_projector(projector.outline)):
        warnings.append(f"it answers on text alone: {why}")
        projector = None

    return Manifest(
        name="",
        source=f"file:{weights[0].name}",
        created_at="",
        files=tuple(map(_noted, weights)),
        projector=None if projector is None else _noted(projector),
        defaults=Defaults(),
        warnings=tuple(warnings),
    )


def _noted(given: _Given) -> StoredFile:
    size = given.path.stat().st_size
    return StoredFile(str(given.path), size, given.sha256, given.mtime_ns)


def _in_order(weights: list[_Given]) -> list[_Given]:
    """The parts of a split model from the first on, by their names; one file as it is."""
    if len(weights) == 1 and (weights[0].outline.number("split.count") or 1) == 1:
        return weights
    by_name = {Path(each.name).name: each for each in weights}
    names = split_names(min(by_name))
    if sorted(names) != sorted(by_name) or len(names) == 1:
        raise LocalError(
            f"the files are no whole model: {', '.join(sorted(by_name))[:400]}; give one file, or all"
            " parts of a split one by their own names"
        )
    return [by_name[name] for name in names]


def _given(store: ModelStore, files: Mapping[str, Path], progress: Progress) -> list[_Given]:
    total = sum(_size(path) for path in files.values() if not _sent(store, path))
    done, found = 0, []
    for name, path in files.items():
        read_head(path)
        outline = read_outline(path)
        if _sent(store, path):
            sha256, mtime_ns = path.name.removeprefix("sha256-"), path.stat().st_mtime_ns
        else:
            path = path.resolve()
            sha256, mtime_ns = _hashed(path, done, total, progress)
            done += _size(path)
        found.append(_Given(name, path, sha256, mtime_ns, outline))
    return found


def _sent(store: ModelStore, path: Path) -> bool:
    """Whether it is a blob, which was hashed when it came."""
    return path.parent == store.directory / FOLDER


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise LocalError(f"there is no file {path}") from error


def _hashed(path: Path, before: int, total: int, progress: Progress) -> tuple[str, int]:
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            mtime_ns = os.fstat(file.fileno()).st_mtime_ns
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                done += len(piece)
                progress(before + done, total)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest(), mtime_ns


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold the lock of the store for makers; the system lets it go when the process ends."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / ".create.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise LocalError(f"{directory} cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
