"""The load generator: closed loop over keep-alive connections, timed in the protocol's callback.

It runs as a process of its own: a plan as JSON on standard input, the figures as JSON on standard
output. A plan names targets (say, the mock itself and a gateway before it), and its blocks take turns
among them, so that whatever the machine does in between falls on all of them alike.

Latencies are in milliseconds: from the write of a request to the last byte of its answer, or to the
arrival of a stream's chunk. Several chunks that arrive in one read have one time of arrival.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

CHUNKS = 64
CONNECT_TIMEOUT_S = 10.0
BLOCK_GRACE_S = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.I)
_MARK = re.compile(rb"@(\d{19})@")
_MARK_BYTES = 21
# What only a right and whole answer holds.
_RIGHT = b"A points operator"
_ENDS = (b"[DONE]", b"message_stop")


def request_bytes(port: int, path: str, headers: dict[str, str], body: dict[str, Any]) -> bytes:
    """Give the whole request, made once and sent again and again."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"host: 127.0.0.1:{port}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode() + data


@dataclass(slots=True)
class Samples:
    """What was seen of one target."""

    latency_ns: list[int] = field(default_factory=list)
    first_ns: list[int] = field(default_factory=list)
    transit_ns: list[int] = field(default_factory=list)
    stretch_ns: list[int] = field(default_factory=list)
    mean_gap_ns: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    sent: int = 0
    elapsed_s: float = 0.0

    def fail(self, what: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or what


class Client(asyncio.Protocol):
    """One connection. `fire` sends the request; `on_done` is called when its answer is whole."""

    def __init__(self, request: bytes, samples: Samples, on_done: Callable[[Client], None]) -> None:
        self._request = request
        self.samples = samples
        self.on_done = on_done
        self.transport: asyncio.Transport | None = None
        self.record = False
        self._sent_ns = 0
        self._left = 0  # Bytes of a body of known length; -1 for a chunked one.
        self._in_head = True
        self._head = b""
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._sent_ns:
            self._finish(f"the connection closed in mid-answer: {exc}")

    def fire(self) -> None:
        self._in_head = True
        self._head = self._tail = b""
        self.samples.sent += 1
        self._sent_ns = time.monotonic_ns()
        if self.transport is None:
            self._finish("no connection")
        else:
            self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if self._in_head:
            data = self._read_head(data)
            if self._in_head or not data:
                return
        self.on_body(data, now_ns)
        if self._left >= 0:
            self._left -= len(data)
            if self._left > 0:
                return
        else:
            self._tail = (self._tail + data)[-7:]
            if not self._tail.endswith(b"0\r\n\r\n"):
                return
        self.on_end(now_ns, now_ns - self._sent_ns)

    def _read_head(self, data: bytes) -> bytes:
        data = self._head + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return b""
        self._in_head = False
        head = data[: end + 2]
        if head[9:12] != b"200":
            self._finish(f"status {head[9:12].decode()}: {data[end + 4 : end + 300]!r}")
            self.abort()
            return b""
        match = _LENGTH.search(head)
        self._left = int(match.group(1)) if match else -1
        return data[end + 4 :]

    def on_body(self, data: bytes, now_ns: int) -> None:
        """Take a piece of the answer's body."""
        raise TypeError("a Client is a PlainClient or a StreamClient")

    def on_end(self, now_ns: int, latency_ns: int) -> None:
        """Take note of the answer's end."""
        raise TypeError("a Client is a PlainClient or a StreamClient")

    def _finish(self, error: str = "") -> None:
        self._sent_ns = 0
        if error:
            self.samples.fail(error)
        self.on_done(self)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None


class PlainClient(Client):
    """Takes whole answers."""

    right = False

    def on_body(self, data: bytes, now_ns: int) -> None:
        self.right = self.right or _RIGHT in data

    def on_end(self, now_ns: int, latency_ns: int) -> None:
        if self.record:
            self.samples.latency_ns.append(latency_ns)
        right, self.right = self.right, False
        self._finish("" if right else "not the mock's answer")


class StreamClient(Client):
    """Takes streams, and the time of each chunk."""

    def __init__(self, request: bytes, samples: Samples, on_done: Callable[[Client], None]) -> None:
        super().__init__(request, samples, on_done)
        self._clear()

    def _clear(self) -> None:
        self._rest = b""
        self._arrived_ns: list[int] = []
        self._written_ns: list[int] = []
        self._ended = False

    def fire(self) -> None:
        self._clear()
        super().fire()

    def on_body(self, data: bytes, now_ns: int) -> None:
        data = self._rest + data
        end = 0
        for match in _MARK.finditer(data):
            self._written_ns.append(int(match.group(1)))
            self._arrived_ns.append(now_ns)
            end = match.end()
        self._rest = data[max(end, len(data) - _MARK_BYTES) :]
        self._ended = self._ended or any(word in data for word in _ENDS)

    def on_end(self, now_ns: int, latency_ns: int) -> None:
        arrived, written = self._arrived_ns, self._written_ns
        if len(written) != CHUNKS or written != sorted(written) or not self._ended:
            self._finish(f"a stream of {len(written)} chunks, end seen: {self._ended}")
            return
        if self.record:
            samples = self.samples
            samples.latency_ns.append(latency_ns)
            samples.first_ns.append(arrived[0] - self._sent_ns)
            transit = [a - w for a, w in zip(arrived, written, strict=True)]
            samples.transit_ns += transit
            # How much longer a gap came out than it was written: free of the mock's own jitter.
            samples.stretch_ns += [b - a for a, b in pairwise(transit)]
            samples.mean_gap_ns.append((arrived[-1] - arrived[0]) / (CHUNKS - 1))
        self._finish()


class Runner:
    """Carries out a plan."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.kind = StreamClient if plan["kind"] == "stream" else PlainClient
        self.samples = {name: Samples() for name in plan["targets"]}

    async def run(self) -> dict[str, Any]:
        plan = self.plan
        started_s = time.monotonic()
        clients = {name: await self._connect(name) for name in plan["targets"]}
        for name in plan["targets"]:
            await self._block(clients[name], times=plan["warmup"], record=False)
        failed = {name: samples.errors for name, samples in self.samples.items() if samples.errors}
        if not failed:
            gc.collect()
            gc.disable()
            for _ in range(plan["blocks"]):
                for name, block in plan["targets"].items():
                    await self._timed_block(name, clients[name], block)
        for each in clients.values():
            for client in each:
                client.abort()
        figures = {name: summary(samples) for name, samples in self.samples.items()}
        return {"figures": figures, "elapsed_s": time.monotonic() - started_s}

    async def _connect(self, name: str) -> list[Client]:
        target = self.plan["targets"][name]
        request = request_bytes(target["port"], target["path"], target["headers"], target["body"])
        loop = asyncio.get_running_loop()
        clients: list[Client] = []
        for _ in range(self.plan["concurrency"]):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, client = await loop.create_connection(
                    lambda: self.kind(request, self.samples[name], lambda _: None),
                    "127.0.0.1",
                    target["port"],
                )
            clients.append(client)
        return clients

    async def _timed_block(self, name: str, clients: list[Client], block: dict[str, Any]) -> None:
        samples = self.samples[name]
        started_s = time.monotonic()
        await self._block(
            clients, seconds=block.get("seconds"), times=block.get("times"), record=True
        )
        samples.elapsed_s += time.monotonic() - started_s

    async def _block(
        self,
        clients: list[Client],
        *,
        seconds: float | None = None,
        times: int | None = None,
        record: bool,
    ) -> None:
        """Let every client send for so long, or so many times, and wait for the last answers."""
        loop = asyncio.get_running_loop()
        if times == 0:
            return
        finished = loop.create_future()
        stop_ns = time.monotonic_ns() + int((seconds or BLOCK_GRACE_S) * 1e9)
        left = dict.fromkeys(clients, times or (1 << 60))

        def on_done(client: Client) -> None:
            left[client] -= 1
            if left[client] > 0 and time.monotonic_ns() < stop_ns and client.transport is not None:
                client.fire()
                return
            del left[client]
            if not left and not finished.done():
                finished.set_result(None)

        stagger_s = self.plan.get("stagger_s", 0.0)
        for index, client in enumerate(clients):
            client.record = record
            client.on_done = on_done
            loop.call_later(index * stagger_s, client.fire)
        await asyncio.wait_for(finished, (seconds or 0.0) + BLOCK_GRACE_S)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in order; `share` is in (0, 1]."""
    return ordered[max(0, min(len(ordered), -int(-len(ordered) * share // 1)) - 1)]


def spread(values_ns: Sequence[float]) -> dict[str, float] | None:
    """Percentiles and mean, in milliseconds; None of nothing."""
    if not values_ns:
        return None
    ordered = sorted(values_ns)
    figures = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    result = {name: percentile(ordered, share) / 1e6 for name, share in figures.items()}
    return {**result, "mean": sum(ordered) / len(ordered) / 1e6, "n": len(ordered)}


def summary(samples: Samples) -> dict[str, Any]:
    done = len(samples.latency_ns)
    return {
        "sent": samples.sent,
        "done": done,
        "errors": samples.errors,
        "first_error": samples.first_error,
        "per_s": done / samples.elapsed_s if samples.elapsed_s else 0.0,
        "latency_ms": spread(samples.latency_ns),
        "first_chunk_ms": spread(samples.first_ns),
        "transit_ms": spread(samples.transit_ns),
        "gap_stretch_ms": spread(samples.stretch_ns),
        "mean_gap_ms": spread(samples.mean_gap_ns),
    }


def main() -> None:
    import uvloop

    print(json.dumps(uvloop.run(Runner(json.load(sys.stdin)).run())))


if __name__ == "__main__":
    main()
