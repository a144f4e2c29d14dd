"""From each dialect to each dialect, a stream is the same values as the unstreamed answer."""

from __future__ import annotations

import json

import msgspec
import pytest
from gateway_site import chat_body

from pointsman._sse import Parser
from pointsman._stream import accumulate
from pointsman.dialects import get_dialect
from pointsman.dialects.base import Target
from pointsman.testing import Answer, Call
from pointsman.types import ToolCall

ANSWERS = {
    "text": Answer(text="one two three", pieces=3, input_tokens=9, output_tokens=5),
    "thought": Answer(text="so", reasoning="let me think", signature="c2ln", reasoning_tokens=2),
    "calls": Answer(calls=(Call("f", {"a": 1}, id="c1"), Call("g", {}, id="c2"))),
    "both": Answer(text="so", calls=(Call("f", {"a": [1, {"b": "é"}]}, id="c1"),)),
}
TOOLS = ("f", "g")


def ask(site, dialect, model, stream):
    if dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        declared = [{"name": name, "parameters": {"type": "OBJECT"}} for name in TOOLS]
        body = {
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "tools": [{"functionDeclarations": declared}],
        }
        return site.send(f"/v1beta/models/{model}:{verb}", body)
    if dialect == "anthropic":
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in TOOLS]
        return site.send("/v1/messages", chat_body(model, stream=stream, max_tokens=9, tools=tools))
    tools = [{"type": "function", "function": {"name": name}} for name in TOOLS]
    fields = {"stream_options": {"include_usage": True}} if stream else {}
    return site.chat(model, stream=stream, tools=tools, **fields)


def values(choices):
    """Choices with their arguments as values: spaces in their JSON text say nothing."""
    return [
        msgspec.structs.replace(
            choice,
            parts=tuple(
                msgspec.structs.replace(part, arguments=json.loads(part.arguments))
                if isinstance(part, ToolCall)
                else part
                for part in choice.parts
            ),
        )
        for choice in choices
    ]


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("upstream", ["o:m", "a:m", "g:m"])
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
def test_a_stream_is_the_whole_answer(make_site, dialect, upstream, name):
    site = make_site(lambda request: ANSWERS[name])
    target = Target("gateway", "m")
    reader = get_dialect(dialect)
    whole_reply = ask(site, dialect, upstream, False)
    stream_reply = ask(site, dialect, upstream, True)
    assert whole_reply.status == stream_reply.status == 200
    whole = reader.read_completion(json.loads(whole_reply.body), target)
    stream = reader.stream_reader(target)
    chunks = [c for event in Parser().feed(stream_reply.body) for c in stream.read(event)]
    streamed = accumulate([*chunks, *stream.finish()])
    assert values(streamed.choices) == values(whole.choices)
    assert streamed.usage is not None and whole.usage is not None
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.model == whole.model == "m"
    expected = ANSWERS[name]
    assert streamed.text == expected.text
    assert [call.name for call in streamed.tool_calls] == [call.name for call in expected.calls]
    assert [json.loads(c.arguments) for c in streamed.tool_calls] == [
        c.arguments for c in expected.calls
    ]
