"""The fake provider through OpenAI's own client."""

from __future__ import annotations

import http.client
import json

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.create_embedding_response import CreateEmbeddingResponse
from openai.types.model import Model
from pydantic import BaseModel
from wire_check import check

from pointsman.testing import NOTICE, Answer, Call, Fault
from pointsman.testing import openai_wire as wire
from pointsman.testing.tokens import Facts

HELLO = [{"role": "user", "content": "Say hello"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
ANSWERS = [
    Answer(text="one two three", input_tokens=9, output_tokens=5, cached_tokens=2),
    Answer(text="Größe 你好 🎉", pieces=3, logprobs=True),
    Answer(calls=(Call("f", {"a": [1, {"b": "é"}]}), Call("g"))),
    Answer(text="so", calls=(Call("f", {"a": 1}, id="c1"),), finish="stop"),
    Answer(refusal="I will not."),
    Answer(text="cut", finish="length", reasoning="hm", reasoning_tokens=3, cache_write_tokens=4),
    Answer(),
]


@pytest.fixture
def client_of():
    opened = []

    def make(fake, **options):
        client = openai.OpenAI(
            base_url=fake.url + "/v1", api_key="k", max_retries=0, timeout=10, **options
        )
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


def assembled(chunks):
    """A stream's text, refusal, calls, finish reason and usage."""
    text = refusal = ""
    calls, finish, usage = {}, [], []
    for chunk in chunks:
        if chunk.usage:
            usage.append(chunk.usage)
        for choice in chunk.choices:
            text += choice.delta.content or ""
            refusal += choice.delta.refusal or ""
            if choice.finish_reason:
                finish.append(choice.finish_reason)
            for call in choice.delta.tool_calls or ():
                row = calls.setdefault(call.index, [None, None, ""])
                row[0], row[1] = call.id or row[0], call.function.name or row[1]
                row[2] += call.function.arguments or ""
    return text, refusal, [tuple(row) for row in calls.values()], finish, usage


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_stream_is_the_whole_answer(fake_with, client_of, answer):
    client = client_of(fake_with(answer))
    whole = client.chat.completions.create(model="m", messages=HELLO)
    choice = whole.choices[0]
    wanted = [
        (call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()
    ]
    stream = client.chat.completions.create(
        model="m", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    text, refusal, calls, finish, usage = assembled(stream)
    assert (text, refusal) == (choice.message.content or "", choice.message.refusal or "")
    assert [(name, arguments) for _, name, arguments in calls] == wanted
    assert len({identity for identity, _, _ in calls}) == len(calls)
    assert finish == [choice.finish_reason]
    assert [(each.completion_tokens, each.total_tokens - each.prompt_tokens) for each in usage] == [
        (whole.usage.completion_tokens, whole.usage.completion_tokens)
    ]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("choices", [1, 2])
def test_every_payload_is_of_the_clients_types(answer, choices):
    facts = Facts(model="m", choices=choices, include_usage=True)
    check(ChatCompletion, wire.whole(answer, facts), but=("reasoning_content",))
    *events, done = wire.stream(answer, facts)
    assert done == b"data: [DONE]\n\n"
    for event in events:
        payload = json.loads(event.removeprefix(b"data: "))
        check(ChatCompletionChunk, payload, but=("reasoning_content",))
    check(CreateEmbeddingResponse, wire.embeddings({"input": ["a", "b"]}, facts))
    check(Model, wire.model("m"))


def test_usage_is_what_the_script_says(fake_with, client_of):
    answer = Answer(
        text="x", input_tokens=100, output_tokens=20, cached_tokens=40, reasoning_tokens=8
    )
    usage = client_of(fake_with(answer)).chat.completions.create(model="m", messages=HELLO).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 20, 120)
    assert usage.prompt_tokens_details.cached_tokens == 40
    assert usage.completion_tokens_details.reasoning_tokens == 8


def test_a_stream_has_no_usage_unasked(fake_with, client_of):
    stream = client_of(fake_with(Answer(text="x"))).chat.completions.create(
        model="m", messages=HELLO, stream=True
    )
    assert assembled(stream)[-1] == []


def test_several_choices_each_have_their_end(fake_with, client_of):
    client = client_of(fake_with(Answer(text="ab", pieces=2)))
    whole = client.chat.completions.create(model="m", messages=HELLO, n=3)
    assert [(each.index, each.message.content) for each in whole.choices] == [
        (0, "ab"),
        (1, "ab"),
        (2, "ab"),
    ]
    stream = client.chat.completions.create(model="m", messages=HELLO, n=3, stream=True)
    ends = [c.index for chunk in stream for c in chunk.choices if c.finish_reason]
    assert ends == [0, 1, 2]


def test_the_assistant_says_what_it_is(fake_with, client_of):
    client = client_of(fake_with())
    answer = client.chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == f"{NOTICE} Your prompt has 2 words."
    assert answer.model == "m"


def test_the_assistant_calls_the_first_tool_and_closes_with_its_result(fake_with, client_of):
    client = client_of(fake_with())
    asked = [{"role": "user", "content": "Add 3 and 4."}]
    answer = client.chat.completions.create(model="m", messages=asked, tools=[TOOL])
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    call = choice.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 3, "b": 4})
    turns = [*asked, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "7"}]
    closing = client.chat.completions.create(model="m", messages=turns, tools=[TOOL])
    assert closing.choices[0].message.content == f"{NOTICE} The tool said: 7"


OTHER = {"type": "function", "function": {"name": "other", "parameters": {}}}


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", None),
        ("auto", "add"),
        ("required", "add"),
        ({"type": "function", "function": {"name": "other"}}, "other"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [OTHER]},
            },
            "other",
        ),
    ],
)
def test_the_assistant_heeds_tool_choice(fake_with, client_of, choice, called):
    answer = client_of(fake_with()).chat.completions.create(
        model="m", messages=HELLO, tools=[TOOL, OTHER], tool_choice=choice
    )
    calls = answer.choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == called


def test_structured_output_parses(fake_with, client_of):
    class Person(BaseModel):
        name: str
        age: int

    answer = client_of(fake_with()).chat.completions.parse(
        model="m",
        messages=[{"role": "user", "content": "'Ada' is 36"}],
        response_format=Person,
    )
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)


def test_json_mode_takes_the_keys_that_the_prompt_quotes(fake_with, client_of):
    answer = client_of(fake_with()).chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "JSON with 'setup' and 'end' keys, it's easy."}],
        response_format={"type": "json_object"},
    )
    value = json.loads(answer.choices[0].message.content)
    assert value == {"setup": "example setup", "end": "example end"}


def test_stop_and_limit_end_the_text(fake_with, client_of):
    client = client_of(fake_with())
    stopped = client.chat.completions.create(model="m", messages=HELLO, stop=["stand", "a s"])
    assert stopped.choices[0].message.content == "This is "
    assert stopped.choices[0].finish_reason == "stop"
    limited = client.chat.completions.create(model="m", messages=HELLO, max_completion_tokens=2)
    assert limited.choices[0].message.content == NOTICE[:8]
    assert limited.choices[0].finish_reason == "length"
    assert limited.usage.completion_tokens == 2


def test_logprobs_come_when_asked_for(fake_with, client_of):
    client = client_of(fake_with())
    answer = client.chat.completions.create(model="m", messages=HELLO, logprobs=True)
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    plain = client.chat.completions.create(model="m", messages=HELLO)
    assert plain.choices[0].logprobs is None


def test_embeddings_agree_in_both_encodings(fake_with, client_of):
    client = client_of(fake_with())
    packed = client.embeddings.create(model="e", input=["a", "b"], dimensions=5)
    plain = client.embeddings.create(
        model="e", input=["a", "b"], dimensions=5, encoding_format="float"
    )
    assert len(packed.data) == 2 and packed.data[0].embedding != packed.data[1].embedding
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert sum(x * x for x in one.embedding) == pytest.approx(1, abs=1e-5)
    assert len(client.embeddings.create(model="e", input="a").data) == 1


def test_models(fake_with, client_of):
    client = client_of(fake_with())
    names = [model.id for model in client.models.list()]
    assert "fake-1" in names
    assert client.models.retrieve("fake-1").id == "fake-1"
    with pytest.raises(openai.NotFoundError, match="nothing"):
        client.models.retrieve("nothing")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_a_status_is_the_clients_error(fake_with, client_of, status, error):
    fault = Fault(status=status, message="because", retry_after="7")
    with pytest.raises(error, match="because") as caught:
        client_of(fake_with(fault)).chat.completions.create(model="m", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.request_id.startswith("req_fake")


def test_the_client_itself_retries_over_a_fault(fake_with, client_of):
    fake = fake_with(Fault(status=500, retry_after="0"), Answer(text="then"))
    client = client_of(fake).with_options(max_retries=1)
    answer = client.chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == "then"
    assert len(fake.requests) == 2


STREAM_FAULTS = [
    (Fault(error_after=2, message="mid-way"), openai.APIError, "mid-way"),
    (Fault(error_after=2, status=429), openai.APIError, "fault"),
    (Fault(garbage_after=2), json.JSONDecodeError, "."),
    (Fault(cut_after=2), openai.APIConnectionError, "."),
]


@pytest.mark.parametrize(("fault", "error", "message"), STREAM_FAULTS)
def test_a_fault_after_two_events(fake_with, client_of, fault, error, message):
    stream = client_of(fake_with(fault)).chat.completions.create(
        model="m", messages=HELLO, stream=True
    )
    seen = []
    with pytest.raises(Exception, match=message) as caught:
        for chunk in stream:
            seen.append(chunk)
    assert len(seen) == 2
    # Where the client lets its transport's own error through, that it failed is what counts.
    assert isinstance(caught.value, error) or "httpx" in type(caught.value).__module__


@pytest.mark.parametrize("fault", [Fault(close=True), Fault(cut_after=0), Fault(endless_head=True)])
def test_no_answer_is_a_connection_error(fake_with, client_of, fault):
    with pytest.raises(openai.APIConnectionError):
        client_of(fake_with(fault)).chat.completions.create(model="m", messages=HELLO)


@pytest.mark.parametrize("fault", [Fault(stall_s=60), Fault(stall_after=0)])
def test_silence_is_the_clients_timeout(fake_with, client_of, fault):
    client = client_of(fake_with(fault)).with_options(timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=HELLO)


@pytest.mark.parametrize("stream", [False, True])
def test_a_pause_is_only_a_pause(fake_with, client_of, stream):
    fault = Fault(pause_after=2, pause_s=0.01, answer=Answer(text="whole", pieces=5))
    got = client_of(fake_with(fault)).chat.completions.create(
        model="m", messages=HELLO, stream=stream
    )
    text = assembled(got)[0] if stream else got.choices[0].message.content
    assert text == "whole"


@pytest.mark.parametrize("stream", [False, True])
def test_a_huge_body_has_the_size_that_was_asked_for(fake_with, stream):
    fake = fake_with(Fault(huge_bytes=300_000))
    connection = http.client.HTTPConnection(fake.url.removeprefix("http://"), timeout=10)
    body = json.dumps({"model": "m", "messages": HELLO, "stream": stream})
    connection.request("POST", "/v1/chat/completions", body)
    assert len(connection.getresponse().read()) == 300_000
    connection.close()


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fault-429", openai.RateLimitError),
        ("fault-500", openai.InternalServerError),
        ("fault-418", openai.APIStatusError),
        ("fault-close", openai.APIConnectionError),
        ("fault-unheard-of", openai.NotFoundError),
    ],
)
def test_a_models_name_asks_for_a_fault(fake_with, client_of, model, error):
    client = client_of(fake_with())
    with pytest.raises(error):
        client.chat.completions.create(model=model, messages=HELLO)
    with pytest.raises(error):
        client.embeddings.create(model=model, input="a")
