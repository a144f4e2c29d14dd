"""Makes what Ollama leaves on a disk: blobs by digest, manifests by name, in its older and newer layout."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST = "application/vnd.ollama.manifest.list.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
IMAGE = "application/vnd.ollama.image."

Layer = dict[str, Any]


class Blobs:
    """Blobs by digest, in memory; written out, or served."""

    def __init__(self) -> None:
        self.by_digest: dict[str, bytes | Path] = {}

    def add(self, kind: str, data: bytes | Path) -> Layer:
        raw = data.read_bytes() if isinstance(data, Path) else data
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        self.by_digest[digest] = data
        media = kind if "/" in kind else f"{IMAGE}{kind}"
        return {"mediaType": media, "digest": digest, "size": len(raw)}

    def manifest(
        self, weights: Path | Iterable[Path], texts: Mapping[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """A manifest as Ollama writes it; `texts` by kind, what is no text becomes JSON."""
        files = [weights] if isinstance(weights, Path) else list(weights)
        layers = [self.add("model", each) for each in files]
        for kind, value in (texts or {}).items():
            if isinstance(value, Path):
                data: bytes | Path = value
            else:
                data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            layers.append(self.add(kind, data))
        config = {"model_format": "gguf", "architecture": "amd64", "os": "linux"}
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(CONFIG, json.dumps(config).encode()),
            "layers": layers,
            **more,
        }

    def write(self, folder: Path) -> None:
        """Have all blobs in the store; a file is linked, and takes no space."""
        target = folder / "blobs"
        target.mkdir(parents=True, exist_ok=True)
        for digest, data in self.by_digest.items():
            path = target / digest.replace(":", "-")
            if path.exists():
                continue
            if isinstance(data, Path):
                os.link(data, path)
            else:
                path.write_bytes(data)


def write_manifest(folder: Path, name: str, manifest: Any, *, newer: bool = False) -> Path:
    """Give a manifest its name (host/namespace/model:tag); the newer layout links to a blob."""
    head, _, tag = name.rpartition(":")
    data = json.dumps(manifest).encode() if not isinstance(manifest, bytes) else manifest
    path = folder / ("manifests-v2" if newer else "manifests") / head / tag
    path.parent.mkdir(parents=True, exist_ok=True)
    if newer:
        blob = folder / "blobs" / f"sha256-{hashlib.sha256(data).hexdigest()}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        path.symlink_to(os.path.relpath(blob, path.parent))
    else:
        path.write_bytes(data)
    return path


def write_head(
    path: Path,
    architecture: str,
    values: Mapping[str, Any] | None = None,
    tensors: Mapping[str, tuple[int, ...]] | None = None,
) -> Path:
    """A GGUF file with these keys and zeros of these shapes (rows first); no model that runs."""
    out = gguf.GGUFWriter(path, architecture)
    for key, value in (values or {}).items():
        if isinstance(value, bool):
            out.add_bool(key, value)
        elif isinstance(value, int):
            out.add_uint32(key, value)
        elif isinstance(value, float):
            out.add_float32(key, value)
        elif isinstance(value, str):
            out.add_string(key, value)
        else:
            out.add_array(key, value)
    for name, shape in (tensors or {"token_embd.weight": (2, 8)}).items():
        out.add_tensor(name, np.zeros(shape, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path
