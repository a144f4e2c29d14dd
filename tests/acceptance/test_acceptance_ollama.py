"""PyPI's `ollama`, its sync and its async client: every call that is local, on models that run here and
on a provider's."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest

from pointsman.config import parse_config
from pointsman.gateway.server import Running, running
from pointsman.testing import Answer, Call, FakeProvider, Fault

sys.path.insert(0, str(Path(__file__).parent.parent / "local"))
import tiny_gguf

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
# As Qwen 3 has it: llama.cpp knows by it that the model thinks, and where.
THINKS = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.role == 'assistant' and m.reasoning_content %}"
    "{{- '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{%- endif %}"
    "{{- m.content + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- else %}{{- '<think>\n' }}{%- endif %}{%- endif %}"
)
TEMPLATED = "{% for m in messages %}{{ m.role }}:{{ m.content }}\n{% endfor %}"
HELLO = [{"role": "user", "content": "hello"}]
# The tiny model says only letters for a while if it takes the likeliest: nothing ends, or is cut
# in the middle of a letter.
LIKELIEST = {"temperature": 0, "num_predict": 4}
SKY = {
    "type": "function",
    "function": {
        "name": "sky",
        "description": "The sky at a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}


class Site:
    """A gateway with models of its own, and a provider `o` behind it."""

    def __init__(self, gateway: Running, fake: FakeProvider, files: Path) -> None:
        self.url = gateway.url
        self.gateway = gateway.gateway
        self.fake = fake
        self.files = files

    def running(self) -> list[str]:
        return [each.name for each in self.gateway.door.local.running()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    tiny_gguf.write_llama(home / "tiny.gguf")
    tiny_gguf.write_llama(home / "bare.gguf", template=None)
    tiny_gguf.write_llama(home / "thinks.gguf", template=THINKS)
    tiny_gguf.write_bert(home / "vectors.gguf")
    rows = "".join(
        f'[local.models.{name}]\npath = "{home / name}.gguf"\n'
        for name in ("tiny", "bare", "thinks", "vectors")
    )
    with FakeProvider() as fake:
        config = parse_config(
            f"{rows}[local]\nspare = false\n[providers.o]\nbase_url = '{fake.url}/v1'\n"
            "api_key_env = 'KEY'\nretries = 0\n[models.fast]\nref = 'o:small'\n"
        )
        config.server.port = 0
        config.home = str(home)
        config.secrets = {"KEY": "sk-of-the-provider"}
        with running(config) as gateway:
            yield Site(gateway, fake, home)


Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, site: Site) -> Iterator[Ask]:
    """Gives a function (method, arguments) → its answer; a stream is given as a list."""
    site.fake.requests.clear()
    site.fake.play(None)
    if request.param == "sync":
        with ollama.Client(site.url) as client:

            def call(method: str, *given: Any, **named: Any) -> Any:
                found = getattr(client, method)(*given, **named)
                return list(found) if named.get("stream") else found

            yield call
        return
    with asyncio.Runner() as runner:
        other = ollama.AsyncClient(site.url)

        async def run(method: str, *given: Any, **named: Any) -> Any:
            found = await getattr(other, method)(*given, **named)
            return [each async for each in found] if named.get("stream") else found

        yield lambda *given, **named: runner.run(run(*given, **named))
        runner.run(other.close())


# Answers of a model that runs here


def test_a_chat(ask: Ask) -> None:
    answer = ask("chat", "tiny", HELLO, options={**LIKELIEST, "seed": 1})
    assert answer.model == "tiny" and answer.message.role == "assistant"
    assert (answer.done, answer.done_reason, answer.eval_count) == (True, "length", 4)
    assert answer.prompt_eval_count > 5
    assert answer.total_duration > answer.eval_duration > 0
    assert answer.prompt_eval_duration > 0
    assert datetime.datetime.fromisoformat(answer.created_at).tzinfo is datetime.UTC


def test_a_streamed_chat(ask: Ask) -> None:
    *pieces, last = ask("chat", "tiny:latest", HELLO, stream=True, options=LIKELIEST)
    assert pieces and not any(piece.done for piece in pieces)
    assert "".join(piece.message.content for piece in pieces)
    assert (last.done, last.done_reason, last.eval_count) == (True, "length", 4)
    assert last.total_duration >= last.load_duration + last.eval_duration
    assert last.prompt_eval_duration > 0


def test_a_schema_is_kept_to(ask: Ask) -> None:
    form = {"type": "string", "enum": ["yes", "no"]}
    assert ask("chat", "tiny", HELLO, format=form).message.content in ('"yes"', '"no"')
    for name in ("tiny", "bare"):
        assert ask("generate", name, "hi", format=form).response in ('"yes"', '"no"')


def test_options_reach_the_engine(ask: Ask) -> None:
    options = {**LIKELIEST, "top_k": 1, "repeat_last_n": 64, "mirostat": 0, "num_ctx": 512}
    assert ask("chat", "tiny", HELLO, options=options).message.content == "XXXX"
    other = ask("chat", "tiny", HELLO, options={**options, "repeat_penalty": 1e6})
    assert other.message.content != "XXXX"
    stopped = ask("chat", "tiny", HELLO, options={**options, "stop": ["XXX"]})
    assert (stopped.message.content, stopped.done_reason) == ("", "stop")


def test_log_probabilities(ask: Ask) -> None:
    for method, given in (("chat", HELLO), ("generate", "hello")):
        answer = ask(method, "tiny", given, logprobs=True, top_logprobs=2, options=LIKELIEST)
        assert len(answer.logprobs) == 4 and len(answer.logprobs[0].top_logprobs) == 2
    *pieces, _ = ask("generate", "bare", "hello", logprobs=True, stream=True, options=LIKELIEST)
    assert sum(len(piece.logprobs or ()) for piece in pieces) == 4


@pytest.mark.parametrize("fields", [{"raw": True, "model": "tiny"}, {"model": "bare"}])
def test_a_prompt_without_a_template_is_only_itself(ask: Ask, fields: dict[str, Any]) -> None:
    for stream in (False, True):
        found = ask("generate", prompt="hello", stream=stream, options=LIKELIEST, **fields)
        last = found[-1] if stream else found
        assert (last.prompt_eval_count, last.eval_count, last.done_reason) == (5, 4, "length")
        text = "".join(each.response for each in found) if stream else found.response
        assert text == "\\" * 4


def test_a_prompt_with_a_template(ask: Ask) -> None:
    answer = ask("generate", "tiny", "hello", system="Be brief.", options=LIKELIEST)
    assert answer.prompt_eval_count > 20 and answer.eval_count == 4
    *_, last = ask("generate", "tiny", "hello", stream=True, options=LIKELIEST)
    assert (last.eval_count, last.done_reason) == (4, "length")


def test_a_suffix_needs_a_model_that_fills_in(ask: Ask) -> None:
    with pytest.raises(ollama.ResponseError, match="Infill is not supported") as caught:
        ask("generate", "tiny", "def f(", suffix="return 1")
    assert caught.value.status_code == 400


def test_thinking_is_refused_by_a_model_that_has_none(ask: Ask) -> None:
    with pytest.raises(ollama.ResponseError, match="does not support thinking") as caught:
        ask("chat", "tiny", HELLO, think=True)
    assert caught.value.status_code == 400
    options = LIKELIEST
    assert ask("chat", "thinks", HELLO, think=True, options=options).message.thinking
    plain = ask("chat", "thinks", HELLO, think=False, options=options).message
    assert plain.content and not plain.thinking
    *pieces, _ = ask("generate", "thinks", "hi", think=True, stream=True, options=options)
    assert "".join(piece.thinking or "" for piece in pieces)


def test_a_prompt_too_long_is_refused_with_both_counts(ask: Ask) -> None:
    for method, given in (
        ("chat", [{"role": "user", "content": "x" * 9000}]),
        ("generate", "x" * 9000),
    ):
        for stream in (False, True):
            with pytest.raises(ollama.ResponseError, match=r"90\d\d tokens.*2048 tokens") as caught:
                ask(method, "tiny", given, stream=stream)
            assert caught.value.status_code == 400


def test_a_larger_context_is_refused_with_both_numbers(ask: Ask) -> None:
    with pytest.raises(ollama.ResponseError, match=r"4096.*2048 tokens.*num_ctx 4096") as caught:
        ask("chat", "tiny", HELLO, options={"num_ctx": 4096})
    assert caught.value.status_code == 400


def test_embeddings(ask: Ask) -> None:
    found = ask("embed", "vectors", ["a", "b"])
    assert [len(vector) for vector in found.embeddings] == [32, 32]
    assert all(math.isclose(math.hypot(*each), 1, abs_tol=1e-5) for each in found.embeddings)
    assert found.prompt_eval_count > 0 and found.total_duration > 0
    short = ask("embed", "vectors", "a", dimensions=8).embeddings
    assert len(short) == 1 and len(short[0]) == 8
    assert math.isclose(math.hypot(*short[0]), 1, abs_tol=1e-5)
    assert len(ask("embeddings", "vectors", "a").embedding) == 32
    assert ask("embed", "vectors", "").embeddings == []
    with pytest.raises(ollama.ResponseError, match=r"\d+ tokens.*128") as caught:
        ask("embed", "vectors", "a " * 300)
    assert caught.value.status_code == 400


# Loading and unloading


def test_a_model_is_loaded_listed_and_unloaded(ask: Ask, site: Site) -> None:
    assert ask("generate", "tiny", "", keep_alive="1h30m").done_reason == "load"
    (row,) = [each for each in ask("ps").models if each.model == "tiny:latest"]
    left = row.expires_at - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(hours=1) < left <= datetime.timedelta(hours=1, minutes=30)
    assert row.context_length == 2048 and row.size > 1_000_000
    assert ask("chat", "tiny", keep_alive=-1).done_reason == "load"
    (row,) = [each for each in ask("ps").models if each.model == "tiny:latest"]
    assert row.expires_at.year > 2200
    assert ask("chat", "tiny", keep_alive=0).done_reason == "unload"
    assert "tiny" not in site.running()


def test_keep_alive_0_unloads_after_the_answer(ask: Ask, site: Site) -> None:
    answer = ask("chat", "tiny", HELLO, keep_alive="0", options=LIKELIEST)
    assert answer.done_reason == "length"
    for _ in range(200):
        if "tiny" not in site.running():
            return
        ask("ps")
    pytest.fail("it still runs")


# What there is


def test_the_list(ask: Ask) -> None:
    models = {each.model: each for each in ask("list").models}
    tiny = models["tiny:latest"]
    assert tiny.size > 1_000_000 and tiny.details.format == "gguf"
    assert (tiny.details.family, tiny.details.quantization_level) == ("llama", "F32")
    assert tiny.details.parameter_size == "330K"
    assert {"fast", "auto"} <= set(models)


def test_what_a_model_is(ask: Ask) -> None:
    shown = ask("show", "tiny")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 2048
    assert shown.modelinfo["general.parameter_count"] == 330_144
    assert "tool_call" in shown.template and shown.modelfile.startswith("#")
    assert shown.details.family == "llama" and shown.modified_at.year > 2000
    assert ask("show", "vectors").capabilities == ["embedding"]
    assert "thinking" in ask("show", "thinks").capabilities
    assert ask("show", "o:small").modelinfo["general.architecture"] == "o"


def test_a_model_that_is_not_there(ask: Ask) -> None:
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("chat", ("nothing", HELLO)),
        ("generate", ("nothing", "hi")),
        ("embed", ("nothing", "hi")),
        ("show", ("nothing",)),
        ("delete", ("nothing",)),
        ("copy", ("nothing", "other")),
    ]
    for method, given in calls:
        with pytest.raises(ollama.ResponseError, match="'nothing' not found") as caught:
            ask(method, *given)
        assert caught.value.status_code == 404


# Making and removing


def test_a_model_is_made_from_a_blob_copied_used_and_deleted(ask: Ask, site: Site) -> None:
    path = site.files / "own.gguf"
    if not path.exists():
        tiny_gguf.write_llama(path, template=TEMPLATED, seed=7)
    digest = ask("create_blob", path)
    assert digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    steps = ask(
        "create", "own:1", files={"own.gguf": digest}, stream=True, system="Say A.",
        parameters={"temperature": 0, "stop": ["END"], "num_ctx": 1024, "num_predict": 3},
        messages=[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "R"}],
        license=["One", "Two"],
    )  # fmt: skip
    assert steps[-1].status == "success" and len(steps) > 1
    shown = ask("show", "own:1")
    assert "num_ctx" in shown.parameters and shown.license == "One\nTwo"
    assert 'SYSTEM "Say A."' in shown.modelfile and "MESSAGE assistant" in shown.modelfile
    assert ask("copy", "own:1", "copied").status == "success"
    answer = ask("chat", "copied", HELLO)
    # The system prompt and the examples stand before what was asked, and the limit is the model's.
    assert (answer.eval_count, answer.done_reason) == (3, "length")
    assert answer.prompt_eval_count == len("system:Say A.\nuser:Q\nassistant:R\nuser:hello\n")
    assert ask("chat", "copied", HELLO, options={"num_predict": 9}).eval_count == 9
    made = ask("create", "derived", from_="own:1", system="Other.", parameters={"num_predict": 2})
    assert made.status == "success"
    assert ask("chat", "derived", HELLO).eval_count == 2
    for name in ("own:1", "copied", "derived"):
        assert ask("delete", name).status == "success"
    assert not {"own:1", "copied", "derived"} & set(site.gateway.door.local.names())


def test_what_a_model_cannot_be_made_of(ask: Ask, site: Site) -> None:
    digest = "sha256:" + "0" * 64
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "'from'"),
        ({"files": {"a.gguf": digest}}, "no blob"),
        ({"files": {"a.gguf": "x"}}, "no digest"),
        ({"from_": "/etc/passwd"}, "blob"),
        ({"from_": "tiny", "template": "{{ .Prompt }}"}, "template"),
        ({"from_": "tiny", "quantize": "q4_0"}, "quantize"),
        ({"from_": "tiny", "parameters": {"nonsense": 1}}, "nonsense"),
    ]
    for fields, what in wrong:
        with pytest.raises(ollama.ResponseError, match=what) as caught:
            ask("create", "new", **fields)
        assert caught.value.status_code == 400
    broken = site.files / "broken.gguf"
    broken.write_bytes(b"no model at all")
    sent = ask("create_blob", broken)
    with pytest.raises(ollama.ResponseError, match="GGUF"):
        ask("create", "new", files={"broken.gguf": sent}, stream=True)


def test_a_model_of_the_configuration_is_not_deleted(ask: Ask) -> None:
    with pytest.raises(ollama.ResponseError, match="configuration") as caught:
        ask("delete", "tiny")
    assert caught.value.status_code == 400


def test_what_is_ollamas_own_is_not_here(ask: Ask) -> None:
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError, match="not here") as caught:
            ask("push", "tiny", stream=stream)
        assert caught.value.status_code == 501
    with pytest.raises(ollama.ResponseError) as caught:
        ask("systemone", "nimble", "text", {"q": {"type": "noul", "instructions": "x"}})
    assert caught.value.status_code == 501


def test_a_file_of_this_machine_is_not_pulled(ask: Ask, site: Site) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        ask("pull", f"file:{site.files / 'tiny.gguf'}")
    assert caught.value.status_code == 400


# A provider's models


@pytest.mark.parametrize("name", ["o:small", "o:small:latest", "o/small", "fast", "fast:latest"])
def test_any_ref_answers(ask: Ask, site: Site, name: str) -> None:
    site.fake.play([Answer(text="Sun.", reasoning="hm", input_tokens=7, output_tokens=3)])
    answer = ask("chat", name, HELLO, think=True, options={"num_predict": 9}, keep_alive=5)
    assert (answer.message.content, answer.message.thinking) == ("Sun.", "hm")
    assert (answer.model, answer.prompt_eval_count, answer.eval_count) == (name, 7, 3)
    assert site.fake.requests[-1].model == "small"
    *pieces, last = ask("chat", name, HELLO, stream=True)
    assert "".join(piece.message.content for piece in pieces) == "Sun." and last.done


def test_tools_over_two_turns(ask: Ask, site: Site) -> None:
    call = Answer(calls=(Call("sky", {"place": "Bern"}), Call("sky", {"place": "Basel"})))
    for stream in (False, True):
        site.fake.play([call, Answer(text="Sun.")])
        found = ask("chat", "o:small", HELLO, tools=[SKY], stream=stream)
        messages = [each.message for each in found] if stream else [found.message]
        calls = [each for message in messages for each in message.tool_calls or ()]
        assert [each.function.arguments for each in calls] == [
            {"place": "Bern"},
            {"place": "Basel"},
        ]
        turns = [
            *HELLO,
            ollama.Message(role="assistant", content="", tool_calls=calls),
            {"role": "tool", "tool_name": "sky", "content": "sun"},
            {"role": "tool", "tool_name": "sky", "content": "rain"},
        ]
        assert ask("chat", "o:small", turns, tools=[SKY]).message.content == "Sun."
        sent = site.fake.requests[-1].body["messages"]
        ids = [each["id"] for each in sent[1]["tool_calls"]]
        assert [each["tool_call_id"] for each in sent[2:]] == ids
        assert [each["content"] for each in sent[2:]] == ["sun", "rain"]


def test_an_image(ask: Ask, site: Site) -> None:
    site.fake.play([Answer(text="A dot.")])
    ask("chat", "o:small", [{"role": "user", "content": "What?", "images": [PNG]}])
    assert f"data:image/png;base64,{PNG}" in site.fake.requests[-1].raw.decode()
    assert ask("generate", "o:small", "What?", images=[PNG]).response == "A dot."
    assert f"data:image/png;base64,{PNG}" in site.fake.requests[-1].raw.decode()


def test_json_without_a_schema(ask: Ask, site: Site) -> None:
    site.fake.play([Answer(text="{}")])
    assert ask("chat", "o:small", HELLO, format="json").message.content == "{}"
    assert site.fake.requests[-1].body["response_format"] == {"type": "json_object"}


def test_what_a_provider_cannot_say_is_refused(ask: Ask) -> None:
    for fields in ({"options": {"mirostat": 1}}, {"options": {"repeat_penalty": 1.2}}):
        with pytest.raises(ollama.ResponseError, match="cannot be expressed") as caught:
            ask("chat", "o:small", HELLO, **fields)
        assert caught.value.status_code == 400
    for more in ({"raw": True}, {"suffix": "x"}):
        with pytest.raises(ollama.ResponseError, match="only a model run here") as caught:
            ask("generate", "o:small", "x", **more)
        assert caught.value.status_code == 400


def test_embeddings_of_a_provider(ask: Ask) -> None:
    (vector,) = ask("embed", "o:vectors", "a").embeddings
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)
    assert ask("embeddings", "o:vectors", "a").embedding


def test_an_error_before_and_in_a_stream(ask: Ask, site: Site) -> None:
    site.fake.play([Fault(status=429, message="too busy")])
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError, match="too busy") as caught:
            ask("chat", "o:small", HELLO, stream=stream)
        assert caught.value.status_code == 429
    site.fake.play([Fault(cut_after=4)])
    with pytest.raises(ollama.ResponseError, match=r"o:small|o: "):
        ask("chat", "o:small", HELLO, stream=True)


def test_a_remote_model_is_neither_loaded_nor_unloaded(ask: Ask, site: Site) -> None:
    assert ask("generate", "o:small", "").done_reason == "load"
    assert ask("generate", "o:small", "", keep_alive=0).done_reason == "unload"
    assert site.fake.requests == []
