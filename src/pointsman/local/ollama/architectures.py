"""Which of Ollama's model files llama.cpp can run as they are.

Ollama's own converter writes some models in ways of its own, and its build of llama.cpp is patched
to read them. Nothing is patched here, so such a file is named, with where to find one that is not.

Source: llama/compat of ollama/ollama, v0.40, which lists what that patch mends; the architectures of
llama.cpp (src/llama-arch.cpp), b11549.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pointsman.local.gguf_metadata import STRING, ArrayShape, GgufOutline

__all__ = [
    "EMBEDDING",
    "NEEDS_OLLAMA",
    "UPSTREAM",
    "patched",
    "pick_projector",
    "unusable_projector",
]

# A warning of a model that begins so says that llama.cpp cannot run it.
# llama.cpp's name of the kind of tokenizer.
SENTENCEPIECE = "llama"
NEEDS_OLLAMA = "needs Ollama's own engine: "

UPSTREAM = frozenset(
    """
    afmoe apertus arcee arctic arwkv7 baichuan bailingmoe bailingmoe2 bailingmoe3 bert bitnet bloom
    chameleon chatglm codeshell cogvlm cohere2 cohere2moe command-r dbrx deci deepseek deepseek2
    deepseek2-ocr deepseek32 deepseek4 dflash dots1 dots3note dream eagle3 ernie4_5 ernie4_5-moe
    eurobert exaone exaone-moe exaone4 falcon falcon-h1 gemma gemma-embedding gemma-embedding2 gemma2
    gemma3 gemma3n gemma4 gemma4-assistant glm-dsa glm4 glm4moe glm5-next gpt-oss gpt2 gptj gptneox
    granite granite_swa granitehybrid granitemoe graniteswitch grok grovemoe hrm_text hunyuan-dense
    hunyuan-moe hunyuan_vl hy_v3 hy_v4 internlm2 jais jais2 jamba jina-bert-v2 jina-bert-v3 k2-horizon
    kimi-k3 kimi-linear laguna lfm2 lfm2moe llada llada-moe llama llama-embed llama4 maincoder mamba
    mamba2 maple mellum mimo2 minicpm minicpm3 minimax-01 minimax-m2 mistral3 mistral4 modern-bert mpt
    nanbeige nemotron nemotron_h nemotron_h_moe neo-bert nomic-bert nomic-bert-moe olmo olmo2 olmoe
    openelm orion paddleocr pangu-embedded phi2 phi3 phimoe plamo plamo2 plamo3 plm pockettts qwen qwen2
    qwen2moe qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3tts qwen3vl qwen3vlmoe qwen4exp refact
    rnd1 rwkv6 rwkv6qwen2 rwkv7 seed_oss smallthinker smollm3 spark2_5 stablelm starcoder starcoder2
    step35 t5 t5encoder talkie wavtokenizer-dec xverse
    """.split()  # noqa: SIM905  # as a list it would be 150 lines
)

# Those that make vectors, and take no chat; their files seldom say so.
EMBEDDING = frozenset(
    ("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert",
     "neo-bert", "eurobert", "gemma-embedding", "gemma-embedding2", "llama-embed", "t5encoder")
)  # fmt: skip

# Ollama's name for an architecture → llama.cpp's, nothing where it has none.
_OWN_NAMES = {
    "gptoss": "gpt-oss",
    "qwen25vl": "qwen2vl",
    "deepseekocr": "deepseek2-ocr",
    "glmocr": "glm4",
    "glm4moelite": "deepseek2",
    "nemotron_h_omni": "nemotron_h_moe",
    "olmo3": "olmo2",
    "mllama": "",
}

# Where files for llama.cpp are, of those that are known to be there.
_INSTEAD = {
    "gptoss": "hf:ggml-org/gpt-oss-20b-GGUF or hf:ggml-org/gpt-oss-120b-GGUF",
    "qwen25vl": "hf:ggml-org/Qwen2.5-VL-7B-Instruct-GGUF (also 3B, 32B, 72B)",
    "gemma3": "hf:ggml-org/gemma-3-4b-it-GGUF (also 1b, 12b, 27b)",
    "gemma3n": "hf:ggml-org/gemma-3n-E4B-it-GGUF",
    "gemma4": "hf:ggml-org/gemma-4-E4B-it-GGUF (also E2B, 26B-A4B)",
    "mistral3": "hf:ggml-org/Mistral-Small-3.1-24B-Instruct-2503-GGUF",
    "llama4": "hf:ggml-org/Llama-4-Scout-17B-16E-Instruct-GGUF",
    "qwen3vl": "hf:unsloth/Qwen3-VL-8B-Instruct-GGUF",
    "qwen35": "hf:unsloth/Qwen3.5-9B-GGUF",
    "qwen35moe": "hf:unsloth/Qwen3.5-35B-A3B-GGUF",
    "glm4moelite": "hf:unsloth/GLM-4.7-Flash-GGUF",
    "embeddinggemma": "hf:ggml-org/embeddinggemma-300M-GGUF",
}

# The names that projectors have for their tensors; none of llama.cpp's models has such a one.
_TOWER = ("v.", "mm.", "model.vision_tower.")


def patched(outline: GgufOutline) -> str | None:
    """Give why llama.cpp cannot run the file, and what to pull instead; None if nothing is known.

    Pure. An architecture that neither knows is no reason: a newer llama.cpp may know it.
    """
    architecture = outline.architecture
    kind, why = architecture, None
    if architecture in _OWN_NAMES:
        name = _OWN_NAMES[architecture]
        instead = f"which llama.cpp calls '{name}'" if name else "which llama.cpp does not have"
        why = f"its architecture is '{architecture}', {instead}, and lays out otherwise"
    elif architecture == "gemma3" and "dense.0.weight" in outline.tensors:
        kind, why = "embeddinggemma", "it is an embedding model that says it is a chat model"
    elif architecture != "clip":
        why = _tower(outline) or _layout(outline)
    return None if why is None else f"{why}; {_instead(kind)}"


def unusable_projector(outline: GgufOutline) -> str | None:
    """Give why llama.cpp cannot load a projector; None if nothing is known. Pure."""
    named = ("clip.projector_type", "clip.vision.projector_type", "clip.audio.projector_type")
    if outline.architecture == "clip" and not any(key in outline.values for key in named):
        return "its projector does not say of which type it is"
    if outline.architecture not in ("clip", ""):
        return f"its projector is for Ollama's own engine ('{outline.architecture}')"
    return None


def pick_projector(outlines: Sequence[GgufOutline]) -> tuple[int | None, tuple[str, ...]]:
    """Give which of a model's projectors llama.cpp can load, and what to say of the others. Pure."""
    usable, told = None, []
    for number, outline in enumerate(outlines):
        why = unusable_projector(outline)
        if why is not None:
            told.append(f"it answers on text alone: {why}")
        elif usable is None:
            usable = number
        else:
            told.append("it has more than one projector, and llama.cpp takes one")
    return usable, tuple(told)


def _instead(kind: str) -> str:
    known = _INSTEAD.get(kind)
    if known is not None:
        return f"pull {known} instead"
    return "pull a GGUF that was made for llama.cpp instead, such as one of hf:ggml-org/ or hf:unsloth/"


def _tower(outline: GgufOutline) -> str | None:
    name = next((each for each in outline.tensors if each.startswith(_TOWER)), None)
    if name is None:
        return None
    return (
        f"its vision tower lies in the model file (tensor '{name}'), where llama.cpp wants a"
        " projector file of its own"
    )


def _layout(outline: GgufOutline) -> str | None:
    rule = _LAYOUTS.get(outline.architecture)
    found = None if rule is None else rule(outline)
    return None if found is None else f"it is laid out for Ollama: {found}"


def _key(outline: GgufOutline, *names: str) -> str | None:
    """The first of the keys that is there, said as a reason."""
    prefix = outline.architecture
    found = next((each for each in names if f"{prefix}.{each}" in outline.values), None)
    return None if found is None else f"it has the key '{prefix}.{found}'"


def _lacks(outline: GgufOutline, name: str) -> str | None:
    key = f"{outline.architecture}.{name}"
    return None if key in outline.values else f"it lacks the key '{key}'"


def _tensor(outline: GgufOutline, *ends: str) -> str | None:
    found = next(
        (name for name in outline.tensors if name.startswith("mtp.") or name.endswith(ends)), None
    )
    return None if found is None else f"it has the tensor '{found}'"


def _rows(outline: GgufOutline, tensor: str) -> int | None:
    shape = outline.tensors.get(tensor, ())
    return shape[1] if len(shape) == 2 else None


def _gemma3(outline: GgufOutline) -> str | None:
    tokens = outline.values.get("tokenizer.ggml.tokens")
    rows = _rows(outline, "token_embd.weight")
    if isinstance(tokens, ArrayShape) and rows is not None and tokens.length != rows:
        return f"it has {tokens.length} words and {rows} embeddings"
    return _key(
        outline, "rope.global.freq_base", "rope.local.freq_base", "mm.tokens_per_image"
    ) or _lacks(outline, "attention.layer_norm_rms_epsilon")


def _gemma3n(outline: GgufOutline) -> str | None:
    rows = _rows(outline, "token_embd.weight"), _rows(outline, "per_layer_token_embd.weight")
    return (
        None if None in rows or rows[0] == rows[1] else f"it has {rows[0]} and {rows[1]} embeddings"
    )


def _gemma4(outline: GgufOutline) -> str | None:
    wrong = outline.text("tokenizer.ggml.model") == SENTENCEPIECE
    return f"it names the wrong tokenizer, '{SENTENCEPIECE}'" if wrong else None


def _qwen35(outline: GgufOutline) -> str | None:
    sections = outline.values.get(f"{outline.architecture}.rope.dimension_sections")
    if isinstance(sections, ArrayShape) and sections.length == 3:
        return "it has three rope sections, where four are due"
    heads = outline.values.get(f"{outline.architecture}.attention.head_count_kv")
    if isinstance(heads, ArrayShape):
        return "it gives the key heads layer by layer"
    return _tensor(outline, ".ssm_dt")


def _bert(outline: GgufOutline) -> str | None:
    charsmap = outline.values.get("tokenizer.ggml.precompiled_charsmap")
    wrong = isinstance(charsmap, ArrayShape) and charsmap.kind == STRING
    return "its tokenizer's character map is texts, not bytes" if wrong else None


def _lfm2(outline: GgufOutline) -> str | None:
    tensors = outline.tensors
    old = "output_norm.weight" in tensors and "token_embd_norm.weight" not in tensors
    return "its last norm has another name" if old else None


def _qwen3vl(outline: GgufOutline) -> str | None:
    return _lacks(outline, "rope.dimension_sections")


_LAYOUTS: dict[str, Callable[[GgufOutline], str | None]] = {
    "gemma3": _gemma3,
    "gemma3n": _gemma3n,
    "gemma4": _gemma4,
    "qwen35": _qwen35,
    "qwen35moe": _qwen35,
    "qwen3next": lambda outline: _tensor(outline, ".ssm_dt"),
    "qwen3vl": _qwen3vl,
    "qwen3vlmoe": _qwen3vl,
    "bert": _bert,
    "lfm2": _lfm2,
    "laguna": lambda outline: (
        _key(outline, "rope.swa.dimension_count", "rope.swa.freq_base")
        or _tensor(outline, ".attn_g.weight")
    ),
    "mistral3": lambda outline: _key(
        outline, "rope.scaling.beta_fast", "rope.scaling.mscale_all_dim", "rope.scaling_beta"
    ),
    "nemotron_h_moe": lambda outline: _tensor(outline, ".ffn_latent_in.weight"),
}
