"""One HTTP/1.1 connection of the fake provider: the parser's events in, bytes of our choosing out.

A web server would mend what is to be broken here; this one writes exactly what it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import httptools

__all__ = ["Connection", "Incoming", "head"]

Incoming = tuple[str, str, dict[str, str], bytes]


def head(status: int, headers: dict[str, str]) -> bytes:
    """Give the bytes of a response's head."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Fault"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


class Connection(asyncio.Protocol):
    """Reads requests and has each answered in turn by `serve`, which gives whether to go on.

    When the client hangs up, the answer under way is cancelled.
    """

    def __init__(
        self,
        serve: Callable[[Connection, Incoming], Awaitable[bool]],
        opened: set[Connection],
    ) -> None:
        self._serve = serve
        self._opened = opened
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[Incoming] = deque()
        self._task: asyncio.Task[None] | None = None
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.client_left = False
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; with no buffer of its own `flush` waits until all is sent."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(0)
        self._transport = transport
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(501)
        except httptools.HttpParserError:
            self._refuse(400)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer under way."""
        self._opened.discard(self)
        self._flushed.set()
        if self._transport is not None:
            self.client_left = True
            self._transport = None
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Hold `flush` back."""
        self._flushed.clear()

    def resume_writing(self) -> None:
        """Let `flush` go on."""
        self._flushed.set()

    def on_message_begin(self) -> None:
        """Start a request."""
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Take the target, which may come in pieces."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that comes twice is joined by a comma."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Let a client send its body that waits to be told."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request and see that it is answered."""
        method = self._parser.get_method().decode("latin-1")
        url = self._url.decode("latin-1")
        self._waiting.append((method, url, self._headers, b"".join(self._body)))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        alive = False
        try:
            while self._waiting:
                alive = await self._serve(self, self._waiting.popleft())
                if not alive:
                    break
        except ConnectionError:
            alive = False
        finally:
            if not alive:
                self.close()

    def write(self, data: bytes) -> None:
        """Send the bytes as they are.

        Raises:
            ConnectionResetError: the connection is gone.
        """
        if self._transport is None:
            raise ConnectionResetError("the client hung up")
        self._transport.write(data)

    async def flush(self) -> None:
        """Wait until all that was written has been handed to the system."""
        await self._flushed.wait()
        # One turn of the loop, so that a client that left is seen between two writes.
        await asyncio.sleep(0)

    def close(self) -> None:
        """Close when all is sent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def abort(self) -> None:
        """Cut the socket at once."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def end(self) -> asyncio.Task[None] | None:
        """Cut the socket and the answer under way, which is given."""
        self.abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    def _refuse(self, status: int) -> None:
        with contextlib.suppress(ConnectionError):
            self.write(head(status, {"content-length": "0", "connection": "close"}))
        self.close()
