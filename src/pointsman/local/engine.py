"""Runs local models: at most one process for each, started when it is first asked for."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from pointsman._http.transport import Transport
from pointsman.errors import LocalError, MissingExtra
from pointsman.local.child import Child, Endpoint, Order, start_llama_server, start_worker
from pointsman.local.gguf import read_head
from pointsman.local.store import LocalModel, ModelStore

__all__ = ["Engine", "EngineSettings", "Running", "back_off_s"]

DEFAULT_CONTEXT_TOKENS = 8192
SLOTS = 4
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MOST_S = 30.0
# A model that ran this long before it crashed is started again at once.
STEADY_S = 60.0
EMBEDDING_ARCHITECTURES = frozenset(
    ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "gemma-embedding")
)  # fmt: skip


class EngineSettings(Struct, frozen=True):
    """How models are run. `llama_server` is a binary to use in place of the one on PATH."""

    llama_server: str | None = None
    start_timeout_s: float = 120.0


class Running(Struct, frozen=True):
    """A model that runs now. `leases` counts the requests on it."""

    name: str
    pid: int
    port: int
    context_tokens: int
    leases: int
    resident_bytes: int | None


class _Slot:
    """What is known of one model's process: itself, who uses it, and how often it failed."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.child: Child | None = None
        self.leases = 0
        self.failures = 0
        self.not_before = 0.0
        self.fault: LocalError | None = None


class Engine:
    """Starts, supervises and stops the processes. Belongs to one event loop."""

    def __init__(self, store: ModelStore, settings: EngineSettings, transport: Transport) -> None:
        self._store = store
        self._settings = settings
        self._transport = transport
        self._slots: dict[str, _Slot] = {}
        self._closed = False

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Endpoint]:
        """Give where a model answers, started if need be; it is not stopped while leased.

        Requests that come while it loads wait for the one start. After a crash it is started
        anew: at once the first time, then after 0.5 s, doubled at each failure up to 30 s, until it
        has run for 60 s.

        Raises:
            LocalError: no such model, a broken file, or it could not be started.
            MissingExtra: there is no engine to run it.
        """
        slot = self._slots.get(name)
        if slot is None:
            self._store.get(name)  # A name that does not exist gets no slot.
            slot = self._slots[name] = _Slot()
        slot.leases += 1
        try:
            async with slot.lock:
                child = await self._ready(name, slot)
            yield child.endpoint
        finally:
            slot.leases -= 1

    def running(self) -> list[Running]:
        """The models that run now."""
        return [
            Running(
                name=name,
                pid=slot.child.pid,
                port=slot.child.port,
                context_tokens=slot.child.order.context,
                leases=slot.leases,
                resident_bytes=slot.child.resident_bytes(),
            )
            for name, slot in self._slots.items()
            if slot.child is not None and not slot.child.ended.is_set()
        ]

    async def stop(self, name: str) -> bool:
        """Stop a model, whoever uses it; False if it does not run."""
        slot = self._slots.get(name)
        if slot is None:
            return False
        async with slot.lock:
            child, slot.child = slot.child, None
        if child is None:
            return False
        await child.stop()
        return True

    async def aclose(self) -> None:
        """Stop all models."""
        self._closed = True
        await asyncio.gather(*(self.stop(name) for name in list(self._slots)))

    async def _ready(self, name: str, slot: _Slot) -> Child:
        if self._closed:
            raise LocalError("the engine is closed")
        if slot.child is not None:
            if not slot.child.ended.is_set():
                return slot.child
            self._note_crash(slot, slot.child)
        wait_s = slot.not_before - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        try:
            slot.child = await self._start(self._store.get(name))
        except LocalError:
            self._note_failure(slot)
            raise
        slot.fault = None
        return slot.child

    def _note_crash(self, slot: _Slot, child: Child) -> None:
        slot.fault = child.gone()
        slot.child = None
        if time.monotonic() - child.started_at >= STEADY_S:
            slot.failures = 0
        else:
            self._note_failure(slot)

    def _note_failure(self, slot: _Slot) -> None:
        slot.failures += 1
        slot.not_before = time.monotonic() + back_off_s(slot.failures)

    async def _start(self, model: LocalModel) -> Child:
        head = read_head(Path(model.path))
        trained = head.context_tokens or DEFAULT_CONTEXT_TOKENS
        embedding = head.architecture in EMBEDDING_ARCHITECTURES
        order = Order(
            alias=model.name,
            path=model.path,
            context=model.context_tokens or min(trained, DEFAULT_CONTEXT_TOKENS),
            slots=1 if embedding else SLOTS,
            threads=os.cpu_count() or 1,
            embedding=embedding,
            cache_mib=0,
            sampling=model.sampling,
        )
        timeout_s = self._settings.start_timeout_s
        binary = self._settings.llama_server or shutil.which("llama-server")
        if binary:
            return await start_llama_server(binary, order, timeout_s, self._transport)
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("running a local model", "local")
        return await start_worker(order, timeout_s)


def back_off_s(failures: int) -> float:
    """Seconds to wait before a start that follows `failures` failures in a row, the first is 1.

    The first comes at once: most crashes are of one request, and its neighbours should not wait.
    """
    if failures < 2:
        return 0.0
    return min(BACK_OFF_FIRST_S * 2.0 ** (failures - 2), BACK_OFF_MOST_S)
