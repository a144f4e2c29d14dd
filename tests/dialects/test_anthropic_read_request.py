"""What an Anthropic client sends, read into the middle form."""

from __future__ import annotations

import pytest

from pointsman.dialects._shared import seal
from pointsman.dialects.anthropic import ANTHROPIC
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    File,
    HostedTool,
    Image,
    Message,
    Reasoning,
    Signature,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

ASK = {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}


def read(**changes):
    return ANTHROPIC.read_chat({**ASK, **changes})


def read_content(content, role="user"):
    return read(messages=[{"role": role, "content": content}])


def test_the_least_request():
    chat = read()
    assert chat.dialect == "anthropic"
    assert chat.model == "m" and chat.max_tokens == 64 and not chat.stream
    assert chat.messages == (Message("user", (Text("hi"),)),)
    assert chat.extra == {} and chat.tools == () and chat.thinking is None


def test_parameters_go_to_their_fields():
    chat = read(
        stream=True,
        temperature=0.3,
        top_p=0.9,
        top_k=5,
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
    )
    assert chat.stream is True
    assert (chat.temperature, chat.top_p, chat.top_k) == (0.3, 0.9, 5)
    assert chat.stop == ("END",) and chat.user == "u1" and chat.extra == {}


@pytest.mark.parametrize(
    "system", ["Be brief.", [{"type": "text", "text": "Be brief."}]], ids=["string", "blocks"]
)
def test_system_is_the_first_message(system):
    assert read(system=system).messages[0] == Message("system", (Text("Be brief."),))


def test_a_system_message_in_the_midst_keeps_its_place():
    chat = read(
        messages=[
            {"role": "user", "content": "a"},
            {"role": "system", "content": "b"},
            {"role": "assistant", "content": "c"},
        ]
    )
    assert [message.role for message in chat.messages] == ["user", "system", "assistant"]


def test_tool_results_leave_the_users_turn_and_learn_their_function():
    chat = read(
        messages=[
            {"role": "user", "content": "weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True},
                    {"type": "text", "text": "well?"},
                ],
            },
        ]
    )
    assert chat.messages[1].parts == (
        Text("Looking."),
        ToolCall("t1", "weather", '{"city":"Rome"}'),
    )
    assert chat.messages[2:] == (
        Message("tool", (ToolResult("t1", (Text("no"),), "weather", is_error=True),)),
        Message("user", (Text("well?"),)),
    )


def test_a_tool_result_holds_blocks():
    pixel = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    page = {"type": "text", "media_type": "text/plain", "data": "page"}
    chat = read_content(
        [
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image", "source": pixel},
                    {"type": "document", "source": page, "title": "T"},
                    {
                        "type": "search_result",
                        "title": "Hit",
                        "source": "https://x.test",
                        "content": [{"type": "text", "text": "found"}],
                    },
                ],
            },
            {"type": "tool_result", "tool_use_id": "u"},
        ]
    )
    first, second = chat.messages[0].parts
    assert first.content == (
        Text("a"),
        Image(media_type="image/png", data="AAAA"),
        File(name="T", media_type="text/plain", text="page"),
        Text("Hit\nhttps://x.test\n\nfound"),
    )
    assert second.content == ()


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://x.test/i.png"}},
            Image(url="https://x.test/i.png"),
        ),
        (
            {"type": "image", "source": {"type": "file", "file_id": "f1"}},
            File(media_type="image/*", file_id="f1"),
        ),
        (
            {
                "type": "document",
                "title": "T",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
            },
            File(name="T", media_type="application/pdf", data="JVBERi0x"),
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x.test/d.pdf"}},
            File(media_type="application/pdf", url="https://x.test/d.pdf"),
        ),
        ({"type": "document", "source": {"type": "file", "file_id": "f2"}}, File(file_id="f2")),
        (
            {
                "type": "document",
                "source": {
                    "type": "content",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                },
            },
            File(media_type="text/plain", text="a\n\nb"),
        ),
    ],
)
def test_media(block, part):
    assert read_content([block]).messages[0].parts == (part,)


def test_thinking_is_signed_by_who_made_it():
    foreign = Signature("opaque", "google")
    chat = read_content(
        [
            {"type": "thinking", "thinking": "a", "signature": "EqRaw=="},
            {"type": "thinking", "thinking": "b", "signature": seal(foreign)},
            {"type": "thinking", "thinking": "c", "signature": ""},
            {"type": "redacted_thinking", "data": "dark"},
            {"type": "redacted_thinking", "data": seal(foreign)},
        ],
        role="assistant",
    )
    assert chat.messages[0].parts == (
        Reasoning("a", Signature("EqRaw==", "anthropic")),
        Reasoning("b", foreign),
        Reasoning("c"),
        Reasoning(redacted=Signature("dark", "anthropic")),
        Reasoning(redacted=foreign),
    )


@pytest.mark.parametrize(
    ("wire", "thinking"),
    [
        ({"thinking": {"type": "disabled"}}, Thinking(enabled=False)),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}},
            Thinking(enabled=True, budget_tokens=2048, show=False),
        ),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            Thinking(enabled=True, show=True),
        ),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            Thinking(enabled=True, effort="max"),
        ),
        ({"output_config": {"effort": "low"}}, Thinking(effort="low")),
    ],
)
def test_thinking(wire, thinking):
    assert read(**wire).thinking == thinking


def test_a_kind_of_thinking_that_the_middle_form_lacks_is_kept_whole():
    chat = read(thinking={"type": "between_tools"})
    assert chat.thinking is None
    assert chat.extra == {"thinking": {"type": "between_tools"}}


@pytest.mark.parametrize(
    "wire",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
    ],
)
def test_structured_output(wire):
    form = read(**wire).response_format
    assert form.kind == "json_schema" and form.schema == {"type": "object"}


def test_tools():
    schema = {"type": "object", "properties": {}}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    chat = read(
        tools=[
            {"name": "f", "description": "d", "input_schema": schema, "strict": True},
            {"type": "custom", "name": "g", "input_schema": schema},
            search,
        ]
    )
    assert chat.tools == (
        Tool("f", "d", schema, True),
        Tool("g", None, schema),
        HostedTool("anthropic", search),
    )


@pytest.mark.parametrize(
    ("wire", "choice", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any"}, ToolChoice("required"), None),
        ({"type": "none"}, ToolChoice("none"), None),
        ({"type": "tool", "name": "f"}, ToolChoice("required", ("f",)), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice("required"), None),
    ],
)
def test_tool_choice(wire, choice, parallel):
    chat = read(tool_choice=wire)
    assert (chat.tool_choice, chat.parallel_tool_calls) == (choice, parallel)


def test_what_the_middle_form_lacks_is_noted_by_name():
    chat = read(
        system=[{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
                        "context": "a letter",
                        "citations": {"enabled": True},
                    },
                    {"type": "text", "text": "t", "citations": None},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}
                ],
            },
        ],
        tools=[
            {
                "name": "f",
                "input_schema": {},
                "input_examples": [{"a": 1}],
                "defer_loading": False,
                "eager_input_streaming": True,
            }
        ],
        metadata={"user_id": "u", "team": "t"},
        output_config={"effort": "low", "task_budget": {"total": 1}},
        service_tier="auto",
        container="c1",
    )
    assert chat.extra == {
        "cache_control": True,
        "citations": True,
        "eager_input_streaming": True,
        "messages[0].content[0].context": "a letter",
        "messages[0].content[0].citations": {"enabled": True},
        "tools[0].input_examples": [{"a": 1}],
        "metadata": {"team": "t"},
        "output_config": {"task_budget": {"total": 1}},
        "service_tier": "auto",
        "container": "c1",
    }


def test_the_automatic_cache_mark_is_kept_as_it_is():
    mark = {"type": "ephemeral", "ttl": "1h"}
    content = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    chat = read(cache_control=mark, messages=[{"role": "user", "content": content}])
    assert chat.extra == {"cache_control": mark}


def test_fields_that_say_nothing_are_not_noted():
    block = {
        "type": "tool_use",
        "id": "t",
        "name": "f",
        "input": {},
        "caller": {"type": "direct"},
        "toolset_name": None,
    }
    assert read_content([block], role="assistant").extra == {}


USER = {"role": "user"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [USER]}, "messages[0].content"),
        ({"messages": [{**USER, "content": 5}]}, "messages[0].content"),
        ({"messages": [{**USER, "content": []}]}, "messages[0].content"),
        ({"messages": [{**USER, "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{**USER, "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{**USER, "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{**USER, "content": [{"type": "image", "source": "x"}]}]},
            "messages[0].content[0].source",
        ),
        (
            {"messages": [{**USER, "content": [{"type": "image", "source": {"type": "ftp"}}]}]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [{**USER, "content": [{"type": "hologram"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{**USER, "content": [{"type": "thinking", "thinking": ""}]}]},
            "messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "t"}]}
                ]
            },
            "messages[0].content[0]",
        ),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image", "source": {"type": "url", "url": "u"}}]}, "system"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": "loud"}}, "thinking.display"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "hot"}, "temperature"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(change, param):
    with pytest.raises(RequestError) as caught:
        read(**change)
    assert caught.value.param == param
    assert param in caught.value.message


def test_max_tokens_is_required_but_for_a_count():
    body = {key: value for key, value in ASK.items() if key != "max_tokens"}
    with pytest.raises(RequestError) as caught:
        ANTHROPIC.read_chat(body)
    assert caught.value.param == "max_tokens"
    assert ANTHROPIC.read_count(body).max_tokens is None


@pytest.mark.parametrize(
    "kind", ["server_tool_use", "web_search_tool_result", "container_upload", "compaction"]
)
def test_a_server_tools_block_is_refused_by_name(kind):
    with pytest.raises(UnsupportedParameter, match=kind) as caught:
        read_content([{"type": kind}], role="assistant")
    assert caught.value.param == "messages[0].content[0]"
