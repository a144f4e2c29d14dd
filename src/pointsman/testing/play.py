"""Plays replies onto a connection: answers whole or streamed, and every fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from pointsman.testing import anthropic_wire, gemini_wire, openai_wire
from pointsman.testing.connection import Connection, head
from pointsman.testing.paths import facts_of
from pointsman.testing.script import Answer, Fault, Recorded, Reply

__all__ = ["play", "send_json"]

_WIRES: dict[str, Any] = {
    "openai": openai_wire,
    "anthropic": anthropic_wire,
    "gemini": gemini_wire,
}
_END = b"0\r\n\r\n"
MAX_HEAD_LINES = 16_384
# What each provider says when it is overloaded.
STREAM_ERROR = {"openai": 500, "anthropic": 529, "gemini": 503}
_PIECE_BYTES = 65_536


class _Ended(Exception):
    """A fault ended the stream; `alive` says whether the connection goes on."""

    def __init__(self, alive: bool) -> None:
        super().__init__()
        self.alive = alive


async def play(line: Connection, request: Recorded, reply: Reply, number: int) -> bool:
    """Send the reply; gives whether the connection goes on."""
    if isinstance(reply, Answer):
        if request.stream:
            return await _stream(line, request, reply, number, None)
        await asyncio.sleep(reply.delay_s)
        send_json(line, request, 200, _whole(request, reply, number), number)
        return True
    if reply.stall_s is not None:
        await asyncio.sleep(reply.stall_s)
    return await _fault(line, request, reply, number)


async def _fault(line: Connection, request: Recorded, fault: Fault, number: int) -> bool:
    if fault.close:
        line.abort()
        return False
    if fault.endless_head:
        return await _endless_head(line)
    if fault.huge_bytes is not None:
        return await _huge(line, request, fault.huge_bytes)
    if fault.status is not None and fault.error_after is None:
        extra = {"retry-after": fault.retry_after} if fault.retry_after else {}
        body: Any = fault.body
        if body is None:
            body = _WIRES[request.dialect].error(fault.status, fault.message)
        send_json(line, request, fault.status, body, number, extra)
        return True
    if request.stream:
        return await _stream(line, request, fault.answer, number, fault)
    return await _broken_whole(line, request, fault, number)


def send_json(
    line: Connection,
    request: Recorded,
    status: int,
    body: Any,
    number: int,
    extra: dict[str, str] | None = None,
) -> None:
    """Send a whole answer; a body in bytes goes as it is."""
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(data)),
        **_WIRES[request.dialect].headers(number),
        **(extra or {}),
    }
    line.write(head(status, headers) + data)


async def _stream(
    line: Connection, request: Recorded, answer: Answer, number: int, fault: Fault | None
) -> bool:
    array = _is_array(request)
    headers = {
        "content-type": "application/json" if array else "text/event-stream; charset=utf-8",
        "transfer-encoding": "chunked",
        **_WIRES[request.dialect].headers(number),
    }
    line.write(head(200, headers))
    await line.flush()
    events = _events(request, answer, number)
    held = next(events)
    try:
        # The last event goes out in one write with the end: after it nobody can have left early.
        for sent, event in enumerate(events):
            await _interrupt(line, request, fault, sent)
            line.write(_chunk(held))
            await line.flush()
            await asyncio.sleep(answer.delay_s)
            held = event
    except _Ended as ended:
        return ended.alive
    line.write(_chunk(held) + _END)
    return True


async def _interrupt(line: Connection, request: Recorded, fault: Fault | None, sent: int) -> None:
    """Do what the fault asks for after `sent` events."""
    if fault is None:
        return
    if fault.cut_after == sent:
        line.abort()
        raise _Ended(alive=False)
    if fault.stall_after == sent:
        await asyncio.Event().wait()
    if fault.pause_after == sent:
        await asyncio.sleep(fault.pause_s)
    wire = _WIRES[request.dialect]
    if fault.garbage_after == sent:
        event = gemini_wire.ARRAY_GARBAGE if _is_array(request) else wire.GARBAGE
    elif fault.error_after == sent:
        status = fault.status or STREAM_ERROR[request.dialect]
        if _is_array(request):
            event = gemini_wire.array_stream_error(status, fault.message, first=sent == 0)
        else:
            event = wire.stream_error(status, fault.message)
    else:
        return
    line.write(_chunk(event) + _END)
    raise _Ended(alive=True)


async def _broken_whole(line: Connection, request: Recorded, fault: Fault, number: int) -> bool:
    """A stream's faults, done to an answer that is not streamed."""
    if fault.error_after is not None:
        status = fault.status or 503
        body = _WIRES[request.dialect].error(status, fault.message)
        send_json(line, request, status, body, number)
        return True
    whole = _whole(request, fault.answer, number)
    if fault.garbage_after is not None:
        send_json(line, request, 200, b"{this is no JSON", number)
        return True
    if fault.cut_after is None and fault.stall_after is None and fault.pause_after is None:
        send_json(line, request, 200, whole, number)
        return True
    data = json.dumps(whole).encode()
    half = len(data) // 2
    length = {"content-type": "application/json", "content-length": str(len(data))}
    line.write(head(200, length) + data[:half])
    await line.flush()
    if fault.stall_after is not None:
        await asyncio.Event().wait()
    if fault.cut_after is not None:
        line.abort()
        return False
    await asyncio.sleep(fault.pause_s)
    line.write(data[half:])
    return True


async def _endless_head(line: Connection) -> bool:
    line.write(b"HTTP/1.1 200 OK\r\n")
    for count in range(MAX_HEAD_LINES):
        line.write(b"x-%06d: %s\r\n" % (count, b"y" * 50))
        await line.flush()
    return False


async def _huge(line: Connection, request: Recorded, size_bytes: int) -> bool:
    kind = "text/event-stream" if request.stream else "application/json"
    start, end = (b"data: {", b"}\n\n") if request.stream else (b"{", b"}")
    line.write(head(200, {"content-type": kind, "content-length": str(size_bytes)}))
    left = max(size_bytes - len(start) - len(end), 0)
    line.write(start)
    for begun in range(0, left, _PIECE_BYTES):
        line.write(b" " * min(_PIECE_BYTES, left - begun))
        await line.flush()
    line.write(end)
    return True


def _is_array(request: Recorded) -> bool:
    return request.dialect == "gemini" and "alt=sse" not in request.path


def _whole(request: Recorded, answer: Answer, number: int) -> Any:
    return _WIRES[request.dialect].whole(answer, facts_of(request, number))


def _events(request: Recorded, answer: Answer, number: int) -> Iterator[bytes]:
    facts = facts_of(request, number)
    if _is_array(request):
        return gemini_wire.array_stream(answer, facts)
    events: Iterator[bytes] = _WIRES[request.dialect].stream(answer, facts)
    return events


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)
