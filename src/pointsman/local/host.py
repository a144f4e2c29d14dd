"""Local models as a provider: what the dispatcher sees of them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Origin, Timeouts
from pointsman.config import Config, LocalConfig, LocalModelConfig
from pointsman.dialects.base import Quirks
from pointsman.errors import ConfigError, LocalError
from pointsman.local.admission import Admission, gate_of
from pointsman.local.child import Endpoint
from pointsman.local.defaults import Defaults
from pointsman.local.engine import Engine
from pointsman.local.flags import check_flags, known_flags
from pointsman.local.gguf import read_head
from pointsman.local.planning import EngineSettings, plan_of
from pointsman.local.schedule import Memory
from pointsman.local.slot import Running
from pointsman.local.store import ConfiguredModel, ModelStore
from pointsman.providers.binding import Binding
from pointsman.providers.preset import Preset
from pointsman.providers.registry import Capabilities, Provider
from pointsman.types import ModelCard

__all__ = ["LocalHost", "store_of"]

_ROW = Provider(
    name="local",
    dialect="openai",
    capabilities=Capabilities(
        chat=True, stream=True, tools=True, json_schema=True, embeddings=True, reasoning=True
    ),
    # llama.cpp takes both names of the limit, and the role `developer`.
    quirks=Quirks(developer_role=True, llama_cpp=True),
    source="local",
)


def store_of(config: Config) -> ModelStore:
    """The models of a configuration."""
    directory = Path(config.local.dir or Path(config.home) / "models").expanduser()
    own = {name: _configured(row) for name, row in config.local.models.items()}
    return ModelStore(directory, own)


def _configured(row: LocalModelConfig) -> ConfiguredModel:
    return ConfiguredModel(
        path=Path(row.path).expanduser() if row.path else None,
        ref=row.ref,
        url=row.url,
        context_tokens=row.context,
        slots=row.slots,
        idle_s=row.idle_s,
        projector=Path(row.projector).expanduser() if row.projector else None,
        adapters=tuple(Path(each).expanduser() for each in row.adapters),
        flags=dict(row.flags),
    )


class LocalHost:
    """Gives a binding for a local model while it is leased. The engine is made when first used."""

    def __init__(self, config: Config) -> None:
        self.store = store_of(config)
        self.admission = Admission(gate_of(config), self.store)
        _check_all_flags(config.local)
        self._settings = settings_of(config.local)
        self._remote_keys = {
            name: key
            for name, row in config.local.models.items()
            if (key := config.secret(row.api_key_env)) is not None
        }
        self._transport = H1Transport()
        self._engine: Engine | None = None
        # By model: a process started anew has another port and key.
        self._bindings: dict[str, tuple[Endpoint, Binding]] = {}

    def names(self) -> list[str]:
        """The models that can be run here."""
        return self.store.names()

    def card(self, name: str) -> ModelCard:
        """What a route must know of a model: its context and abilities; running it costs nothing.

        Reads the head of its file; of a model whose engine runs elsewhere nothing is known.

        Raises:
            LocalError: no such model, a broken file, or it does not fit this machine.
        """
        model = self.store.get(name)
        card = ModelCard(
            ref=f"local:{name}",
            provider="local",
            model=name,
            input_usd_per_mtok=0.0,
            output_usd_per_mtok=0.0,
            json_schema=True,
            local=True,
            logprobs=True,
        )
        if model.url is not None:
            return card
        head = read_head(Path(model.path))
        plan = plan_of(model, head, self._settings, self._made().budget())
        return msgspec.structs.replace(
            card,
            context_tokens=plan.order.context,
            tools=head.template_takes_tools,
            vision=model.projector is not None,
            region="local",
            verified=model.verified,
        )

    def running(self) -> list[Running]:
        """The models that run now."""
        return [] if self._engine is None else self._engine.running()

    def budget(self) -> Memory:
        """What all models together may hold."""
        return self._made().budget()

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Binding]:
        """Give the binding of a running model; see `Engine.lease`."""
        async with self._made().lease(name) as endpoint:
            known = self._bindings.get(endpoint.model)
            if known is None or known[0] != endpoint:
                binding = _binding(endpoint, self.store.get(endpoint.model).defaults)
                known = self._bindings[endpoint.model] = (endpoint, binding)
            yield known[1]

    async def load(self, name: str, keep_alive_s: float | None = None) -> None:
        """Have a model ready, and with `keep_alive_s` unloaded so long after its last request.

        Below 0 it stays; 0 unloads it after the next request.

        Raises:
            LocalError, MissingExtra: as `Engine.lease`.
        """
        engine = self._made()
        async with engine.lease(name) as endpoint:
            pass
        if keep_alive_s is not None:
            engine.keep(endpoint.model, keep_alive_s)

    async def unload(self, name: str) -> bool:
        """Stop a model once nobody uses it; False if it does not run.

        Raises:
            LocalError: no such model.
        """
        return await self._made().unload(self.store.find(name))

    async def prepare(self) -> None:
        """Have a process warm for the first model, if there are models and the settings say so."""
        if self.names():
            await asyncio.to_thread(self._made().budget)  # It may take seconds.
            await self._made().prepare()

    async def fault(self, name: str) -> LocalError | None:
        """Why a model does not run, if its process ended by itself; see `Engine.fault`."""
        if self._engine is None:
            return None
        try:
            full = self.store.find(name)
        except LocalError:
            full = name  # It is gone from the disk; its process may have been there.
        return await self._engine.fault(full)

    async def aclose(self) -> None:
        """Stop all models."""
        if self._engine is not None:
            await self._engine.aclose()
        await self._transport.aclose()

    def _made(self) -> Engine:
        if self._engine is None:
            self._engine = Engine(
                self.store, self._settings, self._transport, self._remote_keys, self.admission
            )
        return self._engine


def _check_all_flags(local: LocalConfig) -> None:
    """Refuse wrong options before the first request; a binary is asked only if there are any."""
    binary = local.llama_server or shutil.which("llama-server")
    for name, row in local.models.items():
        if not row.flags:
            continue
        try:
            if binary is None:
                check_flags(row.flags, "worker")
            else:
                check_flags(row.flags, "llama-server", known_flags(binary))
        except ConfigError as error:
            raise ConfigError(f"local.models.{name}.flags: {error.message}") from error


def settings_of(local: LocalConfig) -> EngineSettings:
    """The engine's settings in a configuration."""
    memory = None if local.memory_bytes is None else Memory(local.memory_bytes)
    return EngineSettings(
        llama_server=local.llama_server,
        start_timeout_s=local.start_timeout_s,
        slots=local.slots,
        threads=local.threads,
        memory=memory,
        idle_s=local.idle_s,
        spare=local.spare,
    )


def _binding(endpoint: Endpoint, defaults: Defaults) -> Binding:
    origin, base_path = Origin.of(endpoint.base_url)
    preset = Preset(defaults.system, defaults.messages, defaults.stop, defaults.max_tokens)
    return Binding(
        name="local",
        dialect="openai",
        row=_ROW,
        origin=origin,
        base_path=base_path,
        headers=(
            ("content-type", "application/json"),
            ("authorization", f"Bearer {endpoint.key}"),
        ),
        timeouts=Timeouts(connect_s=5.0),
        retries=1,
        preset=None if preset == Preset() else preset,
        by_value=True,
    )
