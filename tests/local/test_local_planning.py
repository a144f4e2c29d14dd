"""How a model is run: its context, what its own settings change, and what is said when it cannot fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pointsman.errors import LocalError
from pointsman.local import memory as memory_module
from pointsman.local.defaults import Defaults
from pointsman.local.gguf import GgufHead, read_head
from pointsman.local.planning import EngineSettings, Plan, plan_of
from pointsman.local.schedule import Memory
from pointsman.local.store import ConfiguredModel, LocalModel, ModelStore

PLENTY = Memory(2**40)


@pytest.fixture
def head(llama_file: Path) -> GgufHead:
    """A head that says it was trained for 32,768 tokens."""
    return msgspec.structs.replace(read_head(llama_file), context_tokens=32_768)


@pytest.fixture
def model(llama_file: Path) -> LocalModel:
    return ModelStore(Path("/nowhere"), {"m": ConfiguredModel(llama_file)}).get("m")


def with_defaults(model: LocalModel, **defaults: Any) -> LocalModel:
    return msgspec.structs.replace(model, defaults=Defaults(**defaults))


def planned(model: LocalModel, head: GgufHead, budget: Memory = PLENTY, **settings: Any) -> Plan:
    return plan_of(model, head, EngineSettings(**settings), budget)


def test_the_context_is_the_trained_one_where_it_fits(model: LocalModel, head: GgufHead) -> None:
    plan = planned(model, head)
    assert plan.order.context == 32_768
    assert plan.need == Memory(plan.footprint.total_bytes)


def test_else_it_is_the_largest_that_fits(model: LocalModel, head: GgufHead) -> None:
    full = planned(model, head).footprint.total_bytes
    plan = planned(model, head, Memory(full - 2**20))
    assert 8_192 <= plan.order.context < 32_768
    assert plan.footprint.total_bytes <= full - 2**20
    more = plan_of(
        with_defaults(model, context_tokens=plan.order.context + 2_048),
        head,
        EngineSettings(),
        PLENTY,
    )
    assert more.footprint.total_bytes > full - 2**20, "a larger one would not have fitted"


def test_never_under_8192_tokens_unless_asked(model: LocalModel, head: GgufHead) -> None:
    least = plan_of(with_defaults(model, context_tokens=8_192), head, EngineSettings(), PLENTY)
    budget = Memory(least.footprint.total_bytes - 1)
    with pytest.raises(LocalError, match=r"with a context of 8192 tokens .* would fit") as caught:
        planned(model, head, budget)
    assert "MiB may be used (local.memory_bytes)" in caught.value.message
    assert caught.value.status == 503
    asked = planned(with_defaults(model, context_tokens=1_024), head, budget)
    assert asked.order.context == 1_024


def test_what_fits_not_at_all_says_so(model: LocalModel, head: GgufHead) -> None:
    with pytest.raises(LocalError, match="choose a smaller model or quantization"):
        planned(model, head, Memory(1_000))


def test_the_models_own_settings_go_first(model: LocalModel, head: GgufHead) -> None:
    own = msgspec.structs.replace(
        with_defaults(model, context_tokens=512, flags={"cache-type-k": "q8_0"}),
        slots=2,
        idle_s=-1.0,
    )
    plan = planned(own, head, context_tokens=4_096, slots=8, idle_s=9.0)
    assert (plan.order.context, plan.order.slots, plan.idle_s) == (512, 2, -1.0)
    assert plan.order.flags["cache-type-k"] == "q8_0"
    wide = planned(with_defaults(model, context_tokens=512), head, slots=2)
    assert plan.footprint.cache_bytes < wide.footprint.cache_bytes
    assert planned(model, head, context_tokens=4_096).order.context == 4_096


def test_a_graphics_card_takes_what_fits_there(model: LocalModel, head: GgufHead) -> None:
    plan = planned(model, head, Memory(2**40, 2**40))
    assert plan.need.ram_bytes == plan.footprint.base_bytes
    assert plan.need.ram_bytes + plan.need.vram_bytes == plan.footprint.total_bytes
    small = planned(model, head, Memory(2**40, 2**20))
    assert small.need.vram_bytes == 2**20


@pytest.mark.parametrize(
    ("flags", "loading"),
    [
        ({}, {"mmap": False}),
        ({"mmap": True}, {"mmap": True}),
        ({"no-mmap": True}, {"no-mmap": True}),
        ({"load-mode": "mmap"}, {"load-mode": "mmap"}),
    ],
)
def test_a_file_that_would_be_held_twice_is_read_not_mapped(
    model: LocalModel,
    head: GgufHead,
    monkeypatch: pytest.MonkeyPatch,
    flags: dict[str, Any],
    loading: dict[str, Any],
) -> None:
    # As if the processor had every type of tensor in another layout.
    every = frozenset(kind for kind, _ in head.shape.weights.by_type)
    monkeypatch.setattr(memory_module, "repacked_types", lambda: every)
    plan = planned(with_defaults(model, flags=flags), head)
    names = ("mmap", "no-mmap", "load-mode")
    assert {name: plan.order.flags[name] for name in names if name in plan.order.flags} == loading
    on_card = planned(with_defaults(model, flags=flags), head, Memory(2**40, 2**40))
    assert {n: on_card.order.flags[n] for n in names if n in on_card.order.flags} == flags


def test_an_option_by_another_name_is_not_given_twice(model: LocalModel, head: GgufHead) -> None:
    plan = planned(with_defaults(model, flags={"swa-checkpoints": 7}), head)
    assert plan.order.flags == {"swa-checkpoints": 7}


def test_an_embedding_model_takes_its_trained_context_in_one_piece(bert_file: Path) -> None:
    model = ModelStore(Path("/nowhere"), {"b": ConfiguredModel(bert_file)}).get("b")
    plan = planned(model, read_head(bert_file), slots=8)
    assert (plan.order.embedding, plan.order.slots) == (True, 1)
    assert plan.order.context == read_head(bert_file).context_tokens


def test_an_embedding_model_trained_for_long_texts_is_held_to_shorter_ones(bert_file: Path) -> None:
    model = ModelStore(Path("/nowhere"), {"b": ConfiguredModel(bert_file)}).get("b")
    head = msgspec.structs.replace(read_head(bert_file), context_tokens=32_768)
    plan = planned(model, head)
    assert plan.order.context == 8_192
    tight = planned(model, head, Memory(plan.footprint.total_bytes - 2**20))
    assert 512 <= tight.order.context < 8_192
    assert planned(with_defaults(model, context_tokens=16_384), head).order.context == 16_384


def test_no_checkpoints_at_all_may_be_asked_for(model: LocalModel, head: GgufHead) -> None:
    plan = planned(with_defaults(model, flags={"ctx-checkpoints": 0}), head)
    assert plan.order.flags["ctx-checkpoints"] == 0
