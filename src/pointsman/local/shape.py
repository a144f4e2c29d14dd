"""The measures of a model that decide how much memory it holds, as its file gives them.

Source: gguf-py/gguf/constants.py of llama.cpp, b11434, for the keys; each measure has the name of
its key, without the architecture before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from msgspec import Struct

__all__ = ["ARRAYS", "Length", "Shape", "Weights", "shape_of"]

# Keys whose value may be an array with an item for each layer.
ARRAYS = frozenset(
    ("attention.head_count", "attention.head_count_kv", "feed_forward_length",
     "expert_feed_forward_length", "expert_used_count", "attention.sliding_window_pattern",
     "attention.recurrent_layers")
)  # fmt: skip
# Above every model known by far; a file that claims more is treated as if it said nothing.
MAX_LAYERS = 1_024
MAX_MEASURE = 1 << 24


class Length(int):
    """The count of an array's items that were passed over."""


class Weights(Struct, frozen=True):
    """The tensors of a file, in bytes of tensor data, in all and by type (its number in GGUF).

    `embedding_bytes` is the table of the tokens' vectors, of `vocabulary` rows, which is the output's
    matrix too if `tied`.
    """

    bytes: int = 0
    embedding_bytes: int = 0
    vocabulary: int = 0
    tied: bool = True
    by_type: tuple[tuple[int, int], ...] = ()
    embedding_type: int = 0


class Shape(Struct, frozen=True):
    """A tuple has an item for each layer; 0 is what the file does not say.

    `window_layers` are those that attend to `sliding_window` tokens only, or after how many layers
    one comes that attends to all (a number), None where the file leaves it to the architecture.
    """

    weights: Weights = Weights()
    tokens: int = 0
    merges: int = 0
    block_count: int = 0
    nextn_predict_layers: int = 0
    embedding_length: int = 0
    embedding_length_per_layer_input: int = 0
    feed_forward_length: tuple[int, ...] = ()
    head_count: tuple[int, ...] = ()
    head_count_kv: tuple[int, ...] = ()
    key_length: int = 0
    value_length: int = 0
    key_length_swa: int = 0
    value_length_swa: int = 0
    key_length_mla: int = 0
    value_length_mla: int = 0
    sliding_window: int | None = None
    window_layers: tuple[int, ...] | int | None = None
    shared_kv_layers: int = 0
    expert_count: int = 0
    expert_used_count: int = 0
    expert_feed_forward_length: int = 0
    leading_dense_block_count: int = 0
    interleave_moe_layer_step: int = 0
    full_attention_interval: int = 0
    recurrent_layers: tuple[int, ...] = ()
    ssm_conv_kernel: int = 0
    ssm_inner_size: int = 0
    ssm_state_size: int = 0
    ssm_group_count: int = 0
    kda_head_dim: int = 0
    wkv_head_size: int = 0
    token_shift_count: int = 0
    shortconv_l_cache: int = 0


def shape_of(architecture: str, values: Mapping[str, Any], weights: Weights) -> Shape:
    """Give the measures that a file's keys say; what is no sensible number counts as not said."""

    def number(key: str, default: int = 0) -> int:
        value = values.get(f"{architecture}.{key}")
        value = max(value, default=0) if isinstance(value, tuple) else value
        return value if _is_measure(value) else default

    blocks = min(number("block_count"), MAX_LAYERS)

    def layers(key: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        value = values.get(f"{architecture}.{key}")
        if _is_measure(value):
            return (int(value),) * blocks
        if (
            isinstance(value, tuple)
            and len(value) >= blocks
            and all(_is_measure(each) for each in value)
        ):
            return tuple(map(int, value[:blocks]))
        return default

    heads = layers("attention.head_count")
    window = values.get(f"{architecture}.attention.sliding_window")
    return Shape(
        weights=weights,
        tokens=_length(values, "tokenizer.ggml.tokens"),
        merges=_length(values, "tokenizer.ggml.merges"),
        block_count=blocks,
        nextn_predict_layers=min(number("nextn_predict_layers"), blocks),
        embedding_length=number("embedding_length"),
        embedding_length_per_layer_input=number("embedding_length_per_layer_input"),
        feed_forward_length=layers("feed_forward_length"),
        head_count=heads,
        head_count_kv=layers("attention.head_count_kv", heads),
        key_length=number("attention.key_length"),
        value_length=number("attention.value_length"),
        key_length_swa=number("attention.key_length_swa"),
        value_length_swa=number("attention.value_length_swa"),
        key_length_mla=number("attention.key_length_mla"),
        value_length_mla=number("attention.value_length_mla"),
        sliding_window=window if _is_measure(window) else None,
        window_layers=_pattern(values.get(f"{architecture}.attention.sliding_window_pattern")),
        shared_kv_layers=min(number("attention.shared_kv_layers"), blocks),
        expert_count=number("expert_count"),
        expert_used_count=number("expert_used_count"),
        expert_feed_forward_length=number("expert_feed_forward_length"),
        leading_dense_block_count=number("leading_dense_block_count"),
        interleave_moe_layer_step=number("interleave_moe_layer_step"),
        full_attention_interval=number("full_attention_interval"),
        recurrent_layers=layers("attention.recurrent_layers"),
        ssm_conv_kernel=number("ssm.conv_kernel"),
        ssm_inner_size=number("ssm.inner_size"),
        ssm_state_size=number("ssm.state_size"),
        ssm_group_count=number("ssm.group_count"),
        kda_head_dim=number("kda.head_dim"),
        wkv_head_size=number("wkv.head_size"),
        token_shift_count=number("token_shift_count", 2),
        shortconv_l_cache=number("shortconv.l_cache"),
    )


def _is_measure(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, Length) and 0 <= value <= MAX_MEASURE


def _pattern(value: Any) -> tuple[int, ...] | int | None:
    if isinstance(value, tuple):
        return tuple(map(int, value)) if all(_is_measure(each) for each in value) else None
    return int(value) if _is_measure(value) else None


def _length(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    return int(value) if isinstance(value, Length) else 0
