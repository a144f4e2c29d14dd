from __future__ import annotations

import json

import pytest
from google.genai import types as genai

from pointsman._sse import Event, Parser
from pointsman._stream import accumulate, explode
from pointsman.dialects._shared import seal
from pointsman.dialects.base import Target
from pointsman.dialects.gemini import GEMINI
from pointsman.errors import BadAnswer, ProviderError, StreamCut
from pointsman.types import (
    Chat,
    Choice,
    Completion,
    Embed,
    Embeddings,
    Finished,
    Message,
    Reasoning,
    Refusal,
    Signature,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)

TARGET = Target("gemini", "gemini-x")
CHAT = Chat(model="m", messages=(Message("user", (Text("hi"),)),))


def candidate(*parts, finish="STOP", **more):
    return {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish, **more}


def answer(*parts, finish="STOP", **more):
    return {"candidates": [candidate(*parts, finish=finish)], "modelVersion": "v", **more}


def read(body):
    return GEMINI.read_completion(body, TARGET)


CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}


@pytest.mark.parametrize(
    ("finish", "parts", "reason"),
    [
        ("STOP", [{"text": "x"}], "stop"),
        ("STOP", [CALL], "tool_calls"),
        ("MAX_TOKENS", [{"text": "x"}], "length"),
        ("SAFETY", [], "content_filter"),
        ("RECITATION", [], "content_filter"),
        ("PROHIBITED_CONTENT", [], "content_filter"),
        ("BLOCKLIST", [], "content_filter"),
        ("SPII", [], "content_filter"),
        ("IMAGE_SAFETY", [], "content_filter"),
        ("LANGUAGE", [], "content_filter"),
        ("OTHER", [], "stop"),
        ("BRAND_NEW", [{"text": "x"}], "stop"),
    ],
)
def test_finish_reasons(finish, parts, reason):
    choice = read(answer(*parts, finish=finish)).choices[0]
    assert (choice.finish_reason, choice.native_finish) == (reason, finish)
    events = [Event("", json.dumps(answer(*parts, finish=finish)))]
    reader = GEMINI.stream_reader(TARGET)
    chunks = [chunk for event in events for chunk in reader.read(event)] + reader.finish()
    assert Finished(reason, 0, finish) in chunks


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_a_call_that_cannot_be_used_is_an_error_to_try_again(finish):
    with pytest.raises(ProviderError) as caught:
        read(answer(finish=finish))
    assert caught.value.retryable and caught.value.kind == finish
    with pytest.raises(ProviderError):
        GEMINI.stream_reader(TARGET).read(Event("", json.dumps(answer(finish=finish))))


def test_a_blocked_prompt_is_an_empty_answer_that_was_filtered():
    body = {"promptFeedback": {"blockReason": "SAFETY"}}
    choice = read(body).choices[0]
    assert (choice.parts, choice.finish_reason, choice.native_finish) == (
        (),
        "content_filter",
        "SAFETY",
    )
    reader = GEMINI.stream_reader(TARGET)
    streamed = accumulate([*reader.read(Event("", json.dumps(body))), *reader.finish()])
    assert streamed.choices[0].finish_reason == "content_filter"


def test_thoughts_and_signatures_stay_on_their_parts():
    body = answer(
        {"text": "th", "thought": True},
        {"text": "ought", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "a"},
        {"text": "b", "thoughtSignature": "c2lo"},
        {**CALL, "thoughtSignature": "c2lp"},
    )
    parts = read(body).choices[0].parts
    assert parts[:2] == (
        Reasoning("thought", Signature("c2ln", "gemini")),
        Text("ab", Signature("c2lo", "gemini")),
    )
    assert parts[2].signature == Signature("c2lp", "gemini")
    # An empty text may carry a signature: it belongs to the text before it.
    late = read(answer({"text": "x"}, {"text": "", "thoughtSignature": "c2ln"})).choices[0].parts
    assert late == (Text("x", Signature("c2ln", "gemini")),)


def test_minted_ids_are_unique_and_given_ones_kept():
    ids = {part.id for _ in range(3) for part in read(answer(CALL, CALL)).choices[0].parts}
    assert len(ids) == 6
    named = {"functionCall": {"id": "given", "name": "f"}}
    assert read(answer(named)).choices[0].parts == (ToolCall("given", "f", "{}"),)


def test_usage_adds_thoughts_to_the_answer_and_keeps_the_cache_in_the_prompt():
    body = answer(
        {"text": "x"},
        usageMetadata={
            "promptTokenCount": 10,
            "toolUsePromptTokenCount": 2,
            "cachedContentTokenCount": 4,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 3,
        },
    )
    assert read(body).usage == Usage(12, 8, 4, 0, 3)
    written = GEMINI.write_completion(Completion("i", "m", (), Usage(12, 8, 4, 0, 3)), CHAT)
    assert written["usageMetadata"] == {
        "promptTokenCount": 12,
        "candidatesTokenCount": 5,
        "totalTokenCount": 20,
        "cachedContentTokenCount": 4,
        "thoughtsTokenCount": 3,
    }


def test_log_probabilities_both_ways():
    result = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}]}],
    }
    body = {"candidates": [candidate({"text": "a"}, logprobsResult=result)]}
    completion = read(body)
    expected = (TokenLogprob("a", -0.5, None, (TokenLogprob("a", -0.5),)),)
    assert completion.choices[0].logprobs == expected
    assert GEMINI.write_completion(completion, CHAT)["candidates"][0]["logprobsResult"] == result


@pytest.mark.parametrize(
    "body",
    [{}, {"candidates": []}, {"candidates": 5}, {"candidates": [5]}, answer({"functionCall": {}})],
)
def test_what_is_no_answer_is_named(body):
    with pytest.raises(BadAnswer):
        read(body)


def test_an_error_in_the_clothes_of_an_answer():
    body = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    for read_it in (
        lambda: read(body),
        lambda: GEMINI.stream_reader(TARGET).read(Event("", json.dumps(body))),
    ):
        with pytest.raises(ProviderError) as caught:
            read_it()
        assert (caught.value.status, caught.value.kind) == (429, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize(
    ("body", "message", "wait"),
    [
        (
            {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
                       "details": [{"@type": "RetryInfo", "retryDelay": "7.5s"}]}},
            "quota", 7.5,
        ),
        ([{"error": {"code": 429, "message": "in a list"}}], "in a list", 3.0),
        ("not json", "not json", 3.0),
        ({"error": {"message": "key AIzaSyA1234567890abcdefghijk is bad"}}, "AIza...", 3.0),
    ],
)  # fmt: skip
def test_errors_are_read_by_status_with_the_wait_they_ask_for(body, message, wait):
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = GEMINI.read_error(429, {"retry-after": "3"}, raw, TARGET)
    assert message in error.message and "AIzaSy" not in error.message
    assert (error.status, error.retry_after_s, error.retryable) == (429, wait, True)


def test_errors_are_written_in_googles_form():
    status, body = GEMINI.write_error(ProviderError("x", provider="p", status=503))
    assert status == 503
    assert body == {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}


# Streams


COMPLETION = Completion(
    "id",
    "m",
    (
        Choice(
            (
                Reasoning("hm", Signature("c2ln", "gemini")),
                Text("so"),
                ToolCall("c1", "f", '{"a":1}', Signature("c2lo", "gemini")),
                ToolCall("c2", "g", "{}"),
            ),
            "tool_calls",
            native_finish="STOP",
        ),
    ),
    Usage(5, 7, 1, 0, 2),
)


def stream_of(completion, writer):
    return b"".join([*(writer.write(c) for c in explode(completion)), writer.finish()])


def test_a_written_stream_is_read_back_and_the_official_client_reads_each_event():
    data = stream_of(COMPLETION, GEMINI.stream_writer(CHAT))
    events = list(Parser().feed(data))
    for event in events:
        genai.GenerateContentResponse.model_validate_json(event.data)
    reader = GEMINI.stream_reader(TARGET)
    chunks = [chunk for event in events for chunk in reader.read(event)]
    assert accumulate([*chunks, *reader.finish()]) == COMPLETION
    assert read(GEMINI.write_completion(COMPLETION, CHAT)) == COMPLETION
    genai.GenerateContentResponse.model_validate(GEMINI.write_completion(COMPLETION, CHAT))


def test_the_array_form_is_one_json_array_of_the_same_parts():
    sse = list(Parser().feed(stream_of(COMPLETION, GEMINI.stream_writer(CHAT))))
    array = json.loads(stream_of(COMPLETION, GEMINI.array_stream_writer(CHAT)))
    assert array == [json.loads(event.data) for event in sse]
    failed = GEMINI.array_stream_writer(CHAT)
    parts = [failed.write(chunk) for chunk in list(explode(COMPLETION))[:3]]
    broken = json.loads(b"".join(parts) + failed.fail(StreamCut("cut", provider="p")))
    assert "error" in broken[-1]


def test_a_stream_cut_anywhere_is_not_complete():
    events = list(Parser().feed(stream_of(COMPLETION, GEMINI.stream_writer(CHAT))))
    for count in range(len(events)):
        reader = GEMINI.stream_reader(TARGET)
        for event in events[:count]:
            reader.read(event)
        with pytest.raises(StreamCut):
            reader.finish()


def test_signatures_of_others_are_sealed_for_gemini_clients():
    foreign = Signature("raw value", "anthropic")
    completion = Completion("i", "m", (Choice((Reasoning("hm", foreign), Text("x")), "stop"),))
    part = GEMINI.write_completion(completion, CHAT)["candidates"][0]["content"]["parts"][0]
    assert part["thoughtSignature"] == seal(foreign)
    # The official client holds it as bytes and gives it back in its own base64.
    held = genai.Part.model_validate(part)
    returned = json.loads(held.model_dump_json(exclude_none=True, by_alias=True))
    chat = GEMINI.read_chat({"model": "m", "contents": [{"role": "model", "parts": [returned]}]})
    assert chat.messages[0].parts == (Reasoning("hm", foreign),)


def test_native_words_of_others_are_mapped():
    for reason, word in (
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
    ):
        completion = Completion("i", "m", (Choice((Refusal("no"),), reason, 0, "end_turn"),))
        written = GEMINI.write_completion(completion, CHAT)["candidates"][0]
        assert written["finishReason"] == word
        assert written["content"]["parts"] == [{"text": "no"}]


@pytest.mark.parametrize("data", ["{", "5", "[]"])
def test_an_event_that_is_no_answer_is_named(data):
    with pytest.raises(BadAnswer):
        GEMINI.stream_reader(TARGET).read(Event("", data))


# Embeddings and counts


def test_embeddings_both_ways():
    call = GEMINI.write_embed(Embed(model="m", inputs=("a", "b"), dimensions=4), TARGET)
    assert call.path == "/models/gemini-x:batchEmbedContents"
    assert call.body["requests"][1] == {
        "model": "models/gemini-x",
        "content": {"parts": [{"text": "b"}]},
        "outputDimensionality": 4,
    }
    found = GEMINI.read_embeddings({"embeddings": [{"values": [1, 2.5]}]}, TARGET)
    assert found.vectors == ((1.0, 2.5),)
    assert GEMINI.write_embeddings(Embeddings("m", ((1.0,),)), batch=False) == {
        "embedding": {"values": [1.0]}
    }
    asked = GEMINI.read_embed(
        {"model": "m", "requests": [{"content": {"parts": [{"text": t}]}} for t in "ab"]}
    )
    assert asked.inputs == ("a", "b")


@pytest.mark.parametrize("body", [{}, {"embeddings": 5}, {"embeddings": [{"values": ["x"]}]}])
def test_vectors_that_are_none_are_named(body):
    with pytest.raises(BadAnswer):
        GEMINI.read_embeddings(body, TARGET)


def test_counts():
    call = GEMINI.write_count(CHAT, TARGET)
    assert call.path == "/models/gemini-x:countTokens"
    assert call.body["generateContentRequest"]["contents"][0]["parts"] == [{"text": "hi"}]
    assert GEMINI.read_count({"totalTokens": 7}) == 7
    assert GEMINI.write_token_count(7) == {"totalTokens": 7}
