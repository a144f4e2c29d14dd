"""Predicted against real memory of local models: `python bench/local_memory.py [--json] [GGUF …]`.

Each model is started by Pointsman's own worker, and asked a long prompt, then two turns of a
conversation in each slot. What its process holds after that is held against what `predict` said
from the head of the file. Models given are measured at several contexts, slots
and cache types; with `--made`, so are models of zeros, of the shapes of common ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _made_gguf import Made, bert, decoder, make, mamba

from pointsman.local.backend import start_worker
from pointsman.local.child import Child, Order
from pointsman.local.gguf import read_head
from pointsman.local.memory import CHECKPOINTS, maps_well, predict

MIB = 1024 * 1024
START_S = 120.0
ASK_S = 1800.0
ANSWER_TOKENS = 8
# What of a context is left to the answer, and to the tokens that the engine puts in.
SPARE_TOKENS = 64
THREADS = 2
EMBEDDING = ("bert",)

MADE = {
    "made-llama-Q8_0": decoder(
        "llama", weights="Q8_0", width=1024, layers=16, heads=16, kv_heads=8, inner=2816, vocabulary=32000
    ),
    "made-llama-F16": decoder(
        "llama", weights="F16", width=1024, layers=10, heads=16, kv_heads=8, inner=2816, vocabulary=32000
    ),
    "made-llama-Q4_K": decoder(
        "llama", weights="Q4_K", width=1536, layers=16, heads=24, kv_heads=8, inner=4096, vocabulary=32000
    ),
    "made-llama-Q4_0": decoder(
        "llama", weights="Q4_0", width=1536, layers=16, heads=24, kv_heads=8, inner=4096, vocabulary=32000
    ),
    "made-qwen2-Q8_0": decoder(
        "qwen2", weights="Q8_0", width=896, layers=12, heads=14, kv_heads=2, inner=4864, vocabulary=151936, tied=True
    ),
    "made-gemma3-Q8_0": decoder(
        "gemma3", weights="Q8_0", width=1024, layers=18, heads=8, kv_heads=4, inner=4096, vocabulary=32000, head=128, tied=True, window=1024
    ),
    "made-qwen3moe-Q8_0": decoder(
        "qwen3moe", weights="Q8_0", width=768, layers=12, heads=12, kv_heads=4, inner=384, vocabulary=32000, experts=16, used=4
    ),
    "made-mamba-Q8_0": mamba(weights="Q8_0", width=1024, layers=32, vocabulary=50280),
    "made-bert-F16": bert(weights="F16", width=768, layers=12, heads=12, inner=3072, vocabulary=30522),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """How a model is run."""

    context: int
    slots: int
    cache: str = "f16"


SETTINGS = (
    Setting(2048, 1), Setting(2048, 4), Setting(8192, 1), Setting(8192, 4), Setting(8192, 4, "q8_0"),
)  # fmt: skip
MADE_SETTINGS = (Setting(4096, 4), Setting(32768, 4))


def memory_of(pid: int) -> dict[str, int]:
    """What Linux says that a process holds now, and held at most, in bytes."""
    found = {}
    for name in ("smaps_rollup", "status"):
        for line in Path(f"/proc/{pid}/{name}").read_text("ascii").splitlines():
            key, _, value = line.partition(":")
            words = value.split()
            if len(words) == 2 and words[1] == "kB":
                found[key] = int(words[0]) * 1024
    return {
        "resident_bytes": found["Rss"],
        "anonymous_bytes": found["Anonymous"],
        "most_bytes": found["VmHWM"],
    }


async def measure(path: Path, name: str, setting: Setting, prompt_tokens: int) -> dict[str, Any]:
    """Run a model, ask it, and give what it holds beside what was predicted."""
    head = read_head(path)
    embedding = head.architecture in EMBEDDING
    slots = 1 if embedding else setting.slots
    context = min(setting.context, head.context_tokens or setting.context)
    mapped = maps_well(head)
    flags: dict[str, Any] = {"ctx-checkpoints": CHECKPOINTS}
    if not mapped:
        flags["load-mode"] = "none"
    if setting.cache != "f16":
        flags |= {"cache-type-k": setting.cache, "cache-type-v": setting.cache}
    order = Order(
        alias=name,
        path=str(path),
        context=context,
        slots=slots,
        threads=THREADS,
        embedding=embedding,
        flags=flags,
    )
    predicted = predict(
        head,
        context_tokens=context,
        slots=slots,
        cache_type_k=setting.cache,
        cache_type_v=setting.cache,
        embedding=embedding,
        mmap=mapped,
    )
    child = await start_worker(order, START_S)
    try:
        loaded = memory_of(child.pid)
        tokens = min(prompt_tokens, context - SPARE_TOKENS)
        for prompts in _rounds(tokens, context, slots):
            await asyncio.to_thread(_ask, child, prompts, embedding)
        held = memory_of(child.pid)
    finally:
        await child.stop()
    real = held["resident_bytes"]
    return {
        "model": name,
        "context_tokens": context,
        "slots": slots,
        "cache": setting.cache,
        "prompt_tokens": tokens,
        "predicted_bytes": predicted.total_bytes,
        "resident_bytes": real,
        "error": predicted.total_bytes / real - 1,
        "loaded_bytes": loaded["resident_bytes"],
        "anonymous_bytes": held["anonymous_bytes"],
        "most_bytes": held["most_bytes"],
        "weights_bytes": predicted.weights_bytes,
        "cache_bytes": predicted.cache_bytes,
        "compute_bytes": predicted.compute_bytes,
        "base_bytes": predicted.base_bytes,
    }


def _rounds(tokens: int, context: int, slots: int) -> Iterator[list[list[int]]]:
    """Prompts that are asked at a time: a long one, then two turns of a conversation in each slot."""
    share = min(tokens, (context - slots * SPARE_TOKENS) // slots)
    yield [[400] * tokens]
    for part in (share // 2, share):
        yield [[300 + slot] * part for slot in range(slots)]


def _ask(child: Child, prompts: Iterable[list[int]], embedding: bool) -> None:
    def one(slot: int, prompt: list[int]) -> None:
        body: dict[str, Any] = {"input": prompt, "model": child.order.alias}
        if not embedding:
            body = {
                "prompt": prompt,
                "n_predict": ANSWER_TOKENS,
                "ignore_eos": True,
                "id_slot": slot,
            }
        root = child.endpoint.base_url.removesuffix("/v1")
        request = urllib.request.Request(
            root + ("/v1/embeddings" if embedding else "/completion"),
            json.dumps(body).encode(),
            {"authorization": f"Bearer {child.key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=ASK_S) as response:
            response.read()

    with ThreadPoolExecutor(child.order.slots) as pool:
        list(pool.map(one, *zip(*enumerate(prompts), strict=True)))


def _table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        parts = "+".join(
            f"{row[f'{part}_bytes'] / MIB:.0f}" for part in ("weights", "cache", "compute", "base")
        )
        yield (
            f"{row['model']:34} {row['context_tokens']:6} x{row['slots']} {row['cache']:5}"
            f" predicted {row['predicted_bytes'] / MIB:6.0f} ({parts})"
            f" real {row['resident_bytes'] / MIB:6.0f} MiB"
            f" ({row['anonymous_bytes'] / MIB:.0f} anonymous, {row['loaded_bytes'] / MIB:.0f} when"
            f" loaded, {row['most_bytes'] / MIB:.0f} at most) {row['error']:+.1%}"
        )


def main() -> int:
    """Measure, and print the rows as JSON or as text."""
    options = _options()
    rows = []

    def note(row: dict[str, Any]) -> None:
        rows.append(row)
        print(*_table([row]), file=sys.stderr, flush=True)

    for path in options.files:
        for setting in SETTINGS:
            note(asyncio.run(measure(path, path.stem, setting, options.prompt_tokens)))
    if options.made:
        with tempfile.TemporaryDirectory() as folder:
            for name, made in _chosen(options.made):
                path = make(Path(folder) / f"{name}.gguf", made)
                for setting in MADE_SETTINGS:
                    note(asyncio.run(measure(path, name, setting, options.prompt_tokens)))
                path.unlink()
    if options.as_json:
        print(json.dumps(rows))
    return 0


def _chosen(words: str) -> Iterator[tuple[str, Made]]:
    for name, made in MADE.items():
        if words == "all" or any(word in name for word in words.split(",")):
            yield name, made


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="GGUF")
    parser.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    parser.add_argument(
        "--made", nargs="?", const="all", help="models of zeros too (parts of names)"
    )
    parser.add_argument("--prompt-tokens", type=int, default=2048, help="the longest prompt")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
