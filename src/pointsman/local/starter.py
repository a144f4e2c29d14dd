"""Starts a model's process on the engine that this machine has."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pointsman._http.transport import Transport
from pointsman.errors import LocalError, MissingExtra
from pointsman.local.backend import spawn_worker, start_llama_server, start_worker
from pointsman.local.child import Child
from pointsman.local.flag_forms import settled
from pointsman.local.gguf import GgufHead, read_head
from pointsman.local.hardware import budget
from pointsman.local.ollama.architectures import NEEDS_OLLAMA
from pointsman.local.planning import EngineSettings, Plan, plan_of
from pointsman.local.schedule import Memory
from pointsman.local.store import LocalModel, ModelStore

__all__ = ["Admit", "Starter"]

# Raises what forbids that a model is loaded. It may read all of its files.
Admit = Callable[[LocalModel], None]

# Options that name a file which is loaded beside the model.
_MODEL_FILES = frozenset(("spec-draft-model", "mmproj", "lora", "lora-scaled"))
_log = logging.getLogger("pointsman.local")


class Starter:
    """Plans and starts processes: on the configured `llama-server`, else the one on PATH, else the
    worker, of which it may keep one warm: started, with llama.cpp loaded, and waiting for an order.
    """

    def __init__(
        self,
        store: ModelStore,
        settings: EngineSettings,
        transport: Transport,
        admit: Admit | None = None,
    ) -> None:
        self._store = store
        self._admit = admit
        self._settings = settings
        self._transport = transport
        self._budget: Memory | None = settings.memory
        self._spare: Child | None = None
        self._keeps_spare = False

    def binary(self) -> str | None:
        """The `llama-server` to use; None for the worker."""
        return self._settings.llama_server or shutil.which("llama-server")

    def check(self) -> None:
        """Find an engine.

        Raises:
            MissingExtra: there is none.
        """
        if self.binary() is None and importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtra("running a local model", "local")

    def budget(self) -> Memory:
        """What all models together may hold; looked up once, and where there is a graphics card the
        engine is asked, which takes seconds.
        """
        if self._budget is None:
            found = budget(self.binary())
            self._budget = Memory(found.ram_bytes, found.vram_bytes)
        return self._budget

    def plan(self, name: str) -> Plan:
        """Decide how a model is run. Reads the head of its file, or all of it if it was touched.

        Raises:
            LocalError: a broken or changed file, or it does not fit this machine.
            TrustError: it may not be used.
        """
        model, head = self._checked(name)
        extra_bytes = _named_bytes(model.defaults.flags)
        return plan_of(model, head, self._settings, self.budget(), extra_bytes)

    async def start(self, plan: Plan) -> Child:
        """Start a model's process; it is loaded when this returns.

        Raises:
            LocalError: it ended, or was not loaded in time.
        """
        binary, timeout_s = self.binary(), self._settings.start_timeout_s
        if binary is not None:
            return await start_llama_server(binary, plan.order, timeout_s, self._transport)
        spare, self._spare = self._spare, None
        if spare is not None and spare.ended.is_set():
            await spare.stop()
            spare = None
        return await start_worker(plan.order, timeout_s, spare)

    async def prepare(self) -> None:
        """Have a worker warm for the next model from now on, if the settings allow it."""
        self._keeps_spare = self._settings.spare
        await self.refill()

    async def refill(self) -> None:
        """Start a worker ahead where one should be warm and none is."""
        if not self._keeps_spare or self._spare is not None or self.binary() is not None:
            return
        if importlib.util.find_spec("xllamacpp") is None:
            return
        try:
            spare = await spawn_worker()
        except LocalError as error:  # Only slower: the next model starts its own.
            _log.warning("no process could be kept warm: %s", error.message)
            return
        if self._spare is None and self._keeps_spare:
            self._spare = spare
        else:
            await spare.stop()

    async def aclose(self) -> None:
        """End the warm worker; none is started ahead any more."""
        self._keeps_spare = False
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.stop()

    def _checked(self, name: str) -> tuple[LocalModel, GgufHead]:
        model = self._store.get(name)
        for warning in model.warnings:
            if warning.startswith(NEEDS_OLLAMA):
                raise LocalError(f"'{name}' {warning}")
        if model.sha256 is not None and not model.verified:
            model = self._store.verify(name)
        if self._admit is not None:
            self._admit(model)
        return model, read_head(Path(model.path))


def _named_bytes(flags: Mapping[str, Any]) -> int:
    """The sizes of the model files that options name: a draft model, a projector, adapters."""
    size_bytes = 0
    for name, value in settled(flags).items():
        if name in _MODEL_FILES:
            for item in value if isinstance(value, list) else [value]:
                # A scaled adapter is `path:scale`.
                path = str(item).rpartition(":")[0] if name == "lora-scaled" else str(item)
                try:
                    size_bytes += Path(path).stat().st_size
                except OSError as error:
                    raise LocalError(
                        f"the file of the option '{name}' is not there: {path}"
                    ) from error
    return size_bytes
