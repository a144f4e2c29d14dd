"""Makes GGUF files of a few kilobytes with random weights: they load, run and obey grammars.

What they say is noise. One token is one byte, but for " t". The same call gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]

LLAMA_CONTEXT = 2048
LLAMA_WIDTH = 96
LLAMA_LAYERS = 3
FIM_TOKENS = {"pre": 260, "suf": 261, "mid": 262}
SCRIPT_TOKEN = 263
BERT_CONTEXT = 128
BERT_WIDTH = 32

CHAT_TEMPLATE = (
    "{%- if tools %}{{- '<|im_start|>system\n# Tools\n' }}"
    "{%- for tool in tools %}{{- tool | tojson }}{{- '\n' }}{%- endfor %}"
    '{{- \'Call one as <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call><|im_end|>\n\' }}'
    "{%- endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- for call in message.tool_calls or [] %}"
    '{{- \'<tool_call>\n{"name": "\' + call.function.name + \'", "arguments": \''
    " + (call.function.arguments | tojson) + '}\n</tool_call>' }}"
    "{%- endfor %}"
    "{{- (message.content or '') + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def write_llama(
    path: Path,
    *,
    template: str | None = CHAT_TEMPLATE,
    seed: int = 0,
    infill: bool = False,
    heads: int = 4,
    script: str | None = None,
) -> Path:
    """A chat model of 330,144 parameters in float32 (1.3 MB), trained for 2,048 tokens.

    `infill` gives it the tokens that mark what stands before and after a gap. With 3 `heads` each
    has 32 values, as the quantized caches need. With a `script` it is no noise: after a line break
    it says that text, and ends.
    """
    width, inner = LLAMA_WIDTH, 256
    words = _byte_words()
    tokens = [*words, "<|endoftext|>", "<|im_start|>", "<|im_end|>", words[32] + "t"]
    control = {256, 257, 258}
    tokens += [f"<|unused{number}|>" for number in range(len(tokens), 264)]
    if script is not None:
        tokens[SCRIPT_TOKEN] = script
    kinds = [3 if n in control else 5 if n > 259 else 1 for n in range(len(tokens))]

    out = gguf.GGUFWriter(path, "llama")
    out.add_name("tiny-llama")
    out.add_type("model")
    out.add_size_label("330K")
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_context_length(LLAMA_CONTEXT)
    out.add_embedding_length(width)
    out.add_block_count(LLAMA_LAYERS)
    out.add_feed_forward_length(inner)
    out.add_head_count(heads)
    out.add_head_count_kv(heads // 2)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_freq_base(10_000.0)
    out.add_rope_dimension_count(width // heads)
    out.add_vocab_size(len(tokens))
    if script is not None:
        kinds[SCRIPT_TOKEN] = gguf.TokenType.USER_DEFINED
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges([f"{words[32]} t"])
    out.add_bos_token_id(256)
    out.add_eos_token_id(258)
    out.add_eot_token_id(258)
    out.add_pad_token_id(256)
    out.add_add_bos_token(False)
    for name, number in FIM_TOKENS.items() if infill else ():
        out.add_uint32(f"tokenizer.ggml.fim_{name}_token_id", number)
    if template is not None:
        out.add_chat_template(template)
    weights = dict(_llama_weights(np.random.default_rng(seed), len(tokens), width, heads, inner))
    if script is not None:
        weights |= _scripted(weights, {ord("\n"): SCRIPT_TOKEN, SCRIPT_TOKEN: 258})
    return _write(out, weights, path)


def write_lora(path: Path, *, seed: int = 5) -> Path:
    """A LoRA adapter of rank 4 for the attention of `write_llama`, strong enough to be seen."""
    random = np.random.default_rng(seed)
    out = gguf.GGUFWriter(path, "llama")
    out.add_type("adapter")
    out.add_string("adapter.type", "lora")
    out.add_float32("adapter.lora.alpha", 4.0)
    weights: Weights = {}
    for block in range(LLAMA_LAYERS):
        for part in ("attn_q", "attn_output"):
            name = f"blk.{block}.{part}.weight"
            weights[f"{name}.lora_a"] = random.standard_normal((4, LLAMA_WIDTH)).astype(np.float32)
            weights[f"{name}.lora_b"] = random.standard_normal((LLAMA_WIDTH, 4)).astype(np.float32)
    return _write(out, weights, path)


def write_projector(path: Path) -> Path:
    """An image encoder for `write_llama`, of LLaVA's kind: 8 by 8 pixels become 4 embeddings."""
    width, inner = 16, 32
    random = np.random.default_rng(7)
    out = gguf.GGUFWriter(path, "clip")
    out.add_type("mmproj")
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_bool("clip.has_vision_encoder", True)
    out.add_string("clip.projector_type", "mlp")
    out.add_bool("clip.use_gelu", True)
    for name, value in (
        ("image_size", 8),
        ("patch_size", 4),
        ("embedding_length", width),
        ("feed_forward_length", inner),
        ("projection_dim", LLAMA_WIDTH),
        ("block_count", 1),
        ("attention.head_count", 2),
    ):
        out.add_uint32(f"clip.vision.{name}", value)
    out.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    out.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    out.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])

    def noise(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    weights: Weights = {
        "v.patch_embd.weight": noise(width, 3, 4, 4),
        "v.class_embd": noise(width),
        "v.position_embd.weight": noise(5, width),
    }
    shapes = {
        **{f"v.blk.0.attn_{part}": (width, width) for part in ("q", "k", "v", "out")},
        "v.blk.0.ffn_up": (inner, width),
        "v.blk.0.ffn_down": (width, inner),
        "mm.0": (LLAMA_WIDTH, width),
        "mm.2": (LLAMA_WIDTH, LLAMA_WIDTH),
    }
    for name, shape in shapes.items():
        weights |= {f"{name}.weight": noise(*shape), f"{name}.bias": noise(shape[0])}
    for name in ("v.pre_ln", "v.post_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        weights |= {f"{name}.weight": np.ones(width, np.float32), f"{name}.bias": noise(width)}
    return _write(out, weights, path)


def write_bert(path: Path, *, reranker: bool = False) -> Path:
    """An embedding model of 32 dimensions with mean pooling, for up to 128 tokens (109 kB).

    A `reranker` has a head in its place that scores a pair of texts.
    """
    layers, inner = 2, 64
    letters = [chr(n) for n in range(33, 127) if not chr(n).isupper()]
    # A piece that begins a word carries U+2581; one that continues it is bare.
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [f"\u2581{letter}" for letter in letters] + letters

    out = gguf.GGUFWriter(path, "bert")
    out.add_name("tiny-bert")
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_context_length(BERT_CONTEXT)
    out.add_embedding_length(BERT_WIDTH)
    out.add_block_count(layers)
    out.add_feed_forward_length(inner)
    out.add_head_count(2)
    out.add_layer_norm_eps(1e-12)
    out.add_causal_attention(False)
    out.add_pooling_type(gguf.PoolingType.RANK if reranker else gguf.PoolingType.MEAN)
    out.add_token_type_count(2)
    out.add_tokenizer_model("bert")
    out.add_tokenizer_pre("default")
    out.add_token_list(tokens)
    out.add_token_scores([-1000.0] * len(tokens))
    out.add_token_types([3 if number < 5 else 1 for number in range(len(tokens))])
    out.add_pad_token_id(0)
    out.add_unk_token_id(1)
    out.add_bos_token_id(2)
    out.add_eos_token_id(3)
    out.add_sep_token_id(3)
    out.add_mask_token_id(4)
    random = np.random.default_rng(1)
    weights = dict(_bert_weights(random, len(tokens), layers, inner))
    if reranker:
        for name, to in (("cls", BERT_WIDTH), ("cls.output", 1)):
            weights[f"{name}.weight"] = random.standard_normal((to, BERT_WIDTH)).astype(np.float32)
            weights[f"{name}.bias"] = np.zeros(to, np.float32)
    return _write(out, weights, path)


def write_hollow(path: Path, *, layers: int) -> Path:
    """A chat model whose weights are all zero: of real size in memory, and none on the disk.

    Each layer has 13 MB of weights in float16, and keeps 4 KB of each token.
    """
    width, inner = 1024, 2048
    words = _byte_words()
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(8192)
    out.add_embedding_length(width)
    out.add_block_count(layers)
    out.add_feed_forward_length(inner)
    out.add_head_count(16)
    out.add_head_count_kv(16)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(width // 16)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(words)
    out.add_token_types([1] * len(words))
    out.add_token_merges([f"{words[32]} t"])
    out.add_bos_token_id(0)
    out.add_eos_token_id(0)
    shapes = {"token_embd.weight": (len(words), width), "output_norm.weight": (width,)}
    for block in (f"blk.{number}." for number in range(layers)):
        shapes |= {f"{block}{norm}_norm.weight": (width,) for norm in ("attn", "ffn")}
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"{block}{part}.weight"] = (width, width)
        shapes[f"{block}ffn_gate.weight"] = shapes[f"{block}ffn_up.weight"] = (inner, width)
        shapes[f"{block}ffn_down.weight"] = (width, inner)
    for name, shape in shapes.items():
        kind = np.dtype(np.float32 if len(shape) == 1 else np.float16)
        out.add_tensor_info(name, shape, kind, int(np.prod(shape)) * kind.itemsize)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_ti_data_to_file()
    out.close()
    with path.open("r+b") as file:
        size = sum(-(-each.nbytes // 32) * 32 for each in out.tensors[0].values())
        file.truncate(-(-path.stat().st_size // 32) * 32 + size)
    return path


def _llama_weights(
    random: np.random.Generator, words: int, width: int, heads: int, inner: int
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    def noise(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.08).astype(np.float32)

    ones = np.ones(width, np.float32)
    yield "token_embd.weight", noise(words, width)  # The output is tied to it.
    yield "output_norm.weight", ones
    shared = width // heads * (heads // 2)
    for block in (f"blk.{number}." for number in range(LLAMA_LAYERS)):
        yield f"{block}attn_norm.weight", ones
        yield f"{block}attn_q.weight", noise(width, width)
        yield f"{block}attn_k.weight", noise(shared, width)
        yield f"{block}attn_v.weight", noise(shared, width)
        yield f"{block}attn_output.weight", noise(width, width)
        yield f"{block}ffn_norm.weight", ones
        yield f"{block}ffn_gate.weight", noise(inner, width)
        yield f"{block}ffn_up.weight", noise(inner, width)
        yield f"{block}ffn_down.weight", noise(width, inner)


def _scripted(weights: Weights, follows: dict[int, int]) -> Weights:
    """Layers that change nothing, and an output by which one token follows another."""
    tokens = weights["token_embd.weight"]
    changed = {
        name: np.zeros_like(values)
        for name, values in weights.items()
        if name.endswith(("attn_output.weight", "ffn_down.weight"))
    }
    output = np.zeros_like(tokens)
    for token, following in follows.items():
        output[following] = tokens[token]
    return {**changed, "output.weight": output}


def _bert_weights(
    random: np.random.Generator, words: int, layers: int, inner: int
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    def noise(*shape: int) -> NDArray[np.float32]:
        return (random.standard_normal(shape) * 0.1).astype(np.float32)

    def norm(name: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.weight", np.ones(BERT_WIDTH, np.float32)
        yield f"{name}.bias", np.zeros(BERT_WIDTH, np.float32)

    def linear(name: str, to: int, of: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
        yield f"{name}.weight", noise(to, of)
        yield f"{name}.bias", np.zeros(to, np.float32)

    yield "token_embd.weight", noise(words, BERT_WIDTH)
    yield "token_types.weight", noise(2, BERT_WIDTH)
    yield "position_embd.weight", noise(BERT_CONTEXT, BERT_WIDTH)
    yield from norm("token_embd_norm")
    for block in (f"blk.{number}." for number in range(layers)):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield from linear(f"{block}{part}", BERT_WIDTH, BERT_WIDTH)
        yield from norm(f"{block}attn_output_norm")
        yield from linear(f"{block}ffn_up", inner, BERT_WIDTH)
        yield from linear(f"{block}ffn_down", BERT_WIDTH, inner)
        yield from norm(f"{block}layer_output_norm")


def _write(out: gguf.GGUFWriter, weights: Weights, path: Path) -> Path:
    for name, values in weights.items():
        out.add_tensor(name, np.ascontiguousarray(values))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def _byte_words() -> list[str]:
    """GPT-2's character for each byte: itself where it can be printed, else from U+0100 on."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    words = {byte: chr(byte) for byte in shown}
    words |= {byte: chr(256 + number) for number, byte in enumerate(hidden)}
    return [words[byte] for byte in range(256)]
