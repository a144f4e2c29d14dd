"""How a model is run on this machine: its context, its slots, and the memory that it will hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.child import Order
from pointsman.local.flag_forms import settled
from pointsman.local.gguf import GgufHead
from pointsman.local.hardware import engine_threads
from pointsman.local.memory import (
    CHECKPOINTS,
    Footprint,
    largest_context,
    maps_well,
    predict,
)
from pointsman.local.schedule import Memory
from pointsman.local.store import LocalModel

__all__ = ["EngineSettings", "Plan", "plan_of"]

MIN_CONTEXT_TOKENS = 8192
# Longer texts are embedded only where the configuration asks for it: it takes much room.
EMBEDDED_TOKENS, EMBEDDED_LEAST_TOKENS = 8192, 512
BATCH_TOKENS = 2048
UBATCH_TOKENS = 512
MIB = 1024 * 1024
# Values of the option `load-mode` that map the file.
MAPPING = ("auto", "mmap", "mmap+mlock")
# LLAMA_POOLING_TYPE_RANK: the server scores pairs of texts only if it is told to.
RANKING = 4
# Files of these seldom say how they pool, and can do nothing else.
EMBEDDING_ARCHITECTURES = frozenset(
    ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert",
     "gemma-embedding")
)  # fmt: skip


class EngineSettings(Struct, frozen=True):
    """How models are run. `llama_server` is a binary to use in place of the one on PATH.

    `context_tokens` holds for models that have none of their own; it is shared by `slots` requests
    at a time. `threads` is by the machine where it is None. `memory` is what all models together
    may hold, None for what the machine can spare. A model is unloaded `idle_s` seconds after its
    last request; below 0: never. `spare` keeps a process warm for the next model.
    """

    llama_server: str | None = None
    start_timeout_s: float = 120.0
    context_tokens: int | None = None
    slots: int = 4
    threads: int | None = None
    memory: Memory | None = None
    idle_s: float = 300.0
    spare: bool = False


class Plan(Struct, frozen=True):
    """What is run, and what it will hold: `need` is `footprint` divided over the kinds of memory."""

    order: Order
    footprint: Footprint
    need: Memory
    idle_s: float


def plan_of(
    model: LocalModel,
    head: GgufHead,
    settings: EngineSettings,
    budget: Memory,
    extra_bytes: int = 0,
) -> Plan:
    """Decide how a model is run; pure. `extra_bytes` are of files that its flags name.

    The context is the model's own setting, else the engine's, else the largest with which the
    model alone fits `budget`, up to what it was trained for and not under 8,192 tokens; of an
    embedding model up to 8,192, and not under 512.

    Raises:
        LocalError: it does not fit `budget` even alone; the message has the numbers, and what
            would fit.
    """
    embedding = bool(head.pooling) or head.architecture in EMBEDDING_ARCHITECTURES
    flags = settled(model.defaults.flags)
    slots = 1 if embedding else model.slots or settings.slots
    trained = head.context_tokens or MIN_CONTEXT_TOKENS
    on_cards = budget.vram_bytes > 0
    loading = _loading(flags, head, on_cards=on_cards)
    checkpoints = flags.get("ctx-checkpoints", CHECKPOINTS)
    facts: dict[str, Any] = {
        "slots": slots,
        "mmap": loading.get("mmap", True),
        "full_windows": flags.get("swa-full") is True,
        "checkpoints": checkpoints if isinstance(checkpoints, int) else CHECKPOINTS,
        "repacked": frozenset() if on_cards else None,
        "cache_type_k": str(flags.get("cache-type-k", "f16")),
        "cache_type_v": str(flags.get("cache-type-v", "f16")),
        "flash_attention": {"on": True, "off": False}.get(str(flags.get("flash-attn"))),
        "embedding": embedding,
        "extra_weights_bytes": max(0, model.bytes - head.size_bytes) + extra_bytes,
    }
    if not embedding:
        facts["batch_tokens"] = _size(flags, "batch-size", BATCH_TOKENS)
        facts["ubatch_tokens"] = _size(flags, "ubatch-size", UBATCH_TOKENS)
    pool_bytes = budget.ram_bytes + budget.vram_bytes
    asked = model.defaults.context_tokens or settings.context_tokens
    if asked is None:
        # An embedding model makes room for a score of every word after each token of a text.
        most = min(trained, EMBEDDED_TOKENS) if embedding else trained
        least = min(EMBEDDED_LEAST_TOKENS if embedding else MIN_CONTEXT_TOKENS, most)
        context = largest_context(head, pool_bytes, most=most, least=least, **facts)
        asked = least
    else:
        context = asked
    footprint = predict(head, context_tokens=context or asked or trained, **facts)
    if context is None or footprint.total_bytes > pool_bytes:
        raise _too_large(model, head, footprint, asked or trained, pool_bytes, facts)
    own: dict[str, Any] = {"ctx-checkpoints": CHECKPOINTS}
    if head.pooling == RANKING:
        own["reranking"] = True
    if "load-mode" not in flags:
        own |= loading
    order = Order(
        alias=model.name,
        path=model.path,
        context=context,
        slots=slots,
        threads=settings.threads or engine_threads(),
        embedding=embedding,
        sampling=model.defaults.sampling,
        projector=model.projector,
        adapters=model.adapters,
        template=model.template,
        flags={
            **{name: value for name, value in own.items() if name not in flags},
            **model.defaults.flags,
        },
    )
    idle_s = settings.idle_s if model.idle_s is None else model.idle_s
    return Plan(order, footprint, _divided(footprint, budget), idle_s)


def _loading(flags: Mapping[str, Any], head: GgufHead, *, on_cards: bool) -> dict[str, bool]:
    """Whether the file is mapped, if the options do not leave that to the engine.

    A processor's own layout of the weights is a copy of them: a mapped file is then held twice.
    """
    if "load-mode" in flags:
        return {"mmap": flags["load-mode"] in MAPPING}
    if "mmap" in flags:
        return {"mmap": flags["mmap"] is True}
    return {} if on_cards or maps_well(head) else {"mmap": False}


def _size(flags: Mapping[str, Any], name: str, default: int) -> int:
    value = flags.get(name, default)
    return value if isinstance(value, int) and value > 0 else default


def _divided(footprint: Footprint, budget: Memory) -> Memory:
    """The engine puts on the graphics cards what fits there, and the rest into main memory."""
    on_card = min(footprint.total_bytes - footprint.base_bytes, budget.vram_bytes)
    return Memory(footprint.total_bytes - on_card, on_card)


def _too_large(
    model: LocalModel,
    head: GgufHead,
    footprint: Footprint,
    context: int,
    pool_bytes: int,
    facts: dict[str, Any],
) -> LocalError:
    smaller = largest_context(head, pool_bytes, most=context, least=256, **facts)
    if smaller is not None:
        fits = f"a context of {smaller} tokens would fit (local.models.NAME.context)"
    else:
        fits = "no context would fit: choose a smaller model or quantization"
    return LocalError(
        f"'{model.name}' needs {footprint.total_bytes // MIB} MiB with a context of {context} tokens"
        f" (weights {footprint.weights_bytes // MIB}, cache {footprint.cache_bytes // MIB}, compute"
        f" {footprint.compute_bytes // MIB}), and {pool_bytes // MIB} MiB may be used"
        f" (local.memory_bytes); {fits}"
    )
