"""Pulling from an Ollama registry: its protocol on the wire, and whatever may be wrong with it."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_gguf
from fake_registry import Registry, registry_server
from ollama_files import MANIFEST, MANIFEST_LIST, Blobs, write_head, write_manifest

from pointsman.errors import LocalError, RequestError
from pointsman.local import download as download_module
from pointsman.local.manifest import sha256_of
from pointsman.local.ollama import registry as registry_module
from pointsman.local.ollama.name import parse_name
from pointsman.local.ollama.registry import Registry as Asker
from pointsman.local.progress import Step
from pointsman.local.pull import pull
from pointsman.local.refs import OllamaRef
from pointsman.local.sources import ollama as module
from pointsman.local.sources.base import Job
from pointsman.local.store import LocalModel, ModelStore
from pointsman.local.wire import Refused

MIB = 2**20


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setattr(download_module, "BACK_OFF_S", 0.001)
    monkeypatch.setattr(registry_module, "BACK_OFF_S", 0.001)
    with registry_server() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which there is no store of Ollama's own."""
    return {"OLLAMA_MODELS": str(tmp_path / "no-ollama")}


def put(
    registry: Registry,
    weights: Path,
    texts: Any = None,
    name: str = "library/x:latest",
    **more: Any,
) -> str:
    blobs = Blobs()
    return registry.put(name, blobs.manifest(weights, texts, **more), blobs)


def local(registry: Registry, name: str) -> str:
    return f"{registry.host.replace(':', '-')}/{name}"


def test_a_model_comes_with_all_that_belongs_to_it(
    registry: Registry, store: ModelStore, env: dict[str, str], llama_file: Path, tmp_path: Path
) -> None:
    projector = write_head(tmp_path / "p.gguf", "clip", {"clip.projector_type": "mlp"})
    lora = write_head(tmp_path / "l.gguf", "llama", {"general.type": "adapter"})
    texts = {
        "params": {"num_ctx": 2048, "stop": ["<x>"]}, "system": "Be brief.", "license": "MIT",
        "template": "{{ .Prompt }}", "projector": projector, "adapter": lora,
    }  # fmt: skip
    ref = put(registry, llama_file, texts, "someone/x:8b")
    steps: list[Step] = []
    model = pull(ref, store, steps.append, env=env)
    assert model.name == local(registry, "someone/x:8b") and model.verified
    assert model.source == f"ollama:{registry.host}/someone/x:8b"
    names = [Path(each).name for each in (model.path, model.projector or "", *model.adapters)]
    stem = local(registry, "someone/x:8b").replace("/", "-").replace(":", "-")
    assert names == [f"{stem}.gguf", f"{stem}-mmproj.gguf", f"{stem}-lora-1.gguf"]
    assert {Path(each).parent for each in (model.path, *model.adapters)} == {
        store.folder(model.name)
    }
    assert store.verify(model.name).sha256 == sha256_of(llama_file)
    assert (model.defaults.context_tokens, model.defaults.stop) == (2048, ("<x>",))
    assert (model.defaults.system, model.licence, model.warnings) == ("Be brief.", "MIT", ())
    assert {each.file for each in steps if each.status == "downloading"} == set(names)
    # What was sent for the manifest is what Ollama sends.
    path, headers = registry.asked[0]
    assert path == "/v2/someone/x/manifests/8b"
    assert MANIFEST in headers["Accept"] and MANIFEST_LIST in headers["Accept"]


def test_what_is_there_is_not_fetched_again_but_new_settings_are(
    registry: Registry, store: ModelStore, env: dict[str, str], llama_file: Path
) -> None:
    ref = put(registry, llama_file, {"system": "one"})
    first = pull(ref, store, env=env)
    sent = sum(each.sent for each in registry.cdn.asked)
    assert pull(ref, store, env=env) == first
    again = sum(each.sent for each in registry.cdn.asked) - sent
    assert again < 1_000  # Its small blobs alone.
    put(registry, llama_file, {"system": "two"})
    assert pull(ref, store, env=env).defaults.system == "two"


def test_a_token_is_got_as_anybody_and_sent_to_the_registry_alone(
    registry: Registry, store: ModelStore, env: dict[str, str], llama_file: Path
) -> None:
    ref = put(registry, llama_file, {"system": "s"})
    registry.token = "secret"  # What nobody has yet.
    assert pull(ref, store, env=env).verified
    # It holds for three requests, and a new one is got each time that it does not.
    assert registry.tokens >= 2
    assert not any("Authorization" in each.headers for each in registry.cdn.asked)
    asked = [headers for path, headers in registry.asked if path.startswith("/token")]
    assert asked and not any("Authorization" in each for each in asked)


def test_a_model_that_is_not_public_is_said_to_be_none(
    registry: Registry, store: ModelStore, env: dict[str, str], llama_file: Path
) -> None:
    ref = put(registry, llama_file)
    registry.token, registry.refuses_tokens = "secret", True
    with pytest.raises(
        LocalError, match=r"gives no token to just anybody \(401\): the model is not"
    ):
        pull(ref, store, env=env)


@pytest.mark.parametrize(
    ("challenge", "said"),
    [
        ("Basic realm=x", "wants credentials; only public models"),
        ("Bearer service=x", "wants credentials; only public models"),
    ],
)
def test_a_challenge_that_we_cannot_meet(
    registry: Registry, store: ModelStore, llama_file: Path, challenge: str, said: str
) -> None:
    ref = put(registry, llama_file)
    registry.challenge = challenge
    with pytest.raises(LocalError, match=said):
        pull(ref, store)


@pytest.mark.parametrize("realm", ["http://evil.example/t", "http://127.0.0.1:1/t", "file:///etc/x",
                                   "https://localhost/t"])  # fmt: skip
def test_a_registry_elsewhere_cannot_send_us_to_this_machine(realm: str) -> None:
    registry = Asker(parse_name("registry.example.org/a/b"))
    refused = Refused("no", 401, b"", {"Www-Authenticate": f'Bearer realm="{realm}"'})
    with pytest.raises(LocalError, match=r"sends for a token to .*: only https"):
        registry.authorize(refused)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}']
)
def test_a_token_that_is_none_is_refused(answer: bytes) -> None:
    with pytest.raises(LocalError, match="gives no token"):
        registry_module._token_of(answer, "host")
    assert registry_module._token_of(b'{"access_token": "abc"}', "host") == "abc"


def test_http_is_for_this_machine_only() -> None:
    def url(name: str) -> str:
        return Asker(parse_name(name)).blob_url("0")

    assert url("qwen3:8b") == "https://registry.ollama.ai/v2/library/qwen3/blobs/sha256:0"
    assert url("me/x") == "https://registry.ollama.ai/v2/me/x/blobs/sha256:0"
    assert url("ollama.com/library/x") == "https://registry.ollama.ai/v2/library/x/blobs/sha256:0"
    assert url("r.example:5000/a/b:c") == "https://r.example:5000/v2/a/b/blobs/sha256:0"
    assert url("localhost:5000/a/b:c") == "http://localhost:5000/v2/a/b/blobs/sha256:0"


@pytest.mark.parametrize(
    "name", ["", "/", "a/b/c/d", "x:", ":x", "a b", "../x", "x/../y", "x:y:z", "x@sha256", "-x", "x" * 99]
)  # fmt: skip
def test_what_can_be_no_name(name: str) -> None:
    with pytest.raises(RequestError, match="is no name of an Ollama model"):
        module.plan(OllamaRef(name), Job())


def test_a_model_that_is_not_there(registry: Registry, store: ModelStore) -> None:
    with pytest.raises(LocalError, match=r"there is no model '.*/library/y:1': ask 127"):
        pull(f"ollama:{registry.host}/library/y:1", store)


def test_a_registry_that_is_ill_is_asked_again(
    registry: Registry, store: ModelStore, env: dict[str, str], llama_file: Path
) -> None:
    ref = put(registry, llama_file, {"system": "s"})
    registry.cdn.statuses = [503, 200, 500, 502]
    assert pull(ref, store, env=env).defaults.system == "s"
    registry.cdn.statuses = [503] * 3
    with pytest.raises(LocalError, match=r"127.0.0.1 does not answer: status 503 \(3 tries\)"):
        pull(ref, store, env=env)


def test_of_several_builds_the_one_for_llama_cpp_is_pulled(
    registry: Registry, store: ModelStore, env: dict[str, str], llama_file: Path
) -> None:
    blobs = Blobs()
    child = json.dumps(blobs.manifest(llama_file, runner="llamacpp")).encode()
    registry.put("library/child:1", child, blobs)
    entry = {"mediaType": MANIFEST, "runner": "llamacpp",
             "digest": f"sha256:{hashlib.sha256(child).hexdigest()}"}  # fmt: skip
    mlx = {"mediaType": MANIFEST, "runner": "mlx", "layers": []}
    ref = registry.put("library/x:1", {"mediaType": MANIFEST_LIST, "manifests": [mlx, entry]})
    assert pull(ref, store, env=env).sha256 == sha256_of(llama_file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"digest": "sha256:../../x"}, "which is no sha256"),
        ({"digest": f"sha256:{'1' * 64}"}, "status 404"),
        ({"size": 5}, "bytes as .*, expected 5"),
        ({"mediaType": "application/vnd.ollama.image.tensor"}, "in safetensors"),
    ],
)
def test_a_hostile_manifest_is_refused(
    registry: Registry,
    store: ModelStore,
    env: dict[str, str],
    llama_file: Path,
    change: Any,
    said: str,
) -> None:
    blobs = Blobs()
    manifest = blobs.manifest(llama_file)
    manifest["layers"][0] |= change
    with pytest.raises(LocalError, match=said):
        pull(registry.put("library/x:1", manifest, blobs), store, env=env)
    assert store.names() == []


def test_another_blob_than_was_asked_for_is_refused(
    registry: Registry, store: ModelStore, env: dict[str, str], llama_file: Path
) -> None:
    ref = put(registry, llama_file, {"system": "right"})
    small = f"/blobs/sha256:{hashlib.sha256(b'right').hexdigest()}"
    registry.cdn.data[small] = b"wrong"
    with pytest.raises(LocalError, match="sent another blob than sha256"):
        pull(ref, store, env=env)
    registry.cdn.data[small] = b"x" * (MIB + 1)
    with pytest.raises(LocalError, match="sends more than 1048576 bytes"):
        pull(ref, store, env=env)
    registry.cdn.data[small] = b"right"
    large = f"/blobs/sha256:{sha256_of(llama_file)}"
    registry.cdn.data[large] = bytes(len(registry.cdn.data[large]))
    with pytest.raises(LocalError, match="sha256"):
        pull(ref, store, env=env)
    assert store.names() == []


def test_what_only_ollama_can_run_is_refused_by_its_head(
    registry: Registry,
    store: ModelStore,
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write_head(tmp_path / "g.gguf", "gptoss", {}, {"token_embd.weight": (512, 1024)})
    ref = put(registry, file)
    monkeypatch.setattr(module, "PEEK_FROM_BYTES", MIB)
    monkeypatch.setattr(module, "PEEK_BYTES", 64 * 1024)
    with pytest.raises(
        LocalError, match="by Ollama's own engine only: its architecture is 'gptoss'"
    ):
        pull(ref, store, env=env)
    assert registry.cdn.sent(f"/blobs/sha256:{sha256_of(file)}") == 64 * 1024
    # Where the head cannot be had alone, it is looked at when all has come.
    registry.cdn.ranges = False
    with pytest.raises(LocalError, match="by Ollama's own engine only"):
        pull(ref, store, env=env)
    assert store.names() == [] and not list(store.directory.glob(".pull-*/"))


def test_what_ollama_has_here_is_linked_if_it_is_right(
    registry: Registry, store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    ref = put(registry, llama_file)
    blobs = Blobs()
    manifest = blobs.manifest(llama_file)
    own = tmp_path / "ollama"
    blobs.write(own)
    write_manifest(own, "registry.ollama.ai/library/x:latest", manifest)
    blob = own / "blobs" / f"sha256-{sha256_of(llama_file)}"
    env = {"OLLAMA_MODELS": str(own)}
    model = pull(ref, store, env=env)
    assert Path(model.path).samefile(blob) and model.verified
    assert registry.cdn.sent(f"/blobs/sha256:{model.sha256}") == 0
    store.remove(model.name)
    data = bytearray(llama_file.read_bytes())
    data[-1] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    model = pull(ref, store, env=env)
    assert store.verify(model.name).verified and not Path(model.path).samefile(blob)
    assert registry.cdn.sent(f"/blobs/sha256:{model.sha256}") > 0


CHILD = """
import sys
from pathlib import Path
from pointsman.local.pull import pull
from pointsman.local.store import ModelStore
pull(sys.argv[1], ModelStore(Path(sys.argv[2])), env={"OLLAMA_MODELS": sys.argv[3]})
"""


def test_kill_9_of_a_pull_loses_at_most_16_mib(
    registry: Registry, store: ModelStore, env: dict[str, str], tmp_path: Path
) -> None:
    # 64 MiB, so that there is something to kill in the middle of.
    noise = random.Random(3).randbytes(MIB)
    path = tiny_gguf.write_llama(tmp_path / "big.gguf")
    with path.open("ab") as file:
        for _ in range(64):
            file.write(noise)
    ref = put(registry, path)
    blob = f"/blobs/sha256:{sha256_of(path)}"
    size = path.stat().st_size
    registry.cdn.pause_s = 0.004
    command = [sys.executable, "-c", CHILD, ref, str(store.directory), env["OLLAMA_MODELS"]]
    process = subprocess.Popen(command)
    try:
        until = time.monotonic() + 30
        while registry.cdn.sent(blob) < size // 2:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert store.names() == []
    registry.cdn.pause_s = 0.0
    model: LocalModel = pull(ref, store, env=env)
    assert store.verify(model.name).sha256 == sha256_of(path)
    assert registry.cdn.sent(blob) - size <= 16 * MIB
