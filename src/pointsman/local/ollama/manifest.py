"""Ollama's manifests: what a model consists of, by digest.

Source: manifest/manifest.go, manifest/layer.go and server/images.go of ollama/ollama, v0.40; older
ones differ in what they leave out.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Struct, field

from pointsman.errors import LocalError

__all__ = [
    "ACCEPT",
    "MAX_MANIFEST_BYTES",
    "Config",
    "Layer",
    "OllamaManifest",
    "Parts",
    "chosen",
    "hash_of",
    "parse_config",
    "parse_manifest",
    "parts_of",
]

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST = "application/vnd.ollama.manifest.list.v2+json"
ACCEPT = f"{MANIFEST}, {MANIFEST_LIST}"
# A model in safetensors names thousands of tensors, each with its digest.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_CONFIG_BYTES = 1024 * 1024
MAX_FILES = 64

_IMAGE = "application/vnd.ollama.image."
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")
# Of several builds of a model, in this order: the one for llama.cpp itself, then Ollama's own.
_RUNNERS = ("llamacpp", "ggml", "ollama", "")


class Layer(Struct, frozen=True, rename={"media_type": "mediaType"}):
    """A blob of a model, and what it is there for."""

    media_type: str = ""
    digest: str = ""
    size: int = 0


class OllamaManifest(Struct, frozen=True, rename={"media_type": "mediaType"}):
    """A manifest, or a list of them; an entry of a list may be a mere `digest`."""

    media_type: str = ""
    config: Layer | None = None
    layers: tuple[Layer, ...] | None = None
    runner: str = ""
    format: str = ""
    digest: str = ""
    manifests: tuple[OllamaManifest, ...] = ()


class Config(Struct, frozen=True):
    """What we need of a model's config blob."""

    model_format: str = ""
    remote_host: str = ""
    remote_model: str = ""
    renderer: str = ""
    parser: str = ""


class Parts(Struct, frozen=True):
    """A model's blobs by what they are for. `texts` are the small ones, by the end of their type:
    `template`, `system`, `params`, `messages`, `license`.
    """

    weights: tuple[Layer, ...]
    projectors: tuple[Layer, ...] = ()
    adapters: tuple[Layer, ...] = ()
    drafts: tuple[Layer, ...] = ()
    texts: tuple[tuple[str, Layer], ...] = ()
    config: Layer | None = None
    unknown: tuple[str, ...] = field(default_factory=tuple)


def hash_of(digest: str) -> str:
    """Give the hash of a digest in lower-case hexadecimals: `sha256:…`, or `sha256-…`.

    Raises:
        LocalError: it is none, so it must not become a part of a path.
    """
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise LocalError(f"the manifest names the digest {digest[:80]!r}, which is no sha256")
    return match[1].lower()


def parse_manifest(data: bytes) -> OllamaManifest:
    """Read a manifest.

    Raises:
        LocalError: it is too long, or is none.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise LocalError(f"the manifest is over {MAX_MANIFEST_BYTES} bytes")
    try:
        return msgspec.json.decode(data, type=OllamaManifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise LocalError(f"the manifest cannot be read: {error}") from error


def parse_config(data: bytes) -> Config:
    """Read a config blob; an empty one is fine.

    Raises:
        LocalError: it is no JSON object.
    """
    try:
        return msgspec.json.decode(data or b"{}", type=Config)
    except (msgspec.DecodeError, RecursionError) as error:
        raise LocalError(f"the model's config cannot be read: {error}") from error


def chosen(manifest: OllamaManifest, read: Callable[[str], bytes]) -> OllamaManifest:
    """Give the manifest itself, or of a list the build that llama.cpp can run.

    `read` gets the bytes of a manifest by its hash.

    Raises:
        LocalError: there is no such build, or it cannot be read.
    """
    if not manifest.manifests:
        return manifest
    builds = {each.runner.lower(): each for each in reversed(manifest.manifests)}
    for runner in _RUNNERS:
        build = builds.get(runner)
        if build is None or build.manifests:
            continue
        if build.layers is None:
            build = parse_manifest(read(hash_of(build.digest)))
        if not build.manifests:
            return build
    raise LocalError(f"it has no build in GGUF, only for: {', '.join(sorted(builds))[:200]}")


def parts_of(manifest: OllamaManifest) -> Parts:
    """Sort a manifest's layers; all digests are checked.

    Raises:
        LocalError: a bad digest or size, too many files, or no model in GGUF among them.
    """
    layers = manifest.layers or ()
    by_kind: dict[str, list[Layer]] = {}
    for each in (*layers, *((manifest.config,) if manifest.config else ())):
        hash_of(each.digest)
        if each.size < 0:
            raise LocalError(f"the manifest gives a size of {each.size} bytes")
    for each in layers:
        # Parameters of a media type follow a semicolon.
        kind = each.media_type.partition(";")[0].removeprefix(_IMAGE)
        by_kind.setdefault(kind, []).append(each)
    if "tensor" in by_kind or manifest.format == "safetensors":
        raise LocalError("it is in safetensors, which llama.cpp does not run")
    if "model" not in by_kind:
        raise LocalError("it has no model file")
    files = ("model", "projector", "adapter", "draft")
    if sum(len(by_kind.get(kind, ())) for kind in files) > MAX_FILES:
        raise LocalError(f"it has over {MAX_FILES} files")
    texts = ("template", "prompt", "system", "params", "messages", "license")
    return Parts(
        weights=tuple(by_kind["model"]),
        projectors=tuple(by_kind.get("projector", ())),
        adapters=tuple(by_kind.get("adapter", ())),
        drafts=tuple(by_kind.get("draft", ())),
        texts=tuple((kind, each) for kind in texts for each in by_kind.get(kind, ())),
        config=manifest.config,
        unknown=tuple(sorted({*by_kind} - {*files, *texts})),
    )
