"""How many bytes the engine needs to compute in: its graph's values, and what becomes of them.

The engine's allocator reuses a value's place as soon as the value is used, so what counts is the
busiest moment of a layer. The sums below are of those moments, as the engine itself reports them
for made models of many shapes (`bench/local_memory.py`): exact for plain feed-forward layers, and
mostly a little over otherwise.

Source: llama.cpp, b11434: `sched_reserve` and `output_reserve` of src/llama-context.cpp, the masks
of src/llama-graph.cpp; checked against what b11549 reports.
"""

from __future__ import annotations

from pointsman.local.gguf import GgufHead
from pointsman.local.kv_cache import Cache, has_cache, is_recurrent, window_cells
from pointsman.local.shape import Shape

__all__ = ["compute_bytes"]

FLOAT_BYTES = 4
MASK_BYTES = 2
# A candidate of a sampler: a token, its score and its probability.
CANDIDATE_BYTES = 12
# A number of a product's other factor: as float16, or in 8 bits with a share of a scale.
F16_ROW_BYTES, QUANTIZED_ROW_BYTES = 2.0, 1.15
_F32, _F16 = 0, 1
_UNGATED = frozenset(("bert", "jina-bert-v3"))


def compute_bytes(head: GgufHead, cache: Cache, *, embedding: bool) -> int:
    """Bytes of the buffers that a batch and its answers need."""
    shape, tokens = head.shape, cache.ubatch_tokens
    masks, scores = _attention(head, cache)
    values = FLOAT_BYTES * tokens * _busiest(head)
    passing = FLOAT_BYTES * tokens * 5 * shape.embedding_length
    if embedding:
        # There is room for a score of each word after each token, though none is reckoned.
        answers = FLOAT_BYTES * tokens * (shape.weights.vocabulary + shape.embedding_length)
        return masks + max(values, scores + passing) + answers + _scratch(head, tokens)
    words = cache.slots * shape.weights.vocabulary
    logits = FLOAT_BYTES * words
    busiest = max(values, scores + passing, logits + passing)
    # The logits are copied out of the graph, and from there into the samplers' candidates.
    return masks + busiest + logits + CANDIDATE_BYTES * words + _scratch(head, tokens)


def _busiest(head: GgufHead) -> int:
    """The numbers that a token has at the busiest moment of a layer."""
    shape = head.shape
    width = shape.embedding_length
    inner = _inner(shape)
    # Each expert's answer; where two of the inner values' places are too small, it takes its own.
    answers = shape.expert_used_count * width if shape.expert_count else 0
    moments = [3 * inner + 5 * width + (answers if answers > 2 * inner else 0)]
    if head.architecture in _UNGATED:
        moments = [2 * inner + width]
    if not is_recurrent(head):
        heads, kv_heads = max(shape.head_count, default=0), max(shape.head_count_kv, default=0)
        moments.append(2 * (heads + kv_heads) * _key_length(shape) + 5 * width)
    if shape.ssm_inner_size:
        moments.append(15 * shape.ssm_inner_size // 2)
    return max(moments) + 2 * shape.embedding_length_per_layer_input * shape.block_count


def _inner(shape: Shape) -> int:
    """The numbers between the two products of a feed-forward layer, of all experts in use."""
    dense = max(shape.feed_forward_length, default=0)
    if not shape.expert_count:
        return dense
    experts = shape.expert_used_count * (shape.expert_feed_forward_length or dense)
    mixed = shape.leading_dense_block_count or shape.interleave_moe_layer_step > 1
    return max(experts, dense) if mixed else experts


def _key_length(shape: Shape) -> int:
    heads = max(shape.head_count, default=0)
    return shape.key_length or (shape.embedding_length // heads if heads else 0)


def _attention(head: GgufHead, cache: Cache) -> tuple[int, int]:
    """Bytes of the masks, and of the scores where they are held all at once."""
    if is_recurrent(head):
        return 0, 0
    cells, window = cache.ubatch_tokens, 0
    if has_cache(head):
        cells, window = cache.context_tokens, window_cells(head, cache)
    if cache.flash_attention:
        return MASK_BYTES * cache.ubatch_tokens * (cells + window), 0
    heads = max(head.shape.head_count, default=0)
    rows = FLOAT_BYTES * cache.ubatch_tokens
    return rows * (cells + window), rows * cells * heads


def _scratch(head: GgufHead, ubatch_tokens: int) -> int:
    """Bytes of a batch's copy in the form that products with the weights need."""
    shape = head.shape
    by_type = dict(shape.weights.by_type)
    main = max(by_type, key=lambda kind: by_type[kind], default=_F32)
    if main == _F32:
        return 0
    longest = max(_inner(shape), shape.embedding_length)
    each = F16_ROW_BYTES if main == _F16 else QUANTIZED_ROW_BYTES
    return int(ubatch_tokens * longest * each)
