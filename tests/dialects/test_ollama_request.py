"""Ollama's requests as clients send them: each field has its place, or is refused by its name."""

from __future__ import annotations

import base64

import pytest

from pointsman.dialects import NAMES, get_client_dialect, get_dialect
from pointsman.dialects.base import Quirks, Target
from pointsman.dialects.ollama.durations import FOREVER_S, read_keep_alive
from pointsman.dialects.ollama.options import KNOWN, read_options
from pointsman.dialects.ollama.request import (
    ignored_in,
    read_chat,
    read_embed,
    read_generate,
    read_stream,
)
from pointsman.errors import ConfigError, RequestError, UnsupportedParameter
from pointsman.types import (
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
LLAMA = Target("local", "m", Quirks(llama_cpp=True))
OTHER = Target("acme", "m")


def chat(**fields):
    return read_chat({**HELLO, **fields})


def turns(*messages):
    return read_chat({"model": "m", "messages": list(messages)}).messages


# The lookup


def test_it_is_a_dialect_of_clients_alone():
    assert get_client_dialect("ollama").name == "ollama"
    assert "ollama" not in NAMES
    assert get_client_dialect("openai") is get_dialect("openai")
    with pytest.raises(ConfigError):
        get_dialect("ollama")


# keep_alive


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        ("0", 0.0),
        ("0s", 0.0),
        (90, 90.0),
        (1.5, 1.5),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("300ms", 0.3),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("10", 10.0),
        (-1, FOREVER_S),
        ("-1", FOREVER_S),
        ("-1m", FOREVER_S),
        (1e300, FOREVER_S),
    ],
)
def test_a_duration_in_any_of_its_forms(given, seconds):
    assert read_keep_alive(given) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "given", ["soon", "5 m", "5x", "m", "--1m", "1h-5m", "9" * 70 + "x", True, []]
)
def test_what_is_no_duration_is_refused(given):
    with pytest.raises(RequestError) as raised:
        read_keep_alive(given)
    assert raised.value.param == "keep_alive"


# options

OPTIONS = {
    "temperature": 0.5, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "seed": 7, "presence_penalty": 0.2,
    "frequency_penalty": 0.3, "num_predict": 9, "stop": ["A", "B"], "typical_p": 0.7,
    "repeat_last_n": 33, "repeat_penalty": 1.2, "mirostat": 1, "mirostat_tau": 0.8,
    "mirostat_eta": 0.6, "num_keep": 5,
}  # fmt: skip


def test_every_option_reaches_a_local_model():
    asked = chat(options=OPTIONS)
    body = get_dialect("openai").write_chat(asked, LLAMA).body
    sent = {"max_completion_tokens": 9, "n_keep": 5, **OPTIONS}
    del sent["num_predict"], sent["num_keep"]
    assert {name: body[name] for name in sent} == sent


@pytest.mark.parametrize("name", ["typical_p", "repeat_penalty", "repeat_last_n", "mirostat"])
def test_what_only_llama_cpp_has_is_refused_by_name_for_others(name):
    asked = chat(options={name: OPTIONS[name]})
    with pytest.raises(UnsupportedParameter) as raised:
        get_dialect("openai").write_chat(asked, OTHER)
    assert raised.value.param == name


def test_how_a_model_is_run_is_a_hint_and_named():
    options = read_options({"num_gpu": 1, "use_mmap": True, "tfs_z": 1.0, "num_thread": None})
    assert options.ignored == ("options.num_gpu", "options.use_mmap", "options.tfs_z")
    assert ignored_in({"truncate": True, "shift": False}, options) == (
        *options.ignored,
        "truncate",
    )


@pytest.mark.parametrize(
    "options",
    [
        {"temprature": 1},
        {"temperature": "hot"},
        {"top_k": 1.5},
        {"stop": 3},
        {"stop": [3]},
        {"num_ctx": 0},
        {"num_gpu": "all"},
    ],
)
def test_a_wrong_option_is_named(options):
    with pytest.raises(RequestError) as raised:
        read_options(options)
    (name,) = options
    assert raised.value.param.startswith(f"options.{name}")


def test_an_option_that_does_not_exist_names_the_nearest():
    with pytest.raises(RequestError, match="did you mean 'temperature'"):
        read_options({"temprature": 1})
    assert {"num_ctx", "min_p"} <= KNOWN


@pytest.mark.parametrize("limit", [-1, -2, 0])
def test_no_limit_goes_over_the_models_own(limit):
    body = {**HELLO, "options": {"num_predict": limit}}
    assert read_chat(body).extra == {}
    assert read_chat(body).max_tokens is None
    assert read_chat(body, local=True).extra == {"n_predict": -1}


# The rest of a chat


def test_a_stream_unless_it_says_no():
    assert read_stream({}) and read_stream({"stream": None}) and read_stream({"stream": True})
    assert not read_stream({"stream": False})


@pytest.mark.parametrize(
    ("given", "form"),
    [
        (None, None),
        ("", None),
        ("json", ResponseFormat("json_object")),
        ({"type": "object"}, ResponseFormat("json_schema", {"type": "object"})),
    ],
)
def test_the_form_of_the_answer(given, form):
    assert chat(format=given).response_format == form


@pytest.mark.parametrize(
    ("given", "thinking", "body"),
    [
        (True, Thinking(enabled=True), {"chat_template_kwargs": {"enable_thinking": True}}),
        (False, Thinking(enabled=False), {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            "high",
            Thinking(effort="high"),
            {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "high"},
        ),
    ],
)
def test_thinking_is_said_to_the_chat_template(given, thinking, body):
    asked = chat(think=given)
    assert asked.thinking == thinking
    sent = get_dialect("openai").write_chat(asked, LLAMA).body
    assert {name: sent[name] for name in body} == body
    assert ("reasoning_effort" in sent) == ("reasoning_effort" in body)


def test_a_budget_of_thoughts_and_own_template_arguments_go_together():
    body = {
        "model": "m",
        "messages": HELLO["messages"],
        "reasoning_effort": "low",
        "chat_template_kwargs": {"x": 1},
    }
    asked = get_dialect("openai").read_chat(body)
    sent = get_dialect("openai").write_chat(asked, LLAMA).body
    assert sent["chat_template_kwargs"] == {"enable_thinking": True, "x": 1}


def test_log_probabilities():
    assert (chat(logprobs=True, top_logprobs=3).top_logprobs, chat(top_logprobs=3).logprobs) == (
        3,
        None,
    )
    with pytest.raises(RequestError, match="between 0 and 20"):
        chat(logprobs=True, top_logprobs=21)


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "yaml"},
        {"format": 3},
        {"think": "hard"},
        {"stream": "yes"},
        {"messages": 5},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"messages": [{"role": "system", "content": "x", "images": [PNG]}]},
        {"messages": [{"role": "assistant", "content": "x", "images": [PNG]}]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "function"}]},
    ],
)
def test_what_is_wrong_is_named(fields):
    with pytest.raises(RequestError) as raised:
        chat(**fields)
    (name,) = fields
    assert raised.value.param.startswith(name)


def test_a_field_that_is_unknown_is_refused_by_who_cannot_say_it():
    asked = chat(temperature=1)
    with pytest.raises(UnsupportedParameter) as raised:
        get_dialect("openai").write_chat(asked, LLAMA)
    assert raised.value.param == "temperature"


# Messages


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"BM\0\0", "image/bmp"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "data:image/x;base64,"])
def test_the_kind_of_an_image_is_seen_by_its_bytes(head, media_type, prefix):
    data = base64.b64encode(head + bytes(40)).decode()
    (message,) = turns({"role": "user", "content": "What?", "images": [prefix + data]})
    assert message.parts == (Text("What?"), Image(media_type, data))


@pytest.mark.parametrize("data", ["no base64!", "https://example.org/a.png", PNG + "=", "aGVsbG8="])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(RequestError) as raised:
        turns({"role": "user", "content": "What?", "images": [data]})
    assert raised.value.param == "messages[0].images[0]"


CALL = {"function": {"name": "sky", "arguments": {"place": "Bern"}}}
OTHER_CALL = {"id": "c2", "function": {"name": "time", "arguments": "{}"}}


def test_calls_without_ids_and_results_by_the_tools_name():
    found = turns(
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [CALL, OTHER_CALL, CALL],
        },
        {"role": "tool", "tool_name": "sky", "content": "sun"},
        {"role": "tool", "tool_call_id": "c2", "content": "12"},
        {"role": "tool", "content": "rain"},
    )
    first, second, third = (part for part in found[1].parts if isinstance(part, ToolCall))
    assert found[1].parts[0] == Reasoning("Hm.")
    assert (first.arguments, second.id, first.id != third.id) == ('{"place":"Bern"}', "c2", True)
    assert found[2] == Message(
        "tool",
        (
            ToolResult(first.id, (Text("sun"),), "sky"),
            ToolResult("c2", (Text("12"),), "time"),
            ToolResult(third.id, (Text("rain"),), "sky"),
        ),
    )
    assert len(found) == 3


@pytest.mark.parametrize(
    "results",
    [
        [{"role": "tool", "tool_name": "other", "content": "x"}],
        [{"role": "tool", "content": "x"}, {"role": "tool", "content": "x"}],
    ],
)
def test_a_result_that_answers_no_call_is_refused(results):
    with pytest.raises(RequestError, match="tool_calls"):
        turns({"role": "assistant", "content": "", "tool_calls": [CALL]}, *results)


def test_tools():
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    function = {"name": "f", "description": "d", "parameters": schema}
    asked = chat(tools=[{"type": "function", "function": function}])
    assert asked.tools == (Tool("f", "d", schema),)


def test_thoughts_of_earlier_turns_are_the_templates_to_choose():
    asked = read_chat(
        {
            "model": "m",
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b", "thinking": "c"},
                {"role": "user", "content": "d"},
            ],
        }
    )
    write = get_dialect("openai").write_chat
    assert write(asked, LLAMA).body["messages"][1]["reasoning_content"] == "c"
    other = write(asked, OTHER)
    assert "reasoning_content" not in other.body["messages"][1]
    assert other.ignored == ("reasoning",)


# Prompts


def test_a_prompt_is_a_chat_of_one_turn():
    asked = read_generate({"model": "m", "prompt": "hi", "system": "Be brief.", "images": [PNG]})
    assert asked.messages == (
        Message("system", (Text("Be brief."),)),
        Message("user", (Text("hi"), Image("image/png", PNG))),
    )


@pytest.mark.parametrize("fields", [{"template": "{{ .Prompt }}"}, {"context": [1, 2]}])
def test_what_is_not_done_here_says_what_to_do(fields):
    with pytest.raises(RequestError) as raised:
        read_generate({"model": "m", "prompt": "hi", **fields})
    assert [raised.value.param] == list(fields)


# Embeddings


@pytest.mark.parametrize(
    ("fields", "inputs"),
    [
        ({"input": "a"}, ("a",)),
        ({"input": ["a", "b"]}, ("a", "b")),
        ({"prompt": "a"}, ("a",)),
        ({"input": ""}, ()),
        ({"input": []}, ()),
        ({}, ()),
    ],
)
def test_texts_to_embed(fields, inputs):
    assert read_embed({"model": "m", **fields}).inputs == inputs


@pytest.mark.parametrize("fields", [{"input": [1]}, {"dimensions": -1}, {"raw": True}])
def test_a_wrong_request_for_embeddings(fields):
    with pytest.raises(RequestError):
        read_embed({"model": "m", "input": "a", **fields})
