"""Local models as the dispatcher sees them: a binding while a model is leased."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pointsman.config import Config, LocalConfig, LocalModelConfig
from pointsman.errors import ConfigError, LocalError, NoLocalModel
from pointsman.local import starter as starter_module
from pointsman.local.defaults import Defaults
from pointsman.local.host import LocalHost, store_of
from pointsman.local.manifest import Manifest, note_file, sha256_of
from pointsman.local.ollama.architectures import NEEDS_OLLAMA


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
        fault = await host.fault("tiny:latest")
        assert fault is not None and "SIGKILL" in fault.message
    async with host.lease("tiny") as second:
        assert second.headers != first.headers
    assert len(host._bindings) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cache-type-k": "q9"}, r"local\.models\.tiny\.flags: .*cache-type-k"),
        ({"cache-typ-k": "q8_0"}, r"cache-type-k"),
        ({"port": 1}, r"its socket is ours"),
    ],
)
def test_a_wrong_option_is_refused_before_the_first_request(
    config: Config, monkeypatch: pytest.MonkeyPatch, flags: dict[str, str | int], message: str
) -> None:
    monkeypatch.setattr(starter_module.shutil, "which", lambda name: None)
    config.local.models["tiny"].flags = dict(flags)
    with pytest.raises(ConfigError, match=message):
        LocalHost(config)


async def test_what_a_model_brings_along_is_put_into_its_requests(
    host: LocalHost, llama_file: Path
) -> None:
    manifest = Manifest(
        name="kind:1",
        source="test",
        created_at="",
        files=(note_file(llama_file, sha256_of(llama_file), inside=False),),
        defaults=Defaults(system="Be kind.", stop=("END",), context_tokens=512),
    )
    host.store.write(manifest)
    async with host.lease("kind") as binding, host.lease("tiny") as plain:
        assert binding.preset is not None and plain.preset is None
        request = binding.post("/chat/completions", b'{"messages": []}')
        assert json.loads(request.body or b"") == {
            "messages": [{"role": "system", "content": "Be kind."}],
            "stop": ["END"],
        }


async def test_a_model_that_only_ollama_can_run_is_refused_and_says_why(
    host: LocalHost, llama_file: Path
) -> None:
    note = note_file(llama_file, sha256_of(llama_file), inside=False)
    warning = f"{NEEDS_OLLAMA}a patch; pull hf:some/other"
    host.store.write(Manifest("theirs", "ollama:theirs", "", (note,), warnings=(warning,)))
    with pytest.raises(LocalError, match=r"'theirs' needs Ollama's own engine.*hf:some/other"):
        await host.load("theirs")


async def test_loading_and_unloading(host: LocalHost) -> None:
    await host.load("tiny", -1)
    (running,) = host.running()
    assert (running.state, running.expires_in_s, running.leases) == ("ready", None, 0)
    assert running.predicted_bytes > 0
    assert await host.unload("tiny:latest") and host.running() == []
    assert not await host.unload("tiny")
    with pytest.raises(NoLocalModel):
        await host.unload("none")
