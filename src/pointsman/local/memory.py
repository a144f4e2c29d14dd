"""What a model will hold in memory, reckoned from the head of its file before it is loaded.

All of a mapped file's pages are in memory from the start, as the engine has them read ahead; the
cache is cleared when it is made; buffers fill as they are used, all of them by a prompt that is as
long as the context.

Source: llama.cpp, b11434: src/llama-mmap.cpp, src/llama-kv-cache.cpp; the sums are measured with
b11549 by `bench/local_memory.py`.
"""

from __future__ import annotations

from msgspec import Struct

from pointsman.local.gguf import GgufHead
from pointsman.local.graph import compute_bytes
from pointsman.local.hardware import repacked_types
from pointsman.local.kv_cache import Cache, cache_bytes

__all__ = ["CHECKPOINTS", "Footprint", "largest_context", "maps_well", "predict", "repacked_bytes"]

CONTEXT_STEP_TOKENS = 256
MIB = 1024 * 1024
# What the process is without a model: Python, llama.cpp's code, its threads and its web server.
BASE_BYTES = 36 * MIB
# What the engine keeps of a token of the vocabulary, and of a merge: texts, and tables of them.
TOKEN_BYTES = 188
MERGE_BYTES = 196
# How many earlier states of windows and recurrent layers are kept for each slot. A prompt leaves
# two, from which its conversation goes on; llama.cpp's own default, 32, can take many times what
# the model does.
CHECKPOINTS = 2


class Footprint(Struct, frozen=True):
    """Bytes that a running model holds, by what for.

    `cache_bytes` is of keys, values and recurrent states; `base_bytes` of the process itself.
    """

    weights_bytes: int
    cache_bytes: int
    compute_bytes: int
    base_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes + self.base_bytes


def predict(
    head: GgufHead,
    *,
    context_tokens: int,
    slots: int,
    batch_tokens: int = 2048,
    ubatch_tokens: int = 512,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
    flash_attention: bool | None = None,
    embedding: bool = False,
    extra_weights_bytes: int = 0,
    mmap: bool = True,
    full_windows: bool = False,
    checkpoints: int = CHECKPOINTS,
    repacked: frozenset[int] | None = None,
) -> Footprint:
    """Give what the model will hold once it has answered prompts that fill its context.

    `slots` requests share one cache of `context_tokens`. An `embedding` model reads a text in one
    piece, so its batches are as long as the context, and so is a buffer with a score of each word
    of its vocabulary for each token: a long context costs GBs. `extra_weights_bytes` are of what is loaded
    beside it: a projector, adapters, a draft model's file. `mmap` says that the file is mapped.
    `checkpoints` are those of each slot (`--ctx-checkpoints`), `full_windows` is `--swa-full`.
    `repacked` are the tensor types that the processor has copied into another layout; None for
    those of this machine.
    """
    context = -(-context_tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
    cache = Cache(
        context_tokens=context,
        slots=slots,
        ubatch_tokens=context_tokens if embedding else min(ubatch_tokens, batch_tokens, context),
        keys=cache_type_k,
        values=cache_type_v,
        flash_attention=flash_attention is not False,
        full_windows=full_windows,
        checkpoints=0 if embedding else checkpoints,
    )
    weights = head.size_bytes + extra_weights_bytes
    if mmap:
        weights += repacked_bytes(head, repacked)
    vocabulary = head.shape.tokens * TOKEN_BYTES + head.shape.merges * MERGE_BYTES
    return Footprint(
        weights_bytes=weights,
        cache_bytes=cache_bytes(head, cache),
        compute_bytes=compute_bytes(head, cache, embedding=embedding),
        base_bytes=BASE_BYTES + vocabulary,
    )


def repacked_bytes(head: GgufHead, repacked: frozenset[int] | None = None) -> int:
    """Bytes of the weights that the engine copies into a layout that suits the processor.

    If the file is mapped, they are held twice: as they are in the file, and as copied.
    """
    types = repacked_types() if repacked is None else repacked
    weights = head.shape.weights
    copied = sum(size for kind, size in weights.by_type if kind in types)
    # The tokens' vectors are looked up row by row, which a copy is of no use for.
    if weights.embedding_type in types and not weights.tied:
        copied -= weights.embedding_bytes
    return copied


def maps_well(head: GgufHead, repacked: frozenset[int] | None = None) -> bool:
    """Whether it is better to map the file than to read it: not if most of it is then held twice."""
    return repacked_bytes(head, repacked) * 2 < head.size_bytes


def largest_context(
    head: GgufHead,
    budget_bytes: int,
    *,
    most: int,
    least: int,
    slots: int,
    batch_tokens: int = 2048,
    ubatch_tokens: int = 512,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
    flash_attention: bool | None = None,
    embedding: bool = False,
    extra_weights_bytes: int = 0,
    mmap: bool = True,
    full_windows: bool = False,
    checkpoints: int = CHECKPOINTS,
    repacked: frozenset[int] | None = None,
) -> int | None:
    """Give the largest context, a multiple of 256 tokens, with which all fits in `budget_bytes`.

    It is `most` at most, also where that is no multiple; None if not even `least` fits. The rest is
    as for `predict`.
    """

    def fits(context: int) -> bool:
        need = predict(
            head,
            context_tokens=context,
            slots=slots,
            batch_tokens=batch_tokens,
            ubatch_tokens=ubatch_tokens,
            cache_type_k=cache_type_k,
            cache_type_v=cache_type_v,
            flash_attention=flash_attention,
            embedding=embedding,
            extra_weights_bytes=extra_weights_bytes,
            mmap=mmap,
            full_windows=full_windows,
            checkpoints=checkpoints,
            repacked=repacked,
        )
        return need.total_bytes <= budget_bytes

    if fits(most):
        return most
    if least > most or not fits(least):
        return None
    low, high = -(-least // CONTEXT_STEP_TOKENS), most // CONTEXT_STEP_TOKENS
    if low > high or not fits(low * CONTEXT_STEP_TOKENS):
        return least
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * CONTEXT_STEP_TOKENS) else (low, middle - 1)
    return low * CONTEXT_STEP_TOKENS
