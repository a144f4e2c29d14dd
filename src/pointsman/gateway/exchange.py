"""One HTTP exchange over ASGI: the body within its limit, the answer, and the client's leaving.

Source: ASGI specification 3.0, HTTP message format 2.5.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from pointsman.errors import BodyTooLarge
from pointsman.gateway.direct import EXTENSION, Direct

__all__ = ["ClientGone", "Exchange", "Headers", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

# Most answers take longer than this, most overheads less: a watcher is a task, so it is started
# only for exchanges that really wait.
WATCH_AFTER_S = 0.02
MAX_REQUEST_ID_CHARS = 128
_ENCODER = msgspec.json.Encoder()
_RUN = os.urandom(6).hex()
_count = iter(range(1, 1 << 62))


class ClientGone(Exception):
    """The client hung up; nobody waits for an answer."""


class Exchange:
    """A request being answered. `started` says that the answer's head is out."""

    __slots__ = (
        "_gone",
        "_task",
        "_timer",
        "_watcher",
        "method",
        "more_headers",
        "origin",
        "path",
        "receive",
        "request_id",
        "scope",
        "send",
        "started",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.started = False
        self._gone = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        # Of an answer to a web page; nearly always empty.
        self.more_headers: Headers = []
        self.origin: str | None = None
        given: str | None = None
        for key, value in scope["headers"]:
            if key == b"x-request-id":
                given = given or value.decode("latin-1")
            elif key == b"origin":
                self.origin = self.origin or value.decode("latin-1")
        usable = given and len(given) <= MAX_REQUEST_ID_CHARS and given.isprintable()
        self.request_id = given if given and usable else f"req_{_RUN}{next(_count):08x}"

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                text: str = value.decode("latin-1")
                return text
        return None

    def dialect(self) -> str:
        """The name of the dialect that this caller speaks: by the path, then by its headers."""
        if self.path.startswith("/v1beta/") or (
            self.path.startswith("/v1/models")
            and (self.method == "POST" or self.header(b"x-goog-api-client") is not None)
        ):
            return "gemini"
        if self.path.startswith("/api/"):
            return "ollama"
        if self.path.startswith("/v1/messages") or self.header(b"anthropic-version") is not None:
            return "anthropic"
        return "openai"

    def query(self) -> dict[str, str]:
        """The query's parameters; the last one of a name counts."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1")))

    async def body(self, limit_bytes: int) -> bytes:
        """Give the request's body.

        Raises:
            BodyTooLarge: over the limit, by its length header or by what came.
            ClientGone: it hung up before the end.
        """
        length = self.header(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit_bytes:
            raise _too_large(limit_bytes)
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > limit_bytes:
                raise _too_large(limit_bytes)
            return body
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)
            message = await self.receive()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the request's body as it comes, however large; whoever reads it bounds it.

        Raises:
            ClientGone: it hung up before the end.
        """
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if piece := message.get("body", b""):
                yield piece
            if not message.get("more_body"):
                return

    def watch(self) -> None:
        """From now on, cancel the current task when the client hangs up; call once the body is in."""
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start_watcher)

    def _start_watcher(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    def unwatch(self) -> None:
        """End the watch."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()

    def absorb_cancel(self) -> bool:
        """Whether a cancellation came from `watch`; if so it is undone."""
        if self._gone and self._task is not None:
            self._task.uncancel()
            return True
        return False

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self.started = True
        if self.more_headers:
            headers += self.more_headers
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def respond_json(self, status: int, value: Any, headers: Headers | None = None) -> None:
        """Send a JSON answer."""
        all_headers: Headers = [
            (b"content-type", b"application/json"),
            (b"x-request-id", self.request_id.encode("latin-1")),
            *(headers or ()),
        ]
        await self.respond(status, all_headers, _ENCODER.encode(value))

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head of a streamed answer."""
        self.started = True
        if self.more_headers:
            headers += self.more_headers
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer."""
        await self.send({"type": "http.response.body", "body": data, "more_body": True})

    def direct(self) -> Direct | None:
        """A way to write the streamed answer with no task between, where the server offers one."""
        offered = (self.scope.get("extensions") or {}).get(EXTENSION) or {}
        direct = offered.get("direct")
        return direct if isinstance(direct, Direct) and direct.is_open else None

    async def end(self) -> None:
        """End a streamed answer."""
        await self.send({"type": "http.response.body", "body": b""})


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is over {limit_bytes} bytes; raise server.max_body_bytes if that is meant"
    )
