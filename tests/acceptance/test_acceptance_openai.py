"""OpenAI's own client, unchanged, against the gateway over each upstream dialect."""

from __future__ import annotations

import json

import openai
import pytest
from media import PNG, base64_of
from pydantic import BaseModel

from pointsman.testing import NOTICE, Answer, Call, Fault

HELLO = [{"role": "user", "content": "Say hello"}]
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALLS = (Call("add", {"a": 3, "b": 4}), Call("weather", {"city": "Zürich"}), Call("add", {}))


@pytest.fixture(scope="module")
def client(whole_site):
    with openai.OpenAI(base_url=whole_site.url + "/v1", api_key="any", max_retries=0) as made:
        yield made


def ask(client, upstream, **fields):
    return client.chat.completions.create(**{"model": f"{upstream}:m", "messages": HELLO, **fields})


def said(message):
    """An answer as it goes back into the history, with what OpenAI's request types know."""
    return {
        "role": "assistant",
        "content": message.content,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ],
    }


def collected(client, upstream, **fields):
    """The completion that the client's own accumulator makes of a stream."""
    with client.chat.completions.stream(
        **{
            "model": f"{upstream}:m",
            "messages": HELLO,
            "stream_options": {"include_usage": True},
            **fields,
        }
    ) as stream:
        return stream.get_final_completion()


def test_chat(client, site, upstream):
    answer = ask(client, upstream)
    choice = answer.choices[0]
    assert choice.message.content == f"{NOTICE} Your prompt has 2 words."
    assert (choice.message.role, choice.finish_reason, choice.index) == ("assistant", "stop", 0)
    assert (answer.object, answer.model) == ("chat.completion", "m")
    assert answer.id and answer.created
    assert site.sent.dialect == upstream


def test_streaming_gives_the_same_answer(client, site, upstream):
    site.fake.play(
        [Answer(text="Größe 你好 🎉 and more", pieces=7, input_tokens=9, output_tokens=5)]
    )
    whole, streamed = ask(client, upstream), collected(client, upstream)
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert streamed.usage.to_dict() == whole.usage.to_dict()
    assert (streamed.model, streamed.object) == ("m", "chat.completion")


def test_a_stream_is_chunk_by_chunk(client, site, upstream):
    site.fake.play([Answer(text="one two three", pieces=3)])
    chunks = list(ask(client, upstream, stream=True))
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.choices[0].delta.content for c in chunks if c.choices[0].delta.content] == [
        "one t",
        "wo th",
        "ree",
    ]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert not any(chunk.usage for chunk in chunks)


def test_usage(client, site, upstream):
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
    for usage in (ask(client, upstream).usage, collected(client, upstream).usage):
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 20, 120)
        assert usage.prompt_tokens_details.cached_tokens == 40
        assert usage.completion_tokens_details.reasoning_tokens == 8


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_answered(client, site, upstream, stream):
    turns = [{"role": "user", "content": "Add 3 and 4."}]
    take = collected if stream else ask
    choice = take(client, upstream, messages=turns, tools=[ADD]).choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert (call.type, call.function.name) == ("function", "add")
    assert json.loads(call.function.arguments) == {"a": 3, "b": 4}
    turns += [
        said(choice.message),
        {"role": "tool", "tool_call_id": call.id, "content": "seven"},
    ]
    closing = take(client, upstream, messages=turns, tools=[ADD]).choices[0]
    assert "The tool said:" in closing.message.content and "seven" in closing.message.content
    assert closing.finish_reason == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_several_calls_at_once(client, site, upstream, stream):
    site.fake.play([Answer(text="so", calls=CALLS), Answer(text="done")])
    take = collected if stream else ask
    message = take(client, upstream, tools=[ADD, WEATHER]).choices[0].message
    made = [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls]
    assert made == [(call.name, call.arguments) for call in CALLS]
    assert len({call.id for call in message.tool_calls}) == 3
    assert message.content == "so"
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"r{index}"}
        for index, call in enumerate(message.tool_calls)
    ]
    # The results come in another order than the calls.
    turns = [*HELLO, said(message), *results[::-1]]
    assert take(client, upstream, messages=turns, tools=[ADD]).choices[0].message.content == "done"


def test_the_index_of_a_streamed_call_counts_calls(client, site, upstream):
    site.fake.play([Answer(text="so", calls=CALLS, reasoning="hm", signature="s")])
    indices, heads = [], []
    for chunk in ask(client, upstream, tools=[ADD, WEATHER], stream=True):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                indices.append(call.index)
                if call.id:
                    heads.append((call.index, call.function.name, call.type))
    assert heads == [
        (0, "add", "function"),
        (1, "weather", "function"),
        (2, "add", "function"),
    ]
    assert indices == sorted(indices)


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", "add"),
        ("none", None),
        ("required", "add"),
        ({"type": "function", "function": {"name": "weather"}}, "weather"),
    ],
)
def test_tool_choice(client, site, upstream, choice, called):
    answer = ask(client, upstream, tools=[ADD, WEATHER], tool_choice=choice)
    calls = answer.choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == called


def test_no_parallel_calls(client, site, upstream):
    fields = {"tools": [ADD], "parallel_tool_calls": False}
    ask(client, upstream, **fields)
    if upstream == "gemini":  # Its API has no word for it: the answer is kept to one call instead.
        return
    body = site.sent.body
    said = {
        "openai": body.get("parallel_tool_calls") is False,
        "anthropic": body.get("tool_choice") == {"type": "auto", "disable_parallel_tool_use": True},
    }
    assert said[upstream]


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


def test_structured_output(client, site, upstream):
    wanted = Person(name="Ada", age=36, tags=["example tags"])
    messages = [{"role": "user", "content": "'Ada' is 36"}]
    answer = client.chat.completions.parse(
        model=f"{upstream}:m", messages=messages, response_format=Person
    )
    assert answer.choices[0].message.parsed == wanted
    streamed = collected(client, upstream, messages=messages, response_format=Person)
    assert streamed.choices[0].message.parsed == wanted


def test_an_image(client, site, upstream):
    content = [
        {"type": "text", "text": "What is it?"},
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;base64,{base64_of(PNG)}", "detail": "low"},
        },
    ]
    answer = ask(client, upstream, messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content
    assert base64_of(PNG).encode() in site.sent.raw
    part = {
        "openai": lambda b: b["messages"][0]["content"][1]["image_url"]["detail"] == "low",
        "anthropic": lambda b: (
            b["messages"][0]["content"][1]["source"]
            == {"type": "base64", "media_type": "image/png", "data": base64_of(PNG)}
        ),
        "gemini": lambda b: b["contents"][0]["parts"][1]["inlineData"]["mimeType"] == "image/png",
    }[upstream]
    assert part(site.sent.body)


def test_an_image_by_its_address(client, site, upstream):
    url = "https://example.com/a.png"
    content = [{"type": "image_url", "image_url": {"url": url}}]
    messages = [{"role": "user", "content": content}]
    if upstream == "gemini":
        # Google takes no foreign addresses, and fetching is by opt-in.
        with pytest.raises(openai.BadRequestError, match="fetch_images"):
            ask(client, upstream, messages=messages)
        return
    assert ask(client, upstream, messages=messages).choices
    assert url.encode() in site.sent.raw


def test_parameters_arrive(client, site, upstream):
    ask(
        client,
        upstream,
        messages=[{"role": "developer", "content": "Be brief."}, *HELLO],
        max_completion_tokens=50,
        temperature=0.5,
        top_p=0.9,
        stop=["END"],
    )
    body = site.sent.body
    if upstream == "openai":
        assert (body["max_completion_tokens"], body["temperature"], body["top_p"]) == (50, 0.5, 0.9)
        assert body["stop"] == ["END"]
    elif upstream == "anthropic":
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (50, 0.5, 0.9)
        assert (body["stop_sequences"], body["messages"][0]["role"]) == (["END"], "user")
        assert "Be brief." in json.dumps(body["system"])
    else:
        config = body["generationConfig"]
        assert (config["maxOutputTokens"], config["temperature"], config["topP"]) == (50, 0.5, 0.9)
        assert config["stopSequences"] == ["END"]
        assert body["systemInstruction"]["parts"][0]["text"] == "Be brief."


def test_what_a_provider_cannot_say_is_named(client, site, upstream):
    if upstream == "openai":
        assert ask(client, upstream, logit_bias={"50256": -100}).choices
        return
    with pytest.raises(openai.BadRequestError, match="logit_bias") as caught:
        ask(client, upstream, logit_bias={"50256": -100})
    assert (caught.value.param, caught.value.code) == ("logit_bias", "unsupported_parameter")
    assert site.fake.requests == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}, "length"),
        (
            {"openai": "content_filter", "anthropic": "refusal", "gemini": "SAFETY"},
            "content_filter",
        ),
        ({"openai": "stop", "anthropic": "end_turn", "gemini": "STOP"}, "stop"),
    ],
)
def test_finish_reasons(client, site, upstream, words, reason, stream):
    site.fake.play([Answer(text="some text", finish=words[upstream])])
    if stream:
        chunks = list(ask(client, upstream, stream=True))
        found = [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason]
    else:
        found = [ask(client, upstream).choices[0].finish_reason]
    assert found == [reason]


def test_a_stop_sequence_ends_the_text(client, site, upstream):
    choice = ask(client, upstream, stop="stand").choices[0]
    assert (choice.message.content, choice.finish_reason) == ("This is a scripted ", "stop")


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_go_back_to_the_one_who_thought_them(client, site, upstream, stream):
    thought = Answer(
        reasoning="let me think",
        signature="the signature",
        redacted="b3BhcXVl",
        calls=(Call("add", {"a": 1, "b": 2}, signature="of the call"),),
    )
    site.fake.play([thought, Answer(text="done")])
    take = collected if stream else ask
    message = take(client, upstream, tools=[ADD]).choices[0].message
    assert message.reasoning_content == "let me think"
    call = message.tool_calls[0]
    turns = [
        *HELLO,
        said(message),
        {"role": "tool", "tool_call_id": call.id, "content": "3"},
    ]
    take(client, upstream, messages=turns, tools=[ADD])
    body = site.sent.body
    if upstream == "anthropic":
        blocks = body["messages"][1]["content"]
        assert blocks[:2] == [
            {"type": "thinking", "thinking": "let me think", "signature": "the signature"},
            {"type": "redacted_thinking", "data": "b3BhcXVl"},
        ]
    elif upstream == "gemini":
        parts = body["contents"][1]["parts"]
        signed = [part for part in parts if "functionCall" in part]
        assert signed[0]["thoughtSignature"] == "b2YgdGhlIGNhbGw="


def test_logprobs(client, site, upstream):
    fields = {"logprobs": True, "top_logprobs": 1}
    if upstream == "anthropic":
        with pytest.raises(openai.BadRequestError, match="logprobs"):
            ask(client, upstream, **fields)
        return
    choice = ask(client, upstream, **fields).choices[0]
    assert "".join(each.token for each in choice.logprobs.content) == choice.message.content
    assert choice.logprobs.content[0].top_logprobs


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_keeps_its_status(client, site, upstream, status, error, stream):
    site.fake.play([Fault(status=status, message="because of this", retry_after="7")])
    with pytest.raises(error, match="because of this") as caught:
        ask(client, upstream, stream=stream)
    assert caught.value.status_code == status
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.request_id


@pytest.mark.parametrize("fault", [{"error_after": 5}, {"cut_after": 5}])
def test_a_stream_that_breaks_raises(client, site, upstream, fault):
    text = Answer(text="one two three four five six", pieces=9, delay_s=0.02)
    site.fake.play([Fault(**fault, answer=text)])
    seen = []
    with pytest.raises(openai.APIError):
        for chunk in ask(client, upstream, stream=True):
            seen += [choice.finish_reason for choice in chunk.choices]
    assert seen and set(seen) == {None}


def test_a_call_that_is_no_answer(client, site, upstream):
    site.fake.play([Fault(close=True)])
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, upstream)
    assert caught.value.status_code == 502


def test_an_unknown_model_names_what_is_near(client, site):
    with pytest.raises(openai.NotFoundError, match="openai") as caught:
        client.chat.completions.create(model="opnai:m", messages=HELLO)
    assert caught.value.code == "model_not_found"


def test_embeddings(client, site, upstream):
    if upstream == "anthropic":
        with pytest.raises(openai.BadRequestError, match="embeddings"):
            client.embeddings.create(model="anthropic:e", input=["a"])
        return
    packed = client.embeddings.create(model=f"{upstream}:e", input=["a", "b"])
    plain = client.embeddings.create(
        model=f"{upstream}:e", input=["a", "b"], encoding_format="float"
    )
    assert [each.index for each in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert packed.data[0].embedding != packed.data[1].embedding


def test_models(client, site):
    names = [model.id for model in client.models.list()]
    assert {"openai:fake-1", "anthropic:fake-1", "gemini:fake-1"} <= set(names)
    assert client.models.retrieve("gemini:fake-1").id == "gemini:fake-1"


async def test_the_async_client(site, upstream):
    async with openai.AsyncOpenAI(base_url=site.url + "/v1", api_key="any") as client:
        answer = await client.chat.completions.create(model=f"{upstream}:m", messages=HELLO)
        text = ""
        async for chunk in await client.chat.completions.create(
            model=f"{upstream}:m", messages=HELLO, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
    assert text == answer.choices[0].message.content
