"""A server of files over HTTP: ranges, If-Range, entity tags, and every way to misbehave."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 64 * 1024


@dataclass
class Asked:
    """A request as it came, and how many bytes of a body it was sent."""

    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class Files:
    """What the server has and how it behaves; change it while it runs.

    `cut` has, for each request in turn, after how many bytes it is cut (None: not at all).
    `hold` is waited for once a file's answers have sent `hold_after` bytes.
    """

    url: str = ""
    data: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    validators: bool = True
    cut: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    claimed: int | None = None
    pause_s: float = 0.0
    hold: threading.Event | None = None
    hold_after: int = 0
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, path: str) -> int:
        """Bytes of bodies sent for a path."""
        return sum(each.sent for each in self.asked if each.path == path)

    def etag(self, path: str) -> str:
        return self.etags.get(path, _etag(self.data[path]))


@lru_cache(8)
def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'


class _Handler(BaseHTTPRequestHandler):
    files: Files

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        files, path = self.files, self.path.partition("?")[0]
        asked = Asked(path, dict(self.headers.items()))
        with files.lock:
            files.asked.append(asked)
            cut = files.cut.pop(0) if files.cut else None
            status = files.statuses.pop(0) if files.statuses else 200
        if path in files.redirects:
            return self._head(302, {"Location": files.redirects[path]})
        if status != 200:
            return self._head(status, files.extra)
        data = files.data.get(path)
        if data is None:
            return self._head(404, {})
        self._send(asked, data, files.etag(path), cut)

    def _send(self, asked: Asked, data: bytes, etag: str, cut: int | None) -> None:
        files, headers, first, end, status = self.files, {}, 0, len(data), 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted and files.ranges and self.headers.get("If-Range", etag) == etag:
            first, end, status = int(wanted[1]), min(int(wanted[2]) + 1, len(data)), 206
            if first >= len(data):
                return self._head(416, {"Content-Range": f"bytes */{len(data)}"})
            size = len(data) if files.claimed is None else files.claimed
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        if files.validators:
            headers["ETag"] = etag
        if files.lengths:
            more = 0 if status == 206 or files.claimed is None else files.claimed - len(data)
            headers["Content-Length"] = str(end - first + more)
        if asked.path in files.types:
            headers["Content-Type"] = files.types[asked.path]
        self.send_response(status)
        for name, value in {**headers, **files.extra}.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        stop = end if cut is None else min(end, first + cut)
        try:
            while first < stop:
                piece = data[first : min(first + PIECE, stop)]
                self.wfile.write(piece)
                asked.sent += len(piece)
                first += len(piece)
                if files.pause_s:
                    time.sleep(files.pause_s)
                if files.hold is not None and files.sent(asked.path) >= files.hold_after:
                    files.hold.wait()
        except OSError:
            pass  # The client went away, as some tests will have it.
        self.close_connection = True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        # What is counted as sent is then near to what went out.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], host: str = "127.0.0.1") -> Iterator[str]:
    """Serve until the end of the block; gives the URL."""
    server = _Server((host, 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def file_server() -> Iterator[Files]:
    files = Files()
    with serving(type("Handler", (_Handler,), {"files": files})) as url:
        files.url = url
        yield files
