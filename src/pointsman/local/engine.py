"""Runs local models: at most one process for each, started when it is first asked for."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from msgspec import Struct

from pointsman._http.transport import Transport
from pointsman.errors import LocalError, MissingExtra
from pointsman.local.backend import start_llama_server, start_worker
from pointsman.local.child import Child, Endpoint, Order
from pointsman.local.gguf import GgufHead, read_head
from pointsman.local.hardware import engine_threads
from pointsman.local.store import LocalModel, ModelStore

__all__ = ["Engine", "EngineSettings", "Running", "back_off_s", "order_for"]

DEFAULT_CONTEXT_TOKENS = 8192
END_IS_KNOWN_S = 0.3
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MOST_S = 30.0
# A request waits this long for a model that is held back; past it, it is told so at once.
PATIENCE_S = 2.0
# A model that ran this long before it crashed is started again at once.
STEADY_S = 60.0
# Files of these seldom say how they pool, and can do nothing else.
EMBEDDING_ARCHITECTURES = frozenset(
    ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert",
     "gemma-embedding")
)  # fmt: skip


class EngineSettings(Struct, frozen=True):
    """How models are run. `llama_server` is a binary to use in place of the one on PATH.

    `context_tokens` holds for models that have none of their own; it is shared by `slots` requests
    at a time. `threads` is by the machine where it is None.
    """

    llama_server: str | None = None
    start_timeout_s: float = 120.0
    context_tokens: int | None = None
    slots: int = 4
    threads: int | None = None


class Running(Struct, frozen=True):
    """A model that runs now or is being loaded. `leases` counts the requests on it, and `idle_s`
    the seconds since the last one ended (0 while there is one).
    """

    name: str
    pid: int | None
    port: int | None
    context_tokens: int | None
    leases: int
    resident_bytes: int | None
    state: Literal["loading", "ready"] = "ready"
    idle_s: float = 0.0


class _Slot:
    """What is known of one model's process: itself, who uses it, and how often it failed."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.starting: asyncio.Task[Child] | None = None
        self.leases = 0
        self.used_at = time.monotonic()
        self.failures = 0
        self.not_before = 0.0
        self.fault: LocalError | None = None


class Engine:
    """Starts, supervises and stops the processes. Belongs to one event loop, and its thread: on
    Linux the processes die with the thread that started them.
    """

    def __init__(self, store: ModelStore, settings: EngineSettings, transport: Transport) -> None:
        self._store = store
        self._settings = settings
        self._transport = transport
        self._slots: dict[str, _Slot] = {}
        self._closed = False

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Endpoint]:
        """Give where a model answers, started if need be.

        Requests that come while it loads wait for the one start, and share its failure; that one
        of them is cancelled does not stop it. After a crash it is started anew: at once the first
        time, then after 0.5 s, doubled at each failure up to 30 s, until it has run for 60 s. A
        request waits up to 2 s of that, and else fails with what the last process said.

        Raises:
            LocalError: no such model, a broken file, or it could not be started.
            MissingExtra: there is no engine to run it.
        """
        slot = self._slots.get(name)
        if slot is None:
            self._store.get(name)  # A name that does not exist gets no slot.
            slot = self._slots.setdefault(name, _Slot())
        slot.leases += 1
        try:
            child = slot.child
            if child is None or child.ended.is_set() or self._closed:
                child = await self._ready(name, slot)
            yield child.endpoint
        finally:
            slot.leases -= 1
            slot.used_at = time.monotonic()

    def running(self) -> list[Running]:
        """The models that run now or are being loaded."""
        return [
            _report(name, slot)
            for name, slot in self._slots.items()
            if slot.starting is not None
            or (slot.child is not None and not slot.child.ended.is_set())
        ]

    async def fault(self, name: str) -> LocalError | None:
        """Why the model does not run, if its process ended by itself; None if it runs or never did.

        Raise it in place of a broken connection: it says how the process ended and what it said. A
        connection breaks a moment before the end of its process is known, so that is waited for.
        """
        slot = self._slots.get(name)
        if slot is None:
            return None
        child = slot.child
        if child is None:
            return slot.fault
        try:
            async with asyncio.timeout(END_IS_KNOWN_S):
                await child.ended.wait()
        except TimeoutError:
            return None
        return await child.fault()

    async def stop(self, name: str) -> bool:
        """Stop a model, whoever uses it or waits for it; False if it does not run."""
        slot = self._slots.get(name)
        if slot is None:
            return False
        if slot.starting is not None:
            slot.starting.cancel()
            await asyncio.wait([slot.starting])
        child, slot.child = slot.child, None
        if child is None:
            return False
        await child.stop()
        return True

    async def aclose(self) -> None:
        """Stop all models; none is started any more."""
        self._closed = True
        await asyncio.gather(*(self.stop(name) for name in list(self._slots)))

    async def _ready(self, name: str, slot: _Slot) -> Child:
        if self._closed:
            raise LocalError("the engine is closed")
        task = slot.starting
        if task is None:
            self._need_engine()
            task = slot.starting = asyncio.create_task(self._restart(name, slot))
            task.add_done_callback(lambda done: _finished(slot, done))
        try:
            # Shielded: the one who asked first may go, and the others still wait for it.
            return await asyncio.shield(task)
        except LocalError as error:
            # To each their own: an error is changed on its way up.
            raise LocalError(error.message) from error
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise LocalError(f"'{name}' was stopped while it was loading") from None
            raise

    async def _restart(self, name: str, slot: _Slot) -> Child:
        if slot.child is not None:
            await self._bury(slot, slot.child)
        wait_s = slot.not_before - time.monotonic()
        if wait_s > PATIENCE_S:
            why = f"; the last time: {slot.fault.message}" if slot.fault else ""
            raise LocalError(
                f"'{name}' failed {slot.failures} times and is not started again for"
                f" {wait_s:.0f} s{why}"
            )
        # What is wrong with the file is found before a process is started, and needs no back-off.
        model, head = await asyncio.to_thread(self._checked, name)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        try:
            child = slot.child = await self._start(model, head)
        except LocalError as error:
            slot.fault = error
            _note_failure(slot)
            raise
        return child

    async def _bury(self, slot: _Slot, child: Child) -> None:
        slot.fault = await child.fault()
        slot.child = None
        await child.stop()
        if time.monotonic() - child.started_at >= STEADY_S:
            slot.failures = 0
        _note_failure(slot)

    def _checked(self, name: str) -> tuple[LocalModel, GgufHead]:
        """The model and its head; one that changed since it was pulled is hashed again."""
        model = self._store.get(name)
        if model.sha256 is not None and not model.verified:
            model = self._store.verify(name)
        return model, read_head(Path(model.path))

    def _binary(self) -> str | None:
        return self._settings.llama_server or shutil.which("llama-server")

    def _need_engine(self) -> None:
        if self._binary() is None and importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("running a local model", "local")

    async def _start(self, model: LocalModel, head: GgufHead) -> Child:
        order = order_for(model, head, self._settings)
        binary, timeout_s = self._binary(), self._settings.start_timeout_s
        if binary is not None:
            return await start_llama_server(binary, order, timeout_s, self._transport)
        return await start_worker(order, timeout_s)


def order_for(model: LocalModel, head: GgufHead, settings: EngineSettings) -> Order:
    """Decide how a model is run.

    The context is the model's own setting, else the engine's, else what it was trained for, up to
    8,192 tokens.
    """
    trained = head.context_tokens or DEFAULT_CONTEXT_TOKENS
    embedding = bool(head.pooling) or head.architecture in EMBEDDING_ARCHITECTURES
    return Order(
        alias=model.name,
        path=model.path,
        context=model.defaults.context_tokens
        or settings.context_tokens
        or min(trained, DEFAULT_CONTEXT_TOKENS),
        slots=1 if embedding else settings.slots,
        threads=settings.threads or engine_threads(),
        embedding=embedding,
        sampling=model.defaults.sampling,
    )


def back_off_s(failures: int) -> float:
    """Seconds to wait before a start that follows `failures` failures in a row, the first is 1.

    The first comes at once: most crashes are of one request, and its neighbours should not wait.
    """
    if failures < 2:
        return 0.0
    return min(BACK_OFF_FIRST_S * 2.0 ** (failures - 2), BACK_OFF_MOST_S)


def _note_failure(slot: _Slot) -> None:
    slot.failures += 1
    slot.not_before = time.monotonic() + back_off_s(slot.failures)


def _finished(slot: _Slot, task: asyncio.Task[Child]) -> None:
    slot.starting = None
    if not task.cancelled():
        task.exception()  # Seen, even if all who waited for it are gone.


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _report(name: str, slot: _Slot) -> Running:
    child = slot.child if slot.starting is None else None
    return Running(
        name=name,
        pid=child.pid if child else None,
        port=child.port if child else None,
        context_tokens=child.order.context if child else None,
        leases=slot.leases,
        resident_bytes=child.resident_bytes() if child else None,
        state="ready" if child else "loading",
        idle_s=0.0 if slot.leases else time.monotonic() - slot.used_at,
    )
