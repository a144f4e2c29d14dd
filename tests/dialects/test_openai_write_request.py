"""OpenAI's request, written for an upstream."""

from __future__ import annotations

import re

import pytest

from pointsman.dialects.base import Quirks, Target
from pointsman.dialects.openai import OPENAI
from pointsman.errors import UnsupportedParameter
from pointsman.types import (
    Audio,
    Chat,
    Embed,
    File,
    HostedTool,
    Image,
    Message,
    Reasoning,
    Refusal,
    ResponseFormat,
    Signature,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

TARGET = Target("acme", "acme-1")
USER = Message("user", (Text("Hi"),))


def chat(*messages: Message, **fields) -> Chat:
    fields.setdefault("dialect", "anthropic")
    return Chat(model="m", messages=messages or (USER,), **fields)


def write(asked: Chat, **quirks):
    return OPENAI.write_chat(asked, Target("acme", "acme-1", Quirks(**quirks)))


def messages_of(*messages: Message, **fields):
    return write(chat(*messages, **fields)).body["messages"]


def test_the_least_request():
    call = write(chat())
    assert call.path == "/chat/completions"
    assert call.ignored == ()
    assert call.body == {"model": "acme-1", "messages": [{"role": "user", "content": "Hi"}]}


def test_parameters_are_written_by_openais_names():
    asked = chat(
        max_tokens=7,
        temperature=0,
        top_p=0.5,
        frequency_penalty=1,
        presence_penalty=-1,
        seed=3,
        stop=("a", "b"),
        n=2,
        logprobs=False,
        top_logprobs=0,
        logit_bias={"5": 1},
        user="u",
        parallel_tool_calls=False,
    )
    body = write(asked).body
    del body["messages"], body["model"]
    assert body == {
        "max_completion_tokens": 7,
        "temperature": 0,
        "top_p": 0.5,
        "frequency_penalty": 1,
        "presence_penalty": -1,
        "seed": 3,
        "stop": ["a", "b"],
        "n": 2,
        "logprobs": False,
        "top_logprobs": 0,
        "logit_bias": {"5": 1},
        "user": "u",
        "parallel_tool_calls": False,
    }


def test_a_stream_asks_for_its_usage_where_the_provider_takes_it():
    assert write(chat(stream=True)).body["stream_options"] == {"include_usage": True}
    body = write(chat(stream=True), stream_usage=False).body
    assert body["stream"] is True
    assert "stream_options" not in body


def test_quirks_rename_fields_and_words():
    asked = chat(max_tokens=7, seed=3, tool_choice=ToolChoice("required"))
    body = write(
        asked, max_tokens_field="max_tokens", seed_field="random_seed", required_word="any"
    ).body
    assert (body["max_tokens"], body["random_seed"], body["tool_choice"]) == (7, 3, "any")
    assert not {"max_completion_tokens", "seed"} & set(body)


def test_several_texts_stay_apart_unless_the_provider_takes_strings_only():
    message = Message("system", (Text("a"), Text("b")))
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert messages_of(message) == [{"role": "system", "content": parts}]
    body = write(chat(message), string_content=True).body
    assert body["messages"] == [{"role": "system", "content": "a\nb"}]


def test_a_picture_for_a_provider_of_strings_is_refused_by_its_path():
    message = Message("user", (Text("a"), Image("image/png", "AAAA")))
    with pytest.raises(UnsupportedParameter) as raised:
        write(chat(message), string_content=True)
    assert raised.value.param == "messages[0].content"


def test_parts_of_a_user_are_written():
    message = Message(
        "user",
        (
            Text("What?"),
            Image("image/png", "AAAA", detail="low"),
            Image(url="https://example.com/a.png"),
            Audio("AAAA", "wav"),
            File("a.pdf", "application/pdf", "AAAA"),
        ),
        "ann",
    )
    assert messages_of(message) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
                },
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {
                    "type": "file",
                    "file": {
                        "file_data": "data:application/pdf;base64,AAAA",
                        "filename": "a.pdf",
                    },
                },
            ],
            "name": "ann",
        }
    ]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        (Image(url="gs://bucket/a.png"), "messages[0].content[0].image_url"),
        (File(text="plain"), "messages[0].content[0].file.text"),
        (File(url="https://example.com/a.pdf"), "messages[0].content[0].file.url"),
        (File(file_id="file-1"), "messages[0].content[0].file_id"),
        (ToolCall("c", "f"), "messages[0].content[0]"),
    ],
)
def test_a_part_that_openai_cannot_say_is_refused_by_its_path(part, param):
    with pytest.raises(UnsupportedParameter) as raised:
        write(chat(Message("user", (part,))))
    assert raised.value.param == param
    assert "acme" in raised.value.message


def test_a_file_of_the_providers_own_goes_back_to_the_same_dialect():
    [message] = messages_of(Message("user", (File(file_id="file-1"),)), dialect="openai")
    assert message["content"] == [{"type": "file", "file": {"file_id": "file-1"}}]


def test_an_assistant_that_only_calls_has_null_content():
    [message] = messages_of(Message("assistant", (ToolCall("c", "f", '{"a":1}'),)))
    assert message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        ],
    }


def test_a_refusal_has_its_own_field():
    [message] = messages_of(Message("assistant", (Refusal("no"),)))
    assert message == {"role": "assistant", "content": None, "refusal": "no"}


def test_results_are_one_message_each_and_an_error_stays_one():
    results = Message(
        "tool",
        (
            ToolResult("a", (Text("1"),), "one"),
            ToolResult("b", (Text("broke"),), "two", is_error=True),
            ToolResult("c", is_error=True),
        ),
    )
    assert messages_of(results, USER) == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "Error: broke"},
        {"role": "tool", "tool_call_id": "c", "content": "Error: "},
        {"role": "user", "content": "Hi"},
    ]


def test_pictures_in_results_follow_all_results_of_the_turn():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    first = ToolResult("a", (Text("see"), Image("image/png", "AAAA")))
    second = ToolResult("b", (Image("image/png", "AAAA"),))
    written = messages_of(Message("tool", (first,)), Message("tool", (second,)), USER)
    assert [message["role"] for message in written] == ["tool", "tool", "user", "user"]
    assert written[0]["content"] == "see"
    assert written[1]["content"]
    assert written[2]["content"] == [
        {"type": "text", "text": "Result of the tool call a:"},
        picture,
        {"type": "text", "text": "Result of the tool call b:"},
        picture,
    ]


def test_thinking_goes_back_to_its_provider_under_the_name_it_came_by():
    for field in ("reasoning_content", "reasoning"):
        thought = Reasoning("Hm.", Signature(field, "acme"))
        [message] = messages_of(Message("assistant", (thought, ToolCall("c", "f"))))
        assert message[field] == "Hm."


@pytest.mark.parametrize(
    "part",
    [
        Reasoning("Hm.", Signature("reasoning_content", "other")),
        Reasoning("Hm.", Signature("abc", "anthropic")),
        Reasoning(redacted=Signature("abc", "anthropic")),
        Reasoning("Hm."),
    ],
)
def test_thinking_of_others_stays_behind_and_is_named(part):
    call = write(chat(Message("assistant", (part, Text("A")))))
    assert call.body["messages"] == [{"role": "assistant", "content": "A"}]
    assert call.ignored == ("reasoning",)


def test_thinking_that_an_openai_client_sent_by_name_is_said_again():
    message = Message("assistant", (Reasoning("Hm."), Text("A")))
    [written] = messages_of(message, dialect="openai")
    assert written["reasoning_content"] == "Hm."


@pytest.mark.parametrize(("origin", "sent"), [("acme", True), ("openai", True), ("gemini", False)])
def test_a_calls_signature_goes_to_the_provider_that_made_it(origin, sent):
    part = ToolCall("c", "f", "{}", Signature("raw", origin))
    [message] = messages_of(Message("assistant", (part,)))
    extra = message["tool_calls"][0].get("extra_content")
    assert extra == ({"google": {"thought_signature": "raw"}} if sent else None)


def test_mistral_ids_are_nine_letters_and_meet_again():
    call_id = "toolu_01ABCDEFGHIJKLMNOPQRSTUV"
    asked = chat(
        Message("assistant", (ToolCall(call_id, "f"), ToolCall("abcDEF123", "f"))),
        Message("tool", (ToolResult(call_id), ToolResult("abcDEF123"))),
    )
    assistant, first, second = write(asked, tool_id_pattern="mistral").body["messages"]
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert ids[1] == "abcDEF123"
    assert re.fullmatch("[A-Za-z0-9]{9}", ids[0])
    assert write(asked, tool_id_pattern="mistral") == write(asked, tool_id_pattern="mistral")


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("f",)), {"type": "function", "function": {"name": "f"}}),
        (
            ToolChoice("required", ("f", "g")),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "function", "function": {"name": "g"}},
                    ],
                },
            },
        ),
    ],
)
def test_tool_choice_is_written(choice, written):
    assert write(chat(tool_choice=choice)).body["tool_choice"] == written


def test_tools_are_written_and_only_openais_own_hosted_ones():
    parameters = {"type": "object"}
    custom = {"type": "custom", "custom": {"name": "sql"}}
    tools = (Tool("f", "d", parameters, True), Tool("g"), HostedTool("openai", custom))
    assert write(chat(tools=tools)).body["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": parameters, "strict": True},
        },
        {"type": "function", "function": {"name": "g"}},
        custom,
    ]
    with pytest.raises(UnsupportedParameter) as raised:
        write(chat(tools=(HostedTool("anthropic", {"type": "web_search"}),)))
    assert raised.value.param == "tools[0]"


def test_response_format_is_written_and_gets_the_name_that_openai_requires():
    form = ResponseFormat("json_schema", {"type": "object"})
    assert write(chat(response_format=form)).body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": {"type": "object"}},
    }
    assert write(chat(response_format=ResponseFormat("json_object"))).body["response_format"] == {
        "type": "json_object"
    }


@pytest.mark.parametrize(
    ("thinking", "effort", "ignored"),
    [
        (Thinking(effort="high"), "high", ()),
        (Thinking(effort="low", budget_tokens=9), "low", ("thinking.budget_tokens",)),
        (Thinking(enabled=False), "none", ()),
        (Thinking(budget_tokens=0), "none", ()),
        (Thinking(budget_tokens=1), "low", ("thinking.budget_tokens",)),
        (Thinking(budget_tokens=4_999), "low", ("thinking.budget_tokens",)),
        (Thinking(budget_tokens=5_000), "medium", ("thinking.budget_tokens",)),
        (Thinking(budget_tokens=10_000), "high", ("thinking.budget_tokens",)),
        (Thinking(budget_tokens=-1), None, ("thinking.budget_tokens",)),
        (Thinking(enabled=True, show=True), None, ("thinking.show", "thinking.enabled")),
    ],
)
def test_thinking_becomes_an_effort_and_what_is_lost_is_named(thinking, effort, ignored):
    call = write(chat(thinking=thinking))
    assert call.body.get("reasoning_effort") == effort
    assert call.ignored == ignored


@pytest.mark.parametrize("name", ["top_k", "min_p"])
def test_what_openai_lacks_is_refused_but_for_a_client_of_a_compatible_server(name):
    with pytest.raises(UnsupportedParameter) as raised:
        write(chat(**{name: 1}))
    assert raised.value.param == name
    assert write(chat(dialect="openai", **{name: 1})).body[name] == 1


def test_extra_of_the_same_dialect_is_said_again_and_of_another_refused():
    extra = {"verbosity": "low", "metadata": {"a": "b"}}
    body = write(chat(dialect="openai", extra=extra)).body
    assert (body["verbosity"], body["metadata"]) == ("low", {"a": "b"})
    with pytest.raises(UnsupportedParameter) as raised:
        write(chat(extra={"container": "c"}))
    assert raised.value.param == "container"


def test_hints_of_another_dialect_are_left_out_and_named():
    call = write(chat(extra={"metadata": {"a": "b"}, "cache_control": {"type": "ephemeral"}}))
    assert call.ignored == ("metadata", "cache_control")
    assert not {"metadata", "cache_control"} & set(call.body)


def test_a_field_inside_a_message_that_has_no_place_is_refused_by_its_path():
    asked = OPENAI.read_chat(
        {"model": "m", "messages": [{"role": "assistant", "content": "A", "prefix": True}]}
    )
    with pytest.raises(UnsupportedParameter) as raised:
        OPENAI.write_chat(asked, TARGET)
    assert raised.value.param == "messages[0].prefix"


def test_stream_options_beside_the_usage_are_kept():
    asked = OPENAI.read_chat(
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "stream": True,
            "stream_options": {"include_obfuscation": False},
        }
    )
    assert OPENAI.write_chat(asked, TARGET).body["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }


def test_an_embeddings_request_is_written():
    embed = Embed(
        model="m", inputs=((1, 2),), dimensions=8, encoding="float", user="u", dialect="openai",
        extra={"task": "x"},
    )  # fmt: skip
    call = OPENAI.write_embed(embed, TARGET)
    assert call.path == "/embeddings"
    assert call.body == {
        "model": "acme-1",
        "input": [[1, 2]],
        "dimensions": 8,
        "encoding_format": "float",
        "user": "u",
        "task": "x",
    }
    with pytest.raises(UnsupportedParameter):
        foreign = Embed(model="m", inputs=("a",), dialect="gemini", extra={"taskType": "x"})
        OPENAI.write_embed(foreign, TARGET)
