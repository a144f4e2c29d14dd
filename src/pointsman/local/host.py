"""Local models as a provider: what the dispatcher sees of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Origin, Timeouts
from pointsman.config import Config, LocalModelConfig
from pointsman.dialects.base import Quirks
from pointsman.errors import LocalError
from pointsman.local.child import Endpoint
from pointsman.local.engine import Engine, EngineSettings, Running, order_for
from pointsman.local.gguf import read_head
from pointsman.local.store import ConfiguredModel, ModelStore
from pointsman.providers.binding import Binding
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
    quirks=Quirks(developer_role=True),
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
        self._settings = EngineSettings(config.local.llama_server, config.local.start_timeout_s)
        self._transport = H1Transport()
        self._engine: Engine | None = None
        # By model: a process started anew has another port and key.
        self._bindings: dict[str, tuple[Endpoint, Binding]] = {}

    def names(self) -> list[str]:
        """The models that can be run here."""
        return self.store.names()

    def card(self, name: str) -> ModelCard:
        """What a route must know of a model: its context and abilities; running it costs nothing.

        Reads the head of its file.

        Raises:
            LocalError: no such model, or a broken file.
        """
        model = self.store.get(name)
        head = read_head(Path(model.path))
        return ModelCard(
            ref=f"local:{name}",
            provider="local",
            model=name,
            input_usd_per_mtok=0.0,
            output_usd_per_mtok=0.0,
            context_tokens=order_for(model, head, self._settings).context,
            tools=head.template_takes_tools,
            json_schema=True,
            local=True,
        )

    def running(self) -> list[Running]:
        """The models that run now."""
        return [] if self._engine is None else self._engine.running()

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Binding]:
        """Give the binding of a running model; see `Engine.lease`."""
        if self._engine is None:
            self._engine = Engine(self.store, self._settings, self._transport)
        async with self._engine.lease(name) as endpoint:
            known = self._bindings.get(name)
            if known is None or known[0] != endpoint:
                known = self._bindings[name] = (endpoint, _binding(endpoint))
            yield known[1]

    async def fault(self, name: str) -> LocalError | None:
        """Why a model does not run, if its process ended by itself; see `Engine.fault`."""
        return None if self._engine is None else await self._engine.fault(name)

    async def aclose(self) -> None:
        """Stop all models."""
        if self._engine is not None:
            await self._engine.aclose()
        await self._transport.aclose()


def _binding(endpoint: Endpoint) -> Binding:
    origin, base_path = Origin.of(endpoint.base_url)
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
    )
