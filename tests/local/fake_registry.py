"""A registry as Ollama asks one: manifests by name, blobs elsewhere, tokens for who asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fake_files import Files, file_server, serving
from ollama_files import Blobs


@dataclass
class Registry:
    """What the registry has and wants; change it while it runs. `cdn` is where its blobs are."""

    host: str = ""
    cdn: Files = field(default_factory=Files)
    manifests: dict[str, bytes] = field(default_factory=dict)
    challenge: str | None = None
    token: str | None = None
    # After so many requests with it a token holds no more.
    uses: int = 1_000_000
    tokens: int = 0
    refuses_tokens: bool = False
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def put(self, name: str, manifest: dict[str, Any] | bytes, blobs: Blobs | None = None) -> str:
        """Have a model (namespace/model:tag), and its blobs; gives the ref that pulls it."""
        data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.manifests[name] = data
        for digest, blob in (blobs.by_digest if blobs else {}).items():
            self.cdn.data[f"/blobs/{digest}"] = (
                blob.read_bytes() if isinstance(blob, Path) else blob
            )
        return f"ollama:{self.host}/{name}"


class _Handler(BaseHTTPRequestHandler):
    registry: Registry

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        registry, parts = self.registry, urlsplit(self.path)
        registry.asked.append((self.path, dict(self.headers.items())))
        if parts.path == "/token":
            return self._give_token(dict(parse_qsl(parts.query)))
        if registry.token is not None or registry.challenge is not None:
            registry.uses -= 1
            right = f"Bearer {registry.token}"
            if self.headers.get("Authorization") != right or registry.uses < 0:
                said = registry.challenge or (
                    f'Bearer realm="http://{registry.host}/token",service="{registry.host}",'
                    f'scope="repository:library/x:pull"'
                )
                return self._answer(401, b"", {"WWW-Authenticate": said})
        _, _, namespace, model, kind, what = parts.path.split("/")
        if kind == "blobs":
            return self._answer(307, b"", {"Location": f"{registry.cdn.url}/blobs/{what}"})
        names = {f"{namespace}/{model}:{what}"} | (
            set(registry.manifests) if what.startswith("sha256:") else set()
        )
        for name in names & registry.manifests.keys():
            data = registry.manifests[name]
            if not what.startswith("sha256:") or hashlib.sha256(data).hexdigest() == what[7:]:
                return self._answer(200, data, {})
        self._answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', {})

    def _give_token(self, query: dict[str, str]) -> None:
        registry = self.registry
        good = query.get("scope") == "repository:library/x:pull" and "service" in query
        if registry.refuses_tokens or not good:
            return self._answer(401, b"", {})
        registry.tokens += 1
        registry.token = f"token-{registry.tokens}"
        registry.uses = 3
        self._answer(200, json.dumps({"token": registry.token}).encode(), {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@contextmanager
def registry_server() -> Iterator[Registry]:
    with file_server() as cdn:
        registry = Registry(cdn=cdn)
        with serving(type("Handler", (_Handler,), {"registry": registry})) as url:
            registry.host = urlsplit(url).netloc
            yield registry
