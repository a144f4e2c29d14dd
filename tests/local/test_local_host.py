"""Local models as the dispatcher sees them: a binding while a model is leased."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pointsman.config import Config, LocalConfig, LocalModelConfig
from pointsman.local import starter as starter_module
from pointsman.local.host import LocalHost, store_of


@pytest.fixture
def config(tmp_path: Path, llama_file: Path) -> Config:
    models = {
        "tiny": LocalModelConfig(path=str(llama_file), context=512),
    }
    return Config(local=LocalConfig(models=models), home=str(tmp_path))


@pytest.fixture
async def host(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalHost]:
    monkeypatch.setattr(starter_module.shutil, "which", lambda name: None)
    made = LocalHost(config)
    yield made
    await made.aclose()


def test_the_store_is_in_the_data_directory_unless_said_otherwise(
    config: Config, tmp_path: Path
) -> None:
    assert store_of(config).directory == tmp_path / "models"
    assert store_of(config).names() == ["tiny"]
    config.local.dir = str(tmp_path / "elsewhere")
    assert store_of(config).directory == tmp_path / "elsewhere"


async def test_nothing_runs_until_it_is_asked_for(host: LocalHost) -> None:
    assert host.names() == ["tiny"] and host.running() == []
    assert await host.fault("tiny") is None


async def test_a_leased_model_is_a_provider_with_its_own_key(host: LocalHost) -> None:
    async with host.lease("tiny") as first, host.lease("tiny") as second:
        assert first is second
        (running,) = host.running()
        assert (first.dialect, first.base_path) == ("openai", "/v1")
        assert (first.origin.host, first.origin.port) == ("127.0.0.1", running.port)
        key = dict(first.headers)["authorization"].removeprefix("Bearer ")
        assert len(key) > 30 and key not in repr(first)
        assert running.context_tokens == 512


async def test_a_process_started_anew_has_a_new_binding(host: LocalHost) -> None:
    async with host.lease("tiny") as first:
        (running,) = host.running()
        assert running.pid is not None
        os.kill(running.pid, signal.SIGKILL)
        slot = host._engine._slots["tiny"] if host._engine else None
        assert slot and slot.child
        await slot.child.ended.wait()
        fault = await host.fault("tiny")
        assert fault is not None and "SIGKILL" in fault.message
    async with host.lease("tiny") as second:
        assert second.headers != first.headers
    assert len(host._bindings) == 1
