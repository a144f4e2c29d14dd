"""One engine process: started, watched, and stopped. It serves one model on loopback."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, field

from pointsman.errors import LocalError
from pointsman.local.defaults import Sampling

__all__ = ["Child", "Endpoint", "Order", "Spawned", "child_environment", "spawn"]

STDERR_BYTES = 64 * 1024
PIPE_BYTES = 64 * 1024
SHOWN_CHARS = 2_000
STOP_S = 5.0
# How long to wait for the rest of what a dead process wrote.
LAST_WORDS_S = 0.5

# What an engine needs of our environment. It parses files from strangers, and has no business
# with the providers' keys; nor may LLAMA_ARG_* change what we tell it.
_KEPT = frozenset(
    ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
     "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
)  # fmt: skip
_KEPT_PREFIXES = (
    "LC_", "XDG_", "DYLD_", "GGML_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "ROCM_", "HSA_", "GPU_",
    "VK_", "MTL_", "METAL_", "ONEAPI_", "SYCL_", "ZE_", "OMP_", "GOMP_", "KMP_", "MKL_",
    "OPENBLAS_",
)  # fmt: skip


class Endpoint(Struct, frozen=True):
    """Where a running model answers. `key` is this process's own, and never shown."""

    base_url: str
    key: str
    model: str

    def __repr__(self) -> str:
        """Leave out the key."""
        return f"Endpoint({self.base_url!r}, {self.model!r})"


class Order(Struct, frozen=True):
    """What to run: a file, and how. `context` is in tokens, shared by all slots.

    `flags` are options of llama-server by their long names without dashes, checked before; they go
    over the rest. `template` is Jinja in the place of the file's own.
    """

    alias: str
    path: str
    context: int
    slots: int
    threads: int
    embedding: bool
    sampling: Sampling = Sampling()
    projector: str | None = None
    adapters: tuple[str, ...] = ()
    template: str | None = None
    flags: dict[str, Any] = field(default_factory=dict)


class _Watched(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells of the end at once; asyncio's own `wait` also waits for whoever has the pipes."""

    def __init__(self) -> None:
        super().__init__(PIPE_BYTES, asyncio.get_running_loop())
        self.ended = asyncio.Event()

    def process_exited(self) -> None:
        self.ended.set()
        super().process_exited()


class Spawned(NamedTuple):
    """A process with pipes to it, and the event of its end."""

    process: asyncio.subprocess.Process
    transport: asyncio.SubprocessTransport
    ended: asyncio.Event


class Child:
    """A process that runs one model. `ended` is set as soon as it is gone."""

    def __init__(self, order: Order, spawned: Spawned, key: str, port: int = 0) -> None:
        self.order = order
        self.key = key
        self.port = port
        self.started_at = time.monotonic()
        self.process, self._transport, self.ended = spawned
        self._stderr: deque[bytes] = deque()
        self._stderr_size = 0
        self._news = asyncio.Event()
        self._drain = asyncio.create_task(self._keep(self.process.stderr))

    def adopt(self, order: Order) -> None:
        """Take a model's order, from which moment it counts as that model's process."""
        self.order = order
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint(f"http://127.0.0.1:{self.port}/v1", self.key, self.order.alias)

    def resident_bytes(self) -> int | None:
        """The memory it holds now, with the pages of the model's file that it has mapped; None
        where the system does not say (only Linux does).
        """
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def heard(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Wait until it writes what `pattern` matches to standard error; None if it ends first."""
        while not (found := pattern.search(b"".join(self._stderr))):
            self._news.clear()
            waits = [asyncio.create_task(each.wait()) for each in (self._news, self.ended)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if self.ended.is_set():
                return None
        return found

    def said(self) -> str:
        """The end of what it wrote to standard error."""
        lines = b"".join(self._stderr).decode("utf-8", "replace").splitlines()
        return "\n".join(line.rstrip() for line in lines if line.strip())[-SHOWN_CHARS:]

    async def fault(self) -> LocalError:
        """Give the error for its end, with how it ended and what it said; wait for that end."""
        await self.ended.wait()
        # A process of its own may still hold the pipe: what is not there by then is not waited for.
        await asyncio.wait([self._drain], timeout=LAST_WORDS_S)
        said = self.said()
        tail = f"; it said:\n{said}" if said else ""
        return LocalError(f"the engine of '{self.order.alias}' ended ({self._how()}){tail}")

    def _how(self) -> str:
        code = self.process.returncode
        if code is None or code >= 0:
            return f"exit code {code}"
        known = -code in signal.valid_signals()
        name = signal.Signals(-code).name if known else f"signal {-code}"
        return f"{name}; out of memory?" if -code == signal.SIGKILL else name

    async def stop(self) -> None:
        """End the process and all that it started: politely, and after 5 s not."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            # Not once it has ended: its id may be another process's by then.
            if self.ended.is_set():
                break
            self._signal(number)
            try:
                async with asyncio.timeout(STOP_S):
                    await self.ended.wait()
            except TimeoutError:
                continue
        await self.ended.wait()
        await asyncio.wait([self._drain], timeout=LAST_WORDS_S)
        self._drain.cancel()
        self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)  # It leads a session of its own.
        except (ProcessLookupError, PermissionError):
            pass  # All of it ended by itself in the meantime.

    async def _keep(self, stream: asyncio.StreamReader | None) -> None:
        while stream is not None and (piece := await stream.read(8192)):
            self._stderr.append(piece)
            self._stderr_size += len(piece)
            while self._stderr_size > STDERR_BYTES and len(self._stderr) > 1:
                self._stderr_size -= len(self._stderr.popleft())
            self._news.set()


async def spawn(command: list[str], extra_environment: Mapping[str, str] | None = None) -> Spawned:
    """Start a process with pipes to it, in a session of its own.

    Raises:
        LocalError: it cannot be started.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            _Watched,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**child_environment(os.environ), **(extra_environment or {})},
            # Ctrl-C in the terminal is for us, and we end it in good order.
            start_new_session=True,
        )
    except OSError as error:
        raise LocalError(f"the engine could not be started: {error}") from error
    process = asyncio.subprocess.Process(transport, protocol, loop)
    return Spawned(process, transport, protocol.ended)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that an engine gets: places, language and hardware, no keys."""
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
