"""The fake provider's server: HTTP/1.1 on one loopback port, with the socket fully in hand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from pointsman.testing import anthropic_wire, gemini_wire, openai_wire
from pointsman.testing.assistant import answer_to
from pointsman.testing.script import Answer, Fault, Recorded, Reply

__all__ = ["FakeProvider", "Script"]

Script = Sequence[Reply] | Callable[[Recorded], Reply]
MODELS = ("fake-1", "fake-embedding")
VECTOR_SIZE = 8


class FakeProvider:
    """A provider that answers by script, in OpenAI's, Anthropic's and Gemini's wire formats.

    `script` is a list of replies, used in order (the last one again and again), or a function of
    the request; without one the scripted assistant answers. Use it as a context manager, plain or
    `async`; `url` is the root: OpenAI's base URL is `url + "/v1"`, Anthropic's `url` (for this
    project `url + "/v1"`), Gemini's `url + "/v1beta"`. `requests` are those that came.
    """

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        self.script: Script = answer_to if script is None else script
        self.requests: list[Recorded] = []
        self.url = ""
        self._port = port
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._served = 0

    def __enter__(self) -> Self:
        """Start in a thread of its own."""
        up = threading.Event()
        self._loop = asyncio.new_event_loop()

        def run(loop: asyncio.AbstractEventLoop) -> None:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(self.start())
            up.set()
            loop.run_forever()
            loop.run_until_complete(self.stop())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

        self._thread = threading.Thread(target=run, args=(self._loop,), daemon=True)
        self._thread.start()
        up.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    async def __aenter__(self) -> Self:
        """Start on the running loop."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self._port)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        """Close the server and every connection."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            # Let the handlers see that their connections are gone.
            for _ in range(3):
                await asyncio.sleep(0)
            self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                if not await self._answer(request, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; gives whether the connection goes on."""
        plain = _plain(request)
        if plain is not None:
            _send(writer, 200, plain)
            await writer.drain()
            return True
        if callable(self.script):
            reply = self.script(request)
        else:
            reply = self.script[min(self._served, len(self.script) - 1)]
        self._served += 1
        number = self._served
        gone = asyncio.ensure_future(_gone(reader))
        work = asyncio.ensure_future(self._reply(request, reply, number, writer))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                request.cancelled = True
                return False
            return work.result()
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)

    async def _reply(
        self, request: Recorded, reply: Reply, number: int, writer: asyncio.StreamWriter
    ) -> bool:
        if isinstance(reply, Fault):
            return await _fault(request, reply, number, writer)
        if request.stream:
            return await _stream(request, reply, number, writer, None)
        await asyncio.sleep(reply.delay_s)
        _send(writer, 200, _whole(request, reply, number))
        await writer.drain()
        return True


async def _gone(reader: asyncio.StreamReader) -> None:
    """Return when the client has hung up."""
    # The reader has no event for its end, and to read would take a next request's bytes.
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def _read(reader: asyncio.StreamReader) -> Recorded | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    raw = await reader.readexactly(int(headers.get("content-length", "0")))
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = None
    return _recorded(method, path, headers, body, raw)


def _recorded(method: str, path: str, headers: dict[str, str], body: Any, raw: bytes) -> Recorded:
    bare = path.partition("?")[0]
    fields = body if isinstance(body, dict) else {}
    dialect, model, stream = "openai", str(fields.get("model", "")), bool(fields.get("stream"))
    if bare.startswith("/v1beta/"):
        dialect = "gemini"
        model = bare.rpartition("/models/")[2].rpartition(":")[0]
        stream = bare.endswith(":streamGenerateContent")
    elif bare.startswith("/v1/messages") or "anthropic-version" in headers:
        dialect = "anthropic"
    return Recorded(method, path, headers, body, raw, dialect, stream, model)


def _tokens(request: Recorded) -> int:
    return max(len(request.raw) // 4, 1)


def _whole(request: Recorded, answer: Answer, number: int) -> Any:
    wire: Any = {"openai": openai_wire, "anthropic": anthropic_wire, "gemini": gemini_wire}
    return wire[request.dialect].whole(answer, request.model, _tokens(request), number)


def _events(request: Recorded, answer: Answer, number: int) -> Iterator[bytes]:
    tokens = _tokens(request)
    if request.dialect == "anthropic":
        yield from anthropic_wire.stream(answer, request.model, tokens, number)
    elif request.dialect == "openai":
        asked = (request.body or {}).get("stream_options") or {}
        usage = bool(asked.get("include_usage"))
        yield from openai_wire.stream(answer, request.model, tokens, number, usage)
    else:
        sse = "alt=sse" in request.path
        first = True
        for event in gemini_wire.events(answer, request.model, tokens, number):
            data = json.dumps(event, ensure_ascii=False).encode()
            yield b"data: " + data + b"\r\n\r\n" if sse else (b"[" if first else b",\r\n") + data
            first = False
        if not sse:
            yield b"]"


def _head(status: int, content_type: str, extra: str) -> bytes:
    return f"HTTP/1.1 {status} Fake\r\ncontent-type: {content_type}\r\n{extra}\r\n".encode()


def _send(writer: asyncio.StreamWriter, status: int, body: Any, extra: str = "") -> None:
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    length = f"content-length: {len(data)}\r\nrequest-id: req_fake\r\n{extra}"
    writer.write(_head(status, "application/json", length) + data)


async def _stream(
    request: Recorded,
    answer: Answer,
    number: int,
    writer: asyncio.StreamWriter,
    fault: Fault | None,
) -> bool:
    array = request.dialect == "gemini" and "alt=sse" not in request.path
    kind = "application/json" if array else "text/event-stream; charset=utf-8"
    writer.write(_head(200, kind, "transfer-encoding: chunked\r\n"))
    for sent, event in enumerate(_events(request, answer, number)):
        if fault is not None and (ended := await _interrupt(request, fault, sent, writer)):
            return ended == "on"
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(answer.delay_s)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _interrupt(
    request: Recorded, fault: Fault, sent: int, writer: asyncio.StreamWriter
) -> str:
    """Do what the fault asks for after `sent` events: "" goes on, "on" and "off" end the stream."""
    if fault.cut_after == sent:
        await writer.drain()
        writer.transport.abort()
        return "off"
    if fault.stall_after == sent:
        await asyncio.Event().wait()
    if fault.garbage_after == sent:
        event = b"data: {this is no JSON\n\n"
    elif fault.error_after == sent:
        wire: Any = {"openai": openai_wire, "anthropic": anthropic_wire, "gemini": gemini_wire}
        event = wire[request.dialect].stream_error(fault.message)
    else:
        return ""
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))
    await writer.drain()
    return "on"


async def _fault(
    request: Recorded, fault: Fault, number: int, writer: asyncio.StreamWriter
) -> bool:
    if fault.close:
        writer.transport.abort()
        return False
    if fault.stall_s is not None:
        await asyncio.sleep(fault.stall_s)
    if fault.status is not None:
        wire: Any = {"openai": openai_wire, "anthropic": anthropic_wire, "gemini": gemini_wire}
        body = fault.body
        if body is None:
            body = wire[request.dialect].error(fault.status, fault.message)
        extra = f"retry-after: {fault.retry_after}\r\n" if fault.retry_after else ""
        _send(writer, fault.status, body, extra)
        await writer.drain()
        return True
    if fault.endless_head:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for count in range(16_384):
            writer.write(b"x-%06d: %s\r\n" % (count, b"y" * 50))
            await writer.drain()
        return False
    if fault.huge_bytes is not None:
        writer.write(_head(200, "application/json", f"content-length: {fault.huge_bytes}\r\n"))
        piece = b" " * 65536
        for start in range(0, fault.huge_bytes, len(piece)):
            writer.write(piece[: fault.huge_bytes - start])
            await writer.drain()
        return True
    answer = Answer(text="one two three four five six seven eight", pieces=8)
    if request.stream:
        return await _stream(request, answer, number, writer, fault)
    _send(writer, 200, _whole(request, answer, number))
    await writer.drain()
    return True


def _plain(request: Recorded) -> Any:
    """Answers that need no script: lists of models, embeddings and counts of tokens."""
    path = request.path.partition("?")[0]
    if request.method == "GET" and path.endswith("/models"):
        if request.dialect == "gemini":
            return {
                "models": [{"name": f"models/{name}", "inputTokenLimit": 8192} for name in MODELS]
            }
        created: dict[str, Any] = {"created": 1_790_000_000, "owned_by": "fake"}
        if request.dialect == "anthropic":
            created = {
                "type": "model",
                "created_at": "2026-09-21T00:00:00Z",
                "display_name": "Fake",
            }
        return {"object": "list", "has_more": False,
                "data": [{"id": name, "object": "model", **created} for name in MODELS]}  # fmt: skip
    body = request.body if isinstance(request.body, dict) else {}
    if path.endswith("/embeddings"):
        inputs = body.get("input")
        rows = (
            inputs
            if isinstance(inputs, list) and inputs and not isinstance(inputs[0], int)
            else [inputs]
        )
        data = [{"object": "embedding", "index": i, "embedding": _vector(str(each), body)}
                for i, each in enumerate(rows)]  # fmt: skip
        usage = {"prompt_tokens": _tokens(request), "total_tokens": _tokens(request)}
        return {"object": "list", "data": data, "model": request.model, "usage": usage}
    if path.endswith(":batchEmbedContents"):
        return {"embeddings": [{"values": _vector(json.dumps(each.get("content")), body)}
                               for each in body.get("requests", ())]}  # fmt: skip
    if path.endswith(":embedContent"):
        return {"embedding": {"values": _vector(json.dumps(body.get("content")), body)}}
    if path.endswith(":countTokens"):
        return {"totalTokens": _tokens(request)}
    if path.endswith("/messages/count_tokens"):
        return {"input_tokens": _tokens(request)}
    return None


def _vector(text: str, body: dict[str, Any]) -> Any:
    import base64
    import struct
    import zlib

    values = [(zlib.crc32(f"{i}|{text}".encode()) % 2001 - 1000) / 1000 for i in range(VECTOR_SIZE)]
    if body.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    return values
