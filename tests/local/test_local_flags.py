"""Options of llama.cpp: what is taken, what is refused and why, and what each engine is given."""

from __future__ import annotations

import re
import stat
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pointsman.errors import ConfigError, LocalError
from pointsman.local.backend import server_arguments, worker_order
from pointsman.local.child import Order
from pointsman.local.defaults import Sampling
from pointsman.local.flag_forms import arguments_of, attributes_of, merged, settled
from pointsman.local.flag_table import FLAGS, canonical
from pointsman.local.flags import check_flags, known_flags, options_of_help

# As builds of llama-server print it: several names, long heads, removed ones, prose with dashes.
HELP = """\
----- common params -----

-h,    --help, --usage                  print usage and exit
-t,    --threads N                      number of CPU threads to use during generation (default: -1)
                                        (env: LLAMA_ARG_THREADS)
-m,    --model FNAME                    model path to load
-kvo,  --kv-offload, -nkvo, --no-kv-offload
                                        whether to enable KV cache offloading (default: enabled)
--swa-full                              use full-size SWA cache; see --other-option
-ctk,  --cache-type-k TYPE              KV cache data type for K
                                        allowed values: f32, f16
-lm,   --load-mode MODE                 model loading mode (default: auto)
                                        --not-an-option
--spec-draft-model, -md, --model-draft FNAME
                                        draft model for speculative decoding
--spec-type none,draft-simple           types
--draft, --draft-n, --draft-max N       the argument has been removed. use --spec-draft-n-max
--draft-min, --draft-n-min N
                                        the argument has been removed. use --spec-draft-n-min
--spec-draft-n-max N                    number of tokens to draft
--fresh-idea N                          an option that this package has never heard of
--fresh-switch, --no-fresh-switch       another one
"""
KNOWN = options_of_help(HELP)
ORDER = Order("tiny", "/m.gguf", context=512, slots=1, threads=2, embedding=False)


def order(**changes: Any) -> Order:
    fields = {name: getattr(ORDER, name) for name in Order.__struct_fields__}
    return Order(**(fields | changes))


def test_a_help_text_gives_the_names_that_still_work() -> None:
    assert {"threads", "kv-offload", "no-kv-offload", "model-draft", "fresh-idea"} <= KNOWN
    assert not KNOWN & {"draft-max", "draft-min", "draft", "other-option", "not-an-option"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"cache-typ-k": "q8_0"}, "did you mean 'cache-type-k'"),
        ({"cache_type_k": "q8_0"}, "did you mean 'cache-type-k'"),
        ({"cache-type-k": "q9"}, "one of f32, f16, bf16, q8_0"),
        ({"flash-attn": 1}, "one of on, off, auto, not 1"),
        ({"threads": 0}, "a whole number from 1, not 0"),
        ({"threads": True}, "a whole number"),
        ({"top-p": 1.5}, "a number from 0 up to 1, not 1.5"),
        ({"n-gpu-layers": "many"}, "from -2 or 'auto' or 'all', not 'many'"),
        ({"swa-full": "yes"}, "true or false"),
        ({"no-cache-type-k": True}, "no negative form"),
        ({"spec-type": ["draft-simple", "magic"]}, "one or more of none, draft-simple"),
        ({"spec-type": []}, "one or more of"),
        ({"lora": ["a,b.gguf"]}, "without commas"),
        ({"lora-scaled": "a.gguf"}, "a file and its scale"),
        ({"tensor-split": "3,x"}, "numbers by commas"),
        ({"override-tensor": "exps"}, "a pattern and a buffer"),
        ({"chat-template-kwargs": "{'a': 1}"}, "the text of a JSON object"),
        ({"chat-template": "a\0b"}, "is a text"),
        ({"chat-template": "x" * 200_000}, "is a text"),
        ({"chat-template": ""}, "is a text"),
        ({"model-draft": "a", "spec-draft-model": "b"}, "are the same option"),
        ({"mmap": True, "no-mmap": True}, "are the same option"),
    ],
)
def test_a_wrong_option_says_what_is_right(flags: dict[str, Any], message: str) -> None:
    for engine, known in (("worker", None), ("llama-server", None)):
        with pytest.raises(ConfigError) as caught:
            check_flags(flags, engine, known)  # type: ignore[arg-type]
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("model", "'path' of [local.models.NAME]"),
        ("ctx-size", "'context'"),
        ("parallel", "'slots'"),
        ("port", "its socket is ours"),
        ("ssl-key-file", "its socket is ours"),
        ("log-file", "its log is read here"),
        ("hf-repo", "pointsman pull"),
        ("gpt-oss-20b-default", "pointsman pull"),
        ("tools", "run commands on this machine"),
        ("mcp-servers-json", "run commands on this machine"),
        ("no-webui", "has no pages here"),
        ("no-slots", "prompts of all callers"),
        ("help", "ends the engine"),
    ],
)
def test_what_is_ours_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_flags({name: "x"}, "llama-server", KNOWN | {name})
    assert reason in str(caught.value)


def test_what_the_wheel_lacks_is_refused_by_naming_what_has_it() -> None:
    for name, value in (("device", "none"), ("control-vector", "v.gguf"), ("grammar", "root ::=")):
        with pytest.raises(ConfigError, match="install llama-server"):
            check_flags({name: value}, "worker")
        check_flags({name: value}, "llama-server")


def test_a_build_takes_what_it_lists_and_nothing_else() -> None:
    check_flags({"fresh-idea": 3, "fresh-switch": False, "mlock": True}, "llama-server", KNOWN)
    for flags in ({"top-k": 3}, {"fresh-ideas": 3}, {"swa-full": False, "fresh-idea": False}):
        with pytest.raises(ConfigError, match=r"no option|cannot be"):
            check_flags(flags, "llama-server", KNOWN)
    with pytest.raises(ConfigError, match="did you mean 'fresh-idea'"):
        check_flags({"fresh-ideas": 3}, "llama-server", KNOWN)
    with pytest.raises(ConfigError, match="no option"):
        check_flags({"fresh-idea": 3}, "worker")


def test_arguments_take_the_names_of_the_build() -> None:
    flags = {"model-draft": "~/d.gguf", "draft-max": 5, "no-kv-offload": True, "swa-full": False}
    home = str(Path("~/d.gguf").expanduser())
    assert arguments_of(flags, KNOWN) == [
        "--spec-draft-model", home, "--spec-draft-n-max", "5", "--no-kv-offload",
        "--spec-type", "draft-simple",
    ]  # fmt: skip
    older = frozenset({"model-draft", "draft-max", "no-kv-offload", "mmap", "no-mmap", "mlock"})
    assert arguments_of({**flags, "mmap": False, "mlock": True}, older) == [
        "--model-draft", home, "--draft-max", "5", "--no-kv-offload", "--no-mmap", "--mlock",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ({"mmap": False}, "none"),
        ({"no-mmap": True}, "none"),
        ({"mlock": True}, "mmap+mlock"),
        ({"mlock": True, "mmap": False}, "mlock"),
        ({"direct-io": True}, "dio"),
    ],
)
def test_the_older_switches_of_loading_become_the_newer_option(
    flags: dict[str, Any], mode: str
) -> None:
    assert arguments_of(flags, KNOWN) == ["--load-mode", mode]
    assert list(attributes_of(flags)) == ["load_mode"]


def test_forms_of_values_as_arguments() -> None:
    assert arguments_of({"flash-attn": True}) == ["--flash-attn", "on"]
    assert arguments_of({"lora": ["a", "b"]}) == ["--lora", "a", "--lora", "b"]
    assert arguments_of({"tensor-split": ["3", "1"]}) == ["--tensor-split", "3,1"]
    assert arguments_of({"control-vector-layer-range": ["1", "2"]}) == [
        "--control-vector-layer-range", "1", "2",
    ]  # fmt: skip
    assert arguments_of({"fresh-idea": ["x", "y"], "fresh-switch": False}, KNOWN) == [
        "--fresh-idea", "x", "--fresh-idea", "y", "--no-fresh-switch",
    ]  # fmt: skip


def test_forms_of_values_as_attributes() -> None:
    assert attributes_of({"rope-scale": 4, "seed": -1, "prio": 2, "no-warmup": True}) == {
        "rope_freq_scale": 0.25,
        "sampling.seed": 2**32 - 1,
        "cpuparams.priority": "GGML_SCHED_PRIO_HIGH",
        "warmup": False,
    }
    assert attributes_of({"n-gpu-layers": "all", "fit": False, "kv-offload": False}) == {
        "n_gpu_layers": -2,
        "fit_params": False,
        "no_kv_offload": True,
    }
    assert attributes_of({"n-cpu-moe": 1, "override-tensor": "a=CPU"}) == {
        "tensor_buft_overrides": r"a=CPU,blk\.0\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU"
    }
    assert attributes_of({"threads": 3})["cpuparams_batch.n_threads"] == 3
    assert "cpuparams.n_threads" not in attributes_of({"threads-batch": 3})


def test_a_wrong_value_stays_as_it_is_until_it_is_refused() -> None:
    wrong = {"flash-attn": 1, "lora": 5, "mmproj": [], "cache-type-k": None, "who-knows": {}}
    assert settled(wrong) == wrong
    assert settled({"flash-attn": True, "no-mmap": True}) == {"flash-attn": "on", "mmap": False}


def test_flags_go_over_the_rest_and_adapters_add_up() -> None:
    base = {"temp": 0.5, "lora": ["a"], "chat-template": "x"}
    over = {"temperature": 0.1, "lora": "b", "chat-template-file": "t"}
    assert merged(base, over) == {"temp": 0.1, "lora": ["a", "b"], "chat-template-file": "t"}


def test_an_order_in_full_for_either_engine() -> None:
    full = order(
        sampling=Sampling(
            0.1, 0.2, 3, 0.4, 0.5, 1.1, 7, 0.8, 0.9, 1, 2.5, 0.3, 11
        ),  # as they are declared
        projector="/p.gguf",
        adapters=("/l.gguf",),
        template="{{ x }}",
        flags={"temp": 0.7},
    )
    arguments = server_arguments(full)
    pairs = dict(pairwise(arguments))
    expected = {
        "--temp": "0.7", "--top-p": "0.2", "--top-k": "3", "--min-p": "0.4", "--typical": "0.5",
        "--repeat-penalty": "1.1", "--repeat-last-n": "7", "--presence-penalty": "0.8",
        "--frequency-penalty": "0.9", "--mirostat": "1", "--mirostat-ent": "2.5",
        "--mirostat-lr": "0.3", "--seed": "11", "--mmproj": "/p.gguf", "--lora": "/l.gguf",
        "--chat-template": "{{ x }}",
    }  # fmt: skip
    assert {name: pairs[name] for name in expected} == expected
    # llama-server reads a template as Jinja only if it was told so before.
    assert arguments.index("--jinja") < arguments.index("--chat-template")
    attributes = worker_order(full)["attributes"]
    assert attributes["sampling.temp"] == 0.7
    assert attributes["lora_adapters"] == [["/l.gguf", 1.0]]
    assert attributes["mmproj.path"] == "/p.gguf"
    assert attributes["chat_template"] == "{{ x }}"
    assert attributes["sampling.n_prev"] == 64
    with pytest.raises(ConfigError):
        worker_order(order(flags={"temp": "hot"}))


def test_every_attribute_of_the_table_is_one_of_the_wheel() -> None:
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    enums = {
        name: member
        for kind in vars(xllamacpp).values()
        for name, member in getattr(kind, "__members__", {}).items()
    }
    for name, flag in FLAGS.items():
        if flag.attribute is None or name == "chat-template-file":
            continue
        target = params
        for part in flag.attribute.split("."):
            assert hasattr(target, part), name
            target = getattr(target, part)
        for value in flag.words.values():
            assert not isinstance(value, str) or value in enums, (name, value)


def test_names_are_of_one_option_only() -> None:
    names = [*FLAGS, *(name for flag in FLAGS.values() for name in flag.also)]
    assert len(names) == len(set(names))
    assert canonical("no-mmproj") == canonical("no-mmproj-auto") == ("mmproj-auto", True)
    assert canonical("no-host") == ("no-host", False)


def test_the_page_names_every_option_and_whether_the_wheel_has_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "llama.md").read_text("utf-8")
    for name, flag in FLAGS.items():
        mark = "" if flag.attribute else r"\*"
        assert re.search(rf"`{re.escape(name)}`{mark}(,| \|)", page), name


def _program(path: Path, body: str) -> str:
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_build_is_asked_once_and_sees_no_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    log = tmp_path / "asked"
    body = (
        f"import os, sys\nopen({str(log)!r}, 'a').write('x')\n"
        "assert sys.argv[1:] == ['--help']\nassert 'OPENAI_API_KEY' not in os.environ\n"
        f"print({HELP!r})\n"
    )
    binary = _program(tmp_path / "llama-server", body)
    assert known_flags(binary) == known_flags(binary) == KNOWN
    assert log.read_text() == "x"


def test_what_is_no_llama_server_is_named(tmp_path: Path) -> None:
    other = _program(tmp_path / "other", "print('hello')\n")
    with pytest.raises(LocalError, match="is it a llama-server"):
        known_flags(other)
    with pytest.raises(LocalError, match="cannot be run"):
        known_flags(str(tmp_path / "missing"))
    plain = tmp_path / "plain"
    plain.write_text("no program")
    with pytest.raises(LocalError, match="cannot be run"):
        known_flags(str(plain))


def test_a_flood_of_help_is_cut(tmp_path: Path) -> None:
    body = f"print({HELP!r})\nwhile True:\n    print('--x' * 1000)\n"
    assert "threads" in known_flags(_program(tmp_path / "loud", body))
