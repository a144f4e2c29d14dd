"""Which of Ollama's files llama.cpp cannot run: by name, by what lies in them, by what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ollama_files import write_head

from pointsman.local.gguf_metadata import read_outline
from pointsman.local.ollama.architectures import UPSTREAM, patched, unusable_projector
from pointsman.local.ollama.contents import file_warnings

TOKEN = {"token_embd.weight": (4, 8)}
GEMMA = {"gemma3.attention.layer_norm_rms_epsilon": 1e-6, "tokenizer.ggml.tokens": ["a"] * 4}


def reason(path: Path, architecture: str, values: Any = None, tensors: Any = None) -> str | None:
    file = write_head(path / "m.gguf", architecture, values, tensors)
    return patched(read_outline(file))


@pytest.mark.parametrize(
    ("architecture", "instead"),
    [
        ("gptoss", "which llama.cpp calls 'gpt-oss'"),
        ("qwen25vl", "hf:ggml-org/Qwen2.5-VL-7B-Instruct-GGUF"),
        ("deepseekocr", "'deepseek2-ocr'"),
        ("glmocr", "'glm4'"),
        ("glm4moelite", "hf:unsloth/GLM-4.7-Flash-GGUF"),
        ("nemotron_h_omni", "'nemotron_h_moe'"),
        ("olmo3", "'olmo2'"),
        ("mllama", "which llama.cpp does not have"),
    ],
)
def test_ollamas_own_architectures(tmp_path: Path, architecture: str, instead: str) -> None:
    assert instead in (reason(tmp_path, architecture) or "")
    assert architecture not in UPSTREAM


@pytest.mark.parametrize(
    ("architecture", "values", "tensors", "said"),
    [
        ("llama4", {}, {**TOKEN, "v.patch_embd.weight": (2, 2)}, "tensor 'v.patch_embd.weight'"),
        ("mistral3", {}, {**TOKEN, "mm.0.weight": (2, 2)}, "tensor 'mm.0.weight'"),
        ("gemma3", GEMMA, {**TOKEN, "v.x": (2,)}, "hf:ggml-org/gemma-3-4b-it-GGUF"),
        ("gemma3", {}, TOKEN, "lacks the key 'gemma3.attention.layer_norm_rms_epsilon'"),
        ("gemma3", {**GEMMA, "gemma3.rope.local.freq_base": 1e4}, TOKEN, "rope.local.freq_base"),
        ("gemma3", {**GEMMA, "tokenizer.ggml.tokens": ["a"] * 5}, TOKEN, "5 words and 4 embeddings"),
        ("gemma3", GEMMA, {**TOKEN, "dense.0.weight": (2, 2)}, "embeddinggemma-300M-GGUF"),
        ("gemma3n", {}, {**TOKEN, "per_layer_token_embd.weight": (3, 8)}, "4 and 3 embeddings"),
        ("gemma4", {"tokenizer.ggml.model": "llama"}, TOKEN, "the wrong tokenizer"),
        ("qwen35", {"qwen35.rope.dimension_sections": [1, 2, 3]}, TOKEN, "three rope sections"),
        ("qwen35moe", {"qwen35moe.attention.head_count_kv": [0, 2]}, TOKEN, "layer by layer"),
        ("qwen35", {}, {**TOKEN, "mtp.fc.weight": (2, 2)}, "tensor 'mtp.fc.weight'"),
        ("qwen3next", {}, {**TOKEN, "blk.0.ssm_dt": (2,)}, "tensor 'blk.0.ssm_dt'"),
        ("qwen3vl", {}, TOKEN, "lacks the key 'qwen3vl.rope.dimension_sections'"),
        ("bert", {"tokenizer.ggml.precompiled_charsmap": ["a", "b"]}, TOKEN, "character map"),
        ("lfm2", {}, {**TOKEN, "output_norm.weight": (2,)}, "last norm"),
        ("laguna", {}, {**TOKEN, "blk.0.attn_g.weight": (2, 2)}, "blk.0.attn_g.weight"),
        ("mistral3", {"mistral3.rope.scaling_beta": 0.1}, TOKEN, "'mistral3.rope.scaling_beta'"),
        ("nemotron_h_moe", {}, {**TOKEN, "blk.1.ffn_latent_in.weight": (2, 2)}, "ffn_latent_in"),
    ],
)  # fmt: skip
def test_ollamas_own_layouts(
    tmp_path: Path, architecture: str, values: Any, tensors: Any, said: str
) -> None:
    found = reason(tmp_path, architecture, values, tensors) or ""
    assert said in found and "pull " in found
    assert architecture in UPSTREAM


@pytest.mark.parametrize(
    ("architecture", "values", "tensors"),
    [
        ("gemma3", GEMMA, {**TOKEN, "blk.0.attn_v.weight": (2, 2)}),
        ("gemma4", {"tokenizer.ggml.model": "gemma4"}, TOKEN),
        ("qwen35", {"qwen35.rope.dimension_sections": [1, 2, 3, 0]}, {"blk.0.ssm_dt.bias": (2,)}),
        ("qwen3vl", {"qwen3vl.rope.dimension_sections": [1, 2, 3, 0]}, TOKEN),
        ("bert", {"tokenizer.ggml.precompiled_charsmap": [1, 2]}, TOKEN),
        ("lfm2", {}, {"token_embd_norm.weight": (2,)}),
        ("mistral3", {"mistral3.rope.scaling.yarn_beta_fast": 1.0}, TOKEN),
        ("gpt-oss", {}, TOKEN),
        ("brand-new", {}, TOKEN),
        ("clip", {"clip.projector_type": "mlp"}, {"v.patch_embd.weight": (2, 2), "mm.0.weight": (2,)}),
    ],
)  # fmt: skip
def test_files_made_for_llama_cpp_are_fine(
    tmp_path: Path, architecture: str, values: Any, tensors: Any
) -> None:
    assert reason(tmp_path, architecture, values, tensors) is None


def test_a_real_model_is_fine(llama_file: Path, bert_file: Path) -> None:
    for path in (llama_file, bert_file):
        outline = read_outline(path)
        assert patched(outline) is None and file_warnings(outline) == ()


def test_projectors(tmp_path: Path) -> None:
    def why(architecture: str, values: Any) -> str | None:
        return unusable_projector(read_outline(write_head(tmp_path / "p", architecture, values)))

    assert why("clip", {"clip.projector_type": "mlp"}) is None
    assert why("clip", {"clip.vision.projector_type": "gemma3"}) is None
    assert "of which type" in (why("clip", {"clip.has_vision_encoder": True}) or "")
    assert "'mllama'" in (why("mllama", {}) or "")


def test_what_may_not_do_is_said(tmp_path: Path) -> None:
    values = {"tokenizer.chat_template": "x", "tokenizer.ggml.model": "gpt2"}
    (old,) = file_warnings(read_outline(write_head(tmp_path / "a", "llama", values)))
    assert "tokenizer.ggml.pre" in old
    values = {"tokenizer.chat_template": "x"}
    (new,) = file_warnings(read_outline(write_head(tmp_path / "b", "brand-new", values)))
    assert "did not know the architecture 'brand-new'" in new
