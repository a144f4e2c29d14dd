"""How many bytes a model keeps of what it has read: keys and values, or a recurrent state.

Source: llama.cpp, b11434: `llama_model::create_memory` (src/llama-model.cpp) for which kind each
architecture has, src/llama-kv-cache.cpp, src/llama-kv-cache-iswa.cpp and
src/llama-memory-recurrent.cpp for their sizes, src/llama-hparams.cpp for the measures, and
`load_arch_hparams` of each src/models/*.cpp for which layers attend to a window.
"""

from __future__ import annotations

from typing import NamedTuple

from pointsman.local.gguf import GgufHead
from pointsman.local.shape import Shape

__all__ = ["CACHE_TYPES", "Cache", "cache_bytes", "has_cache", "is_recurrent", "window_cells"]

# `--cache-type-k` → (elements of a block, bytes of a block).
CACHE_TYPES = {
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18),
    "q4_1": (32, 20), "iq4_nl": (32, 18), "q5_0": (32, 22), "q5_1": (32, 24),
}  # fmt: skip
WINDOW_PAD_TOKENS = 256
STATE_ELEMENT_BYTES = 4  # Recurrent states are float32.

# These read a text in one piece, and keep nothing.
_NONE = frozenset(
    ("bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "eurobert",
     "wavtokenizer-dec", "modern-bert", "gemma-embedding", "dream", "llada", "llada-moe", "rnd1",
     "clef")
)  # fmt: skip
_RECURRENT = frozenset(("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"))
# Architecture → after how many layers one comes that attends to all, and whether it comes first.
_WINDOWED = {
    "afmoe": (4, False), "cohere2": (4, False), "cohere2moe": (4, True), "exaone-moe": (4, False),
    "exaone4": (4, False), "gemma2": (2, False), "gemma3": (6, False), "gemma3n": (5, False),
    "gemma4": (0, False), "gpt-oss": (2, False), "granite_swa": (0, False), "laguna": (4, True),
    "llama4": (4, False), "mellum": (4, False), "mimo2": (0, False), "olmo2": (4, False),
    "plamo3": (8, False), "smallthinker": (4, True), "step35": (0, False), "lfm2": (1, False),
    "lfm2moe": (1, False), "maple": (0, False), "muse-glimmer": (4, False), "spark2_5": (0, False),
}  # fmt: skip
# Where the file's own number, or its silence, does not hold.
_WINDOW_TOKENS = {"llama4": 8192, "smallthinker": 4096}
_WINDOW_DEFAULT = {"gemma2": 4096, "exaone4": 4096, "llama4": 8192}
# Every `full_attention_interval`-th layer attends, the others are recurrent.
_INTERVAL = {
    "qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "qwen4exp": 4, "minimax-01": 8,
}  # fmt: skip
# A layer without heads for keys is recurrent.
_BY_HEADS = frozenset(
    ("jamba", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe",
     "kimi-linear", "kimi-k3", "bailingmoe3", "glm5-next")
)  # fmt: skip
_GEMMA3N_LAYERS_WITH_CACHE = 20


class Cache(NamedTuple):
    """How a cache is kept: for a context that `slots` requests share, in llama.cpp's cache types.

    `checkpoints` are how many earlier states the server keeps for each slot, of what a model cannot
    roll back: its windows and its recurrent states. With `full_windows` a layer with a window
    keeps all.
    """

    context_tokens: int
    slots: int
    ubatch_tokens: int
    keys: str = "f16"
    values: str = "f16"
    flash_attention: bool = True
    full_windows: bool = False
    checkpoints: int = 0


class _Layer(NamedTuple):
    keys: int
    values: int
    windowed: bool


def has_cache(head: GgufHead) -> bool:
    """Whether the model keeps anything of what it has read."""
    return head.architecture not in _NONE


def is_recurrent(head: GgufHead) -> bool:
    """Whether the model attends to nothing: it keeps a state, of the same size for every context."""
    return head.architecture in _RECURRENT


def window_cells(head: GgufHead, cache: Cache) -> int:
    """The tokens that a layer with a window keeps; 0 if there is no such layer."""
    window = _window(head)
    if not window:
        return 0
    if cache.full_windows:
        return cache.context_tokens
    most = min(cache.context_tokens, window * cache.slots + cache.ubatch_tokens)
    return -(-most // WINDOW_PAD_TOKENS) * WINDOW_PAD_TOKENS


def cache_bytes(head: GgufHead, cache: Cache) -> int:
    """Bytes of keys, values and recurrent states, and of the checkpoints of them."""
    if not has_cache(head):
        return 0
    shape = head.shape
    layers = _attending(head)
    if not cache.flash_attention and layers:
        # Values lie transposed then, and all layers' rows are as long as the longest.
        longest = max(each.values for each in layers)
        layers = [each._replace(values=longest) for each in layers]
    windowed = sum(_row_bytes(shape, each, cache) for each in layers if each.windowed)
    others = sum(_row_bytes(shape, each, cache) for each in layers if not each.windowed)
    state = sum(_recurrent(head)) * _state_elements(shape) * STATE_ELEMENT_BYTES
    checkpoint = state
    if not cache.full_windows:
        checkpoint += min(_window(head), cache.context_tokens) * windowed
    return (
        others * cache.context_tokens
        + windowed * window_cells(head, cache)
        + cache.slots * (state + cache.checkpoints * checkpoint)
    )


def _row_bytes(shape: Shape, layer: _Layer, cache: Cache) -> int:
    """Bytes that a layer keeps of a token."""
    values = 0 if _is_latent(shape) else _bytes(layer.values, cache.values)
    return _bytes(layer.keys, cache.keys) + values


def _is_latent(shape: Shape) -> bool:
    """Multi-head latent attention keeps one row for keys and values both."""
    return shape.key_length_mla > 0 and shape.value_length_mla > 0


def _attending(head: GgufHead) -> list[_Layer]:
    shape = head.shape
    if is_recurrent(head):
        return []
    recurrent = _recurrent(head)
    both = head.architecture == "falcon-h1"
    windowed = _windowed(head)
    found = []
    for number in range(_cached_layers(head)):
        heads = shape.head_count_kv[number] if shape.head_count_kv else 0
        inner = shape.feed_forward_length[number] if shape.feed_forward_length else 0
        # Of Nemotron-H a layer is one of three: attention, state or feed-forward.
        if head.architecture.startswith("nemotron_h") and inner:
            continue
        if recurrent[number] and not both:
            continue
        keys, values = _lengths(shape, number, windowed[number])
        found.append(_Layer(heads * keys, heads * values, windowed[number]))
    return found


def _cached_layers(head: GgufHead) -> int:
    shape = head.shape
    if head.architecture == "gemma3n":
        return min(shape.block_count, _GEMMA3N_LAYERS_WITH_CACHE)
    # Layers that predict further tokens are run in a context of their own.
    return shape.block_count - shape.nextn_predict_layers - shape.shared_kv_layers


def _lengths(shape: Shape, number: int, windowed: bool) -> tuple[int, int]:
    """The lengths of a head's key and value."""
    heads = shape.head_count[number] if shape.head_count else 0
    usual = shape.embedding_length // heads if heads else 0
    keys, values = shape.key_length or usual, shape.value_length or usual
    if windowed:
        return shape.key_length_swa or keys, shape.value_length_swa or values
    return keys, values


def _window(head: GgufHead) -> int:
    """The tokens that a windowed layer attends to; 0 if no layer is windowed."""
    name, said = head.architecture, head.shape.sliding_window
    if name not in _WINDOWED or said == 0:
        return 0
    if said is None:
        return _WINDOW_DEFAULT.get(name, 0)
    return _WINDOW_TOKENS.get(name, said)


def _windowed(head: GgufHead) -> list[bool]:
    """Which layers attend to a window only."""
    shape = head.shape
    count = shape.block_count
    if not _window(head):
        return [False] * count
    pattern = shape.window_layers
    every, first = _WINDOWED[head.architecture]
    if isinstance(pattern, tuple):
        return [bool(each) for each in (*pattern, *[0] * count)[:count]]
    every = every if pattern is None else pattern
    if every == 0 or head.architecture.startswith("lfm2"):
        return [True] * count
    at = 0 if first else every - 1
    return [number % every != at for number in range(count)]


def _recurrent(head: GgufHead) -> list[bool]:
    """Which layers keep a state in place of, or beside, keys and values."""
    shape, name = head.shape, head.architecture
    count = shape.block_count - shape.nextn_predict_layers
    rest = [False] * shape.nextn_predict_layers
    if name in _RECURRENT or name == "falcon-h1":
        return [True] * count + rest
    if name in _INTERVAL:
        if shape.recurrent_layers:
            return [bool(each) for each in shape.recurrent_layers[:count]] + rest
        every = shape.full_attention_interval or _INTERVAL[name]
        return [(number + 1) % every != 0 for number in range(count)] + rest
    if name in _BY_HEADS and shape.head_count_kv:
        inner = shape.feed_forward_length or (0,) * shape.block_count
        only = name.startswith("nemotron_h")
        return [
            shape.head_count_kv[number] == 0 and not (only and inner[number])
            for number in range(count)
        ] + rest
    return [False] * shape.block_count


def _state_elements(shape: Shape) -> int:
    """The numbers of one layer's state for one request: of its convolution, and its own."""
    width = shape.embedding_length
    heads = max(shape.head_count, default=0)
    if shape.wkv_head_size:
        return (shape.token_shift_count + shape.wkv_head_size) * width
    if shape.shortconv_l_cache:
        return width * (shape.shortconv_l_cache - 1)
    past = max(shape.ssm_conv_kernel - 1, 0)
    if shape.kda_head_dim:
        return shape.kda_head_dim * heads * (3 * past + shape.kda_head_dim)
    grouped = 2 * shape.ssm_group_count * shape.ssm_state_size
    convolution = past * (shape.ssm_inner_size + grouped)
    return convolution + shape.ssm_state_size * shape.ssm_inner_size


def _bytes(elements: int, kind: str) -> int:
    per_block, block_bytes = CACHE_TYPES.get(kind, CACHE_TYPES["f16"])
    return elements * block_bytes // per_block
