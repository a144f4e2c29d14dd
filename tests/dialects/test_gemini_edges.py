"""Where Gemini's wire has a corner: redacted thoughts, ids kept on one side, ends that are none."""

from __future__ import annotations

import json

import pytest
from google.genai import types as genai

from pointsman._sse import Event
from pointsman._stream import accumulate
from pointsman.dialects.base import Target
from pointsman.dialects.gemini import GEMINI
from pointsman.errors import ProviderError, RequestError, StreamCut
from pointsman.types import (
    Audio,
    Chat,
    Choice,
    Completion,
    Finished,
    Image,
    Message,
    Reasoning,
    Signature,
    Text,
)

TARGET = Target("gemini", "gemini-2.5-flash")
CHAT = Chat(model="m", messages=(Message("user", (Text("hi"),)),))


def event(*parts, finish=None):
    candidate = {"content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [{**candidate, "finishReason": finish} if finish else candidate]}


def read_stream(*bodies):
    reader = GEMINI.stream_reader(TARGET)
    chunks = [chunk for body in bodies for chunk in reader.read(Event("", json.dumps(body)))]
    return [*chunks, *reader.finish()]


def read(*contents):
    return GEMINI.read_chat({"model": "m", "contents": list(contents)})


# Thoughts


def test_redacted_thoughts_come_back_each_by_itself_through_the_official_client():
    parts = (
        Reasoning("shown", Signature("c2ln", "anthropic")),
        Reasoning(redacted=Signature("first", "anthropic")),
        Reasoning(redacted=Signature("second", "anthropic")),
        Reasoning("unsigned"),
        Reasoning(redacted=Signature("third", "anthropic")),
        Text("so"),
    )
    completion = Completion("r", "v", (Choice(parts, "stop"),))
    answer = genai.GenerateContentResponse.model_validate(GEMINI.write_completion(completion, CHAT))
    held = json.loads(
        answer.candidates[0].content.model_dump_json(exclude_none=True, by_alias=True)
    )
    assert read(held).messages[0].parts == parts


# Calls and their results


def test_a_result_with_an_id_meets_the_call_that_lost_its_own():
    chat = read(
        {"role": "model", "parts": [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "x", "name": "f", "response": {"r": 1}}},
            {"functionResponse": {"id": "y", "name": "f", "response": {"r": 2}}},
        ]},
    )  # fmt: skip
    calls, results = chat.messages[0].parts, chat.messages[1].parts
    assert [result.call_id for result in results] == [call.id for call in calls]


def test_an_id_that_a_call_has_is_never_given_to_another():
    chat = read(
        {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f"}}]},
        {"role": "user", "parts": [
            {"functionResponse": {"id": "c", "name": "f", "response": {}}},
            {"functionResponse": {"name": "f", "response": {}}},
        ]},
    )  # fmt: skip
    minted, given = (call.id for call in chat.messages[0].parts)
    assert given == "c"
    assert [result.call_id for result in chat.messages[1].parts] == ["c", minted]


# Media


@pytest.mark.parametrize(
    ("media_type", "part"),
    [
        ("audio/mpeg", Audio("aa==", "mp3")),
        ("audio/x-wav", Audio("aa==", "wav")),
        ("audio/ogg", Audio("aa==", "ogg")),
        ("IMAGE/PNG", Image("image/png", "aa==")),
    ],
)
def test_media_types_are_read_by_their_common_names(media_type, part):
    blob = {"inlineData": {"mimeType": media_type, "data": "aa=="}}
    assert read({"parts": [blob]}).messages[0].parts == (part,)


# Ends


def test_an_answer_to_be_continued_is_not_whole():
    body = event({"text": "a"}, finish="CONTINUATION")
    choice = GEMINI.read_completion(body, TARGET).choices[0]
    assert (choice.finish_reason, choice.native_finish) == ("length", "CONTINUATION")
    assert read_stream(body)[-1] == Finished("length", 0, "CONTINUATION")
    # The official client would go on by itself, with a token that it was not given.
    written = GEMINI.write_completion(Completion("r", "v", (choice,)), CHAT)
    assert written["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_a_prompt_blocked_after_the_answer_began_is_filtered_and_not_cut():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    choice = accumulate(read_stream(event({"text": "a"}), blocked)).choices[0]
    assert (choice.finish_reason, choice.native_finish) == ("content_filter", "SAFETY")
    with pytest.raises(StreamCut):
        read_stream(event({"text": "a"}))


# Errors


def test_an_errors_wait_and_its_field_are_in_googles_details_and_read_back():
    error = ProviderError("slow", provider="p", status=429, param="contents", retry_after_s=7.5)
    status, body = GEMINI.write_error(error)
    assert body["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.BadRequest",
         "fieldViolations": [{"field": "contents", "description": "slow"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"},
    ]  # fmt: skip
    again = GEMINI.read_error(status, {}, json.dumps(body).encode(), TARGET)
    assert (again.retry_after_s, again.status) == (7.5, 429)


@pytest.mark.parametrize(("wait_s", "delay"), [(30.0, "30s"), (100, "100s"), (0.25, "0.25s")])
def test_a_wait_is_a_duration_of_proto_json(wait_s, delay):
    error = ProviderError("x", provider="p", status=503, retry_after_s=wait_s)
    assert GEMINI.write_error(error)[1]["error"]["details"][0]["retryDelay"] == delay


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ProviderError("x", provider="p", status=400, kind="FAILED_PRECONDITION"), "FAILED_PRECONDITION"),
        (ProviderError("x", provider="p", status=400, kind="rate_limit"), "INVALID_ARGUMENT"),
        (ProviderError("x", provider="p", status=500, kind="NOT_FOUND"), "INTERNAL"),
        (RequestError("x"), "INVALID_ARGUMENT"),
    ],
)  # fmt: skip
def test_googles_own_name_is_kept_where_it_fits_the_status(error, name):
    body = GEMINI.write_error(error)[1]["error"]
    assert body["status"] == name
    assert "details" not in body
