"""The client against a fake provider: the same refs, fall-back and errors as the gateway."""

from __future__ import annotations

import asyncio
import json
import threading

import msgspec
import pytest

import pointsman
from pointsman import (
    AsyncClient,
    Client,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    parse_config,
)
from pointsman._stream import accumulate
from pointsman.testing import Answer, Call, FakeProvider, Fault

UPSTREAMS = {"o": ("openai", "/v1"), "a": ("anthropic", "/v1"), "g": ("gemini", "/v1beta")}
ANSWERS = [
    Answer(text="one two three", pieces=3, input_tokens=9, output_tokens=5, cached_tokens=2),
    Answer(text="x", reasoning="let me think", signature="c2ln", reasoning_tokens=3),
    Answer(calls=(Call("f", {"a": 1}, id="c1"), Call("g", {}, id="c2"))),
    Answer(text="so", calls=(Call("f", {"a": [1, {"b": "é"}]}, id="c1"),)),
    Answer(text="cut", finish=None, pieces=1),
]


def config_for(fake: FakeProvider, extra: str = "") -> pointsman.Config:
    rows = "".join(
        f'[providers.{name}]\ndialect = "{dialect}"\nbase_url = "{fake.url}{path}"\nretries = 0\n'
        'auth = "none"\n'
        for name, (dialect, path) in UPSTREAMS.items()
    )
    return parse_config(rows + extra)


@pytest.fixture
def client_for(tmp_path):
    opened = []

    def make(script=None, extra=""):
        fake = FakeProvider(script).__enter__()
        config = config_for(fake, extra)
        config.home = str(tmp_path)
        client = Client(config)
        opened.append((client, fake))
        return client, fake

    yield make
    for client, fake in opened:
        client.close()
        fake.__exit__(None, None, None)


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


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_stream_is_the_same_as_the_whole_answer(client_for, upstream, answer):
    client, _ = client_for(lambda request: answer)
    whole = client.chat(f"{upstream}:m", "hi")
    with client.chat(f"{upstream}:m", "hi", stream=True) as stream:
        chunks = list(stream)
    streamed = accumulate(chunks)
    assert values(streamed.choices) == values(whole.completion.choices)
    assert streamed.usage is not None and whole.usage is not None
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert stream.answer().completion == streamed
    assert stream.ref == whole.ref == f"{upstream}:m"


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_switching_the_provider_is_changing_a_string(client_for, upstream):
    client, fake = client_for()
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = Tool("double", "Doubles a number", schema)
    asked = client.chat(f"{upstream}:m", "Double 21", tools=[tool], tool_choice="required")
    call = asked.tool_calls[0]
    assert (call.name, call.arguments.replace(" ", "")) == ("double", '{"n":21}')
    told = client.chat(
        f"{upstream}:m",
        [
            {"role": "user", "content": "Double 21"},
            asked.message,
            Message("tool", (ToolResult(call.id, (Text("42"),)),)),
        ],
        tools=[tool],
    )
    assert "42" in told.text
    form = client.chat(
        f"{upstream}:m", "Say 7", response_format=ResponseFormat("json_schema", schema, "n")
    )
    assert form.text.replace(" ", "") == '{"n":7}'
    image = Message("user", (Text("what is it?"), Image("image/png", "iVBORw0KGgo=")))
    assert client.chat(f"{upstream}:m", [image]).text
    assert b"iVBORw0KGgo=" in fake.requests[-1].raw


def test_options_may_be_in_openais_form(client_for):
    client, fake = client_for([Answer(text="x")])
    function = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    client.chat(
        "a:m",
        "hi",
        tools=[function],
        tool_choice={"type": "function", "function": {"name": "f"}},
        stop="END",
        max_tokens=5,
        thinking="low",
    )
    body = fake.requests[0].body
    assert body["tools"][0]["name"] == "f"
    assert body["tool_choice"] == {"type": "tool", "name": "f"}
    assert body["stop_sequences"] == ["END"]
    assert body["output_config"]["effort"] == "low"


def test_extra_goes_to_the_provider_by_its_own_names(client_for):
    client, fake = client_for([Answer(text="x")])
    client.chat("a:m", "hi", extra={"container": "c1"})
    assert fake.requests[0].body["container"] == "c1"


def test_an_option_that_does_not_exist_is_named(client_for):
    client, fake = client_for()
    with pytest.raises(pointsman.RequestError, match="no such option 'max_token'"):
        client.chat("o:m", "hi", max_token=5)  # type: ignore[call-overload]
    assert not fake.requests


def test_what_a_target_cannot_say_is_refused_before_anything_is_sent(client_for):
    client, fake = client_for()
    with pytest.raises(pointsman.UnsupportedParameter) as caught:
        client.chat("a:m", "hi", logit_bias={"5": 1})
    assert caught.value.param == "logit_bias"
    assert not fake.requests


def test_errors_are_the_gateways(client_for):
    client, _ = client_for(
        [Fault(status=429, retry_after="7"), Fault(cut_after=3), Fault(close=True)]
    )
    with pytest.raises(pointsman.ProviderError) as caught:
        client.chat("o:m", "hi")
    assert (caught.value.status, caught.value.retry_after_s, caught.value.provider) == (429, 7, "o")
    with pytest.raises(pointsman.StreamCut), client.chat("o:m", "hi", stream=True) as stream:
        list(stream)
    with pytest.raises(pointsman.ProviderUnreachable):
        client.chat("o:m", "hi")
    with pytest.raises(pointsman.UnknownModel, match="nearest"):
        client.chat("nowhere-model", "hi")


def test_a_route_falls_over(client_for):
    route = '[routes.r]\ncandidates = ["o:a", "g:b"]\npolicy = "order"\n'
    client, _ = client_for([Fault(status=503), Answer(text="second")], route)
    answer = client.chat("r", "hi")
    assert (answer.text, answer.ref, answer.attempts) == ("second", "g:b", 2)


def test_reasoning_goes_back_signed_to_its_maker(client_for):
    client, fake = client_for([Answer(reasoning="hm", signature="s1", text="x")] * 2)
    answer = client.chat("a:m", "hi")
    thought = answer.message.parts[0]
    assert isinstance(thought, Reasoning) and thought.text == "hm"
    client.chat("a:m", [answer.message, Message("user", (Text("go on"),))])
    assert b'"signature":"s1"' in fake.requests[1].raw


@pytest.mark.parametrize("upstream", ["o", "g"])
def test_embeddings(client_for, upstream):
    client, _ = client_for()
    found = client.embed(f"{upstream}:e", ["a", "b"])
    assert [len(vector) for vector in found.vectors] == [8, 8]
    with pytest.raises(pointsman.UnsupportedParameter):
        client.embed("a:e", "x")


def test_models(client_for):
    client, _ = client_for()
    refs = [model.ref for model in client.models()]
    assert "auto" in refs and {"o:fake-1", "a:fake-1", "g:fake-1"} <= set(refs)
    assert [model.name for model in client.models("g")] == ["fake-1", "fake-embedding"]


async def test_async_calls_run_side_by_side_and_cancel(tmp_path):
    async with FakeProvider([Fault(stall_s=30)]) as fake:
        config = config_for(fake)
        config.home = str(tmp_path)
        async with AsyncClient(config) as client:
            calls = [asyncio.create_task(client.chat("o:m", "hi")) for _ in range(5)]
            await asyncio.sleep(0.2)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            for _ in range(200):
                if all(request.cancelled for request in fake.requests):
                    break
                await asyncio.sleep(0.01)
        assert len(fake.requests) == 5
        assert all(request.cancelled for request in fake.requests)


async def test_a_stream_that_is_closed_early_is_cut_at_the_provider(tmp_path):
    async with FakeProvider([Answer(text="x" * 400, pieces=100, delay_s=0.05)]) as fake:
        config = config_for(fake)
        config.home = str(tmp_path)
        async with AsyncClient(config) as client:
            async with await client.chat("o:m", "hi", stream=True) as stream:
                async for chunk in stream:
                    if isinstance(chunk, TextDelta):
                        break
            for _ in range(200):
                if fake.requests[0].cancelled:
                    break
                await asyncio.sleep(0.01)
        assert fake.requests[0].cancelled


def test_an_interrupt_that_takes_the_last_word_with_it_leaves_a_client_that_works(
    client_for, monkeypatch
):
    """Ctrl-C as an answer comes: the call has ended, but nobody got what it says."""
    from pointsman import client as module

    client, _ = client_for([Answer(text="one"), Answer(text="two")])
    real = module._awaited
    interrupts = iter([KeyboardInterrupt()])

    def awaited(queue):
        found = real(queue)
        if (interrupt := next(interrupts, None)) is not None:
            raise interrupt
        return found

    monkeypatch.setattr(module, "_awaited", awaited)
    interrupted = threading.Event()

    def ask():
        with pytest.raises(KeyboardInterrupt):
            client.chat("o:m", "hi")
        interrupted.set()

    threading.Thread(target=ask, daemon=True).start()
    assert interrupted.wait(10)
    assert client.chat("o:m", "hi").text == "two"


def test_a_client_without_configuration_finds_what_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTSMAN_HOME", str(tmp_path))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with Client() as client, pytest.raises(pointsman.MissingKey, match="OPENAI_API_KEY"):
        client.chat("openai:gpt-x", "hi")
