"""Ollama's parameters: each is a setting of llama.cpp, or a warning; none is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import RequestError
from pointsman.local.defaults import Defaults, Sampling
from pointsman.local.flags import check_flags
from pointsman.local.ollama.parameters import (
    PARAMETERS,
    defaults_of,
    layered,
    parameters_of,
    read_parameters,
)

# Each parameter, with a value that means something.
SET: dict[str, Any] = {
    "num_ctx": 4096, "num_predict": 100, "stop": ["<end>"], "temperature": 0.5, "top_p": 0.9,
    "top_k": 40, "min_p": 0.05, "typical_p": 0.9, "repeat_penalty": 1.1, "repeat_last_n": 64,
    "presence_penalty": 0.1, "frequency_penalty": 0.2, "mirostat": 2, "mirostat_tau": 5.0,
    "mirostat_eta": 0.1, "seed": 7, "num_gpu": 20, "main_gpu": 1, "num_thread": 8, "num_batch": 256,
    "num_keep": 4, "use_mmap": False, "use_mlock": True, "numa": True, "low_vram": True,
    "f16_kv": False, "rope_frequency_base": 1e6, "rope_frequency_scale": 0.5,
    "draft_num_predict": 4,
}  # fmt: skip


def test_every_parameter_is_a_setting_or_a_warning() -> None:
    defaults, warnings = defaults_of(SET)
    assert warnings == ()
    assert parameters_of(defaults) == SET
    lost = {name: row for name, row in PARAMETERS.items() if name not in SET}
    assert all(row.lost for row in lost.values())
    told = defaults_of({name: 3 if row.kind != "truth" else True for name, row in lost.items()})
    assert told[0] == Defaults()
    assert len(told[1]) == len(lost)


def test_what_they_become_are_options_that_the_engine_takes() -> None:
    flags = defaults_of(SET)[0].flags
    assert flags == {
        "n-gpu-layers": 20, "main-gpu": 1, "threads": 8, "batch-size": 256, "keep": 4,
        "mmap": False, "mlock": True, "numa": "distribute", "kv-offload": False,
        "cache-type-k": "f32", "cache-type-v": "f32", "rope-freq-base": 1e6,
        "rope-freq-scale": 0.5, "spec-draft-n-max": 4,
    }  # fmt: skip
    check_flags(flags, "worker")


def test_what_leaves_the_choice_to_ollama_leaves_it_to_llama_cpp() -> None:
    given = {
        "num_gpu": -1, "num_thread": 0, "num_batch": 0, "use_mlock": False, "numa": False,
        "low_vram": False, "f16_kv": True, "num_predict": -2, "tfs_z": 1.0, "vocab_only": False,
    }  # fmt: skip
    assert defaults_of(given) == (Defaults(), ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_ctx", 0),
        ("num_ctx", "4096"),
        ("num_ctx", 4096.5),
        ("num_ctx", True),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("use_mmap", 1),
        ("stop", [1]),
        ("stop", ""),
        ("stop", ["x"] * 65),
        ("num_gpu", -2),
    ],
)
def test_a_value_that_means_nothing_is_a_warning(name: str, value: Any) -> None:
    defaults, (warning,) = defaults_of({name: value})
    assert defaults == Defaults()
    assert f"'{name}' has no meaning" in warning


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert defaults_of({"num_ctx": 8192.0, "stop": "one"})[0] == Defaults(
        context_tokens=8192, stop=("one",)
    )


def test_what_is_set_anew_goes_over_the_parents() -> None:
    parent = Defaults(
        sampling=Sampling(temperature=0.5, top_k=20),
        context_tokens=4096,
        max_tokens=50,
        stop=("a",),
        system="s",
        flags={
            "n-gpu-layers": 10,
            "flash-attn": "on",
            "cache-type-k": "f32",
            "cache-type-v": "f32",
        },
    )
    child, warnings = layered(
        parent, {"temperature": 1, "num_predict": -1, "num_gpu": -1, "f16_kv": True, "odd": 1}
    )
    assert child == Defaults(
        sampling=Sampling(temperature=1.0, top_k=20),
        context_tokens=4096,
        stop=("a",),
        system="s",
        flags={"flash-attn": "on"},
    )
    assert warnings == ("the parameter 'odd' is unknown here and left out",)
    assert layered(parent, {}) == (parent, ())


def test_a_modelfiles_parameters_get_their_types() -> None:
    pairs = [("num_ctx", "4096"), ("top_p", ".9"), ("stop", "a"), ("stop", "b"), ("use_mmap", "F")]
    assert read_parameters(pairs) == {
        "num_ctx": 4096, "top_p": 0.9, "stop": ["a", "b"], "use_mmap": False,
    }  # fmt: skip
    for name, text, said in [
        ("num_ctx", "4k", "a whole number"),
        ("top_p", "high", "a number"),
        ("numa", "maybe", "true or false"),
    ]:
        with pytest.raises(RequestError, match=f"'{name}' is {said}, not '{text}'"):
            read_parameters([(name, text)])
    with pytest.raises(RequestError, match="no parameter 'num_ctxt' is known"):
        read_parameters([("num_ctxt", "1")])


@given(st.dictionaries(st.sampled_from([*PARAMETERS, "odd"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4)))  # fmt: skip
def test_whatever_a_params_blob_holds_nothing_is_lost(given: dict[str, Any]) -> None:
    defaults, warnings = defaults_of(given)
    again = defaults_of(parameters_of(defaults))
    assert again == (defaults, ())
    for name, value in given.items():
        row = PARAMETERS.get(name)
        told = any(f"'{name}'" in each for each in warnings)
        quiet = row is not None and (
            value in row.automatic or value in row.harmless or value == [] or name == "num_predict"
        )
        assert told or quiet or name in parameters_of(defaults)
