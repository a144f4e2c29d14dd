"""Ollama's own store of models: found, read as it lies, and never written to.

Source: envconfig/config.go, manifest/paths.go and manifest/manifest.go of ollama/ollama, v0.40; the
places of Linux packages from their service files.
"""

from __future__ import annotations

import datetime
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from msgspec import Struct

from pointsman.errors import LocalError, RequestError
from pointsman.local.ollama.contents import MAX_TEXT_BYTES
from pointsman.local.ollama.manifest import (
    MAX_MANIFEST_BYTES,
    Layer,
    OllamaManifest,
    chosen,
    hash_of,
    parse_manifest,
)
from pointsman.local.ollama.name import REGISTRY, OllamaName, parse_name

__all__ = ["Entry", "OllamaStore", "find_store", "places"]

# From 0.40 on names are links to blobs, in a folder of their own, which goes first.
LAYOUTS = ("manifests-v2", "manifests")
MAX_MODELS = 10_000
# 0.40 keeps what it has converted under this name, beside the model itself.
_SHADOW = "llamacpp"


class Entry(Struct, frozen=True):
    """A name in the store, and the file of its manifest."""

    name: OllamaName
    path: Path


def places(environment: Mapping[str, str], home: Path) -> list[Path]:
    """Where a store may be, the likeliest first."""
    told = environment.get("OLLAMA_MODELS", "").strip("\"' ")
    if told:
        return [Path(told).expanduser()]
    own = environment.get("OLLAMA_HOME", "").strip("\"' ")
    return [
        *([Path(own).expanduser() / "models"] if own else []),
        home / ".ollama" / "models",
        Path("/usr/share/ollama/.ollama/models"),
        Path("/var/lib/ollama/.ollama/models"),
        Path("/var/lib/ollama/models"),
        Path("/var/lib/ollama"),
        Path("/var/snap/ollama/common/models"),
    ]


def find_store(given: Path | None, environment: Mapping[str, str], home: Path) -> OllamaStore:
    """Give the store in the folder, or else in the first place that has one.

    Raises:
        LocalError: there is none, or it may not be read; names the places looked at.
    """
    tried = [given.expanduser()] if given is not None else places(environment, home)
    for folder in tried:
        try:
            if any((folder / each).is_dir() for each in LAYOUTS):
                return OllamaStore(folder)
        except PermissionError as error:
            raise LocalError(
                f"{folder} is not yours to read; run: sudo usermod -aG ollama $USER, log in anew,"
                " and see that the group may read it"
            ) from error
    where = ", ".join(map(str, tried))
    raise LocalError(
        f"no Ollama store is there ({where}); name the folder that holds 'manifests' and 'blobs'"
        " with --from, or set OLLAMA_MODELS"
    )


class OllamaStore:
    """Reads a store. Whatever a manifest says, nothing outside of its folders is read."""

    def __init__(self, folder: Path) -> None:
        # Links up to here are whose the store is; from here on they may not lead out.
        self.folder = folder.resolve()
        self.blobs = (self.folder / "blobs").resolve()

    def entries(self) -> Iterator[Entry]:
        """Give each model once, by its name; what cannot be a name is passed over.

        Raises:
            LocalError: the folders cannot be read.
        """
        seen: set[str] = set()
        for layout in LAYOUTS:
            for path in _files(self.folder / layout):
                host, namespace, model, tag = path.parts[-4:]
                if layout == "manifests-v2":
                    host = unquote(host)
                elif model == _SHADOW and namespace == "library":
                    continue
                try:
                    name = parse_name(f"{host}/{namespace}/{model}:{tag}")
                except RequestError:
                    continue
                if name.public:
                    name = OllamaName(REGISTRY, namespace, model, tag)
                if name.local.lower() not in seen and len(seen) < MAX_MODELS:
                    seen.add(name.local.lower())
                    yield Entry(name, path)

    def manifest(self, entry: Entry) -> OllamaManifest:
        """Read the manifest of a model, of several builds the one that llama.cpp can run.

        Raises:
            LocalError: it cannot be read, or leads out of the store.
        """
        root = self.folder
        target = entry.path.resolve()
        if not (target.is_relative_to(root) or target.is_relative_to(self.blobs)):
            raise LocalError("its manifest is a link out of the store")
        manifest = parse_manifest(_read(target, MAX_MANIFEST_BYTES))
        return chosen(manifest, lambda digest: _read(self.blob(digest), MAX_MANIFEST_BYTES))

    def blob(self, sha256: str) -> Path:
        """Give the path of a blob by its hash, a plain file in the store.

        Raises:
            LocalError: it is not there, is no plain file, or leads out of the store.
        """
        path = self.blobs / f"sha256-{sha256}"
        try:
            resolved = path.resolve(strict=True)
            plain = stat.S_ISREG(resolved.stat().st_mode)
        except (OSError, RuntimeError) as error:
            raise LocalError(f"its blob {path.name[:19]}… is not there") from error
        if not plain or not resolved.is_relative_to(self.blobs):
            raise LocalError(f"its blob {path.name[:19]}… is no file of the store")
        return path

    def text(self, layer: Layer) -> bytes:
        """Read a small blob.

        Raises:
            LocalError: as `blob`, or it is over 1 MiB.
        """
        return _read(self.blob(hash_of(layer.digest)), MAX_TEXT_BYTES)

    def changed_at(self, entry: Entry) -> str:
        """When the model was last pulled or made, in ISO 8601."""
        time = datetime.datetime.fromtimestamp(entry.path.stat().st_mtime, datetime.UTC)
        return time.isoformat(timespec="seconds")


def _files(root: Path) -> Iterator[Path]:
    """The files four levels down: host, namespace, model, tag."""
    try:
        # Sorted, so that two runs give the same.
        yield from sorted(
            path
            for path in root.glob("*/*/*/*")
            if not path.name.startswith(".") and path.is_file()
        )
    except OSError as error:
        raise LocalError(f"{root} cannot be read: {error.strerror or error}") from error


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise LocalError(f"{path.name} is no plain file")
            data = file.read(limit + 1)
    except OSError as error:
        raise LocalError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise LocalError(f"{path.name} is over {limit} bytes")
    return data
