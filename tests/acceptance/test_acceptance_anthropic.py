"""Anthropic's own client, unchanged, against the gateway over each upstream dialect."""

from __future__ import annotations

import json

import anthropic
import pytest
from media import PDF, PNG, base64_of
from pydantic import BaseModel

from pointsman.testing import NOTICE, Answer, Call, Fault

HELLO = [{"role": "user", "content": "Say hello"}]
ADD = {
    "name": "add",
    "description": "Adds two numbers.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
WEATHER = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALLS = (Call("add", {"a": 3, "b": 4}), Call("weather", {"city": "Zürich"}), Call("add", {}))


@pytest.fixture(scope="module")
def client(whole_site):
    with anthropic.Anthropic(base_url=whole_site.url, api_key="any", max_retries=0) as made:
        yield made


def ask(client, upstream, **fields):
    return client.messages.create(
        **{"model": f"{upstream}:m", "messages": HELLO, "max_tokens": 400, **fields}
    )


def collected(client, upstream, **fields):
    """The message that the client's own accumulator makes of a stream."""
    with client.messages.stream(
        **{"model": f"{upstream}:m", "messages": HELLO, "max_tokens": 400, **fields}
    ) as stream:
        return stream.get_final_message()


each_way = pytest.mark.parametrize("take", [ask, collected], ids=["whole", "stream"])


@each_way
def test_chat(client, site, upstream, take):
    message = take(client, upstream)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == f"{NOTICE} Your prompt has 2 words."
    assert (message.role, message.type, message.model) == ("assistant", "message", "m")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id
    assert site.sent.dialect == upstream


def test_a_stream_is_event_by_event(client, site, upstream):
    site.fake.play([Answer(text="one two three", pieces=3)])
    kinds, text = [], ""
    for event in ask(client, upstream, stream=True):
        if event.type == "content_block_delta":
            text += event.delta.text
        kinds.append(event.type)
    assert text == "one two three"
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@each_way
def test_usage(client, site, upstream, take):
    site.fake.play(
        [
            Answer(
                text="x",
                input_tokens=100,
                output_tokens=20,
                cached_tokens=40,
                reasoning_tokens=8,
                reasoning="hm",
            )
        ]
    )
    usage = take(client, upstream).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (60, 40, 20)
    assert usage.output_tokens_details.thinking_tokens == 8


@each_way
def test_a_tool_is_called_and_answered(client, site, upstream, take):
    turns = [{"role": "user", "content": "Add 3 and 4."}]
    message = take(client, upstream, messages=turns, tools=[ADD])
    assert message.stop_reason == "tool_use"
    call = message.content[-1]
    assert (call.type, call.name, call.input) == ("tool_use", "add", {"a": 3, "b": 4})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "seven"}
    turns += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    closing = take(client, upstream, messages=turns, tools=[ADD])
    assert "The tool said:" in closing.content[0].text and "seven" in closing.content[0].text
    assert closing.stop_reason == "end_turn"


@each_way
def test_several_calls_at_once(client, site, upstream, take):
    site.fake.play([Answer(text="so", calls=CALLS), Answer(text="done")])
    message = take(client, upstream, tools=[ADD, WEATHER])
    assert [block.type for block in message.content] == ["text", *["tool_use"] * 3]
    calls = message.content[1:]
    assert [(call.name, call.input) for call in calls] == [(c.name, c.arguments) for c in CALLS]
    assert len({call.id for call in calls}) == 3
    results = [
        {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": [{"type": "text", "text": f"r{index}"}],
            "is_error": index == 1,
        }
        for index, call in enumerate(calls)
    ]
    turns = [
        *HELLO,
        {"role": "assistant", "content": message.content},
        # The results come in another order than the calls, and text comes with them.
        {"role": "user", "content": [*results[::-1], {"type": "text", "text": "And now?"}]},
    ]
    assert take(client, upstream, messages=turns, tools=[ADD, WEATHER]).content[0].text == "done"
    for index in range(3):
        assert f"r{index}" in site.sent.raw.decode()


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "auto"}, "add"),
        ({"type": "none"}, None),
        ({"type": "any"}, "add"),
        ({"type": "tool", "name": "weather"}, "weather"),
    ],
)
def test_tool_choice(client, site, upstream, choice, called):
    message = ask(client, upstream, tools=[ADD, WEATHER], tool_choice=choice)
    names = [block.name for block in message.content if block.type == "tool_use"]
    assert names == ([called] if called else [])


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


def test_structured_output(client, site, upstream):
    wanted = Person(name="Ada", age=36, tags=["example tags"])
    fields = {
        "model": f"{upstream}:m",
        "max_tokens": 400,
        "messages": [{"role": "user", "content": "'Ada' is 36"}],
        "output_format": Person,
    }
    assert client.messages.parse(**fields).parsed_output == wanted
    with client.messages.stream(**fields) as stream:
        assert stream.get_final_message().parsed_output == wanted


def test_an_image_and_a_document(client, site, upstream):
    def source(kind, data):
        return {"type": "base64", "media_type": kind, "data": base64_of(data)}

    content = [
        {"type": "image", "source": source("image/png", PNG)},
        {"type": "document", "source": source("application/pdf", PDF), "title": "a.pdf"},
        {"type": "text", "text": "What are these?"},
    ]
    assert ask(client, upstream, messages=[{"role": "user", "content": content}]).content
    raw = site.sent.raw.decode()
    assert base64_of(PNG) in raw and base64_of(PDF) in raw
    if upstream == "gemini":
        parts = site.sent.body["contents"][0]["parts"]
        kinds = [part["inlineData"]["mimeType"] for part in parts if "inlineData" in part]
        assert kinds == ["image/png", "application/pdf"]


def test_an_image_in_a_tools_result(client, site, upstream):
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": base64_of(PNG)},
    }
    turns = [
        *HELLO,
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}],
        },
    ]
    assert ask(client, upstream, messages=turns, tools=[ADD]).content
    assert base64_of(PNG) in site.sent.raw.decode()
    if upstream == "openai":
        # Chat completions take only text from a tool, so the image follows in the user's turn.
        roles = [message["role"] for message in site.sent.body["messages"]]
        assert roles == ["user", "assistant", "tool", "user"]


def test_parameters_arrive(client, site, upstream):
    ask(
        client,
        upstream,
        system=[
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be kind."},
        ],
        max_tokens=50,
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
        extra_body={"temperature": 0.5, "top_p": 0.9},
    )
    body = site.sent.body
    if upstream == "openai":
        assert (body["max_completion_tokens"], body["temperature"], body["top_p"]) == (50, 0.5, 0.9)
        assert body["stop"] == ["END"]
        assert body["messages"][0]["role"] in ("system", "developer")
        assert "Be brief." in json.dumps(body["messages"][0])
        assert "Be kind." in json.dumps(body["messages"])
    elif upstream == "anthropic":
        assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
        assert body["metadata"] == {"user_id": "u1"}
    else:
        config = body["generationConfig"]
        assert (config["maxOutputTokens"], config["temperature"], config["topP"]) == (50, 0.5, 0.9)
        assert config["stopSequences"] == ["END"]
        assert "Be brief." in json.dumps(body["systemInstruction"])


@each_way
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}, "max_tokens"),
        ({"openai": "content_filter", "anthropic": "refusal", "gemini": "SAFETY"}, "refusal"),
        ({"openai": "stop", "anthropic": "end_turn", "gemini": "STOP"}, "end_turn"),
    ],
)
def test_stop_reasons(client, site, upstream, words, reason, take):
    site.fake.play([Answer(text="some text", finish=words[upstream])])
    assert take(client, upstream).stop_reason == reason


@each_way
def test_a_refusal_is_said(client, site, upstream, take):
    site.fake.play([Answer(refusal="I will not.")])
    message = take(client, upstream)
    assert message.stop_reason == "refusal"


def test_a_stop_sequence_ends_the_text(client, site, upstream):
    message = ask(client, upstream, stop_sequences=["stand"])
    assert message.content[0].text == "This is a scripted "
    if upstream == "anthropic":
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "stand")


@each_way
def test_thoughts_go_back_to_the_one_who_thought_them(client, site, upstream, take):
    thought = Answer(
        reasoning="let me think",
        signature="the signature",
        redacted="b3BhcXVl",
        calls=(Call("add", {"a": 1, "b": 2}, signature="of the call"),),
    )
    site.fake.play([thought, Answer(text="done")])
    thinking = {"type": "enabled", "budget_tokens": 1024}
    fields = {"tools": [ADD], "thinking": thinking, "max_tokens": 2000}
    message = take(client, upstream, **fields)
    first = message.content[0]
    assert (first.type, first.thinking) == ("thinking", "let me think")
    call = message.content[-1]
    turns = [
        *HELLO,
        {"role": "assistant", "content": message.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "3"}],
        },
    ]
    take(client, upstream, messages=turns, **fields)
    body = site.sent.body
    if upstream == "anthropic":
        assert body["messages"][1]["content"][:2] == [
            {"type": "thinking", "thinking": "let me think", "signature": "the signature"},
            {"type": "redacted_thinking", "data": "b3BhcXVl"},
        ]
    elif upstream == "gemini":
        parts = body["contents"][1]["parts"]
        signed = [part for part in parts if "functionCall" in part]
        assert signed[0]["thoughtSignature"] == "b2YgdGhlIGNhbGw="
    else:
        assert body["messages"][1]["reasoning_content"] == "let me think"


@each_way
def test_thoughts_go_to_nobody_else(client, site, upstream, take):
    others = {"openai": "anthropic", "anthropic": "gemini", "gemini": "anthropic"}
    site.fake.play(
        [Answer(reasoning="secret thought", signature="c2ln", text="so"), Answer(text="done")]
    )
    message = take(client, upstream)
    turns = [*HELLO, {"role": "assistant", "content": message.content}, *HELLO]
    take(client, others[upstream], messages=turns)
    assert "secret thought" not in site.sent.raw.decode()
    assert "c2ln" not in site.sent.raw.decode()


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_keeps_its_status(client, site, upstream, status, error, kind, stream):
    site.fake.play([Fault(status=status, message="because of this", retry_after="7")])
    with pytest.raises(error, match="because of this") as caught:
        ask(client, upstream, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == kind
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("fault", [{"error_after": 5}, {"cut_after": 5}])
def test_a_stream_that_breaks_raises(client, site, upstream, fault):
    text = Answer(text="one two three four five six", pieces=9, delay_s=0.02)
    site.fake.play([Fault(**fault, answer=text)])
    seen = []
    with pytest.raises(anthropic.APIError):
        for event in ask(client, upstream, stream=True):
            seen.append(event.type)
    assert "content_block_delta" in seen and "message_stop" not in seen


def test_an_unknown_model_names_what_is_near(client, site):
    with pytest.raises(anthropic.NotFoundError, match="anthropic"):
        client.messages.create(model="anthopic:m", max_tokens=9, messages=HELLO)


def test_what_a_provider_cannot_say_is_named(client, site, upstream):
    search = {"type": "web_search_20250305", "name": "web_search"}
    if upstream == "anthropic":
        assert ask(client, upstream, tools=[search]).content
        return
    with pytest.raises(anthropic.BadRequestError, match="tools"):
        ask(client, upstream, tools=[search])
    assert site.fake.requests == []


def test_tokens_are_counted(client, site, upstream):
    counted = client.messages.count_tokens(
        model=f"{upstream}:m", messages=HELLO, system="Be brief.", tools=[ADD]
    )
    assert counted.input_tokens > 3
    assert bool(site.fake.requests) == (upstream != "openai")


def test_models(client, site):
    names = [model.id for model in client.models.list()]
    assert {"openai:fake-1", "anthropic:fake-1", "gemini:fake-1"} <= set(names)
    assert client.models.retrieve("gemini:fake-1").id == "gemini:fake-1"


async def test_the_async_client(site, upstream):
    async with anthropic.AsyncAnthropic(base_url=site.url, api_key="any") as client:
        fields = {"model": f"{upstream}:m", "max_tokens": 99, "messages": HELLO}
        message = await client.messages.create(**fields)
        async with client.messages.stream(**fields) as stream:
            text = "".join([each async for each in stream.text_stream])
    assert text == message.content[0].text
