"""Anthropic's whole answer, both ways, and its errors."""

from __future__ import annotations

import json

import pytest

from pointsman.dialects._shared import seal, unseal
from pointsman.dialects.anthropic import ANTHROPIC
from pointsman.dialects.anthropic.blocks import UNSIGNED
from pointsman.dialects.base import Target
from pointsman.errors import (
    AuthenticationFailed,
    BadAnswer,
    BodyTooLarge,
    ProviderError,
    ProviderTimeout,
    RequestError,
    RouteError,
    UnknownModel,
    UnsupportedParameter,
)
from pointsman.types import (
    Audio,
    Chat,
    Choice,
    Completion,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    Usage,
)

TARGET = Target("anthropic", "claude")
CHAT = Chat(model="m", messages=(), dialect="anthropic")
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2},
}


def read(target=TARGET, **changes):
    return ANTHROPIC.read_completion({**MESSAGE, **changes}, target)


def write(*parts, **fields):
    usage = fields.pop("usage", None)
    completion = Completion("id", "m", (Choice(tuple(parts), **fields),), usage)
    return ANTHROPIC.write_completion(completion, CHAT)


def test_a_message_is_read():
    completion = read()
    assert (completion.id, completion.model, completion.text) == ("msg_1", "claude-x", "hi")
    assert completion.usage == Usage(5, 2)
    assert completion.choices[0].native_finish == "end_turn"


def test_blocks_are_read_in_order():
    completion = read(
        Target("minimax", "m2"),
        content=[
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "thinking", "thinking": "", "signature": "omitted"},
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": "é"}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        ],
        stop_reason="tool_use",
    )
    assert completion.choices[0].parts == (
        Reasoning("hm", Signature("s", "minimax")),
        Reasoning(redacted=Signature("d", "minimax")),
        Reasoning("", Signature("omitted", "minimax")),
        Text("a"),
        ToolCall("t1", "f", '{"x":"é"}'),
        ToolCall("t2", "g", "{}"),
    )


def test_what_is_unknown_breaks_nothing_and_its_text_is_kept():
    completion = read(
        content=[
            {"type": "text", "text": "I "},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
            {"type": "text", "text": "found", "citations": [{"type": "char_location"}]},
            {"type": "text", "text": ""},
            {"type": "hologram", "text": " it."},
        ]
    )
    assert completion.choices[0].parts == (Text("I found it."),)


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_stop_reasons_go_both_ways(native, reason):
    completion = read(stop_reason=native)
    assert completion.choices[0].finish_reason == reason
    assert ANTHROPIC.write_completion(completion, CHAT)["stop_reason"] == native


def test_an_unknown_stop_reason_is_judged_by_the_content():
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    assert read(stop_reason="novel").choices[0].finish_reason == "stop"
    assert read(stop_reason=None, content=[call]).choices[0].finish_reason == "tool_calls"


def test_the_stop_sequence_is_kept():
    completion = read(stop_reason="stop_sequence", stop_sequence="END")
    assert completion.choices[0].stop_sequence == "END"
    body = ANTHROPIC.write_completion(completion, CHAT)
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize(
    ("fields", "native"),
    [
        ({"finish_reason": "stop", "native_finish": "stop"}, "end_turn"),
        ({"finish_reason": "stop", "stop_sequence": "END"}, "stop_sequence"),
        ({"finish_reason": "length"}, "max_tokens"),
        ({"finish_reason": "tool_calls"}, "tool_use"),
        ({"finish_reason": "content_filter", "native_finish": "SAFETY"}, "refusal"),
        ({}, "end_turn"),
    ],
)
def test_another_providers_reason_becomes_the_nearest(fields, native):
    assert write(Text("x"), **fields)["stop_reason"] == native


def test_a_refusal_set_apart_is_text_and_its_own_reason():
    body = write(Refusal("No."), finish_reason="stop", native_finish="stop")
    assert body["content"] == [{"type": "text", "text": "No."}]
    assert body["stop_reason"] == "refusal"


def test_usage_counts_the_cache_in_the_middle_and_apart_on_the_wire():
    wire = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 30,
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 15},
    }
    usage = Usage(60, 40, cached_tokens=30, cache_write_tokens=20, reasoning_tokens=15)
    completion = read(usage=wire)
    assert completion.usage == usage
    assert ANTHROPIC.write_completion(completion, CHAT)["usage"] == wire


def test_nulls_in_the_usage_count_as_nothing():
    wire = {"input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": 1}
    assert read(usage=wire).usage == Usage(3, 1)


def test_a_client_always_gets_a_usage():
    assert write(Text("x"))["usage"] == {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }


def test_a_message_is_written():
    body = write(
        Reasoning("plain"),
        Text(""),
        Text("a"),
        ToolCall("c1", "f", '{"x": 1}'),
        ToolCall("c2", "g"),
        finish_reason="tool_calls",
    )
    assert body["content"] == [
        {"type": "thinking", "thinking": "plain", "signature": UNSIGNED},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
    ]
    assert (body["type"], body["role"], body["id"]) == ("message", "assistant", "id")


def test_signatures_go_out_raw_if_anthropic_made_them_and_else_sealed():
    own, other = Signature("raw", "anthropic"), Signature("sig", "google")
    blocks = write(
        Reasoning("a", own),
        Reasoning("b", other),
        Reasoning(redacted=own),
        Reasoning(redacted=other),
    )["content"]
    assert blocks[0]["signature"] == "raw"
    assert blocks[1]["signature"] == seal(other)
    assert blocks[2] == {"type": "redacted_thinking", "data": "raw"}
    assert unseal(blocks[3]["data"], "anthropic") == other


def test_a_call_with_broken_arguments():
    broken = ToolCall("c", "f", '{"x": ')
    with pytest.raises(BadAnswer, match="'f'"):
        write(broken, finish_reason="tool_calls")
    assert write(broken, finish_reason="length")["content"][0]["input"] == {}


def test_an_answer_holds_no_sound():
    with pytest.raises(UnsupportedParameter, match="audio"):
        write(Audio("AAAA", "wav"))


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "hi"},
        {"content": None},
        {"content": ["hi"]},
        {"content": [{"type": "text"}]},
        {"content": [{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]},
        {"content": [{"type": "tool_use", "name": "f", "input": {}}]},
    ],
)
def test_an_answer_that_breaks_the_format(changes):
    with pytest.raises(BadAnswer) as caught:
        read(**changes)
    assert (caught.value.provider, caught.value.model) == ("anthropic", "claude")


def test_an_error_in_the_clothes_of_an_answer():
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(ProviderError, match="Overloaded") as caught:
        ANTHROPIC.read_completion(body, TARGET)
    assert caught.value.status == 529 and caught.value.retryable


# Errors


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (RequestError("x"), 400, "invalid_request_error"),
        (AuthenticationFailed("x"), 401, "authentication_error"),
        (UnknownModel("x"), 404, "not_found_error"),
        (BodyTooLarge("x"), 413, "request_too_large"),
        (RouteError("x"), 503, "api_error"),
        (ProviderTimeout("x", provider="p"), 504, "timeout_error"),
        (ProviderError("x", provider="p", status=403), 403, "permission_error"),
        (ProviderError("x", provider="p", status=422), 422, "invalid_request_error"),
        (ProviderError("x", provider="p", status=429), 429, "rate_limit_error"),
        (ProviderError("x", provider="p", status=529), 529, "overloaded_error"),
        (ProviderError("x", provider="p", status=502), 502, "api_error"),
        (ProviderError("x", provider="p", status=400, kind="billing_error"), 400, "billing_error"),
        (ProviderError("x", provider="p", status=400, kind="odd"), 400, "invalid_request_error"),
    ],
)
def test_an_error_is_written(error, status, kind):
    assert ANTHROPIC.write_error(error) == (
        status,
        {"type": "error", "error": {"type": kind, "message": "x"}},
    )


def test_a_thread_is_refused_in_the_words_that_the_client_recovers_from():
    _, body = ANTHROPIC.write_error(UnsupportedParameter("thread", "p"))
    assert body["error"]["details"] == {"error_code": "thread_unsupported_request"}
    _, body = ANTHROPIC.write_error(UnsupportedParameter("top_k", "p"))
    assert "details" not in body["error"]


def read_error(status, body, headers=None):
    return ANTHROPIC.read_error(status, headers or {}, body, TARGET)


def test_an_error_is_read_by_its_status():
    body = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow"}})
    error = read_error(429, body.encode(), {"Retry-After": "7"})
    assert (error.status, error.kind, error.retry_after_s) == (429, "rate_limit_error", 7.0)
    assert error.retryable and "Slow" in error.message and "anthropic" in error.message
    assert not read_error(400, body.encode()).retryable, "the status counts, not the word"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "503"),
        (b"<html>\xff down</html>", "down"),
        (b"[1]", "[1]"),
        (b'{"error": "flat"}', "flat"),
        (b'{"detail": "fast"}', "fast"),
        (b'{"error": {"message": 5, "type": 6}}', "503"),
        (b"{" * 5000, "{"),
    ],
)
def test_an_errors_body_may_be_anything(body, says):
    error = read_error(503, body)
    assert error.status == 503 and says in error.message


def test_no_key_gets_into_a_message():
    body = b'{"error": {"type": "authentication_error", "message": "bad sk-ant-api03-abcdefgh123"}}'
    assert "abcdefgh" not in read_error(401, body).message


def test_a_count_that_is_none():
    with pytest.raises(BadAnswer):
        ANTHROPIC.read_token_count({}, TARGET)
