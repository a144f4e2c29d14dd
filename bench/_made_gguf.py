"""Makes GGUF files of given shapes whose weights are all zero: real in size, and written at once.

A file of zeros is sparse on the disk, yet in memory every page of it counts, as do all buffers: what
an engine holds does not depend on the weights' values. Only the head is written here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALIGNMENT = 32
# Tensor type → (its number, elements of a block, bytes of a block).
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144)}  # fmt: skip
BYTE_TOKENS = 256

Tensor = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Made:
    """A model to make: its keys without the architecture, its matrices, and their type."""

    architecture: str
    weights: str
    vocabulary: int
    keys: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    tokenizer: str = "gpt2"
    other_keys: Mapping[str, Any] = field(default_factory=dict)


def decoder(
    architecture: str,
    *,
    weights: str,
    width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    inner: int,
    vocabulary: int,
    head: int | None = None,
    tied: bool = False,
    window: int | None = None,
    experts: int = 0,
    used: int = 0,
    trained: int = 32768,
) -> Made:
    """A transformer that chats: llama, qwen2, gemma3 and the like."""
    head = head or width // heads
    keys: dict[str, Any] = {
        "context_length": trained,
        "embedding_length": width,
        "block_count": layers,
        "feed_forward_length": inner,
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": head,
    }
    if window is not None:
        keys["attention.sliding_window"] = window
    if experts:
        keys |= {
            "expert_count": experts,
            "expert_used_count": used,
            "expert_feed_forward_length": inner,
        }
    tensors: list[Tensor] = [("token_embd.weight", (width, vocabulary)), ("output_norm.weight", (width,))]  # fmt: skip
    if not tied:
        tensors.append(("output.weight", (width, vocabulary)))
    for number in range(layers):
        block = f"blk.{number}."
        rows = _attention(architecture, width, heads * head, kv_heads * head, head)
        rows += _experts(width, inner, experts) if experts else _feed_forward(width, inner)
        tensors += [(block + name, shape) for name, shape in rows]
    return Made(architecture, weights, vocabulary, keys, tuple(tensors))


def _attention(architecture: str, width: int, query: int, key: int, head: int) -> list[Tensor]:
    rows: list[Tensor] = [
        ("attn_norm.weight", (width,)),
        ("attn_q.weight", (width, query)),
        ("attn_k.weight", (width, key)),
        ("attn_v.weight", (width, key)),
        ("attn_output.weight", (query, width)),
        ("ffn_norm.weight", (width,)),
    ]
    if architecture == "qwen2":
        rows += [("attn_q.bias", (query,)), ("attn_k.bias", (key,)), ("attn_v.bias", (key,))]
    if architecture in ("gemma3", "qwen3", "qwen3moe"):
        rows += [("attn_q_norm.weight", (head,)), ("attn_k_norm.weight", (head,))]
    if architecture == "gemma3":
        rows += [("post_attention_norm.weight", (width,)), ("post_ffw_norm.weight", (width,))]
    return rows


def _feed_forward(width: int, inner: int) -> list[Tensor]:
    return [
        ("ffn_gate.weight", (width, inner)),
        ("ffn_up.weight", (width, inner)),
        ("ffn_down.weight", (inner, width)),
    ]


def _experts(width: int, inner: int, experts: int) -> list[Tensor]:
    return [
        ("ffn_gate_inp.weight", (width, experts)),
        ("ffn_gate_exps.weight", (width, inner, experts)),
        ("ffn_up_exps.weight", (width, inner, experts)),
        ("ffn_down_exps.weight", (inner, width, experts)),
    ]


def mamba(*, weights: str, width: int, layers: int, vocabulary: int, state: int = 16) -> Made:
    """A model without attention, whose memory does not grow with the context."""
    inner, rank = 2 * width, width // 16
    keys = {
        "context_length": 1 << 20,
        "embedding_length": width,
        "block_count": layers,
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": rank,
    }
    tensors: list[Tensor] = [("token_embd.weight", (width, vocabulary)), ("output_norm.weight", (width,))]  # fmt: skip
    for number in range(layers):
        rows: list[Tensor] = [
            ("attn_norm.weight", (width,)),
            ("ssm_in.weight", (width, 2 * inner)),
            ("ssm_conv1d.weight", (4, inner)),
            ("ssm_conv1d.bias", (inner,)),
            ("ssm_x.weight", (inner, rank + 2 * state)),
            ("ssm_dt.weight", (rank, inner)),
            ("ssm_dt.bias", (inner,)),
            ("ssm_a", (state, inner)),
            ("ssm_d", (inner,)),
            ("ssm_out.weight", (inner, width)),
        ]
        tensors += [(f"blk.{number}.{name}", shape) for name, shape in rows]
    return Made("mamba", weights, vocabulary, keys, tuple(tensors))


def bert(*, weights: str, width: int, layers: int, heads: int, inner: int, vocabulary: int) -> Made:
    """A model that makes vectors."""
    trained = 512
    keys = {
        "context_length": trained,
        "embedding_length": width,
        "block_count": layers,
        "feed_forward_length": inner,
        "attention.head_count": heads,
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": 1,
    }
    tensors: list[Tensor] = [
        ("token_embd.weight", (width, vocabulary)),
        ("token_types.weight", (width, 2)),
        ("position_embd.weight", (width, trained)),
    ]
    tensors += _both("token_embd_norm", (width,))
    for number in range(layers):
        block = f"blk.{number}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors += _both(block + part, (width, width))
        tensors += _both(block + "attn_output_norm", (width,))
        tensors += _both(block + "ffn_up", (width, inner))
        tensors += _both(block + "ffn_down", (inner, width))
        tensors += _both(block + "layer_output_norm", (width,))
    other = {"tokenizer.ggml.token_type_count": 2}
    return Made("bert", weights, vocabulary, keys, tuple(tensors), "bert", other)


def _both(name: str, shape: tuple[int, ...]) -> list[Tensor]:
    return [(f"{name}.weight", shape), (f"{name}.bias", shape[-1:])]


def make(path: Path, made: Made) -> Path:
    """Write the file."""
    entries = [_entry("general.architecture", made.architecture)]
    entries += [_entry(f"{made.architecture}.{key}", value) for key, value in made.keys.items()]
    entries += [_entry(key, value) for key, value in made.other_keys.items()]
    entries += list(_tokenizer(made))
    infos, size = [], 0
    for name, shape in made.tensors:
        number, per_block, block_bytes = _type_of(name, shape, made.weights)
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos.append(_text(name) + dimensions + struct.pack("<IQ", number, size))
        elements = 1
        for length in shape:
            elements *= length
        size += -(-elements // per_block * block_bytes // ALIGNMENT) * ALIGNMENT
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(entries))
    data = head + b"".join(entries) + b"".join(infos)
    data += bytes(-len(data) % ALIGNMENT)
    path.write_bytes(data)
    with path.open("r+b") as file:
        file.truncate(len(data) + size)
    return path


def _type_of(name: str, shape: Sequence[int], kind: str) -> tuple[int, int, int]:
    plain = len(shape) == 1 or "conv1d" in name or "ssm_a" in name or "gate_inp" in name
    if plain or "position_embd" in name or "token_types" in name:
        return TYPES["F32"]
    return TYPES[kind] if shape[0] % TYPES[kind][1] == 0 else TYPES["F16"]


def _tokenizer(made: Made) -> Iterator[bytes]:
    count = made.vocabulary
    words = [f"word{number:06}" for number in range(count)]
    yield _entry("tokenizer.ggml.model", made.tokenizer)
    if made.tokenizer == "bert":
        words[:5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        yield _entry("tokenizer.ggml.tokens", words)
        for name, number in (("padding", 0), ("unknown", 1), ("bos", 2), ("eos", 3), ("seperator", 3)):  # fmt: skip
            yield _entry(f"tokenizer.ggml.{name}_token_id", number)
        return
    words[:BYTE_TOKENS] = _byte_words()
    yield _entry("tokenizer.ggml.pre", "gpt-2")
    yield _entry("tokenizer.ggml.tokens", words)
    first = BYTE_TOKENS
    merges = [f"{a} {b}" for a, b in zip(words[first:], words[first + 1 :], strict=False)]
    yield _entry("tokenizer.ggml.merges", merges)
    yield _entry("tokenizer.ggml.bos_token_id", count - 1)
    yield _entry("tokenizer.ggml.eos_token_id", count - 2)


def _byte_words() -> list[str]:
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, shown), *(chr(256 + number) for number in range(BYTE_TOKENS - len(shown)))]


def _entry(key: str, value: Any) -> bytes:
    kind, packed = _value(value)
    return _text(key) + struct.pack("<I", kind) + packed


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return 4, struct.pack("<I", value)
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    return 9, struct.pack("<IQ", 8, len(value)) + b"".join(map(_text, value))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
