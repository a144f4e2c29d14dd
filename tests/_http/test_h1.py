"""The transport against a server of raw sockets, so that every fault can be made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Origin, Request, Timeouts, TransportError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
QUICK = Timeouts(connect_s=2, first_byte_s=0.3, idle_s=0.3)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Request]:
    writers: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Request("POST", Origin("http", "127.0.0.1", port), "/v1/x", (("a", "b"),), b"body")
    finally:
        # Since Python 3.12 leaving the server as a context waits for its connections, and the
        # transport under test keeps some open.
        server.close()
        for writer in writers:
            writer.transport.abort()


@pytest.fixture
async def transport() -> AsyncIterator[H1Transport]:
    transport = H1Transport()
    yield transport
    await transport.aclose()


async def test_a_connection_is_used_again(transport):
    seen: list[bytes] = []
    connections = 0

    async def handler(reader, writer):
        nonlocal connections
        connections += 1
        while True:
            seen.append(await read_request(reader))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nhi")

    async with serving(handler) as request:
        for _ in range(3):
            response = await transport.send(request, QUICK)
            assert response.status == 200
            assert response.headers["x-a"] == "1, 2"
            assert await response.read(10) == b"hi"
    assert connections == 1
    assert seen[0].startswith(b"POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\na: b\r\n" in seen[0] and seen[0].endswith(b"content-length: 4\r\n\r\nbody")


async def test_a_reused_connection_that_was_closed_is_replaced(transport):
    connections = 0

    async def handler(reader, writer):
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        if connections == 1:
            # Wait for the second request on this connection, and close without a word.
            await read_request(reader)

    async with serving(handler) as request:
        for _ in range(2):
            assert await (await transport.send(request, QUICK)).read(10) == b"hi"
    assert connections == 2


async def test_a_fresh_connection_that_is_closed_is_an_error(transport):
    async def handler(reader, writer):
        await read_request(reader)

    async with serving(handler) as request:
        with pytest.raises(TransportError) as caught:
            await transport.send(request, QUICK)
    assert caught.value.kind == "cut"


async def test_chunks_come_as_they_are_sent(transport):
    gate = asyncio.Event()

    async def handler(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await gate.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    async with serving(handler) as request:
        response = await transport.send(request, QUICK)
        assert await response.next_chunk() == b"one"
        gate.set()
        assert await response.next_chunk() == b"two"
        assert await response.next_chunk() is None
        assert await response.next_chunk() is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none",
    ],
)
async def test_a_cut_body_is_an_error(transport, answer):
    async def handler(reader, writer):
        await read_request(reader)
        writer.write(answer)

    async with serving(handler) as request:
        response = await transport.send(request, QUICK)
        with pytest.raises(TransportError) as caught:
            await response.read(100)
    assert caught.value.kind == "cut"


async def test_without_a_length_the_close_is_the_end(transport):
    async def handler(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall")

    async with serving(handler) as request:
        assert await (await transport.send(request, QUICK)).read(100) == b"all"


async def test_informational_answers_are_passed_over(transport):
    async def handler(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await reader.read()

    async with serving(handler) as request:
        response = await transport.send(request, QUICK)
        assert (response.status, await response.read(10)) == (200, b"hi")
        assert "link" not in response.headers


async def test_silence_is_a_timeout_before_the_head_and_within_the_body(transport):
    async def silent(reader, writer):
        await read_request(reader)
        await asyncio.sleep(5)

    async def stalls(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none")
        await asyncio.sleep(5)

    async with serving(silent) as request:
        with pytest.raises(TransportError) as caught:
            await transport.send(request, QUICK)
        assert caught.value.kind == "timeout"
    async with serving(stalls) as request:
        response = await transport.send(request, QUICK)
        with pytest.raises(TransportError) as caught:
            await response.read(100)
        assert caught.value.kind == "timeout"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n", "size"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "protocol"),
    ],
)
async def test_what_is_no_http_is_refused(transport, answer, kind):
    async def handler(reader, writer):
        await read_request(reader)
        writer.write(answer)
        await asyncio.sleep(0.2)

    async with serving(handler) as request:
        with pytest.raises(TransportError) as caught:
            await (await transport.send(request, QUICK)).read(100)
        assert caught.value.kind == kind


async def test_a_body_over_the_limit_is_refused(transport):
    async def handler(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + b"x" * 100)
        await reader.read()

    async with serving(handler) as request:
        with pytest.raises(TransportError) as caught:
            await (await transport.send(request, QUICK)).read(10)
    assert caught.value.kind == "size"


async def test_cancelling_cuts_the_connection(transport):
    closed = asyncio.Event()

    async def handler(reader, writer):
        await read_request(reader)
        await reader.read()
        closed.set()

    async with serving(handler) as request:
        task = asyncio.create_task(transport.send(request, Timeouts()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 2)


async def test_closing_an_unread_answer_cuts_the_connection(transport):
    closed = asyncio.Event()

    async def handler(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none")
        await reader.read()
        closed.set()

    async with serving(handler) as request:
        (await transport.send(request, QUICK)).close()
        await asyncio.wait_for(closed.wait(), 2)


async def test_a_slow_reader_holds_the_sender_back(transport):
    sent = 0

    async def handler(reader, writer):
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(600):
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()
            sent += 1
        writer.write(b"0\r\n\r\n")
        await reader.read()

    async with serving(handler) as request:
        response = await transport.send(request, QUICK)
        await asyncio.sleep(0.3)
        held = sent
        assert held < 300  # 39 MB were on their way; the buffers hold a part of that.
        size = 0
        while (chunk := await response.next_chunk()) is not None:
            size += len(chunk)
        assert size == 600 * 65536


async def test_nobody_listening_is_a_connect_error(transport, unused_tcp_port):
    request = Request("GET", Origin("http", "127.0.0.1", unused_tcp_port), "/")
    with pytest.raises(TransportError) as caught:
        await transport.send(request, QUICK)
    assert caught.value.kind == "connect"


async def test_header_injection_is_refused(transport, unused_tcp_port):
    origin = Origin("http", "127.0.0.1", unused_tcp_port)
    for request in (
        Request("GET", origin, "/", (("a", "b\r\nc: d"),)),
        Request("GET", origin, "/a b"),
        Request("GET", origin, "/", (("a", "ключ"),)),
    ):
        with pytest.raises(TransportError) as caught:
            await transport.send(request, QUICK)
        assert caught.value.kind == "connect" or caught.value.kind == "protocol"


def test_a_request_shows_neither_headers_nor_body():
    request = Request(
        "POST", Origin("http", "h", 1), "/p", (("authorization", "Bearer sk-1"),), b"prompt"
    )
    assert "sk-1" not in repr(request) and "prompt" not in repr(request)


@pytest.mark.parametrize("url", ["ftp://x", "x", "http://", "http://u:p@h/", "http://h/?q=1"])
def test_a_base_url_must_be_plain(url):
    with pytest.raises(ValueError, match="URL"):
        Origin.of(url)


def test_origins():
    assert Origin.of("https://a.b/v1/") == (Origin("https", "a.b", 443), "/v1")
    assert Origin.of("http://[::1]:8080") == (Origin("http", "::1", 8080), "")


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_a_pipe_gives_the_pieces_as_they_come(transport):
    gate = asyncio.Event()
    connections = 0

    async def handler(reader, writer):
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(HEAD + b"3\r\none\r\n")
            await gate.wait()
            writer.write(b"3\r\ntwo\r\n2\r\nxy\r\n")
            await writer.drain()
            writer.write(b"0\r\n\r\n")

    async with serving(handler) as request:
        for _ in range(2):
            gate.clear()
            seen: list[bytes] = []
            first = asyncio.Event()

            def sink(piece, seen=seen, first=first):
                seen.append(piece)
                first.set()

            response = await transport.send(request, QUICK)
            piping = asyncio.create_task(response.pipe(sink))
            await first.wait()
            assert seen == [b"one"] and not piping.done()
            gate.set()
            await piping
            assert b"".join(seen) == b"onetwoxy"
            assert await response.next_chunk() is None
    assert connections == 1, "it was given back to the pool"


@pytest.mark.parametrize(
    ("rest", "kind"), [(b"", "cut"), (b"not a chunk\r\n", "protocol"), (None, "timeout")]
)
async def test_a_pipe_that_breaks_says_why_after_what_came(transport, rest, kind):
    async def handler(reader, writer):
        await read_request(reader)
        writer.write(HEAD + b"3\r\none\r\n")
        await writer.drain()
        if rest is None:
            await reader.read()
        await asyncio.sleep(0.05)
        writer.write(rest)

    seen: list[bytes] = []
    async with serving(handler) as request:
        response = await transport.send(request, QUICK)
        with pytest.raises(TransportError) as caught:
            await response.pipe(seen.append)
    assert caught.value.kind == kind and seen == [b"one"]


async def test_a_sink_that_fails_ends_the_pipe_and_the_connection(transport):
    gone = asyncio.Event()

    async def handler(reader, writer):
        await read_request(reader)
        writer.write(HEAD + b"3\r\none\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"3\r\ntwo\r\n")
        await reader.read()
        gone.set()

    def sink(piece):
        if piece == b"two":
            raise ValueError("no more")

    async with serving(handler) as request:
        response = await transport.send(request, QUICK)
        with pytest.raises(ValueError, match="no more"):
            await response.pipe(sink)
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_pipe_that_is_held_makes_the_server_wait_and_is_patient(transport):
    total, sent = 64 * 2**20, 0

    async def handler(reader, writer):
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while sent < total:
            writer.write(bytes(2**16))
            await writer.drain()
            sent += 2**16

    got = 0

    async with serving(handler) as request:
        response = await transport.send(request, QUICK)

        def sink(piece):
            nonlocal got
            if not got:
                response.hold()
            got += len(piece)

        piping = asyncio.create_task(response.pipe(sink))
        await asyncio.sleep(3 * QUICK.idle_s)
        assert not piping.done(), "it is the reader's fault, not the server's"
        assert sent < total // 2 and got < 2**20
        response.let_go()
        await piping
    assert got == total


async def test_a_pipe_that_is_cancelled_cuts_the_connection(transport):
    gone = asyncio.Event()

    async def handler(reader, writer):
        await read_request(reader)
        writer.write(HEAD + b"3\r\none\r\n")
        await reader.read()
        gone.set()

    async with serving(handler) as request:
        response = await transport.send(request, Timeouts())
        piping = asyncio.create_task(response.pipe(lambda piece: None))
        await asyncio.sleep(0.05)
        piping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await piping
        await asyncio.wait_for(gone.wait(), 5)
