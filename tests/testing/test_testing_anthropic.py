"""The fake provider through Anthropic's own client."""

from __future__ import annotations

import json

import anthropic
import pytest
from anthropic.types import Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from pydantic import BaseModel, TypeAdapter
from wire_check import check, unknown_fields

from pointsman.testing import NOTICE, Answer, Call, Fault
from pointsman.testing import anthropic_wire as wire
from pointsman.testing.tokens import Facts

HELLO = {"max_tokens": 100, "messages": [{"role": "user", "content": "Say hello"}]}
TOOL = {
    "name": "add",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
ANSWERS = [
    Answer(text="one two three", input_tokens=9, output_tokens=5, cached_tokens=2),
    Answer(text="Größe 你好 🎉", pieces=3),
    Answer(calls=(Call("f", {"a": [1, {"b": "é"}]}), Call("g"))),
    Answer(text="so", reasoning="let me think", signature="sig==", reasoning_tokens=3),
    Answer(text="so", redacted="b3BhcXVl", calls=(Call("f", {"a": 1}, id="c1"),)),
    Answer(text="half", refusal="I will not."),
    Answer(text="st", stop_sequence="op"),
    Answer(text="cut", finish="max_tokens", cache_write_tokens=4),
    Answer(),
]


@pytest.fixture
def client_of():
    opened = []

    def make(fake):
        client = anthropic.Anthropic(base_url=fake.url, api_key="k", max_retries=0, timeout=10)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


def without_id(message):
    """A message as JSON, less what differs from one answer to the next."""
    value = message.model_dump(mode="json", exclude={"id"})
    for block in value["content"]:
        if "fake" in str(block.get("id")):
            del block["id"]
    return value


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_stream_is_the_whole_answer(fake_with, client_of, answer):
    client = client_of(fake_with(answer))
    whole = client.messages.create(model="m", **HELLO)
    with client.messages.stream(model="m", **HELLO) as stream:
        streamed = stream.get_final_message()
    one, other = without_id(whole), without_id(streamed)
    for value in (one, other):
        value["usage"].pop("input_tokens")  # Of the request's own length, which "stream" adds to.
        for block in value["content"]:
            block.pop("parsed_output", None)
    assert one == other


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_payload_is_of_the_clients_types(answer):
    facts = Facts(model="m")
    check(Message, wire.whole(answer, facts))
    adapter = TypeAdapter(RawMessageStreamEvent)
    for event in wire.stream(answer, facts):
        kind, data = event.decode().strip().split("\n")
        payload = json.loads(data.removeprefix("data: "))
        assert kind == f"event: {payload['type']}"
        if payload["type"] != "ping":  # The client's types leave it out.
            assert list(unknown_fields(adapter.validate_python(payload))) == []
    check(ModelInfo, wire.model("m"))
    check(MessageTokensCount, wire.token_count(3))


def test_usage_is_what_the_script_says(fake_with, client_of):
    answer = Answer(
        text="x",
        input_tokens=100,
        output_tokens=20,
        cached_tokens=40,
        cache_write_tokens=10,
        reasoning_tokens=8,
    )
    usage = client_of(fake_with(answer)).messages.create(model="m", **HELLO).usage
    assert (usage.input_tokens, usage.output_tokens) == (50, 20)
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (40, 10)
    assert usage.output_tokens_details.thinking_tokens == 8


def test_thinking_comes_signed_and_before_the_text(fake_with, client_of):
    answer = Answer(text="so", reasoning="let me think", signature="sig==", redacted="b3BhcXVl")
    with client_of(fake_with(answer)).messages.stream(model="m", **HELLO) as stream:
        blocks = stream.get_final_message().content
    assert [block.type for block in blocks] == ["thinking", "redacted_thinking", "text"]
    assert (blocks[0].thinking, blocks[0].signature) == ("let me think", "sig==")
    assert blocks[1].data == "b3BhcXVl"


def test_the_assistant_thinks_when_asked_to(fake_with, client_of):
    message = client_of(fake_with()).messages.create(
        model="m",
        max_tokens=2000,
        messages=HELLO["messages"],
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[1].text.startswith(NOTICE)


def test_the_assistant_calls_the_first_tool_and_closes_with_its_result(fake_with, client_of):
    client = client_of(fake_with())
    asked = [{"role": "user", "content": "Add 3 and 4."}]
    message = client.messages.create(model="m", max_tokens=99, messages=asked, tools=[TOOL])
    assert message.stop_reason == "tool_use"
    call = message.content[0]
    assert (call.name, call.input) == ("add", {"a": 3, "b": 4})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "7"}
    turns = [
        *asked,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    closing = client.messages.create(model="m", max_tokens=99, messages=turns, tools=[TOOL])
    assert closing.content[0].text == f"{NOTICE} The tool said: 7"


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "none"}, None),
        ({"type": "auto"}, "add"),
        ({"type": "any"}, "add"),
        ({"type": "tool", "name": "other"}, "other"),
    ],
)
def test_the_assistant_heeds_tool_choice(fake_with, client_of, choice, called):
    other = {"name": "other", "input_schema": {"type": "object"}}
    message = client_of(fake_with()).messages.create(
        model="m", tools=[TOOL, other], tool_choice=choice, **HELLO
    )
    assert getattr(message.content[0], "name", None) == called


def test_structured_output_parses(fake_with, client_of):
    class Person(BaseModel):
        name: str
        age: int

    message = client_of(fake_with()).messages.parse(
        model="m",
        max_tokens=99,
        messages=[{"role": "user", "content": "'Ada' is 36"}],
        output_format=Person,
    )
    assert message.parsed_output == Person(name="Ada", age=36)


def test_stop_and_limit_end_the_text(fake_with, client_of):
    client = client_of(fake_with())
    stopped = client.messages.create(model="m", stop_sequences=["stand"], **HELLO)
    assert stopped.content[0].text == "This is a scripted "
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "stand")
    limited = client.messages.create(model="m", max_tokens=2, messages=HELLO["messages"])
    assert (limited.content[0].text, limited.stop_reason) == (NOTICE[:8], "max_tokens")


def test_tokens_are_counted(fake_with, client_of):
    counted = client_of(fake_with()).messages.count_tokens(model="m", messages=HELLO["messages"])
    assert counted.input_tokens > 3


def test_models(fake_with, client_of):
    client = client_of(fake_with())
    assert "fake-1" in [model.id for model in client.models.list()]
    assert client.models.retrieve("fake-1").display_name == "Fake fake-1"
    with pytest.raises(anthropic.NotFoundError, match="nothing"):
        client.models.retrieve("nothing")


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.APIStatusError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_a_status_is_the_clients_error(fake_with, client_of, status, error, kind):
    fault = Fault(status=status, message="because", retry_after="7")
    with pytest.raises(error, match="because") as caught:
        client_of(fake_with(fault)).messages.create(model="m", **HELLO)
    assert caught.value.body["error"]["type"] == kind
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.request_id.startswith("req_fake")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(error_after=4, message="mid-way"), anthropic.APIStatusError),
        (Fault(garbage_after=4), json.JSONDecodeError),
        (Fault(cut_after=4), None),
    ],
)
def test_a_fault_after_four_events(fake_with, client_of, fault, error):
    client = client_of(fake_with(fault))
    seen = []
    with pytest.raises(Exception, match=r".") as caught:
        for event in client.messages.create(model="m", stream=True, **HELLO):
            seen.append(event.type)
    # A ping is among the four; the client keeps it to itself.
    assert seen == ["message_start", "content_block_start", "content_block_delta"]
    assert isinstance(caught.value, error or Exception)
    if error is anthropic.APIStatusError:
        assert caught.value.body["error"] == {"type": "overloaded_error", "message": "mid-way"}


def test_no_answer_and_no_time(fake_with, client_of):
    with pytest.raises(anthropic.APIConnectionError):
        client_of(fake_with(Fault(close=True))).messages.create(model="m", **HELLO)
    silent = client_of(fake_with(Fault(stall_s=60))).with_options(timeout=0.2)
    with pytest.raises(anthropic.APITimeoutError):
        silent.messages.create(model="m", **HELLO)
