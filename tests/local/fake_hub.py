"""A server that speaks as much of the Hugging Face Hub's API as its own client asks for.

Source: huggingface_hub 2.4.0 (hf_api.py `model_info`, file_download.py `get_hf_file_metadata`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from fake_files import Files, file_server, serving

REPO = "user/tiny-GGUF"


@dataclass
class Hub:
    """One repository: large files lie on another host, as they do there; `small` ones do not."""

    files: Files
    url: str = ""
    commit: str = "a" * 40
    data: dict[str, bytes] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    tags: list[str] = field(default_factory=lambda: ["gguf", "license:mit"])
    gate: tuple[int, dict[str, str]] | None = None
    listed: tuple[int, dict[str, str]] | None = None
    token: str | None = None
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    lies: dict[str, str] = field(default_factory=dict)

    def put(self, path: str, data: bytes, *, small: bool = False) -> None:
        self.data[path] = data
        self.files.data[f"/{path}"] = data
        if small:
            self.small.add(path)

    def oid(self, path: str) -> str:
        data = self.data[path]
        if path in self.small:
            return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return self.lies.get(path, hashlib.sha256(data).hexdigest())

    def sent(self) -> int:
        return sum(each.sent for each in self.files.asked)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        hub.asked.append((self.command, path, self.headers.get("Authorization")))
        if path == f"/api/models/{REPO}":
            if hub.listed is not None:
                return self._send(*hub.listed)
            return self._send(200, {}, json.dumps(self._info()).encode())
        match = re.fullmatch(rf"/{REPO}/resolve/([^/]+)/(.+)", path)
        if match is None or match[2] not in hub.data:
            return self._send(404, {"X-Error-Code": "RepoNotFound"})
        if hub.gate is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._send(*hub.gate)
        data, headers = hub.data[match[2]], {"X-Repo-Commit": hub.commit}
        if match[2] in hub.small:
            headers["ETag"] = f'"{hub.oid(match[2])}"'
            return self._send(200, headers, data if body else None, len(data))
        headers["X-Linked-Etag"] = f'"{hub.oid(match[2])}"'
        headers["X-Linked-Size"] = str(len(data))
        headers["Location"] = f"{hub.files.url}/{match[2]}"
        self._send(302, headers)

    def _info(self) -> dict[str, object]:
        hub = self.hub
        siblings = []
        for path, data in hub.data.items():
            row: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": "b" * 40}
            if path in hub.small:
                row["blobId"] = hub.oid(path)
            else:
                row["lfs"] = {"sha256": hub.oid(path), "size": len(data), "pointerSize": 134}
            siblings.append(row)
        return {"id": REPO, "sha": hub.commit, "tags": hub.tags, "siblings": siblings}

    def _send(
        self, status: int, headers: dict[str, str], body: bytes | None = b"", size: int = 0
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(size if body is None else len(body)))
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(body)


@contextmanager
def hub_server() -> Iterator[Hub]:
    with file_server() as files:
        hub = Hub(files)
        with serving(type("Handler", (_Handler,), {"hub": hub})) as url:
            hub.url = url
            yield hub
