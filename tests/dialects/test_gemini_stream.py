"""Gemini's stream: what is read from an upstream, and what the official client makes of ours."""

from __future__ import annotations

import json

import pytest
from google.genai import types as genai
from google.genai.chats import _validate_response

from pointsman._sse import Event, Parser
from pointsman._stream import accumulate, explode
from pointsman.dialects.base import Target
from pointsman.dialects.gemini import GEMINI
from pointsman.errors import BadAnswer, ProviderError, StreamCut
from pointsman.types import (
    Chat,
    Choice,
    Completion,
    Finished,
    Message,
    ReasoningDelta,
    Refusal,
    Signature,
    Started,
    Text,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

TARGET = Target("gemini", "gemini-x")
CHAT = Chat(model="m", messages=(Message("user", (Text("hi"),)),))


def event(*parts, finish=None, index=None, **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    if index is not None:
        candidate["index"] = index
    return {"candidates": [candidate], "modelVersion": "v", "responseId": "r", **more}


def read(*bodies):
    reader = GEMINI.stream_reader(TARGET)
    chunks = [chunk for body in bodies for chunk in reader.read(Event("", json.dumps(body)))]
    return [*chunks, *reader.finish()]


def write(*chunks, writer=None):
    writer = writer or GEMINI.stream_writer(CHAT)
    data = b"".join([*(writer.write(chunk) for chunk in chunks), writer.finish()])
    return [json.loads(each.data) for each in Parser().feed(data)]


def parts_of(events):
    contents = [each["candidates"][0].get("content", {"parts": []}) for each in events]
    return [part for content in contents for part in content["parts"]]


CALL = {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}


# Read


def test_each_event_gives_what_is_new():
    chunks = read(
        event({"text": "hm", "thought": True}, usageMetadata={"promptTokenCount": 5}),
        event({"text": "a"}),
        event({"text": "", "thoughtSignature": "c2ln"}),
        event(CALL, {"functionCall": {"id": "c2", "name": "g"}}),
        event(finish="STOP", usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 7}),
    )
    assert chunks == [
        Started("r", "v"),
        ReasoningDelta("hm"),
        UsageReported(Usage(5)),
        TextDelta("a"),
        TextDelta("", signature=Signature("c2ln", "gemini")),
        ToolCallStarted(0, "c1", "f"),
        ToolCallDelta(0, '{"a":1}'),
        ToolCallStarted(1, "c2", "g"),
        ToolCallDelta(1, "{}"),
        UsageReported(Usage(5, 7)),
        Finished("tool_calls", 0, "STOP"),
    ]


def test_a_reason_in_every_event_finishes_once_and_last():
    chunks = read(event({"text": "a"}, finish="STOP"), event(CALL, finish="STOP"))
    assert [c for c in chunks if isinstance(c, Finished)] == [Finished("tool_calls", 0, "STOP")]
    assert isinstance(chunks[-1], Finished)


def test_candidates_are_kept_apart_and_each_must_end():
    bodies = [
        event({"text": "a"}, index=0),
        event({"text": "b"}, index=1),
        event(CALL, index=1, finish="STOP"),
        event(finish="MAX_TOKENS", index=0),
    ]
    choices = accumulate(read(*bodies)).choices
    assert [(c.index, c.finish_reason, c.parts[0].text) for c in choices] == [
        (0, "length", "a"),
        (1, "tool_calls", "b"),
    ]
    with pytest.raises(StreamCut):
        read(*bodies[:-1])


@pytest.mark.parametrize(
    "bodies", [[], [event({"text": "a"})], [event(finish="FINISH_REASON_UNSPECIFIED")]]
)
def test_a_stream_without_a_reason_is_cut(bodies):
    with pytest.raises(StreamCut):
        read(*bodies)


def test_a_blocked_prompt_ends_in_content_filter_with_its_own_word():
    chunks = read({"promptFeedback": {"blockReason": "BLOCKLIST"}, "modelVersion": "v"})
    assert chunks == [Started("", "v"), Finished("content_filter", 0, "BLOCKLIST")]


def test_an_error_in_a_list_is_one_too():
    with pytest.raises(ProviderError) as caught:
        read([{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}])
    assert (caught.value.status, caught.value.kind) == (503, "UNAVAILABLE")


def test_what_has_no_chunk_is_passed_over_with_its_signature():
    image = {"inlineData": {"mimeType": "image/png", "data": "aa=="}, "thoughtSignature": "c2ln"}
    chunks = read(event(image, {"executableCode": {"code": "x"}}, {"text": "a"}, finish="STOP"))
    assert accumulate(chunks).choices[0].parts == (Text("a"),)


# Written


def test_the_official_clients_chats_keep_every_event():
    events = write(
        Started("r", "v"),
        TextDelta("a"),
        ToolCallStarted(0, "c1", "f"),
        ToolCallDelta(0, '{"a":1}'),
        Finished("tool_calls"),
        UsageReported(Usage(1, 2)),
    )
    for each in events:
        assert _validate_response(genai.GenerateContentResponse.model_validate(each))
    assert parts_of(events) == [{"text": "a"}, CALL, {"text": ""}]
    assert events[-1]["candidates"][0]["finishReason"] == "STOP"
    assert events[-1]["usageMetadata"]["totalTokenCount"] == 3
    assert all("usageMetadata" not in each for each in events[:-1])


def test_a_filtered_answer_ends_without_content():
    last = write(Started("r", "v"), Finished("content_filter", 0, "refusal"))[-1]
    assert last["candidates"] == [{"finishReason": "SAFETY", "index": 0}]
    blocked = Completion("r", "v", (Choice((), "content_filter", 0, "SPII"),))
    assert GEMINI.write_completion(blocked, CHAT)["candidates"] == [
        {"finishReason": "SPII", "index": 0}
    ]


@pytest.mark.parametrize(
    ("reason", "native", "word"),
    [
        ("stop", "OTHER", "OTHER"),
        ("content_filter", "OTHER", "SAFETY"),  # a prompt blocked for it
        ("length", "length", "MAX_TOKENS"),
        ("tool_calls", "STOP", "STOP"),
        ("stop", "end_turn", "STOP"),
    ],
)
def test_a_native_word_is_kept_where_it_means_the_same(reason, native, word):
    assert (
        write(Started("r", "v"), Finished(reason, 0, native))[-1]["candidates"][0]["finishReason"]
        == word
    )


def test_a_call_is_whole_and_what_follows_it_keeps_its_place():
    writer = GEMINI.stream_writer(CHAT)
    held = [
        ToolCallStarted(0, "c1", "f", signature=Signature("c2ln", "gemini")),
        ToolCallDelta(0, '{"a":'),
        TextDelta("after"),
        ToolCallStarted(1, "c2", "g"),
    ]
    assert [writer.write(chunk) for chunk in held] == [b"", b"", b"", b""]
    released = writer.write(ToolCallDelta(0, "1}"))
    signed = {**CALL, "thoughtSignature": "c2ln"}
    assert parts_of(json.loads(e.data) for e in Parser().feed(released)) == [
        signed,
        {"text": "after"},
    ]
    ended = writer.write(Finished("tool_calls"))
    assert parts_of(json.loads(e.data) for e in Parser().feed(ended)) == [
        {"functionCall": {"id": "c2", "name": "g", "args": {}}}
    ]


def test_fragments_of_two_calls_may_come_mixed():
    events = write(
        Started("r", "v"),
        ToolCallStarted(0, "c1", "f"),
        ToolCallStarted(1, "c2", "f"),
        ToolCallDelta(1, '{"b"'),
        ToolCallDelta(0, '{"a":1}'),
        ToolCallDelta(1, ":{}}"),
        Finished("tool_calls"),
    )
    calls = [part["functionCall"] for part in parts_of(events) if "functionCall" in part]
    assert [(call["id"], call["args"]) for call in calls] == [("c1", {"a": 1}), ("c2", {"b": {}})]


def test_arguments_that_are_no_object_are_named():
    writer = GEMINI.stream_writer(CHAT)
    writer.write(ToolCallStarted(0, "c1", "f"))
    writer.write(ToolCallDelta(0, "[1]"))
    with pytest.raises(BadAnswer, match="'f'"):
        writer.write(Finished("tool_calls"))


def test_a_fragment_without_its_call_is_named():
    with pytest.raises(BadAnswer, match="not open"):
        GEMINI.stream_writer(CHAT).write(ToolCallDelta(3, "{"))
    assert GEMINI.stream_writer(CHAT).write(ToolCallDelta(3, "")) == b""


def test_a_call_that_was_cut_at_the_limit_is_left_out_as_in_the_whole_answer():
    whole, cut = ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", '{"b":')
    completion = Completion("r", "v", (Choice((whole, cut), "length"),))
    assert parts_of(write(*explode(completion))) == [CALL, {"text": ""}]
    candidate = GEMINI.write_completion(completion, CHAT)["candidates"][0]
    assert candidate["content"]["parts"] == [CALL]
    assert candidate["finishReason"] == "MAX_TOKENS"


def test_log_probabilities_are_streamed_as_in_the_whole_answer():
    logprobs = (TokenLogprob("a", -0.5, None, (TokenLogprob("a", -0.5), TokenLogprob("b", -1.0))),)
    completion = Completion("r", "v", (Choice((Text("a"),), "stop", 0, "STOP", None, logprobs),))
    assert accumulate(read(*write(*explode(completion)))) == completion
    late = write(Started("r", "v"), TextDelta("", logprobs=logprobs), Finished("stop", 0, "STOP"))
    assert accumulate(read(*late)).choices[0].logprobs == logprobs


def test_every_kind_of_text_is_streamed():
    events = write(
        *explode(Completion("r", "v", (Choice((Refusal("no"),), "content_filter"),))),
    )
    assert parts_of(events) == [{"text": "no"}]


def test_two_answers_are_written_apart():
    completion = Completion(
        "r",
        "v",
        (
            Choice((Text("a"), ToolCall("c1", "f", '{"a":1}')), "tool_calls", 0, "STOP"),
            Choice((Text("b"),), "length", 1, "MAX_TOKENS"),
        ),
        Usage(1, 2),
    )
    assert accumulate(read(*write(*explode(completion)))) == completion


def test_an_error_ends_the_stream_without_a_reason():
    writer = GEMINI.stream_writer(CHAT)
    writer.write(Started("r", "v"))
    data = writer.write(TextDelta("a")) + writer.fail(ProviderError("x", provider="p", status=503))
    *_, last = (json.loads(each.data) for each in Parser().feed(data))
    assert last == {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}
    with pytest.raises(ProviderError, match="x"):
        read(event({"text": "a"}), last)


def test_an_array_is_one_even_when_nothing_came():
    assert json.loads(GEMINI.array_stream_writer(CHAT).finish()) == []
    failed = GEMINI.array_stream_writer(CHAT).fail(ProviderError("x", provider="p", status=400))
    assert json.loads(failed)[0]["error"]["status"] == "INVALID_ARGUMENT"
