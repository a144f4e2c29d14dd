"""A model of an Ollama registry, or of another that speaks its protocol.

Source: server/images.go, server/download.go and server/auth.go of ollama/ollama, v0.40; the token
challenge as in the Distribution specification (registry auth, token).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.gguf_metadata import GgufOutline, read_outline
from pointsman.local.ollama.architectures import patched, unusable_projector
from pointsman.local.ollama.contents import MAX_TEXT_BYTES, Contents, contents_of, file_warnings
from pointsman.local.ollama.importing import source_of
from pointsman.local.ollama.manifest import (
    ACCEPT,
    MAX_MANIFEST_BYTES,
    Layer,
    Parts,
    chosen,
    hash_of,
    parse_manifest,
    parts_of,
)
from pointsman.local.ollama.name import REGISTRY, OllamaName, parse_name
from pointsman.local.ollama.store import OllamaStore, find_store
from pointsman.local.refs import OllamaRef
from pointsman.local.sources.base import Fetched, Found, Job, fetch_file, hash_file
from pointsman.local.store import Manifest
from pointsman.local.wire import Fault, Refused, is_loopback, open_url

__all__ = ["OllamaPlan", "Registry", "plan"]

TRIES = 3
BACK_OFF_S = 0.5
MAX_TOKEN_BYTES = 64 * 1024
# A token holds for some minutes, a download for hours.
MAX_TOKENS = 100
# Of a file larger than this the head is looked at first: it may be one that is of no use here.
PEEK_FROM_BYTES = 128 * 1024 * 1024
PEEK_BYTES = 24 * 1024 * 1024

_CHALLENGE = re.compile(r'(realm|service|scope)="([^"\\]{0,2000})"')
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


class Registry:
    """Asks one registry about one model; gets itself a token when it is told to."""

    def __init__(self, name: OllamaName) -> None:
        host = REGISTRY if name.public else name.host
        # Only on this machine may it be without TLS.
        scheme = "http" if is_loopback(f"http://{host}/") else "https"
        self.host = host
        self._base = f"{scheme}://{host}/v2/{name.namespace}/{name.model}"
        self._token: str | None = None

    def blob_url(self, sha256: str) -> str:
        """Where a blob is."""
        return f"{self._base}/blobs/sha256:{sha256}"

    def headers(self) -> dict[str, str]:
        """What is sent along, but not to where a redirect leads."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def manifest(self, tag: str) -> bytes:
        """Get a manifest by a tag or a digest.

        Raises:
            LocalError: the registry has none, will not give it, or cannot be reached.
        """
        url = f"{self._base}/manifests/{tag}"
        return self._get(url, MAX_MANIFEST_BYTES, {"Accept": ACCEPT})

    def blob(self, sha256: str, limit: int) -> bytes:
        """Get a small blob, its hash checked.

        Raises:
            LocalError: as `manifest`, or it is too large, or another.
        """
        data = self._get(self.blob_url(sha256), limit, {})
        if hashlib.sha256(data).hexdigest() != sha256:
            raise LocalError(f"{self.host} sent another blob than sha256 {sha256}")
        return data

    def authorize(self, refused: Refused) -> None:
        """Get a token for what was refused, as anybody may.

        Raises:
            LocalError: the registry does not say where, or gives none.
        """
        challenge = {name.lower(): value for name, value in refused.headers.items()}
        said = challenge.get("www-authenticate", "")
        fields = dict(_CHALLENGE.findall(said[:8000]))
        realm = fields.get("realm", "")
        if not said.lower().startswith("bearer ") or not realm:
            raise LocalError(f"{self.host} wants credentials; only public models can be pulled")
        # A registry elsewhere must not have us ask this machine.
        elsewhere = not is_loopback(f"http://{self.host}/")
        if elsewhere and (urlsplit(realm).scheme != "https" or is_loopback(realm)):
            raise LocalError(f"{self.host} sends for a token to {realm[:200]}: only https")
        query = [("service", fields["service"])] if "service" in fields else []
        query += [("scope", each) for each in fields.get("scope", "").split()]
        try:
            data = _fetch(
                f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", MAX_TOKEN_BYTES, {}
            )
        except Refused as error:
            raise LocalError(
                f"{self.host} gives no token to just anybody ({error.http_status}): the model is not"
                " public, or wants a signed-in Ollama"
            ) from error
        self._token = _token_of(data, self.host)

    def _get(self, url: str, limit: int, headers: dict[str, str]) -> bytes:
        try:
            return _fetch(url, limit, {**headers, **self.headers()})
        except Refused as error:
            if error.http_status != 401:
                raise
            self.authorize(error)
        return _fetch(url, limit, {**headers, **self.headers()})


def _token_of(data: bytes, host: str) -> str:
    try:
        answer = msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        answer = {}
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise LocalError(f"{host} gives no token to just anybody")
    return token


def _fetch(url: str, limit: int, headers: dict[str, str]) -> bytes:
    """Get a small body; what may go right next time is tried again."""
    for number in range(TRIES):
        if number:
            time.sleep(BACK_OFF_S * 2 ** (number - 1))
        try:
            with open_url(url, headers).body as body:
                data = body.read(limit + 1)
            if len(data) > limit:
                raise LocalError(f"{urlsplit(url).hostname} sends more than {limit} bytes")
            return data
        except Fault as error:
            why = str(error)
        except (OSError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
    raise LocalError(
        f"{urlsplit(url).hostname} does not answer: {why} ({TRIES} tries); check the network"
    )


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
        return Fetched(
            files=tuple(each for each in weights if each not in projectors),
            projector=_projector(projectors, warnings),
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


def _projector(found: list[Found], warnings: list[str]) -> Found | None:
    usable = None
    for each in found:
        why = unusable_projector(read_outline(each.path))
        if why is None and usable is None:
            usable = each
        else:
            warnings.append(
                f"it answers on text alone: {why}"
                if why
                else "it has more than one projector, and llama.cpp takes one"
            )
    return usable


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
