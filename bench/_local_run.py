"""Measures local models in the environment that bench/local.py has made; prints one JSON object.

python bench/_local_run.py SMOLLM2.gguf WORKDIR --swaps N --firsts N --streams N --imports N
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Origin, Request, Timeouts
from pointsman._sse import Parser
from pointsman.local.backend import start_worker
from pointsman.local.child import Child, Order
from pointsman.local.engine import Engine
from pointsman.local.gguf import read_head
from pointsman.local.ollama.importing import import_models
from pointsman.local.ollama.store import OllamaStore
from pointsman.local.planning import EngineSettings, plan_of
from pointsman.local.schedule import Memory
from pointsman.local.store import ConfiguredModel, ModelStore

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "local"))
import ollama_files
import tiny_gguf

CPUCLOCK_SCHED = 2
# A warm process loads llama.cpp in the background; a real pause between two swaps is far longer.
SETTLE_S = 0.6
TOKENS = 128
IMPORTED = 100
VOCABULARY = 150_000
PLENTY = Memory(1 << 40)
MESSAGES = [{"role": "user", "content": "Tell me about the sea, the wind and the harbour."}]


async def main() -> None:
    options = _options()
    work = Path(options.work)
    tiny = work / "tiny.gguf"
    tiny_gguf.write_llama(tiny)
    swaps = {
        "cold": await swap_times(tiny, options.swaps, spare=False),
        "warm": await swap_times(tiny, options.swaps, spare=True),
        "bare": [await bare_start(tiny) for _ in range(options.swaps)],
    }
    imports = import_times(work, options.imports)
    async with site(tiny, Path(options.model), work) as (port, gateway_pid, bare):
        firsts = await first_tokens(port, bare["tiny"], options.firsts)
        streams = await stream_cost(port, gateway_pid, bare["smollm2"], options.streams)
    found = {"swaps_s": swaps, "first_token_s": firsts, "streams": streams, "imports": imports}
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("work")
    for name in ("swaps", "firsts", "streams", "imports"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


async def swap_times(tiny: Path, times: int, *, spare: bool) -> list[float]:
    """Seconds from a request for a model that does not run, with memory for one, to its lease."""
    rows = {name: ConfiguredModel(tiny) for name in "ab"}
    store = ModelStore(tiny.parent / "none", rows)
    alone = plan_of(store.get("a"), read_head(tiny), EngineSettings(), PLENTY)
    memory = Memory(alone.footprint.total_bytes * 3 // 2)
    transport = H1Transport()
    engine = Engine(store, EngineSettings(memory=memory, spare=spare, threads=1), transport)
    if spare:
        await engine.prepare()
    found = []
    for number in range(times + 1):
        await asyncio.sleep(SETTLE_S)
        start_s = time.perf_counter()
        async with engine.lease("ab"[number % 2]):
            found.append(time.perf_counter() - start_s)
        assert len(engine.running()) == 1
    await engine.aclose()
    await transport.aclose()
    return found[1:]  # The first one had nothing to evict.


async def bare_start(tiny: Path) -> float:
    """Seconds from the start of the engine's process alone until it listens with the model."""
    await asyncio.sleep(SETTLE_S)
    start_s = time.perf_counter()
    child = await start_worker(_order("tiny", tiny, 1), 60)
    took_s = time.perf_counter() - start_s
    await child.stop()
    return took_s


def import_times(work: Path, times: int) -> dict[str, list[float]]:
    """Seconds to import an Ollama store of 100 models, each with a vocabulary of 150,000 tokens.

    `call` is the import alone, `command` all of `pointsman import ollama`. The blobs are one file by
    100 names, as what is read of them is in the page cache either way.
    """
    folder = work / "ollama"
    words = [f"word{number}" for number in range(VOCABULARY)]
    head = ollama_files.write_head(
        work / "vocabulary.gguf",
        "llama",
        {
            "llama.context_length": 8192,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": words,
            "tokenizer.ggml.merges": [f"w {word}" for word in words],
            "tokenizer.chat_template": "{{ messages }}",
        },
    )
    for number in range(IMPORTED):
        blobs = ollama_files.Blobs()
        manifest = blobs.manifest([], {"params": {"temperature": number / IMPORTED}})
        digest = f"sha256:{number:064x}"
        blobs.by_digest[digest] = head
        layer = {"mediaType": f"{ollama_files.IMAGE}model", "digest": digest}
        manifest["layers"].append({**layer, "size": head.stat().st_size})
        blobs.write(folder)
        name = f"registry.ollama.ai/library/model{number}:8b"
        ollama_files.write_manifest(folder, name, manifest)
    found: dict[str, list[float]] = {"call": [], "command": []}
    for number in range(times):
        start_s = time.perf_counter()
        done = import_models(ModelStore(work / f"call{number}"), OllamaStore(folder))
        found["call"].append(time.perf_counter() - start_s)
        assert [each.status for each in done] == ["imported"] * IMPORTED
        command = [sys.executable, "-m", "pointsman", "import", "ollama", "--from", str(folder)]
        environment = {**os.environ, "POINTSMAN_HOME": str(work / f"command{number}")}
        start_s = time.perf_counter()
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        found["command"].append(time.perf_counter() - start_s)
    return found


def _order(alias: str, path: Path, threads: int) -> Order:
    model = ModelStore(path.parent / "none", {alias: ConfiguredModel(path)}).get(alias)
    return plan_of(model, read_head(path), EngineSettings(threads=threads), PLENTY).order


@asynccontextmanager
async def site(
    tiny: Path, smollm2: Path, work: Path
) -> AsyncIterator[tuple[int, int, dict[str, Child]]]:
    """A gateway with both models, and each model bare, on an engine of the same settings."""
    config = work / "pointsman.toml"
    config.write_text(
        f'[local.models.tiny]\npath = "{tiny}"\n[local.models.smollm2]\npath = "{smollm2}"\n'
    )
    command = [sys.executable, "-m", "pointsman", "serve", "--port", "0", "--json"]
    environment = {**os.environ, "POINTSMAN_HOME": str(work / "home")}
    gateway = await asyncio.create_subprocess_exec(
        *command, "--config", str(config), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert gateway.stdout is not None
    line = await gateway.stdout.readline()
    found = re.search(rb":(\d+)", line)
    assert found is not None, "the gateway did not start"
    port = int(found[1])
    threads = len(os.sched_getaffinity(0))
    bare = {
        name: await start_worker(_order(name, path, threads), 60)
        for name, path in (("tiny", tiny), ("smollm2", smollm2))
    }
    try:
        yield port, gateway.pid, bare
    finally:
        for child in bare.values():
            await child.stop()
        gateway.terminate()
        await gateway.wait()


class Asker:
    """Streams answers and notes when what came."""

    def __init__(self, base_url: str, key: str, model: str) -> None:
        self.origin, self.base = Origin.of(base_url)
        self.headers = (("content-type", "application/json"), ("authorization", f"Bearer {key}"))
        self.model = model
        self.transport = H1Transport()

    async def ask(self, tokens: int) -> tuple[float, int]:
        """Seconds to the first token, and how many came."""
        body = {
            "model": self.model,
            "messages": MESSAGES,
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        path = f"{self.base}/chat/completions"
        request = Request("POST", self.origin, path, self.headers, json.dumps(body).encode())
        parser, first_s, count = Parser(), 0.0, 0
        start_s = time.perf_counter()
        response = await self.transport.send(request, Timeouts())
        assert response.status == 200, await response.read(4096)
        while (piece := await response.next_chunk()) is not None:
            for event in parser.feed(piece):
                if not first_s and '"content":"' in event.data:
                    first_s = time.perf_counter() - start_s
                if '"completion_tokens":' in event.data:
                    count = json.loads(event.data)["usage"]["completion_tokens"]
        return first_s, count


async def first_tokens(port: int, child: Child, times: int) -> dict[str, list[float]]:
    """Seconds to the first token, by the gateway and bare, in turns."""
    endpoint = child.endpoint
    via = Asker(f"http://127.0.0.1:{port}/v1", "x", "local:tiny")
    direct = Asker(endpoint.base_url, endpoint.key, "tiny")
    found: dict[str, list[float]] = {"gateway": [], "bare": []}
    for asker in (via, direct) * 5:
        await asker.ask(4)
    for _ in range(times):
        for name, asker in (("gateway", via), ("bare", direct)):
            found[name].append((await asker.ask(4))[0])
    for asker in (via, direct):
        await asker.transport.aclose()
    return found


async def stream_cost(port: int, pid: int, child: Child, times: int) -> dict[str, Any]:
    """Processor seconds per token of the gateway's own process, and of the bare engine's."""
    endpoint = child.endpoint
    via = Asker(f"http://127.0.0.1:{port}/v1", "x", "local:smollm2")
    direct = Asker(endpoint.base_url, endpoint.key, "smollm2")
    await via.ask(4)
    await direct.ask(4)
    found: dict[str, list[float]] = {
        "gateway_cpu_s": [],
        "bare_cpu_s": [],
        "gateway_per_s": [],
        "bare_per_s": [],
    }
    for _ in range(times):
        for name, asker, of in (("gateway", via, pid), ("bare", direct, child.pid)):
            before_s, start_s = _cpu_s(of), time.perf_counter()
            _, tokens = await asker.ask(TOKENS)
            assert tokens == TOKENS
            found[f"{name}_per_s"].append(tokens / (time.perf_counter() - start_s))
            found[f"{name}_cpu_s"].append((_cpu_s(of) - before_s) / tokens)
    for asker in (via, direct):
        await asker.transport.aclose()
    return {name: statistics.median(values) for name, values in found.items()}


def _cpu_s(pid: int) -> float:
    """Processor seconds of one process, without its children, by the scheduler's own clock."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


if __name__ == "__main__":
    asyncio.run(main())
