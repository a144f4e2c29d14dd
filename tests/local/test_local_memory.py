"""What a model will hold: the engine's own figures for known shapes, and the real process's size.

The figures are what llama.cpp b11549 reported for files of these shapes (`bench/local_memory.py`),
in MiB; a cache must be right to the byte, buffers within a tenth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_gguf
from hypothesis import given
from hypothesis import strategies as st

from pointsman.local.backend import start_worker
from pointsman.local.child import Order
from pointsman.local.gguf import GgufHead, read_head
from pointsman.local.graph import compute_bytes
from pointsman.local.kv_cache import Cache, cache_bytes
from pointsman.local.memory import (
    BASE_BYTES,
    Footprint,
    largest_context,
    maps_well,
    predict,
    repacked_bytes,
)
from pointsman.local.shape import Shape, Weights

MIB = 1024 * 1024
NOTHING: frozenset[int] = frozenset()


def head(architecture: str, shape: Shape, *, size_bytes: int = 100 * MIB) -> GgufHead:
    return GgufHead(
        version=3,
        architecture=architecture,
        name=None,
        size_label=None,
        file_type=None,
        context_tokens=32768,
        pooling=None,
        has_chat_template=True,
        template_takes_tools=False,
        parts=1,
        tensors=1,
        parameters=1,
        size_bytes=size_bytes,
        shape=shape,
    )


def decoder(
    width: int, layers: int, heads: int, kv_heads: int, inner: int, **more: Any
) -> dict[str, Any]:
    return {
        "block_count": layers,
        "embedding_length": width,
        "head_count": (heads,) * layers,
        "head_count_kv": (kv_heads,) * layers,
        "feed_forward_length": (inner,) * layers,
        **more,
    }


SMOLLM2 = head("llama", Shape(**decoder(576, 30, 9, 3, 1536)))
LLAMA_8B = head("llama", Shape(**decoder(4096, 32, 32, 8, 14336)))
QWEN3_30B = head(
    "qwen3moe",
    Shape(
        **decoder(2048, 48, 32, 4, 6144, key_length=128, value_length=128),
        expert_count=128,
        expert_used_count=8,
        expert_feed_forward_length=768,
    ),
)
GEMMA3_4B = head(
    "gemma3",
    Shape(**decoder(2560, 34, 8, 4, 10240, key_length=256, value_length=256), sliding_window=1024),
)
GPT_OSS_20B = head(
    "gpt-oss",
    Shape(
        **decoder(2880, 24, 64, 8, 2880, key_length=64, value_length=64),
        sliding_window=128,
        expert_count=32,
        expert_used_count=4,
        expert_feed_forward_length=2880,
    ),
)
DEEPSEEK2 = head(
    "deepseek2",
    Shape(
        **decoder(1024, 10, 8, 1, 2816, key_length=576, value_length=512),
        key_length_mla=192,
        value_length_mla=128,
        expert_count=8,
        expert_used_count=2,
        expert_feed_forward_length=512,
        leading_dense_block_count=1,
    ),
)
LFM2 = head(
    "lfm2",
    Shape(
        **{
            **decoder(1024, 16, 16, 8, 4608),
            "head_count_kv": tuple(8 if n % 3 == 2 else 0 for n in range(16)),
        },
        shortconv_l_cache=3,
    ),
)
MAMBA = head(
    "mamba",
    Shape(
        block_count=48,
        embedding_length=1024,
        feed_forward_length=(0,) * 48,
        head_count=(0,) * 48,
        head_count_kv=(0,) * 48,
        ssm_conv_kernel=4,
        ssm_inner_size=2048,
        ssm_state_size=16,
    ),
)
BERT = head("bert", Shape(**decoder(768, 12, 12, 12, 3072)))


@pytest.mark.parametrize(
    ("model", "context", "slots", "ubatch", "cache_mib", "compute_mib"),
    [
        (SMOLLM2, 2048, 1, 512, 45.0, 16.64),
        (SMOLLM2, 32768, 4, 512, 720.0, 46.64),
        (SMOLLM2, 8192, 4, 128, 180.0, 5.66),
        (LLAMA_8B, 8192, 4, 512, 1024.0, 132.02),
        (QWEN3_30B, 8192, 4, 512, 768.0, 96.02),
        (GEMMA3_4B, 2048, 1, 512, 214.0, 88.53),
        (GEMMA3_4B, 32768, 4, 512, 1162.0, 121.53),
        (GEMMA3_4B, 8192, 4, 128, 653.0, 24.32),
        (GPT_OSS_20B, 8192, 4, 512, 216.0, 104.65),
        (DEEPSEEK2, 8192, 4, 512, 90.0, 38.01),
        (LFM2, 32768, 4, 512, 320.34375, 69.02),
        (MAMBA, 2048, 1, 512, 7.125, 30.16),
        (MAMBA, 32768, 4, 512, 28.5, 30.6),
        (BERT, 512, 1, 512, 0.0, 14.01),
    ],
    ids=lambda value: value.architecture if isinstance(value, GgufHead) else None,
)
def test_the_sums_are_what_the_engine_reports(
    model: GgufHead, context: int, slots: int, ubatch: int, cache_mib: float, compute_mib: float
) -> None:
    cache = Cache(context, slots, ubatch)
    assert cache_bytes(model, cache) / MIB == cache_mib
    # No vocabulary here, so no answers: what is left is the graph, and a batch's copy.
    assert compute_bytes(model, cache, embedding=False) / MIB == pytest.approx(compute_mib, rel=0.1)


@pytest.mark.parametrize(
    ("model", "context", "cache_mib", "compute_mib"),
    [
        (SMOLLM2, 8192, 180.0, 167.51),
        (LLAMA_8B, 8192, 1024.0, 580.01),
        (GEMMA3_4B, 8192, 334.0, 184.02),
        (GPT_OSS_20B, 8192, 210.0, 1089.64),
    ],
)
def test_without_flash_attention_all_scores_are_held(
    model: GgufHead, context: int, cache_mib: float, compute_mib: float
) -> None:
    cache = Cache(context, 1, 512, flash_attention=False)
    assert cache_bytes(model, cache) / MIB == cache_mib
    assert compute_bytes(model, cache, embedding=False) / MIB == pytest.approx(compute_mib, rel=0.1)


def test_a_quantized_cache_is_smaller_by_its_blocks() -> None:
    whole = cache_bytes(SMOLLM2, Cache(8192, 1, 512))
    assert cache_bytes(SMOLLM2, Cache(8192, 1, 512, keys="q8_0", values="q8_0")) == whole * 34 // 64
    mixed = cache_bytes(SMOLLM2, Cache(8192, 1, 512, keys="q8_0", values="q4_0"))
    assert mixed == whole * (34 + 18) // 128


def test_windows_are_kept_whole_on_request() -> None:
    assert cache_bytes(GEMMA3_4B, Cache(8192, 1, 512, full_windows=True)) == 34 * 8192 * 4096


def test_checkpoints_count_for_each_slot_and_only_what_cannot_be_rolled_back() -> None:
    def added(model: GgufHead) -> int:
        without = cache_bytes(model, Cache(8192, 4, 512))
        return cache_bytes(model, Cache(8192, 4, 512, checkpoints=2)) - without

    # 29 of its 34 layers have windows, of 1,024 tokens with keys and values of 1,024 float16 each.
    assert added(GEMMA3_4B) == 4 * 2 * 29 * 1024 * 2 * 1024 * 2
    assert added(MAMBA) == 4 * 2 * int(7.125 * MIB)
    assert added(SMOLLM2) == 0


@pytest.mark.parametrize(
    ("architecture", "more", "windowed"),
    [
        ("gemma3", {}, [1, 1, 1, 1, 1, 0]),
        ("gemma2", {}, [1, 0, 1, 0, 1, 0]),
        ("gpt-oss", {}, [1, 0, 1, 0, 1, 0]),
        ("cohere2moe", {}, [0, 1, 1, 1, 0, 1]),
        ("gemma3", {"window_layers": 2}, [1, 0, 1, 0, 1, 0]),
        ("gemma4", {"window_layers": (1, 1, 0, 1, 1, 0)}, [1, 1, 0, 1, 1, 0]),
        ("phi3", {}, [0] * 6),
        ("llama", {}, [0] * 6),
        ("gemma3", {"sliding_window": 0}, [0] * 6),
    ],
)
def test_which_layers_have_windows(
    architecture: str, more: dict[str, Any], windowed: list[int]
) -> None:
    shape = Shape(**{**decoder(64, 6, 4, 2, 128), "sliding_window": 256, **more})
    row_bytes = 2 * 2 * 16 * 2
    found = cache_bytes(head(architecture, shape), Cache(8192, 1, 256))
    assert found == sum(512 if each else 8192 for each in windowed) * row_bytes


def test_layers_that_share_or_foretell_keep_nothing_of_their_own() -> None:
    plain = cache_bytes(head("llama", Shape(**decoder(64, 6, 4, 2, 128))), Cache(1024, 1, 256))
    for more in ({"shared_kv_layers": 2}, {"nextn_predict_layers": 2}):
        shape = Shape(**decoder(64, 6, 4, 2, 128), **more)
        assert cache_bytes(head("llama", shape), Cache(1024, 1, 256)) * 3 == plain * 2


@pytest.mark.parametrize(
    ("architecture", "more", "attending", "recurrent"),
    [
        ("qwen3next", {}, 2, 6),
        ("qwen3next", {"full_attention_interval": 2}, 4, 4),
        ("qwen35", {"recurrent_layers": (1, 1, 1, 1, 1, 1, 1, 0)}, 1, 7),
        ("falcon-h1", {}, 8, 8),
        ("jamba", {"head_count_kv": (0, 0, 0, 2) * 2}, 2, 6),
        ("granitehybrid", {"head_count_kv": (0, 2) * 4}, 4, 4),
        (
            "nemotron_h",
            {"head_count_kv": (0, 0, 2, 0) * 2, "feed_forward_length": (0, 128, 0, 128) * 2},
            2,
            2,
        ),
        ("mamba2", {}, 0, 8),
    ],
)
def test_which_layers_keep_a_state(
    architecture: str, more: dict[str, Any], attending: int, recurrent: int
) -> None:
    measures: dict[str, Any] = {
        **decoder(64, 8, 4, 2, 128),
        "ssm_conv_kernel": 4,
        "ssm_inner_size": 128,
        "ssm_state_size": 16,
        "ssm_group_count": 1,
        **more,
    }
    state_bytes = (3 * (128 + 2 * 16) + 16 * 128) * 4
    row_bytes = 2 * 2 * 16 * 2
    found = cache_bytes(head(architecture, Shape(**measures)), Cache(1024, 3, 256))
    assert found == attending * 1024 * row_bytes + 3 * recurrent * state_bytes


def test_states_of_other_kinds() -> None:
    rwkv = Shape(**decoder(64, 2, 4, 4, 128), wkv_head_size=16, token_shift_count=2)
    assert cache_bytes(head("rwkv6", rwkv), Cache(1024, 1, 256)) == 2 * (2 + 16) * 64 * 4
    kimi = Shape(
        **{**decoder(64, 2, 4, 0, 128), "head_count_kv": (0, 0)}, ssm_conv_kernel=4, kda_head_dim=8
    )
    assert cache_bytes(head("kimi-linear", kimi), Cache(1024, 1, 256)) == 2 * 4 * 8 * (9 + 8) * 4


def test_repacked_weights_are_held_twice_if_the_file_is_mapped() -> None:
    weights = Weights(
        bytes=90 * MIB,
        embedding_bytes=10 * MIB,
        tied=False,
        by_type=((0, MIB), (12, 79 * MIB), (14, 10 * MIB)),
        embedding_type=12,
    )
    model = head("llama", Shape(weights=weights))
    types = frozenset((2, 12))
    assert repacked_bytes(model, types) == 69 * MIB
    assert predict(model, context_tokens=256, slots=1, repacked=types).weights_bytes == 169 * MIB
    read = predict(model, context_tokens=256, slots=1, repacked=types, mmap=False)
    assert read.weights_bytes == 100 * MIB
    assert not maps_well(model, types)
    assert maps_well(model, NOTHING)


def test_what_comes_beside_the_model_counts() -> None:
    plain = predict(SMOLLM2, context_tokens=2048, slots=1, repacked=NOTHING)
    more = predict(
        SMOLLM2, context_tokens=2048, slots=1, repacked=NOTHING, extra_weights_bytes=7 * MIB
    )
    assert more.total_bytes - plain.total_bytes == 7 * MIB


def test_a_vocabulary_costs_its_texts_and_its_answers() -> None:
    def of(words: int, slots: int) -> Footprint:
        shape = Shape(**decoder(64, 2, 4, 2, 128), weights=Weights(vocabulary=words), tokens=words)
        return predict(head("llama", shape), context_tokens=256, slots=slots, repacked=NOTHING)

    assert of(0, 1).base_bytes == BASE_BYTES
    assert of(100_000, 1).base_bytes - BASE_BYTES == pytest.approx(18 * MIB, rel=0.02)
    assert of(100_000, 8).compute_bytes > of(100_000, 1).compute_bytes + 7 * 16 * 100_000


def test_an_embedding_model_has_room_for_every_words_score_after_each_token() -> None:
    def of(words: int) -> int:
        shape = Shape(**decoder(768, 12, 12, 12, 3072), weights=Weights(vocabulary=words))
        return compute_bytes(head("bert", shape), Cache(512, 1, 512), embedding=True)

    # Measured: 53 MiB more for 448 tokens of a vocabulary of 30,522.
    assert of(30_522) - of(0) == 512 * 30_522 * 4


@given(
    budget=st.integers(0, 2_000),
    most=st.integers(1, 40_000),
    least=st.integers(1, 40_000),
    model=st.sampled_from([SMOLLM2, GEMMA3_4B, MAMBA]),
)
def test_the_largest_context_fits_and_the_next_does_not(
    budget: int, most: int, least: int, model: GgufHead
) -> None:
    def total(context: int) -> int:
        return predict(model, context_tokens=context, slots=2, repacked=NOTHING).total_bytes

    found = largest_context(model, budget * MIB, most=most, least=least, slots=2, repacked=NOTHING)
    if found is None:
        assert least > most or total(least) > budget * MIB
        return
    assert min(least, most) <= found <= most
    assert found % 256 == 0 or found in (most, least)
    assert total(found) <= budget * MIB
    if found < most // 256 * 256:
        assert total(found // 256 * 256 + 256) > budget * MIB


def test_a_file_gives_its_own_shape(llama_file: Path, bert_file: Path) -> None:
    llama = predict(read_head(llama_file), context_tokens=512, slots=1, repacked=NOTHING)
    assert llama.weights_bytes == llama_file.stat().st_size
    assert llama.cache_bytes == 3 * 512 * 2 * 48 * 2
    bert = predict(
        read_head(bert_file), context_tokens=128, slots=1, embedding=True, repacked=NOTHING
    )
    assert bert.cache_bytes == 0


async def test_the_prediction_holds_for_a_real_process(tmp_path: Path) -> None:
    """A model of 160 MB whose weights are zero, with a cache of 96 MB: made in a moment."""
    pytest.importorskip("xllamacpp")
    path = tiny_gguf.write_hollow(tmp_path / "hollow.gguf", layers=12)
    model = read_head(path)
    order = Order(alias="hollow", path=str(path), context=2048, slots=2, threads=1, embedding=False)
    child = await start_worker(order, 60.0)
    try:
        resident_bytes = child.resident_bytes()
    finally:
        await child.stop()
    if resident_bytes is None:
        pytest.skip("the system does not say what a process holds")
    found = predict(model, context_tokens=2048, slots=2)
    # Its buffers fill with the first prompts, which a slow machine need not compute here.
    assert resident_bytes + found.compute_bytes == pytest.approx(found.total_bytes, rel=0.1)
    assert found.total_bytes > 250 * MIB
