"""HTTP/1.1 over asyncio and httptools: a keep-alive pool and one protocol class, no more per
request than one write and the parser's callbacks.

Redirects are not followed, bodies are not decompressed (`accept-encoding: identity` is sent).
Source: RFC 9112 (HTTP/1.1), sections 6, 7 and 9.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

import httptools

from pointsman._http.transport import Origin, Request, Timeouts, TransportError

__all__ = ["H1Response", "H1Transport"]

IDLE_S = 30.0  # Servers commonly close idle connections after 60 s or more; stay below.
HIGH_WATER_BYTES = 256 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_CACHED_HEADS = 512


class _Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    __slots__ = (
        "_buffer",
        "_buffered",
        "_deadline_s",
        "_head_bytes",
        "_held",
        "_loop",
        "_parser",
        "_patience",
        "_paused",
        "_reading",
        "_sink",
        "_timer",
        "_waiter",
        "complete",
        "error",
        "headers",
        "idle_since",
        "keep_alive",
        "received",
        "reused",
        "status",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self.reused = False
        self.idle_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        self._patience = "", 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._buffer: deque[bytes] = deque()
        self._reading = False
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._buffer.clear()
        self._buffered = 0
        self._paused = False
        self._held = False
        self._sink: Callable[[bytes], None] | None = None
        self._head_bytes = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.keep_alive = False
        self.received = False
        self.error: TransportError | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self._reading or self.complete:
            # Bytes that no request asked for: the connection cannot be trusted any more.
            self.abort(TransportError("protocol", "bytes outside of an answer"))
            return
        self.received = True
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort(TransportError("protocol", "an unasked protocol upgrade"))
        except httptools.HttpParserError as error:
            self.abort(TransportError("protocol", f"not HTTP/1.1: {error}"))
        else:
            if not self.status and self._head_bytes > MAX_HEAD_BYTES:
                self.abort(TransportError("size", f"a head over {MAX_HEAD_BYTES} bytes"))
        if self._sink is None or self.complete or self.error is not None:
            self._wake()
        else:
            self._deadline_s = self._loop.time() + self._patience[1]
            self._pour()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reading and not self.complete and self.error is None:
            if self.status and not self._has_length():
                # RFC 9112 6.3: without a length or chunks, the close is the end.
                self.complete = True
            else:
                self.error = TransportError("cut", "the connection closed in mid-answer")
        self.keep_alive = False
        self.transport = None
        if self._timer is not None:  # It would hold the connection for as long as it runs.
            self._timer.cancel()
            self._timer = None
        self._wake()

    def _has_length(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        old = self.headers.get(key)
        self.headers[key] = text if old is None else f"{old}, {text}"

    def on_headers_complete(self) -> None:
        if self.complete:
            raise ValueError("a second answer to one request")
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers.clear()
            return
        self.status = status
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._buffer.append(body)
        self._buffered += len(body)
        if self._buffered > HIGH_WATER_BYTES and not self._paused and self.transport:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        # After an informational answer (1xx) the real one follows on the same parser.
        if self.status:
            self.complete = True

    # The exchange

    def start(self, data: bytes) -> None:
        """Send a request's bytes."""
        self._reading = True
        if self.transport is None:
            self.error = TransportError("cut", "the connection closed while idle")
        else:
            self.transport.write(data)

    async def wait_head(self, timeout_s: float) -> None:
        while not self.status and self.error is None:
            await self._wait(timeout_s, "no answer")
        if self.error is not None:
            raise self.error

    async def next_chunk(self, timeout_s: float) -> bytes | None:
        """Give all that is buffered, or None at the end."""
        while not self._buffer:
            if self.error is not None:
                raise self.error
            if self.complete:
                return None
            await self._wait(timeout_s, "no more of the answer")
        return self._taken()

    async def pipe(self, sink: Callable[[bytes], None], timeout_s: float) -> None:
        """Give `sink` all that is buffered and comes, until the end."""
        self._sink = sink
        try:
            if self._buffer:
                sink(self._taken())
            if not self.complete and self.error is None:
                await self._wait(timeout_s, "no more of the answer")
        finally:
            self._sink = None
        if self.error is not None:
            raise self.error

    def _taken(self) -> bytes:
        if len(self._buffer) == 1:
            chunk = self._buffer.popleft()
        else:
            chunk = b"".join(self._buffer)
            self._buffer.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self._read_on()
        return chunk

    def hold(self) -> None:
        """Read no more, and be patient meanwhile: whoever takes what comes is behind."""
        if not self._held:
            self._held = True
            if self.transport is not None:
                self.transport.pause_reading()

    def let_go(self) -> None:
        """Read again."""
        if self._held:
            self._held = False
            self._deadline_s = self._loop.time() + self._patience[1]
            self._read_on()

    def _read_on(self) -> None:
        if not self._held and not self._paused and self.transport is not None:
            self.transport.resume_reading()

    async def _wait(self, timeout_s: float, what: str) -> None:
        self._waiter = self._loop.create_future()
        self._patience = what, timeout_s
        self._deadline_s = self._loop.time() + timeout_s
        # One timer for many waits, as setting and cancelling one for each costs more than the wait.
        if self._timer is None or self._timer.when() > self._deadline_s:
            self._set_timer(self._deadline_s)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return  # The next wait sets another one.
        if self._held:
            self._deadline_s = self._loop.time() + self._patience[1]
        if self._loop.time() < self._deadline_s:
            self._set_timer(self._deadline_s)
            return
        what, timeout_s = self._patience
        self.abort(TransportError("timeout", f"{what} in {timeout_s:g} s"))

    def _wake(self) -> None:
        """Tell whoever waits; of one who pipes, at the end alone."""
        if self._sink is not None:
            if not self._pour():
                return
            if not self.complete and self.error is None:
                return
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pour(self) -> bool:
        """Give the sink what is there; False if it failed, or has before."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._sink is None:
            return False
        try:
            if len(self._buffer) == 1 and not self._paused:
                self._buffered = 0
                self._sink(self._buffer.popleft())
            elif self._buffer:
                self._sink(self._taken())
        except Exception as error:  # Raised anew by whoever waits.
            waiter.set_exception(error)
            return False
        return True

    def abort(self, error: TransportError) -> None:
        if self.error is None:
            self.error = error
        self.keep_alive = False
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
        self._wake()

    def recycle(self) -> bool:
        """Make ready for the next exchange; False if the connection must not be used again."""
        usable = (
            self.complete and self.keep_alive and self.transport is not None and not self._buffer
        )
        if usable:
            self.let_go()
            self._reading = False
            self.reused = True
            self._reset()
            self.idle_since = self._loop.time()
        elif self.transport is not None:
            self.transport.abort()
            self.transport = None
        return usable


class H1Response:
    """An answer on a connection; see `transport.Response`."""

    __slots__ = ("_connection", "_done", "_idle_s", "_release", "headers", "status")

    def __init__(
        self, connection: _Connection, idle_s: float, release: Callable[[_Connection], None]
    ) -> None:
        self.status = connection.status
        self.headers = connection.headers
        self._connection = connection
        self._idle_s = idle_s
        self._release = release
        self._done = False

    async def pipe(self, sink: Callable[[bytes], None]) -> None:
        """Give `sink` the body as it comes, straight from the socket's own callback."""
        if self._done:
            return
        try:
            await self._connection.pipe(sink, self._idle_s)
        finally:
            self.close()

    def hold(self) -> None:
        """Stop reading, and with it the server, until `let_go`."""
        if not self._done:
            self._connection.hold()

    def let_go(self) -> None:
        """Read again."""
        if not self._done:
            self._connection.let_go()

    async def read(self, limit_bytes: int) -> bytes:
        """Give the whole body and release the connection."""
        try:
            first = await self._connection.next_chunk(self._idle_s)
            if first is None:
                return b""
            size = len(first)
            parts = [first]
            while True:
                if size > limit_bytes:
                    raise TransportError("size", f"an answer over {limit_bytes} bytes")
                chunk = await self._connection.next_chunk(self._idle_s)
                if chunk is None:
                    return first if len(parts) == 1 else b"".join(parts)
                size += len(chunk)
                parts.append(chunk)
        finally:
            self.close()

    async def next_chunk(self) -> bytes | None:
        """Give what has come of the body, or None at its end, which releases the connection."""
        if self._done:
            return None
        try:
            chunk = await self._connection.next_chunk(self._idle_s)
        except BaseException:
            self.close()
            raise
        if chunk is None:
            self.close()
        return chunk

    def close(self) -> None:
        """Give the connection back, or cut it if the answer was not read to its end."""
        if not self._done:
            self._done = True
            self._release(self._connection)


class H1Transport:
    """A pool of HTTP/1.1 connections; belongs to the event loop that first uses it."""

    def __init__(self, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl = ssl_context
        self._idle: dict[Origin, list[_Connection]] = {}
        self._busy: set[_Connection] = set()
        self._heads: dict[tuple[str, Origin, str, tuple[tuple[str, str], ...]], bytes] = {}
        self._closed = False

    async def send(self, request: Request, timeouts: Timeouts) -> H1Response:
        """Send, and give the answer once its head is here.

        A reused connection that turns out to be closed before any byte of an answer is replaced
        once by a fresh one: the server dropped it while idle.
        """
        data = self._head(request) + b"%d\r\n\r\n" % len(request.body) + request.body
        while True:
            connection = self._take(request.origin) or await self._connect(
                request.origin, timeouts.connect_s
            )
            self._busy.add(connection)
            connection.start(data)
            try:
                await connection.wait_head(timeouts.first_byte_s)
            except TransportError as error:
                self._busy.discard(connection)
                if error.kind == "cut" and connection.reused and not connection.received:
                    continue
                raise
            except BaseException:
                # The caller was cancelled: cut the connection, so that the server stops working.
                self._busy.discard(connection)
                connection.recycle()
                raise
            return H1Response(
                connection, timeouts.idle_s, lambda c: self._release(request.origin, c)
            )

    async def aclose(self) -> None:
        """Close every connection, busy ones too."""
        self._closed = True
        for connections in self._idle.values():
            for connection in connections:
                if connection.transport is not None:
                    connection.transport.abort()
        for connection in list(self._busy):
            connection.abort(TransportError("cut", "the transport was closed"))
        self._idle.clear()
        # Let the loop run the callbacks that close the sockets.
        await asyncio.sleep(0)

    def _head(self, request: Request) -> bytes:
        key = (request.method, request.origin, request.path, request.headers)
        head = self._heads.get(key)
        if head is None:
            head = _encode_head(request)
            if len(self._heads) >= MAX_CACHED_HEADS:
                self._heads.clear()
            self._heads[key] = head
        return head

    def _take(self, origin: Origin) -> _Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.transport is None or connection.transport.is_closing():
                continue
            if asyncio.get_running_loop().time() - connection.idle_since > IDLE_S:
                connection.transport.abort()
                continue
            return connection
        return None

    async def _connect(self, origin: Origin, timeout_s: float) -> _Connection:
        loop = asyncio.get_running_loop()
        if origin.scheme == "https" and self._ssl is None:
            self._ssl = await asyncio.to_thread(ssl.create_default_context)
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop),
                    origin.address or origin.host,
                    origin.port,
                    ssl=self._ssl if origin.scheme == "https" else None,
                    server_hostname=origin.host if origin.scheme == "https" else None,
                )
        except TimeoutError:
            raise TransportError(
                "timeout", f"no connection to {origin.host}:{origin.port} in {timeout_s:g} s"
            ) from None
        except (OSError, ssl.SSLError) as error:
            raise TransportError(
                "connect", f"no connection to {origin.host}:{origin.port}: {error}"
            ) from error
        return connection

    def _release(self, origin: Origin, connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection.recycle():
            if self._closed:
                connection.abort(TransportError("cut", "the transport was closed"))
            else:
                self._idle.setdefault(origin, []).append(connection)


def _encode_head(request: Request) -> bytes:
    origin = request.origin
    default_port = 443 if origin.scheme == "https" else 80
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.port != default_port:
        host = f"{host}:{origin.port}"
    lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {host}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise TransportError("protocol", "a line break in a header or path")
    if " " in request.path:
        raise TransportError("protocol", "a space in a path")
    lines.append("accept-encoding: identity")
    try:
        return "\r\n".join(lines).encode("latin-1") + b"\r\ncontent-length: "
    except UnicodeEncodeError:
        raise TransportError("protocol", "a header holds a character outside latin-1") from None
