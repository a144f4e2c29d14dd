"""One engine process: started, watched, and stopped. It serves one model on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path

import msgspec
from msgspec import Struct

from pointsman._http.transport import Origin, Request, Timeouts, Transport, TransportError
from pointsman.errors import LocalError
from pointsman.local.catalogue import Sampling

__all__ = ["Child", "Endpoint", "Order"]

STDERR_BYTES = 64 * 1024
HERE = Path(__file__).parent
STOP_S = 5.0
_PROBE = Timeouts(connect_s=1.0, first_byte_s=2.0, idle_s=2.0)


class Endpoint(Struct, frozen=True):
    """Where a running model answers. `key` is this process's own, and never shown."""

    base_url: str
    key: str
    model: str

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"Endpoint({self.base_url!r}, {self.model!r})"


class Order(Struct, frozen=True):
    """What to run: a file, and how. `context` is in tokens, shared by all slots."""

    alias: str
    path: str
    context: int
    slots: int
    threads: int
    embedding: bool
    cache_mib: int
    sampling: Sampling


class Child:
    """A process that runs one model. `ended` is set as soon as it is gone."""

    def __init__(self, order: Order, process: asyncio.subprocess.Process, key: str) -> None:
        self.order = order
        self.key = key
        self.port = 0
        self.started_at = time.monotonic()
        self.ended = asyncio.Event()
        self._process = process
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0
        self._tasks = [asyncio.create_task(self._drain()), asyncio.create_task(self._wait())]

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint(f"http://127.0.0.1:{self.port}/v1", self.key, self.order.alias)

    def resident_bytes(self) -> int | None:
        """The memory it holds now; None where the system does not say (only Linux does)."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def said(self) -> str:
        """The end of what it wrote to standard error."""
        lines = b"".join(self._stderr).decode("utf-8", "replace").splitlines()
        return "\n".join(line for line in lines if line.strip())[-2000:]

    def gone(self) -> LocalError:
        """The error for its end, with how it ended and what it said."""
        code = self._process.returncode
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = (
                signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
            )
        said = self.said()
        tail = f"; it said:\n{said}" if said else ""
        return LocalError(f"the engine of '{self.order.alias}' ended ({how}){tail}")

    async def stop(self) -> None:
        """End the process: politely, then not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if not self.ended.is_set():
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self.ended.wait()
            except TimeoutError:
                self._signal(signal.SIGKILL)
                await self.ended.wait()
        await asyncio.gather(*self._tasks)

    def _signal(self, number: signal.Signals) -> None:
        try:
            self._process.send_signal(number)
        except ProcessLookupError:
            pass  # It ended by itself in the meantime.

    async def _wait(self) -> None:
        await self._process.wait()
        self.ended.set()

    async def _drain(self) -> None:
        stream = self._process.stderr
        while stream is not None and (piece := await stream.read(8192)):
            self._stderr.append(piece)
            self._stderr_size += len(piece)
            while self._stderr_size > STDERR_BYTES and len(self._stderr) > 1:
                self._stderr_size -= len(self._stderr.popleft())


async def start_worker(order: Order, timeout_s: float) -> Child:
    """Start the model on the xllamacpp wheel; it is loaded when this returns.

    Raises:
        LocalError: it ended or said nothing in time.
    """
    key = secrets.token_urlsafe(32)
    process = await _spawn([sys.executable, "-P", str(HERE / "worker.py")])
    child = Child(order, process, key)
    body = {**msgspec.to_builtins(order), "key": key, "parent": os.getpid()}
    try:
        if process.stdin is None or process.stdout is None:
            raise LocalError("the engine's pipes are missing")
        process.stdin.write(json.dumps(body).encode() + b"\n")
        await process.stdin.drain()
        async with asyncio.timeout(timeout_s):
            line = await process.stdout.readline()
            if not line:
                await child.ended.wait()
                raise child.gone()
        child.port = int(json.loads(line)["port"])
    except TimeoutError:
        await child.stop()
        raise LocalError(f"'{order.alias}' was not loaded in {timeout_s:g} s") from None
    except (ConnectionError, json.JSONDecodeError) as error:
        await child.stop()
        raise child.gone() from error
    except BaseException:
        await child.stop()
        raise
    return child


async def start_llama_server(
    binary: str, order: Order, timeout_s: float, transport: Transport
) -> Child:
    """Start the model on a `llama-server` binary; it is loaded when this returns.

    Raises:
        LocalError: it ended or was not healthy in time.
    """
    key = secrets.token_urlsafe(32)
    port = _free_port()
    command = [
        binary, "--model", order.path, "--alias", order.alias, "--host", "127.0.0.1",
        "--port", str(port), "--ctx-size", str(order.context), "--parallel", str(order.slots),
        "--threads", str(order.threads), "--jinja", "--no-webui", "--kv-unified",
    ]  # fmt: skip
    if order.embedding:
        command.append("--embeddings")
    for flag, value in (
        ("--temp", order.sampling.temperature),
        ("--top-p", order.sampling.top_p),
        ("--repeat-penalty", order.sampling.repeat_penalty),
    ):
        if value is not None:
            command += [flag, str(value)]
    launcher = [sys.executable, "-P", str(HERE / "launch.py"), str(os.getpid())]
    # The key goes by the environment: arguments can be read by every user of the machine.
    process = await _spawn([*launcher, *command], {**os.environ, "LLAMA_API_KEY": key})
    child = Child(order, process, key)
    child.port = port
    drain = asyncio.create_task(_discard(process.stdout))
    try:
        async with asyncio.timeout(timeout_s):
            await _healthy(child, transport)
    except TimeoutError:
        await child.stop()
        raise LocalError(f"'{order.alias}' was not loaded in {timeout_s:g} s") from None
    except BaseException:
        await child.stop()
        raise
    finally:
        if child.ended.is_set():
            await drain
    return child


async def _discard(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(8192):
        pass


async def _healthy(child: Child, transport: Transport) -> None:
    request = Request("GET", Origin("http", "127.0.0.1", child.port), "/health")
    while True:
        if child.ended.is_set():
            raise child.gone()
        try:
            response = await transport.send(request, _PROBE)
            await response.read(65536)
            if response.status == 200:
                return
        except TransportError:
            pass  # Not listening yet.
        await asyncio.sleep(0.05)


async def _spawn(
    command: list[str], environment: dict[str, str] | None = None
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            # Its own session: Ctrl-C in the terminal is for us, and we end it in good order.
            start_new_session=True,
        )
    except OSError as error:
        raise LocalError(f"the engine could not be started: {error}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
