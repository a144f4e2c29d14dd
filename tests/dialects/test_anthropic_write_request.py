"""What is sent to Anthropic, written from the middle form."""

from __future__ import annotations

import base64

import pytest

from pointsman.dialects._shared import seal
from pointsman.dialects.anthropic import ANTHROPIC
from pointsman.dialects.anthropic.thinking import ADAPTIVE_MAX_TOKENS, DEFAULT_MAX_TOKENS
from pointsman.dialects.base import Target
from pointsman.errors import RequestError, UnsupportedParameter
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

TARGET = Target("anthropic", "claude")
HI = (Message("user", (Text("hi"),)),)
F = Tool("f", "does f", {"type": "object", "properties": {"x": {"type": "number"}}})
G = Tool("g")


def call(messages=HI, target=TARGET, **fields):
    fields.setdefault("dialect", "openai")
    return ANTHROPIC.write_chat(Chat(model="m", messages=tuple(messages), **fields), target)


def write(messages=HI, target=TARGET, **fields):
    return call(messages, target, **fields).body


def refused(**fields):
    with pytest.raises(UnsupportedParameter) as caught:
        write(**fields)
    return caught.value.param


def test_the_least_request():
    out = call()
    assert out.path == "/messages"
    assert out.headers == {"anthropic-version": "2023-06-01"}
    assert out.ignored == ()
    assert out.body == {
        "model": "claude",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_parameters():
    body = write(
        max_tokens=9,
        stream=True,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        stop=("a", " "),
        user="u1",
    )
    assert body["max_tokens"] == 9 and body["stream"] is True
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.5, 0.9, 3)
    assert body["stop_sequences"] == ["a", " "]
    assert body["metadata"] == {"user_id": "u1"}


def test_system_messages_go_to_the_top_in_order():
    messages = (
        Message("system", (Text("one"),)),
        *HI,
        Message("system", (Text("two"),)),
        Message("user", (Text("there"),)),
    )
    body = write(messages)
    assert body["system"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("hi", "there")]}
    ]


def test_one_system_message_is_a_string():
    assert write((Message("system", (Text("one"),)), *HI))["system"] == "one"


def test_a_system_message_of_this_dialect_stays_in_the_midst():
    messages = (
        Message("system", (Text("one"),)),
        *HI,
        Message("system", (Text("two"),)),
        Message("assistant", (Text("ok"),)),
    )
    body = write(messages, dialect="anthropic")
    assert body["system"] == "one"
    assert [turn["role"] for turn in body["messages"]] == ["user", "system", "assistant"]


def test_turns_of_one_role_become_one_with_tool_results_first():
    messages = (
        *HI,
        Message("assistant", (Text("Calling."),)),
        Message("assistant", (ToolCall("c1", "f", '{"x": 1}'), ToolCall("c2", "g", ""))),
        Message("user", (Text("quick"),)),
        Message("tool", (ToolResult("c1", (Text("1"),), "f"),)),
        Message("tool", (ToolResult("c2", (Text("boom"),), "g", is_error=True),)),
    )
    assert write(messages)["messages"] == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Calling."},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "1"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "boom", "is_error": True},
                {"type": "text", "text": "quick"},
            ],
        },
    ]


def test_a_tool_result_keeps_its_images():
    result = ToolResult("c1", (Text("see"), Image(media_type="image/png", data="AAAA")))
    (turn,) = write((Message("tool", (result,)),))["messages"]
    assert turn["content"][0]["content"] == [
        {"type": "text", "text": "see"},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        },
    ]


def test_an_empty_tool_result_has_no_content():
    (turn,) = write((Message("tool", (ToolResult("c1", (Text(""),)),)),))["messages"]
    assert turn["content"] == [{"type": "tool_result", "tool_use_id": "c1"}]


@pytest.mark.parametrize("arguments", ["[1]", "nope", '"x"'])
def test_arguments_that_are_no_object_are_the_callers_fault(arguments):
    with pytest.raises(RequestError) as caught:
        write((Message("assistant", (ToolCall("c", "f", arguments),)),))
    assert caught.value.param == "messages[0].content[0].arguments"


def test_ids_that_anthropic_refuses_are_replaced_alike_in_call_and_result():
    messages = (
        Message("assistant", (ToolCall("functions.f:0", "f"), ToolCall("functions.f.0", "f"))),
        Message("tool", (ToolResult("functions.f:0"), ToolResult("functions.f.0"))),
    )
    asked, answered = write(messages)["messages"]
    ids = [block["id"] for block in asked["content"]]
    assert ids == [block["tool_use_id"] for block in answered["content"]]
    assert len(set(ids)) == 2
    assert all(set(i) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for i in ids)


def test_empty_texts_and_the_turns_left_empty_are_left_out():
    messages = (
        *HI,
        Message("assistant", (Text(""),)),
        Message("user", (Text("  "), Text("again"))),
    )
    assert write(messages)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": t} for t in ("hi", "again")]}
    ]


def test_nothing_left_to_send_is_an_error():
    with pytest.raises(RequestError) as caught:
        write((Message("system", (Text("s"),)), Message("user", (Text(""),))))
    assert caught.value.param == "messages"


def test_a_refusal_is_what_the_assistant_said():
    (turn,) = write((Message("assistant", (Refusal("No."),)),))["messages"]
    assert turn["content"] == "No."


OWN = Signature("raw==", "anthropic")
OTHER = Signature("sig", "google")
THOUGHTS = (
    Reasoning("a", OWN),
    Reasoning(redacted=Signature("dark", "anthropic")),
    Reasoning("unsigned"),
    Reasoning("theirs", OTHER),
    Reasoning(redacted=OTHER),
    Text("answer"),
)


def test_thinking_goes_back_to_who_made_it_and_to_nobody_else():
    out = call((Message("assistant", THOUGHTS),))
    (turn,) = out.body["messages"]
    assert out.ignored == ("reasoning",)
    assert turn["content"] == [
        {"type": "thinking", "thinking": "a", "signature": "raw=="},
        {"type": "redacted_thinking", "data": "dark"},
        {"type": "text", "text": "answer"},
    ]


def test_thinking_of_a_compatible_provider_goes_back_to_it():
    parts = (Reasoning("m", Signature("s", "minimax")), Text("answer"))
    messages = (Message("assistant", parts),)
    (turn,) = write(messages, Target("minimax", "m2"))["messages"]
    assert turn["content"][0] == {"type": "thinking", "thinking": "m", "signature": "s"}
    (turn,) = write(messages)["messages"]
    assert turn["content"] == "answer"


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            Image(media_type="image/jpg", data="AAAA"),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"},
            },
        ),
        (
            Image(url="https://x.test/i.png"),
            {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
        ),
        (
            File(name="n.pdf", media_type="application/pdf", data="JVBERi0x"),
            {
                "type": "document",
                "title": "n.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
            },
        ),
        (
            File(data="JVBERi0x"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
            },
        ),
        (
            File(url="https://x.test/d.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://x.test/d.pdf"}},
        ),
        (
            File(text="page"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "page"},
            },
        ),
        (
            File(media_type="text/csv", data=base64.b64encode("é,1".encode()).decode()),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "é,1"},
            },
        ),
        (
            File(media_type="image/png", data="AAAA"),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            },
        ),
    ],
)
def test_media(part, block):
    (turn,) = write((Message("user", (part,)),))["messages"]
    assert turn["content"] == [block]


def test_a_file_id_is_its_providers_own():
    messages = (Message("user", (File(file_id="f1"), File(media_type="image/*", file_id="f2"))),)
    (turn,) = write(messages, dialect="anthropic")["messages"]
    assert turn["content"] == [
        {"type": "document", "source": {"type": "file", "file_id": "f1"}},
        {"type": "image", "source": {"type": "file", "file_id": "f2"}},
    ]
    assert refused(messages=messages) == "messages[0].content[0].file_id"


@pytest.mark.parametrize(
    "part",
    [
        Audio("AAAA", "wav"),
        Image(media_type="image/tiff", data="AAAA"),
        Image(url="gs://bucket/i.png"),
        File(media_type="application/zip", data="AAAA"),
        File(media_type="text/html", url="https://x.test"),
    ],
)
def test_media_that_anthropic_does_not_take(part):
    assert refused(messages=(Message("user", (Text("x"), part)),)) == "messages[0].content[1]"


def test_how_closely_an_image_is_looked_at_is_a_hint():
    out = call((Message("user", (Image(url="https://x.test/i.png", detail="high"),)),))
    assert out.ignored == ("detail",)


def test_tools():
    body = write(tools=(F, G, HostedTool("anthropic", {"type": "bash_20250124", "name": "bash"})))
    assert body["tools"] == [
        {"name": "f", "description": "does f", "input_schema": F.parameters},
        {"name": "g", "input_schema": {"type": "object"}},
        {"type": "bash_20250124", "name": "bash"},
    ]
    assert write(tools=(Tool("s", strict=True),))["tools"][0]["strict"] is True
    assert refused(tools=(F, HostedTool("openai", {"type": "web_search"}))) == "tools[1]"


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), None, {"type": "any"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("required", ("f",)), None, {"type": "tool", "name": "f"}),
        (ToolChoice("required", ("g", "f")), None, {"type": "any"}),
    ],
)
def test_tool_choice(choice, parallel, wire):
    body = write(tools=(F, G), tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == wire


def test_a_choice_between_some_tools_is_refused():
    tools = (F, G, Tool("h"))
    assert refused(tools=tools, tool_choice=ToolChoice("required", ("f", "g"))) == "tool_choice"
    assert refused(tools=tools, tool_choice=ToolChoice("auto", ("f",))) == "tool_choice"


def test_a_choice_without_tools():
    assert "tool_choice" not in write(tool_choice=ToolChoice("auto"), parallel_tool_calls=False)
    with pytest.raises(RequestError) as caught:
        write(tool_choice=ToolChoice("required"))
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("thinking", "spec", "effort", "max_tokens"),
    [
        (Thinking(enabled=False), {"type": "disabled"}, None, DEFAULT_MAX_TOKENS),
        (Thinking(effort="none"), {"type": "disabled"}, None, DEFAULT_MAX_TOKENS),
        (Thinking(budget_tokens=0), {"type": "disabled"}, None, DEFAULT_MAX_TOKENS),
        (
            Thinking(budget_tokens=2048),
            {"type": "enabled", "budget_tokens": 2048},
            None,
            2048 + DEFAULT_MAX_TOKENS,
        ),
        (
            Thinking(enabled=True, budget_tokens=2048, show=False),
            {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
            None,
            2048 + DEFAULT_MAX_TOKENS,
        ),
        (Thinking(budget_tokens=-1), {"type": "adaptive"}, None, ADAPTIVE_MAX_TOKENS),
        (Thinking(enabled=True), {"type": "adaptive"}, None, ADAPTIVE_MAX_TOKENS),
        (
            Thinking(effort="xhigh", show=True),
            {"type": "adaptive", "display": "summarized"},
            "xhigh",
            ADAPTIVE_MAX_TOKENS,
        ),
        (Thinking(effort="minimal"), {"type": "adaptive"}, "low", ADAPTIVE_MAX_TOKENS),
    ],
)
def test_thinking(thinking, spec, effort, max_tokens):
    body = write(thinking=thinking)
    assert body["thinking"] == spec
    assert body.get("output_config", {}).get("effort") == effort
    assert body["max_tokens"] == max_tokens


def test_an_effort_alone_is_no_wish_to_think_in_this_dialect():
    body = write(dialect="anthropic", thinking=Thinking(effort="low"))
    assert "thinking" not in body and body["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"thinking": Thinking(effort="huge")}, "effort"),
        ({"thinking": Thinking(budget_tokens=512)}, "budget_tokens"),
        ({"thinking": Thinking(budget_tokens=2048), "max_tokens": 2048}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
    ],
)
def test_a_value_out_of_range_names_the_parameter(fields, param):
    with pytest.raises(RequestError, match="Anthropic") as caught:
        write(**fields)
    assert caught.value.param == param


def test_a_wish_not_to_see_thoughts_that_nobody_asked_for_is_reported():
    out = call(thinking=Thinking(show=False))
    assert "thinking" not in out.body and out.ignored == ("thinking.show",)


def test_structured_output_closes_the_objects_of_the_schema():
    schema = {
        "type": "object",
        "properties": {
            "properties": {"type": "string"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/item"}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object"},
        },
        "$defs": {"item": {"type": "object", "properties": {"a": {"enum": [{"properties": {}}]}}}},
    }
    form = ResponseFormat("json_schema", schema, name="n", description="what", strict=True)
    wire = write(response_format=form)["output_config"]["format"]
    assert wire["type"] == "json_schema"
    out = wire["schema"]
    assert out["additionalProperties"] is False and out["description"] == "what"
    assert out["properties"]["properties"] == {"type": "string"}
    assert out["properties"]["map"] == schema["properties"]["map"]
    assert out["properties"]["free"] == {"type": "object"}
    assert out["$defs"]["item"] == {**schema["$defs"]["item"], "additionalProperties": False}
    assert "additionalProperties" not in schema, "the caller's schema is left as it was"


def test_json_without_a_schema_cannot_be_said():
    assert refused(response_format=ResponseFormat("json_object")) == "response_format"
    assert "output_config" not in write(response_format=ResponseFormat("text"))


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 0},
        {"n": 2},
        {"min_p": 0.1},
        {"frequency_penalty": 0.1},
        {"presence_penalty": -0.1},
        {"logprobs": True},
        {"top_logprobs": 2},
        {"logit_bias": {"5": 1.0}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_anthropic_cannot_say_is_refused_by_name(fields):
    assert refused(**fields) == next(iter(fields))


def test_what_says_the_same_as_nothing_is_left_out():
    plain = write()
    assert write(n=1, logprobs=False, frequency_penalty=0, presence_penalty=0.0) == plain
    assert write(logit_bias={}) == plain


def test_another_dialects_extras_are_hints_or_refused():
    out = call(extra={"metadata": {}, "store": True, "stream_options.a": 1, "x": None})
    assert out.ignored == ("metadata", "store", "stream_options.a")
    assert "metadata" not in out.body
    assert refused(extra={"web_search_options": {}}) == "web_search_options"


def test_extras_of_this_dialect_are_said_again():
    out = call(
        dialect="anthropic",
        user="u",
        thinking=Thinking(effort="low"),
        tools=(F,),
        extra={
            "container": "c",
            "metadata": {"team": "t"},
            "output_config": {"task_budget": 1},
            "cache_control": True,
            "citations": True,
            "tools[0].input_examples": [{"x": 1}],
        },
    )
    assert out.body["container"] == "c"
    assert out.body["metadata"] == {"team": "t", "user_id": "u"}
    assert out.body["output_config"] == {"effort": "low", "task_budget": 1}
    assert out.body["cache_control"] == {"type": "ephemeral"}
    assert out.body["tools"][0]["input_examples"] == [{"x": 1}]
    assert out.ignored == ("citations",)


def test_a_note_on_a_block_cannot_be_put_back():
    path = "messages[0].content[0].context"
    assert refused(dialect="anthropic", extra={path: "c"}) == path


def test_a_participants_name_is_reported():
    assert call((Message("user", (Text("hi"),), name="ann"),)).ignored == ("messages.name",)


def test_a_request_of_this_dialect_comes_out_as_it_went_in():
    body = {
        "model": "claude",
        "max_tokens": 4000,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "Eq=="},
                    {"type": "redacted_thinking", "data": "Em=="},
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "7", "is_error": True},
                    {"type": "text", "text": "well?"},
                ],
            },
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"},
        "output_config": {
            "effort": "high",
            "format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}},
        },
        "metadata": {"user_id": "u"},
        "stop_sequences": ["END"],
        "temperature": 1,
        "top_p": 0.95,
        "top_k": 40,
        "stream": True,
        "service_tier": "auto",
        "mcp_servers": [{"type": "url", "name": "n", "url": "https://x.test"}],
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    }
    assert ANTHROPIC.write_chat(ANTHROPIC.read_chat(body), TARGET).body == body


def test_a_count_asks_for_the_prompt_alone():
    chat = Chat(
        model="m",
        messages=(Message("system", (Text("s"),)), *HI),
        dialect="openai",
        tools=(F,),
        thinking=Thinking(budget_tokens=2048),
        temperature=2.0,
        seed=1,
        stream=True,
        stop=("x",),
    )
    out = ANTHROPIC.write_count(chat, TARGET)
    assert out.path == "/messages/count_tokens"
    assert sorted(out.body) == ["messages", "model", "system", "thinking", "tools"]
    assert ANTHROPIC.write_token_count(7) == {"input_tokens": 7}
    assert ANTHROPIC.read_token_count({"input_tokens": 7}, TARGET) == 7


def test_own_body_changes_thinking_alone():
    mark = {"type": "ephemeral"}
    foreign = seal(Signature("sig", "google"))
    body = {
        "model": "m",
        "system": [{"type": "text", "text": "s", "cache_control": mark}],
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": foreign}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "a", "signature": "raw"},
                    {"type": "thinking", "thinking": "b", "signature": foreign},
                    {"type": "thinking", "thinking": "c", "signature": ""},
                    {
                        "type": "thinking",
                        "thinking": "d",
                        "signature": seal(Signature("mine", "anthropic")),
                    },
                    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                    {"type": "text", "text": "t", "cache_control": mark},
                ],
            },
        ],
    }
    out = ANTHROPIC.own_body(body, TARGET)
    assert out["system"] == body["system"]
    assert out["messages"][0] == body["messages"][0]
    assert out["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "a", "signature": "raw"},
                {"type": "thinking", "thinking": "d", "signature": "mine"},
                *body["messages"][2]["content"][4:],
            ],
        }
    ]


def test_there_are_no_embeddings():
    with pytest.raises(UnsupportedParameter, match="no embeddings"):
        ANTHROPIC.write_embed(Embed(model="m", inputs=("x",)), TARGET)
