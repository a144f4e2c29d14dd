"""The engine on real model files: answers, supervision, and what it does when processes die."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tiny_gguf

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Origin, Request, Timeouts
from pointsman._sse import Parser
from pointsman.errors import LocalError, MissingExtra
from pointsman.local import slot as slot_module
from pointsman.local import starter as starter_module
from pointsman.local.child import Endpoint
from pointsman.local.engine import Engine
from pointsman.local.planning import EngineSettings
from pointsman.local.slot import Running
from pointsman.local.store import ConfiguredModel, ModelStore

ENGINES = [
    "worker",
    pytest.param("llama-server", marks=pytest.mark.slow),
]
LLAMA_SERVER = shutil.which("llama-server")
HELLO = [{"role": "user", "content": "hello"}]


class Asker:
    """Sends requests to a leased model."""

    def __init__(self, transport: H1Transport) -> None:
        self.transport = transport

    async def post(
        self, endpoint: Endpoint, path: str, body: dict[str, Any], key: str | None = None
    ) -> tuple[int, bytes]:
        origin, base = Origin.of(endpoint.base_url)
        headers = (
            ("content-type", "application/json"),
            ("authorization", f"Bearer {endpoint.key if key is None else key}"),
        )
        request = Request("POST", origin, base + path, headers, json.dumps(body).encode())
        response = await self.transport.send(request, Timeouts())
        return response.status, await response.read(2**20)

    async def chat(self, endpoint: Endpoint, **fields: Any) -> dict[str, Any]:
        body = {"messages": HELLO, "max_tokens": 16, "seed": 1, **fields}
        status, answer = await self.post(endpoint, "/chat/completions", body)
        assert status == 200, answer
        found: dict[str, Any] = json.loads(answer)
        return found

    async def stream(self, endpoint: Endpoint, **fields: Any) -> list[dict[str, Any] | str]:
        body = {"messages": HELLO, "max_tokens": 16, "seed": 1, "stream": True, **fields}
        status, answer = await self.post(endpoint, "/chat/completions", body)
        assert status == 200, answer
        events = [event.data for event in Parser().feed(answer)]
        return [data if data == "[DONE]" else json.loads(data) for data in events]


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    transport = H1Transport()
    yield Asker(transport)
    await transport.aclose()


@pytest.fixture
def store(tmp_path: Path, llama_file: Path, bert_file: Path) -> ModelStore:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(llama_file.read_bytes()[:-4096])
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(llama_file.read_bytes().replace(b"llama.block_count", b"llama.block_kount"))
    renamed = tmp_path / "renamed.gguf"
    renamed.write_bytes(b"PK\x03\x04" + bytes(100))
    files = {
        "llama": ConfiguredModel(llama_file),
        "small": ConfiguredModel(llama_file, context_tokens=256),
        "bert": ConfiguredModel(bert_file),
        "cut": ConfiguredModel(cut),
        "odd": ConfiguredModel(odd),
        "renamed": ConfiguredModel(renamed),
    }
    return ModelStore(tmp_path / "models", files)


@pytest.fixture(params=ENGINES)
async def engine(
    request: pytest.FixtureRequest,
    store: ModelStore,
    asker: Asker,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Engine]:
    settings = EngineSettings(start_timeout_s=60.0, threads=1)
    if request.param == "llama-server":
        if LLAMA_SERVER is None:
            pytest.skip("no llama-server on PATH")
        settings = EngineSettings(LLAMA_SERVER, start_timeout_s=60.0, threads=1)
    elif LLAMA_SERVER is not None:
        monkeypatch.setattr(starter_module.shutil, "which", lambda name: None)
    made = Engine(store, settings, asker.transport)
    yield made
    await made.aclose()
    gc.collect()


def only(running: list[Running]) -> Running:
    (one,) = running
    return one


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110  # another process's state has no event
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that its parent has not yet asked after has."""
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return True


async def test_a_chat_is_answered_streamed_and_whole(engine: Engine, asker: Asker) -> None:
    async with engine.lease("llama") as endpoint:
        whole = await asker.chat(endpoint, temperature=0)
        events = await asker.stream(endpoint, temperature=0, stream_options={"include_usage": True})
    assert whole["model"] == "llama"
    assert whole["usage"]["completion_tokens"] == 16
    assert whole["usage"]["prompt_tokens"] > 5
    assert events[-1] == "[DONE]"
    chunks = [event for event in events if isinstance(event, dict)]
    text = "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )
    assert text == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"]["completion_tokens"] == 16


async def test_a_grammar_is_obeyed(engine: Engine, asker: Asker) -> None:
    async with engine.lease("llama") as endpoint:
        answer = await asker.chat(endpoint, grammar='root ::= "yes" | "no"')
    assert answer["choices"][0]["message"]["content"] in ("yes", "no")
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_a_schema_is_obeyed(engine: Engine, asker: Asker) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["a", "b"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    async with engine.lease("llama") as endpoint:
        answer = await asker.chat(endpoint, response_format=form, max_tokens=400)
    assert json.loads(answer["choices"][0]["message"]["content"])["answer"] in ("a", "b")


async def test_texts_are_embedded(engine: Engine, asker: Asker) -> None:
    async with engine.lease("bert") as endpoint:
        status, body = await asker.post(endpoint, "/embeddings", {"input": ["hello", "a " * 60]})
    assert status == 200, body
    vectors = [row["embedding"] for row in json.loads(body)["data"]]
    assert [len(vector) for vector in vectors] == [tiny_gguf.BERT_WIDTH] * 2


async def test_a_prompt_too_long_is_refused_with_both_counts(engine: Engine, asker: Asker) -> None:
    async with engine.lease("small") as endpoint:
        long = [{"role": "user", "content": "x" * 300}]
        status, body = await asker.post(endpoint, "/chat/completions", {"messages": long})
        assert only(engine.running()).context_tokens == 256
    error = json.loads(body)["error"]
    assert status == 400 and error["n_ctx"] == 256 and error["n_prompt_tokens"] > 300


async def test_one_request_may_use_all_of_the_context(engine: Engine, asker: Asker) -> None:
    async with engine.lease("small") as endpoint:
        long = [{"role": "user", "content": "x" * 200}]
        await asker.chat(endpoint, messages=long, max_tokens=4)


async def test_a_request_without_the_key_is_refused(engine: Engine, asker: Asker) -> None:
    async with engine.lease("llama") as endpoint:
        assert endpoint.key not in repr(endpoint)
        for key in ("", "wrong"):
            status, _ = await asker.post(
                endpoint, "/chat/completions", {"messages": HELLO}, key=key
            )
            assert status == 401


async def test_leases_at_once_start_one_process(engine: Engine) -> None:
    async def use() -> tuple[str, int | None]:
        async with engine.lease("llama") as endpoint:
            return endpoint.base_url, only(engine.running()).pid

    assert len(set(await asyncio.gather(*(use() for _ in range(20))))) == 1


async def test_what_runs_is_told(engine: Engine) -> None:
    assert engine.running() == [] and await engine.fault("llama") is None
    async with engine.lease("llama"), engine.lease("llama") as endpoint:
        found = only(engine.running())
        assert (found.name, found.state, found.leases, found.idle_s) == ("llama", "ready", 2, 0.0)
        assert endpoint.base_url == f"http://127.0.0.1:{found.port}/v1"
        assert found.context_tokens == tiny_gguf.LLAMA_CONTEXT
        if sys.platform == "linux":
            assert found.resident_bytes is not None and found.resident_bytes > 2**20
    assert only(engine.running()).leases == 0
    assert await engine.stop("llama")
    assert engine.running() == [] and not await engine.stop("llama")
    assert not await engine.stop("never-heard-of")


async def test_a_killed_process_is_named_and_replaced(engine: Engine, asker: Asker) -> None:
    async with engine.lease("llama"):
        first = only(engine.running()).pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: engine.running() == [])
        fault = await engine.fault("llama")
        assert fault is not None and "'llama' ended (SIGKILL" in fault.message
    async with engine.lease("llama") as endpoint:
        assert only(engine.running()).pid != first
        await asker.chat(endpoint)
        assert await engine.fault("llama") is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("cut", r"cut\.gguf cannot be used: it is cut short"),
        ("renamed", r"renamed\.gguf cannot be used: it is no GGUF file"),
        ("missing", "no local model 'missing'"),
    ],
)
async def test_a_bad_file_is_named_and_no_process_is_started(
    engine: Engine, name: str, why: str
) -> None:
    for _ in range(4):  # Without the pauses of a process that fails.
        with pytest.raises(LocalError, match=why):
            async with engine.lease(name):
                pass
    assert engine.running() == []


async def test_a_failed_start_says_why_to_all_who_waited(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = 0
    real = engine._starter.start

    async def counted(*args: Any) -> Any:
        nonlocal starts
        starts += 1
        return await real(*args)

    monkeypatch.setattr(engine._starter, "start", counted)

    async def use() -> LocalError:
        with pytest.raises(LocalError) as caught:
            async with engine.lease("odd"):
                pass
        return caught.value

    errors = await asyncio.gather(*(use() for _ in range(5)))
    assert starts == 1
    assert len({id(error) for error in errors}) == 5
    for error in errors:
        assert "the engine of 'odd' ended (exit code 1)" in error.message
        assert "llama.block_count" in error.message


async def test_a_process_that_keeps_failing_is_held_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_module, "back_off_s", lambda failures: 60.0)
    with pytest.raises(LocalError, match="ended"):
        async with engine.lease("odd"):
            pass
    with pytest.raises(LocalError, match=r"not started again for (60|59) s.*(?s:.)*block_count"):
        async with engine.lease("odd"):
            pass


def test_the_pauses_double_up_to_a_limit() -> None:
    pauses = [slot_module.back_off_s(failures) for failures in range(1, 10)]
    assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


async def test_a_closed_engine_starts_nothing(engine: Engine) -> None:
    async with engine.lease("llama"):
        pid = only(engine.running()).pid
        assert pid is not None
    await engine.aclose()
    assert is_gone(pid) and engine.running() == []
    with pytest.raises(LocalError, match="closed"):
        async with engine.lease("llama"):
            pass


async def test_a_pulled_file_that_changed_is_not_run(
    store: ModelStore, engine: Engine, llama_file: Path, asker: Asker
) -> None:
    from test_local_store import put

    data = await asyncio.to_thread(llama_file.read_bytes)
    path = put(ModelStore(store.directory), "pulled", data)
    os.utime(path, ns=(1, 1))
    async with engine.lease("pulled"):
        assert store.get("pulled").verified, "it was touched only, and hashed again"
    await engine.stop("pulled")
    path.write_bytes(data[:-1] + b"!")
    with pytest.raises(LocalError, match="not the one that was pulled"):
        async with engine.lease("pulled"):
            pass


async def test_without_an_engine_the_extra_is_named(
    store: ModelStore, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter_module.shutil, "which", lambda name: None)
    monkeypatch.setattr(starter_module.importlib.util, "find_spec", lambda name: None)
    engine = Engine(store, EngineSettings(), asker.transport)
    with pytest.raises(MissingExtra, match=r"pip install 'pointsman\[local\]'"):
        async with engine.lease("llama"):
            pass
    assert engine.running() == []


PARENT = """
import asyncio, sys
from pathlib import Path
import uvloop
from pointsman._http.h1 import H1Transport
from pointsman.local.engine import Engine, EngineSettings
from pointsman.local.store import ConfiguredModel, ModelStore

async def main():
    store = ModelStore(Path("/nowhere"), {"m": ConfiguredModel(Path(sys.argv[1]))})
    engine = Engine(store, EngineSettings(sys.argv[2] or None), H1Transport())
    async with engine.lease("m"):
        print(engine.running()[0].pid, flush=True)
        await asyncio.sleep(60)

uvloop.run(main())  # As the gateway does; the other tests run on asyncio's own loop.
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("with_binary", [False, True], ids=["worker", "llama-server"])
async def test_a_process_dies_with_its_parent(
    with_binary: bool, llama_file: Path, tmp_path: Path
) -> None:
    binary = str(fake_server(tmp_path, "ready")) if with_binary else ""
    parent = subprocess.Popen(  # noqa: ASYNC220  # no child of this loop
        [sys.executable, "-c", PARENT, str(llama_file), binary], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert not is_gone(pid)
    finally:
        parent.kill()
        parent.communicate()
    await until(lambda: is_gone(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_worker_ends_when_its_tie_does(engine: Engine) -> None:
    """What stands in for the death signal where there is none."""
    if engine._settings.llama_server is not None:
        pytest.skip("the launcher is tied, not the server")
    async with engine.lease("llama"):
        child = engine._slots["llama"].child
        assert child is not None and child.process.stdin is not None
        child.process.stdin.close()
        await child.ended.wait()
        assert child.process.returncode == 0


def fake_server(tmp_path: Path, mode: str) -> Path:
    """A `llama-server` that is a script of ours, and a folder of what it was told."""
    notes = tmp_path / "notes"
    notes.mkdir(exist_ok=True)
    fake = Path(__file__).parent / "fake_llama_server.py"
    path = tmp_path / f"llama-server-{mode}"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" {mode} "{notes}" "$@"\n')
    path.chmod(0o755)
    return path


def told(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(each.read_bytes()) for each in sorted((tmp_path / "notes").glob("*.json"))]


Faked = Callable[..., Engine]


@pytest.fixture
async def faked(tmp_path: Path, store: ModelStore, asker: Asker) -> AsyncIterator[Faked]:
    """Makes an engine on the fake `llama-server` in a mode."""
    made: list[Engine] = []

    def make(mode: str, **settings: Any) -> Engine:
        binary = str(fake_server(tmp_path, mode))
        made.append(Engine(store, EngineSettings(binary, **settings), asker.transport))
        return made[-1]

    yield make
    for engine in made:
        await engine.aclose()
    gc.collect()


async def test_the_server_is_told_what_it_needs_and_no_key_of_ours(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ours")
    monkeypatch.setenv("LLAMA_ARG_TOOLS", "all")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    engine = faked("ready", threads=3)
    async with engine.lease("small") as endpoint, engine.lease("bert"):
        first, second = told(tmp_path)
    arguments = first["arguments"]
    assert endpoint.key not in arguments
    assert first["environment"]["LLAMA_API_KEY"] == endpoint.key
    assert first["environment"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert not {"OPENAI_API_KEY", "LLAMA_ARG_TOOLS"} & set(first["environment"])
    for flag, value in (
        ("--host", "127.0.0.1"),
        ("--port", "0"),
        ("--alias", "small"),
        ("--ctx-size", "256"),
        ("--parallel", "4"),
        ("--threads", "3"),
    ):
        assert arguments[arguments.index(flag) + 1] == value
    assert "--embeddings" not in arguments and "--embeddings" in second["arguments"]


async def test_a_server_that_does_not_say_its_port_is_not_trusted(
    faked: Faked, tmp_path: Path
) -> None:
    with pytest.raises(LocalError, match=r"was not loaded in 0\.5 s; it said:\nsrv llama_server"):
        async with faked("silent", start_timeout_s=0.5).lease("llama"):
            pass


async def test_a_server_that_ends_while_it_loads_is_told(faked: Faked) -> None:
    with pytest.raises(LocalError, match=r"exit code 1\)(?s:.)*no memory for the cache"):
        async with faked("ends").lease("llama"):
            pass


async def test_a_server_that_fails_once_is_started_again_at_once(
    faked: Faked, tmp_path: Path
) -> None:
    engine = faked("broken-once")
    with pytest.raises(LocalError, match="unknown tensor type"):
        async with engine.lease("llama"):
            pass
    async with engine.lease("llama"):
        assert len(told(tmp_path)) == 2


async def test_a_binary_that_is_not_there_is_named(store: ModelStore, asker: Asker) -> None:
    engine = Engine(store, EngineSettings("/nowhere/llama-server"), asker.transport)
    with pytest.raises(LocalError, match="/nowhere/llama-server"):
        async with engine.lease("llama"):
            pass


async def test_a_start_that_takes_too_long_is_ended(faked: Faked, tmp_path: Path) -> None:
    engine = faked("never", start_timeout_s=0.5)
    with pytest.raises(LocalError, match=r"was not loaded in 0\.5 s"):
        async with engine.lease("llama"):
            pass
    for note in told(tmp_path):
        await until(lambda pid=note["pid"]: is_gone(pid))


async def test_that_one_gives_up_does_not_stop_the_start_for_the_others(
    faked: Faked, tmp_path: Path
) -> None:
    engine = faked("slow")

    async def use() -> str:
        async with engine.lease("llama") as endpoint:
            return endpoint.base_url

    first, second = asyncio.create_task(use()), asyncio.create_task(use())
    await until(lambda: engine.running() != [])
    assert only(engine.running()).state == "loading"
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    assert first.cancelled()
    assert (await second).startswith("http://127.0.0.1:")
    assert len(told(tmp_path)) == 1
    assert only(engine.running()).leases == 0


async def test_a_model_stopped_while_it_loads_is_told_to_who_waits(
    faked: Faked, tmp_path: Path
) -> None:
    engine = faked("never")

    async def use() -> None:
        async with engine.lease("llama"):
            pass

    waiting = asyncio.create_task(use())
    await until(lambda: told(tmp_path) != [])
    await engine.stop("llama")
    with pytest.raises(LocalError, match="stopped while it was loading"):
        await waiting
    assert engine.running() == []
    assert is_gone(told(tmp_path)[0]["pid"])


def test_the_parent_does_not_load_the_engine() -> None:
    code = """
        import sys
        import pointsman.local.engine, pointsman.local.host, pointsman.local.pull
        heavy = {"xllamacpp", "numpy", "gguf", "onnxruntime"} & set(sys.modules)
        sys.exit(", ".join(heavy) or 0)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True)
    assert done.returncode == 0, done.stderr
