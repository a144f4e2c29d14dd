"""OpenAI's request, read from a client."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.dialects._shared import seal
from pointsman.dialects.openai import OPENAI, read_embed
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    Audio,
    Chat,
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

PNG = base64.b64encode(b"\x89PNG").decode()
HI = [{"role": "user", "content": "Hi"}]


def read(messages=None, **body) -> Chat:
    return OPENAI.read_chat({"model": "m", "messages": messages or HI, **body})


def read_parts(*parts, role="user"):
    return read([{"role": role, "content": list(parts)}]).messages[0].parts


def call(identity, name, arguments="{}", **more):
    function = {"name": name, "arguments": arguments}
    return {"id": identity, "type": "function", "function": function, **more}


def test_the_least_request_has_the_defaults():
    chat = read()
    assert chat == Chat(
        model="m",
        messages=(Message("user", (Text("Hi"),)),),
        dialect="openai",
        include_usage=False,
    )


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_and_developer_are_one_role(role):
    messages = read([{"role": role, "content": "Be brief.", "name": "boss"}, *HI]).messages
    assert messages[0] == Message("system", (Text("Be brief."),), "boss")


def test_parts_of_a_user_are_read():
    data = f"data:image/PNG;base64,{PNG}"
    pdf = "data:application/pdf;base64,JVBERg=="
    parts = read_parts(
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": data, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_data": pdf, "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    )
    assert parts == (
        Text("What?"),
        Image("image/png", PNG, detail="low"),
        Image(url="https://example.com/a.png"),
        Audio("UklGRg==", "wav"),
        File("a.pdf", "application/pdf", "JVBERg=="),
        File(file_id="file-1"),
    )


def test_an_assistant_thinks_speaks_refuses_and_calls_in_that_order():
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "Well,"}],
        "refusal": "no.",
        "reasoning_content": "Hm.",
        "tool_calls": [call("c1", "look", "")],
        "annotations": [],
        "audio": None,
        "function_call": None,
    }
    [read_message] = read([message]).messages
    assert read_message.parts == (
        Reasoning("Hm."),
        Text("Well,"),
        Refusal("no."),
        ToolCall("c1", "look", "{}"),
    )


def test_thinking_is_read_by_either_name():
    [message] = read([{"role": "assistant", "content": "A", "reasoning": "Hm."}]).messages
    assert message.parts == (Reasoning("Hm."), Text("A"))


@pytest.mark.parametrize(
    ("value", "signature"),
    [
        (seal(Signature("raw", "gemini")), Signature("raw", "gemini")),
        ("raw", Signature("raw", "openai")),
    ],
)
def test_a_signature_comes_back_with_its_origin(value, signature):
    extra = {"extra_content": {"google": {"thought_signature": value}}}
    [message] = read(
        [{"role": "assistant", "content": "A", "tool_calls": [call("c", "f", **extra)], **extra}]
    ).messages
    assert message.parts == (Text("A", signature), ToolCall("c", "f", "{}", signature))


def test_results_of_one_turn_are_one_message_and_know_their_functions():
    messages = read(
        [
            *HI,
            {"role": "assistant", "tool_calls": [call("a", "one"), call("b", "two")]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
        ]
    ).messages
    assert messages[2] == Message(
        "tool",
        (ToolResult("a", (Text("1"),), "one"), ToolResult("b", (Text("2"),), "two")),
    )


def test_the_old_function_form_becomes_tools_with_ids_of_their_own():
    turn = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ]
    chat = read([*turn, *turn], functions=[{"name": "f"}], function_call={"name": "f"})
    assert chat.tools == (Tool("f"),)
    assert chat.tool_choice == ToolChoice("required", ("f",))
    first, answer, second, answer2 = (message.parts[0] for message in chat.messages)
    assert (first.id, second.id) == (answer.call_id, answer2.call_id)
    assert first.id != second.id
    assert answer.name == "f"


def test_sampling_and_limits_are_read():
    chat = read(
        max_tokens=5,
        max_completion_tokens=7,
        temperature=0,
        top_p=0.5,
        top_k=4,
        min_p=0.1,
        frequency_penalty=1,
        presence_penalty=-1,
        seed=3,
        stop="END",
        n=2,
        logprobs=True,
        top_logprobs=2,
        logit_bias={"5": -100},
        user="u",
        parallel_tool_calls=False,
        reasoning_effort="high",
        stream=True,
        stream_options={"include_usage": True},
    )
    assert chat == Chat(
        model="m",
        messages=chat.messages,
        dialect="openai",
        max_tokens=7,
        temperature=0,
        top_p=0.5,
        top_k=4,
        min_p=0.1,
        frequency_penalty=1,
        presence_penalty=-1,
        seed=3,
        stop=("END",),
        n=2,
        logprobs=True,
        top_logprobs=2,
        logit_bias={"5": -100},
        user="u",
        parallel_tool_calls=False,
        thinking=Thinking(effort="high"),
        stream=True,
        include_usage=True,
    )
    assert read(max_tokens=5).max_tokens == 5
    assert read(stop=["a", "b"]).stop == ("a", "b")


def test_what_has_no_field_is_kept_by_its_name():
    chat = read(verbosity="low", metadata={"a": "b"}, store=None, modalities=["text"])
    assert chat.extra == {"verbosity": "low", "metadata": {"a": "b"}}


def test_unknown_fields_inside_messages_are_kept_by_path_and_hints_by_name():
    message = {
        "role": "user",
        "content": [
            {"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}
        ],
        "partial": True,
    }
    chat = read([message])
    assert chat.extra == {
        "prompt_cache_breakpoint": {"mode": "explicit"},
        "messages[0].partial": True,
    }


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        ("none", ToolChoice("none")),
        ("auto", ToolChoice("auto")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("required", ("f",))),
        (
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
            ToolChoice("required", ("f", "g")),
        ),
    ],
)
def test_tool_choice_is_read(value, choice):
    chat = read(tool_choice=value)
    assert chat.tool_choice == choice
    assert chat.extra == {}


@pytest.mark.parametrize(
    "value",
    [
        {"type": "custom", "custom": {"name": "sql"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "auto",
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
        },
    ],
)
def test_a_choice_that_only_openai_knows_is_kept_whole(value):
    chat = read(tool_choice=value)
    assert chat.tool_choice is None
    assert chat.extra == {"tool_choice": value}


def test_tools_are_read_and_custom_ones_stay_openais():
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}}
    function = {"name": "f", "description": "d", "parameters": parameters, "strict": True}
    custom = {"type": "custom", "custom": {"name": "sql"}}
    chat = read(tools=[{"type": "function", "function": function}, custom])
    assert chat.tools == (Tool("f", "d", parameters, True), HostedTool("openai", custom))


@pytest.mark.parametrize(
    ("form", "read_form"),
    [
        ({"type": "text"}, ResponseFormat("text")),
        ({"type": "json_object"}, ResponseFormat("json_object")),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            },
            ResponseFormat("json_schema", {"type": "object"}, "n", None, True),
        ),
    ],
)
def test_response_format_is_read(form, read_form):
    assert read(response_format=form).response_format == read_form


USER = {"role": "user", "content": "Hi"}
WRONG = [
    ({"messages": [USER]}, "model"),
    ({"model": "m"}, "messages"),
    ({"model": 1, "messages": [USER]}, "model"),
    ({"model": "m", "messages": []}, "messages"),
    ({"model": "m", "messages": "Hi"}, "messages"),
    ({"model": "m", "messages": ["Hi"]}, "messages[0]"),
    ({"model": "m", "messages": [{"content": "Hi"}]}, "messages[0].role"),
    ({"model": "m", "messages": [{"role": "boss", "content": ""}]}, "messages[0].role"),
    ({"model": "m", "messages": [USER, {"role": "user"}]}, "messages[1].content"),
    ({"model": "m", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"model": "m", "messages": [{"role": "tool", "content": ""}]}, "messages[0].tool_call_id"),
    ({"model": "m", "messages": [{"role": "function", "content": ""}]}, "messages[0]"),
    (
        {"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]},
        "messages[0].tool_calls[0].function",
    ),
    (
        {"model": "m", "messages": [{"role": "assistant", "tool_calls": {}}]},
        "messages[0].tool_calls",
    ),
]
WRONG_PARTS = [
    ({"text": "Hi"}, "type"),
    ({"type": "video"}, "type"),
    ({"type": "refusal", "refusal": "no"}, "type"),
    ({"type": "text", "text": None}, "text"),
    ({"type": "image_url", "image_url": {}}, "image_url.url"),
    ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "image_url.url"),
    ({"type": "image_url", "image_url": {"url": "data:image/png,x"}}, "image_url.url"),
    ({"type": "image_url", "image_url": {"url": "data:image/png;base64,x"}}, "image_url.url"),
    (
        {"type": "image_url", "image_url": {"url": "https://a.b/c", "detail": "max"}},
        "image_url.detail",
    ),
    ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "input_audio.format"),
    ({"type": "file", "file": {}}, "file.file_data"),
    ({"type": "file", "file": {"file_data": "AAAA"}}, "file.file_data"),
]
WRONG_PARAMETERS = [
    ("temperature", "hot", "temperature"),
    ("temperature", True, "temperature"),
    ("max_tokens", 0, "max_tokens"),
    ("max_completion_tokens", 1.5, "max_completion_tokens"),
    ("n", 0, "n"),
    ("stop", 5, "stop"),
    ("stop", ["a", 5], "stop[1]"),
    ("stream", "yes", "stream"),
    ("stream_options", True, "stream_options"),
    ("stream_options", {"include_usage": 1}, "stream_options.include_usage"),
    ("logit_bias", {"5": "x"}, "logit_bias.5"),
    ("tools", {}, "tools"),
    ("tools", [{"function": {}}], "tools[0].type"),
    ("tools", [{"type": "function"}], "tools[0].function"),
    ("tools", [{"type": "function", "function": {}}], "tools[0].function.name"),
    ("functions", [{}], "functions[0].name"),
    ("function_call", "always", "function_call"),
    ("tool_choice", "always", "tool_choice"),
    ("tool_choice", {"type": "function"}, "tool_choice.function"),
    (
        "tool_choice",
        {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": []}},
        "tool_choice.allowed_tools.mode",
    ),
    ("response_format", "json", "response_format"),
    ("response_format", {"type": "yaml"}, "response_format.type"),
    ("response_format", {"type": "json_schema"}, "response_format.json_schema"),
]


@pytest.mark.parametrize(("body", "param"), WRONG)
def test_a_wrong_body_is_named_by_its_path(body, param):
    with pytest.raises(RequestError) as raised:
        OPENAI.read_chat(body)
    assert raised.value.param == param


@pytest.mark.parametrize(("part", "param"), WRONG_PARTS)
def test_a_wrong_part_is_named_by_its_path(part, param):
    with pytest.raises(RequestError) as raised:
        read_parts(part)
    assert raised.value.param == f"messages[0].content[0].{param}"


@pytest.mark.parametrize(("name", "value", "param"), WRONG_PARAMETERS)
def test_a_wrong_parameter_is_named_by_its_path(name, value, param):
    with pytest.raises(RequestError) as raised:
        read(**{name: value})
    assert raised.value.param == param


def test_a_call_of_a_custom_tool_is_refused_not_dropped():
    custom = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    with pytest.raises(UnsupportedParameter) as raised:
        read([{"role": "assistant", "tool_calls": [custom]}])
    assert raised.value.param == "messages[0].tool_calls[0].type"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        *("messages", "tools", "tool_choice", "response_format", "stop", "stream_options"),
        *("functions", "function_call", "logit_bias", "n", "temperature", "odd"),
    ]
)
ITEMS = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "name", "refusal", "type"]),
    st.sampled_from(["user", "assistant", "tool", "text", "function"]) | JSON,
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, JSON), st.lists(ITEMS, max_size=3))
def test_odd_bodies_give_a_chat_or_a_request_error(body, messages):
    try:
        assert isinstance(OPENAI.read_chat({"model": "m", "messages": messages, **body}), Chat)
    except RequestError as error:
        assert error.message


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
    ],
)
def test_embeddings_inputs_are_read(value, inputs):
    embed = read_embed({"model": "m", "input": value, "encoding_format": "base64", "task": "x"})
    assert embed.inputs == inputs
    assert embed.encoding == "base64"
    assert embed.extra == {"task": "x"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": ["a", 1]}, "input"),
        ({"input": "a"}, "model"),
        ({"model": "m", "input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"model": "m", "input": "a", "dimensions": "8"}, "dimensions"),
    ],
)
def test_a_wrong_embeddings_request_is_named_by_its_path(body, param):
    with pytest.raises(RequestError) as raised:
        read_embed(body)
    assert raised.value.param == param
