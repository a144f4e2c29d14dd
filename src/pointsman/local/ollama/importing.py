"""Puts every model of an Ollama store on our list, its files served where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError, RequestError
from pointsman.local.gguf_metadata import read_outline
from pointsman.local.manifest import Manifest, StoredFile
from pointsman.local.names import is_name
from pointsman.local.ollama.architectures import pick_projector
from pointsman.local.ollama.contents import contents_of, file_warnings
from pointsman.local.ollama.manifest import Layer, hash_of, parts_of
from pointsman.local.ollama.name import parse_name
from pointsman.local.ollama.store import Entry, OllamaStore
from pointsman.local.store import ModelStore

__all__ = ["Imported", "import_models", "source_of"]

THREADS = 16

# Bytes hashed so far, and in all.
Progress = Callable[[int, int], None]


class Imported(Struct, frozen=True):
    """What became of one of Ollama's models. `reason` says why it was left out.

    One that is "gone" was imported before, is no longer in the store, and is off our list now.
    """

    name: str
    status: Literal["imported", "unchanged", "left out", "gone"]
    path: str = ""
    bytes: int = 0
    sha256: str = ""
    verified: bool = False
    warnings: tuple[str, ...] = ()
    reason: str | None = None


def import_models(
    store: ModelStore,
    source: OllamaStore,
    *,
    verify: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[Imported]:
    """Have all models of the Ollama store in ours; no byte of a model is copied or moved.

    Only manifests and the heads of the files are read, and nothing is hashed but with `verify`. One
    that was imported before is brought up to date, or off our list if Ollama has it no more. One that cannot be is told of, and the others
    are imported all the same; so is one whose name another model of ours has, which is kept.

    Raises:
        LocalError: the stores cannot be read or written.
    """
    # Most of the time goes by while the disk makes each manifest last; it does several at once.
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda entry: _import(store, source, entry), source.entries()))
    found += _without_the_gone(store, source, {each.name for each in found})
    if not verify:
        return found
    total, done, checked = sum(each.bytes for each in found), 0, []
    for each in found:
        checked.append(_verified(store, each, done, total, progress))
        done += each.bytes
    return checked


def source_of(name: str) -> str:
    """The ref of `pull` that gets the same model."""
    return f"ollama:{name}"


def _import(store: ModelStore, source: OllamaStore, entry: Entry) -> Imported:
    name = entry.name.local
    try:
        old = _present(store, name)
        manifest = _manifest(source, entry)
        if old is not None:
            manifest = _with_checks(manifest, old)
        if manifest != old:
            store.write(manifest)
        model = store.get(name)
    except LocalError as error:
        return Imported(name, "left out", reason=error.message)
    except OSError as error:  # What was there a moment ago.
        return Imported(name, "left out", reason=f"{error.filename}: {error.strerror}")
    return Imported(
        name=name,
        status="unchanged" if manifest == old else "imported",
        path=model.path,
        bytes=model.bytes,
        sha256=model.sha256 or "",
        verified=model.verified,
        warnings=model.warnings,
    )


def _without_the_gone(
    store: ModelStore, source: OllamaStore, listed: set[str]
) -> Iterator[Imported]:
    """Take off our list what an earlier import put there and Ollama has no more."""
    for name in store.names():
        if name in listed or store.is_configured(name):
            continue
        try:
            manifest = store.manifest(name)
            theirs = parse_name(manifest.source.removeprefix(source_of("")))
        except (LocalError, RequestError):
            continue
        # A child of an imported model has the same files, but not the name of its source.
        lies_there = all(Path(each.path).parent == source.blobs for each in manifest.files)
        if lies_there and theirs.local == name:
            store.remove(name)
            yield Imported(name, "gone")


def _present(store: ModelStore, name: str) -> Manifest | None:
    """What an earlier import wrote down; None if there is nothing of that name."""
    if not is_name(name):
        raise LocalError("its name cannot be one here")
    if store.is_configured(name):
        raise LocalError("a model of the configuration has its name")
    try:
        old = store.manifest(name)
    except LocalError:
        return None
    if not all(Path(each.path).is_absolute() for each in old.files):
        raise LocalError(f"there is a model of that name already, from {old.source}")
    return old


def _manifest(source: OllamaStore, entry: Entry) -> Manifest:
    parts = parts_of(source.manifest(entry))
    contents = contents_of(parts, source.text)
    files = [_file(source, each) for each in parts.weights]
    projectors = [_file(source, each) for each in parts.projectors]
    warnings = list(contents.warnings)
    outline = read_outline(Path(files[0].path))
    for other in files[1:]:
        # Old ones give the projector as a second model.
        if read_outline(Path(other.path)).architecture != "clip":
            raise LocalError("it is split into several blobs, which llama.cpp cannot put together")
        projectors.append(other)
    kinds = [kind for kind, _ in parts.texts]
    warnings += file_warnings(outline, kinds)
    picked, told = pick_projector([read_outline(Path(each.path)) for each in projectors])
    warnings += told
    return Manifest(
        name=entry.name.local,
        source=source_of(entry.name.shown),
        created_at=source.changed_at(entry),
        files=(files[0],),
        projector=None if picked is None else projectors[picked],
        adapters=tuple(_file(source, each) for each in parts.adapters),
        licence=contents.licence,
        defaults=contents.defaults,
        warnings=tuple(warnings),
    )


def _file(source: OllamaStore, layer: Layer) -> StoredFile:
    sha256 = hash_of(layer.digest)
    path = source.blob(sha256)
    size = path.stat().st_size
    if size != layer.size:
        raise LocalError(
            f"its blob {path.name[:19]}… has {size} bytes, its manifest says {layer.size}; pull it"
            " again with Ollama"
        )
    return StoredFile(str(path), size, sha256)


def _with_checks(new: Manifest, old: Manifest) -> Manifest:
    """The new one, with what the old one knows of hashes that were checked."""
    known = {each.path: each for each in old.all_files()}

    def kept(file: StoredFile) -> StoredFile:
        before = known.get(file.path)
        same = before is not None and (before.bytes, before.sha256) == (file.bytes, file.sha256)
        return before if before is not None and same else file

    return msgspec.structs.replace(
        new,
        files=tuple(map(kept, new.files)),
        projector=new.projector and kept(new.projector),
        adapters=tuple(map(kept, new.adapters)),
    )


def _verified(
    store: ModelStore, found: Imported, done: int, total: int, progress: Progress
) -> Imported:
    if found.status in ("left out", "gone"):
        return found
    try:
        model = store.verify(found.name, lambda more, _: progress(done + more, total))
    except LocalError as error:
        return msgspec.structs.replace(found, warnings=(*found.warnings, error.message))
    return msgspec.structs.replace(found, verified=model.verified)
