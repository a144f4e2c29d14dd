"""A model of an Ollama registry, or of another that speaks its protocol."""

from __future__ import annotations

import hashlib
import http.client
import os
from pathlib import Path

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.gguf_metadata import GgufOutline, read_outline
from pointsman.local.manifest import Manifest
from pointsman.local.ollama.architectures import patched, pick_projector
from pointsman.local.ollama.contents import MAX_TEXT_BYTES, Contents, contents_of, file_warnings
from pointsman.local.ollama.importing import source_of
from pointsman.local.ollama.manifest import (
    Layer,
    Parts,
    chosen,
    hash_of,
    parse_manifest,
    parts_of,
)
from pointsman.local.ollama.name import parse_name
from pointsman.local.ollama.registry import Registry
from pointsman.local.ollama.store import OllamaStore, find_store
from pointsman.local.refs import OllamaRef
from pointsman.local.sources.base import Fetched, Found, Job, fetch_file, hash_file
from pointsman.local.wire import Fault, Refused, open_url

__all__ = ["OllamaPlan", "plan"]

# A token holds for some minutes, a download for hours.
MAX_TOKENS = 100
# Of a file larger than this the head is looked at first: it may be one that is of no use here.
PEEK_FROM_BYTES = 128 * 1024 * 1024
PEEK_BYTES = 24 * 1024 * 1024


class OllamaPlan(Struct, frozen=True):
    """A model's blobs, and what its small ones say."""

    name: str
    source: str
    registry: Registry
    parts: Parts
    contents: Contents

    def holds(self, manifest: Manifest) -> bool:
        """Whether it has the same files, and the same settings."""
        layers = (*self.parts.weights, *self.parts.projectors, *self.parts.adapters)
        stored = [each.sha256 for each in manifest.all_files()]
        # A projector that cannot be used was left out.
        wanted = [hash_of(each.digest) for each in layers]
        same = stored in (wanted, [each for each in wanted if each in stored])
        return same and manifest.defaults == self.contents.defaults

    def fetch(self, job: Job, scratch: Path) -> Fetched:
        """Have the files; those that Ollama has on this machine are linked, not fetched.

        Raises:
            LocalError: as `download`; or the file is one that only Ollama's own engine can run, which
                is told from its head before it is fetched.
        """
        stem = self.name.removesuffix(":latest").replace("/", "-").replace(":", "-")
        count = len(self.parts.weights)
        names = [f"{stem}.gguf"] if count == 1 else [
            f"{stem}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)
        ]  # fmt: skip
        own = _own_store(job)
        self._peek(scratch)
        weights = [
            self._have(job, scratch / name, layer, own)
            for name, layer in zip(names, self.parts.weights, strict=True)
        ]
        projectors = [
            self._have(job, scratch / f"{stem}-mmproj{number or ''}.gguf", layer, own)
            for number, layer in enumerate(self.parts.projectors)
        ]
        adapters = tuple(
            self._have(job, scratch / f"{stem}-lora-{number}.gguf", layer, own)
            for number, layer in enumerate(self.parts.adapters, 1)
        )
        warnings = list(self.contents.warnings)
        outline = read_outline(weights[0].path)
        _refuse(outline, self.source)
        warnings += file_warnings(outline, [kind for kind, _ in self.parts.texts])
        # Old models give the projector as a second model.
        projectors += [
            each for each in weights[1:] if read_outline(each.path).architecture == "clip"
        ]
        chosen_one, told = pick_projector([read_outline(each.path) for each in projectors])
        projector = None if chosen_one is None else projectors[chosen_one]
        warnings += told
        return Fetched(
            files=tuple(each for each in weights if each not in projectors),
            projector=projector,
            adapters=adapters,
            licence=self.contents.licence,
            defaults=self.contents.defaults,
            warnings=tuple(warnings),
        )

    def _have(self, job: Job, target: Path, layer: Layer, own: OllamaStore | None) -> Found:
        sha256 = hash_of(layer.digest)
        if own is not None and _linked(job, target, layer, sha256, own):
            return Found(target, sha256)
        for _ in range(MAX_TOKENS):
            try:
                fetch_file(
                    job,
                    self.registry.blob_url(sha256),
                    target,
                    size_bytes=layer.size,
                    sha256=sha256,
                    headers=self.registry.headers(),
                    keep_journal=True,
                )
                return Found(target, sha256)
            except Refused as error:
                if error.http_status != 401:
                    raise
                # It holds for some minutes; what has come is kept.
                self.registry.authorize(error)
        raise LocalError(f"{self.registry.host} takes none of its own tokens")

    def _peek(self, scratch: Path) -> None:
        """Look at the head of a large file before the rest of it is fetched."""
        layer = self.parts.weights[0]
        if layer.size < PEEK_FROM_BYTES:
            return
        path = scratch / "head.gguf"
        try:
            url = self.registry.blob_url(hash_of(layer.digest))
            answer = open_url(url, self.registry.headers(), span=(0, PEEK_BYTES))
            with answer.body as body:
                if not answer.partial:
                    return
                data = body.read(PEEK_BYTES)
            path.write_bytes(data)
            os.truncate(path, layer.size)  # The rest is a hole, and takes no space.
            outline = read_outline(path)
        except (LocalError, Fault, OSError, http.client.HTTPException):
            return  # It is looked at again once it is here.
        finally:
            path.unlink(missing_ok=True)
        _refuse(outline, self.source)


def _refuse(outline: GgufOutline, source: str) -> None:
    why = patched(outline)
    if why is not None:
        raise LocalError(f"{source} can be run by Ollama's own engine only: {why}")


def _own_store(job: Job) -> OllamaStore | None:
    try:
        return find_store(None, job.env, Path.home())
    except (LocalError, OSError, RuntimeError):
        return None


def _linked(job: Job, target: Path, layer: Layer, sha256: str, own: OllamaStore) -> bool:
    """Give a blob of the Ollama store a second name; only if it is what it should be."""
    try:
        blob = own.blob(sha256)
        if blob.stat().st_size != layer.size or hash_file(job, blob, target.name) != sha256:
            return False
        target.unlink(missing_ok=True)
        os.link(blob.resolve(), target)
        return True
    except (LocalError, OSError):
        job.check()
        return False  # Not there, not ours to link, or on another disk.


def plan(ref: OllamaRef, job: Job) -> OllamaPlan:
    """Ask the registry for the model's manifest and its small blobs.

    Raises:
        RequestError: the name cannot be one.
        LocalError: there is no such model, it is none that llama.cpp runs, or no answer.
    """
    name = parse_name(ref.name)
    registry = Registry(name)
    try:
        data = registry.manifest(name.tag)
    except Refused as error:
        if error.http_status != 404:
            raise
        where = "look at https://ollama.com/library" if name.public else f"ask {registry.host}"
        raise LocalError(f"there is no model '{name.shown}': {where} for names and tags") from error
    try:
        manifest = chosen(parse_manifest(data), lambda sha256: _manifest(registry, sha256))
        parts = parts_of(manifest)
        contents = contents_of(
            parts, lambda layer: registry.blob(hash_of(layer.digest), MAX_TEXT_BYTES)
        )
    except Refused:
        raise
    except LocalError as error:
        raise LocalError(f"'{name.shown}' cannot be pulled: {error.message}") from error
    return OllamaPlan(name.local, source_of(name.shown), registry, parts, contents)


def _manifest(registry: Registry, sha256: str) -> bytes:
    """A build of a list, which registries give by its digest."""
    data = registry.manifest(f"sha256:{sha256}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise LocalError(f"{registry.host} sent another manifest than sha256 {sha256}")
    return data
