"""The mock upstream: OpenAI's chat wire format, as fast as one Python process can speak it.

The model's name says how it answers: `instant`, or `paced` for streams of one chunk per 20 ms. Each
of a stream's 64 chunks carries the time at which it was written (nanoseconds of the monotonic clock,
which every process of a machine shares), so the reader knows how long each one was under way.

`python bench/_mock.py` prints `{"port": N}` and serves until it is ended. `GET /count` answers how
many completions were asked for, so that a gateway that answers from a cache is found out.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time

CHUNKS = 64
GAP_S = 0.02
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_PACED = re.compile(rb'"model"\s*:\s*"paced"')
_WITH_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.I)

USAGE = {
    "prompt_tokens": 118,
    "completion_tokens": CHUNKS,
    "total_tokens": 118 + CHUNKS,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
TEXT = (
    "A points operator sets the switch so that each train leaves the junction on the line that "
    "its timetable asks for. The signal clears only when the blades are locked, the section ahead "
    "is empty, and no conflicting route has been set; until then the train waits at the signal. "
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _answer() -> bytes:
    message: dict[str, object] = {"role": "assistant", "content": TEXT, "refusal": None}
    message["annotations"] = []
    body = json.dumps(
        {
            "id": "chatcmpl-CbenchCbenchCbenchCbenchCben",
            "object": "chat.completion",
            "created": 1760000000,
            "model": "instant",
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_bench",
        }
    ).encode()
    return _HEAD % len(body) + body


def _event(choices: list[dict[str, object]], **more: object) -> bytes:
    value = {
        "id": "chatcmpl-CbenchCbenchCbenchCbenchCben",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "instant",
        "system_fingerprint": "fp_bench",
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _delta(delta: dict[str, object], finish: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# The stamp is 19 digits, so a chunk's length is known and its frame can be made beforehand.
_MARK = " @0000000000000000000@"
_BEFORE, _AFTER = _framed(_delta({"content": _MARK})).split(b"0" * 19)
_FIRST_BEFORE, _FIRST_AFTER = _framed(
    _delta({"role": "assistant", "content": _MARK, "refusal": None})
).split(b"0" * 19)
_DONE = b"data: [DONE]\n\n"
_END = _framed(_delta({}, "stop") + _DONE) + b"0\r\n\r\n"
_END_WITH_USAGE = _framed(_delta({}, "stop") + _event([], usage=USAGE) + _DONE) + b"0\r\n\r\n"
_ANSWER = _answer()


def _stamped(index: int) -> bytes:
    if index == 0:
        return b"%b%019d%b" % (_FIRST_BEFORE, time.monotonic_ns(), _FIRST_AFTER)
    return b"%b%019d%b" % (_BEFORE, time.monotonic_ns(), _AFTER)


class Upstream(asyncio.Protocol):
    """One connection; answers each request as soon as it is whole."""

    count = 0

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
            self._pending = b""
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            match = _LENGTH.search(data, 0, end + 2)
            size = end + 4 + (int(match.group(1)) if match else 0)
            if len(data) < size:
                break
            self._serve(data[:size])
            data = data[size:]
        self._pending = data

    def _serve(self, request: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        if request.startswith(b"GET /count"):
            body = b'{"count": %d}' % Upstream.count
            transport.write(_HEAD % len(body) + body)
        elif not request.startswith(b"POST /v1/chat/completions"):
            transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        else:
            Upstream.count += 1
            if _STREAM.search(request) is None:
                transport.write(_ANSWER)
                return
            end = _END_WITH_USAGE if _WITH_USAGE.search(request) else _END
            transport.write(_STREAM_HEAD + _stamped(0))
            if _PACED.search(request):
                start_s = self._loop.time()
                self._timer = self._loop.call_at(start_s + GAP_S, self._pace, 1, start_s, end)
            else:
                self._timer = self._loop.call_soon(self._rush, 1, end)

    def _pace(self, index: int, start_s: float, end: bytes) -> None:
        if self._put(index, end):
            at_s = start_s + (index + 1) * GAP_S
            self._timer = self._loop.call_at(at_s, self._pace, index + 1, start_s, end)

    def _rush(self, index: int, end: bytes) -> None:
        # One write per turn of the loop, so that each chunk is a segment of its own.
        if self._put(index, end):
            self._timer = self._loop.call_soon(self._rush, index + 1, end)

    def _put(self, index: int, end: bytes) -> bool:
        """Write a chunk; whether another one follows."""
        if self._transport is None:
            return False
        more = index + 1 < CHUNKS
        self._transport.write(_stamped(index) if more else _stamped(index) + end)
        return more


async def serve(ready: asyncio.Future[int] | None = None) -> None:
    """Serve until cancelled; the port goes to `ready`, or to standard output."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", 0, backlog=1024)
    port: int = server.sockets[0].getsockname()[1]
    if ready is None:
        print(json.dumps({"port": port}), flush=True)
    else:
        ready.set_result(port)
    async with server:
        await server.serve_forever()


def main() -> None:
    import gc

    import uvloop

    gc.disable()  # Nothing here makes cycles, and a collection would be a pause in a measurement.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    uvloop.run(serve())


if __name__ == "__main__":
    main()
