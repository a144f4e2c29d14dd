"""What a model will hold in memory, reckoned from the head of its file before it is loaded."""

from __future__ import annotations

from msgspec import Struct

from pointsman.local.gguf import GgufHead
from pointsman.local.kv_cache import CacheTypes, cache_bytes

__all__ = ["Footprint", "largest_context", "predict"]

CONTEXT_STEP_TOKENS = 256
MIB = 1024 * 1024
BASE_BYTES = 40 * MIB


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
) -> Footprint:
    """Give what the model will hold once it has answered a few requests."""
    context = -(-context_tokens // CONTEXT_STEP_TOKENS) * CONTEXT_STEP_TOKENS
    cache = cache_bytes(
        head,
        context_tokens=context,
        slots=slots,
        ubatch_tokens=min(ubatch_tokens, batch_tokens),
        types=CacheTypes(cache_type_k, cache_type_v),
        flash_attention=flash_attention is not False,
    )
    shape = head.shape
    ubatch = context if embedding else min(ubatch_tokens, batch_tokens, context)
    inner = max(shape.feed_forward_length, default=0)
    compute = 4 * ubatch * (3 * shape.embedding_length + 2 * inner) + 6 * ubatch * context
    vocabulary = shape.weights.vocabulary
    compute += 2 * 4 * slots * vocabulary
    base = BASE_BYTES + 200 * shape.tokens + 200 * shape.merges
    return Footprint(head.size_bytes + extra_weights_bytes, cache, compute, base)


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
) -> int | None:
    """Give the largest context, a multiple of 256 tokens, with which all fits in `budget_bytes`.

    It is `most` at most, also where that is no multiple; None if not even `least` fits.
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
