"""OpenAI's whole answer, errors and embeddings, both ways."""

from __future__ import annotations

import base64
import json
import struct

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from pointsman.dialects._shared import seal
from pointsman.dialects.base import Target
from pointsman.dialects.openai import OPENAI, OpenAI, write_embeddings
from pointsman.errors import (
    AuthenticationFailed,
    BadAnswer,
    PointsmanError,
    ProviderError,
    RequestError,
    UnknownModel,
    UnsupportedParameter,
)
from pointsman.types import (
    Audio,
    Chat,
    Choice,
    Completion,
    Embed,
    Embeddings,
    Image,
    Reasoning,
    Refusal,
    Signature,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)

TARGET = Target("acme", "acme-1")
CHAT = Chat(model="m", messages=(), dialect="openai")


def answer(message, finish="stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "acme-1-x",
        "choices": [choice],
        **more,
    }


def read(body) -> Completion:
    return OPENAI.read_completion(body, TARGET)


def parts_of(message, finish="stop"):
    return read(answer(message, finish)).choices[0].parts


def write(*parts, **fields):
    fields.setdefault("finish_reason", "stop")
    completion = Completion("chatcmpl-1", "m", (Choice(parts, **fields),), created=5)
    body = OPENAI.write_completion(completion, CHAT)
    ChatCompletion.model_validate(body, strict=True)
    return body["choices"][0]


# Read from an upstream


def test_an_answer_is_read():
    logprob = {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": []}
    top = {"token": "B", "logprob": -1, "bytes": None}
    body = answer({"content": "A", "refusal": None}, usage={"prompt_tokens": 3})
    body["choices"][0]["logprobs"] = {"content": [{**logprob, "top_logprobs": [top]}]}
    assert read(body) == Completion(
        id="chatcmpl-1",
        model="acme-1-x",
        created=1700000000,
        choices=(
            Choice(
                (Text("A"),),
                "stop",
                native_finish="stop",
                logprobs=(TokenLogprob("A", -0.5, (65,), (TokenLogprob("B", -1.0),)),),
            ),
        ),
        usage=Usage(input_tokens=3),
    )


def test_thinking_is_read_and_signed_with_the_field_it_came_in():
    for field in ("reasoning_content", "reasoning"):
        assert parts_of({"content": "A", field: "Hm."}) == (
            Reasoning("Hm.", Signature(field, "acme")),
            Text("A"),
        )
    both = {"content": "A", "reasoning_content": "Hm.", "reasoning": "Hm."}
    assert len(parts_of(both)) == 2


def test_content_in_parts_is_read():
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    text = {"type": "text", "text": "A"}
    assert parts_of({"content": [thought, text]}) == (Reasoning("Hm."), Text("A"))


def test_calls_are_read_whatever_their_arguments_look_like():
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"id": "b", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
        {"function": {"name": "f", "arguments": '{"x": 2}'}},
        {
            "id": "d",
            "function": {"name": "f"},
            "extra_content": {"google": {"thought_signature": "raw"}},
        },
    ]
    parts = parts_of({"content": None, "tool_calls": calls})
    assert [part.arguments for part in parts] == ["{}", '{"x":1}', '{"x": 2}', "{}"]
    assert parts[2].id
    assert parts[3].signature == Signature("raw", "acme")


def test_the_old_function_call_is_a_call_with_an_id_of_its_own():
    message = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    first, second = (read(answer(message, "function_call")) for _ in range(2))
    assert first.choices[0].finish_reason == "tool_calls"
    assert first.tool_calls[0].name == "f"
    assert first.tool_calls[0].id != second.tool_calls[0].id


def test_refusals_and_pictures_are_read():
    images = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    assert parts_of({"content": None, "refusal": "no"}) == (Refusal("no"),)
    assert parts_of({"content": "A", "images": images}) == (Text("A"), Image("image/png", "AAAA"))


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("model_length", "length"),
        ("eos", "stop"),
        ("sensitive", "content_filter"),
        ("something new", "stop"),
        (None, "stop"),
    ],
)
def test_finish_reasons_are_read_and_the_native_word_kept(native, reason):
    choice = read(answer({"content": "A"}, native)).choices[0]
    assert (choice.finish_reason, choice.native_finish) == (reason, native)


def test_stop_after_calls_means_calls():
    message = {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}
    choice = read(answer(message, "stop")).choices[0]
    assert (choice.finish_reason, choice.native_finish) == ("tool_calls", "stop")


@pytest.mark.parametrize("native", ["error", "insufficient_system_resource", "network_error"])
def test_an_error_as_a_finish_reason_is_an_error(native):
    with pytest.raises(ProviderError) as raised:
        read(answer({"content": "A"}, native))
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 4, 2, 3),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4},
            Usage(9, 5, cached_tokens=4),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 4}, Usage(9, 5, 4)),
        (
            {  # xAI's own example: thoughts are not among the completion's tokens.
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 103, reasoning_tokens=94),
        ),
        ({"prompt_tokens": 9, "completion_tokens": None}, Usage(9)),
        (None, None),
    ],
)
def test_usage_is_read_as_each_server_counts(counts, usage):
    assert read(answer({"content": "A"}, usage=counts)).usage == usage


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": {}},
        {"choices": []},
        {"choices": ["A"]},
        {"choices": [{"finish_reason": "stop"}]},
        answer({"tool_calls": [{"id": "a"}]}),
        answer({"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sql"}}]}),
        answer({"audio": {"id": "a", "data": "AAAA"}}),
        answer({"images": [{}]}),
    ],
)
def test_an_answer_that_breaks_the_dialect_is_a_bad_answer(body):
    with pytest.raises(BadAnswer) as raised:
        read(body)
    assert raised.value.provider == "acme"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "busy", "code": 429}, 429),
        ({"message": "busy", "code": "503"}, 503),
        ({"message": "busy", "type": "rate_limit_error"}, 429),
        ({"message": "busy", "code": "insufficient_quota"}, 429),
        ({"message": "busy"}, 502),
        ("busy", 502),
    ],
)
def test_an_error_with_a_good_status_is_an_error(error, status):
    with pytest.raises(ProviderError) as raised:
        read({"error": error})
    assert raised.value.status == status
    assert "busy" in raised.value.message
    with pytest.raises(ProviderError):
        read({"choices": [{"index": 0, "error": error}]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("content", "tool_calls", "function", "name", "arguments", "id", "text"),
                    *("logprobs", "token", "bytes", "type", "usage", "images", "audio", "error"),
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_odd_answers_give_a_completion_or_a_named_error(message, logprobs, usage):
    choice = {"message": message, "logprobs": logprobs, "finish_reason": usage}
    try:
        assert isinstance(read({"choices": [choice], "usage": usage}), Completion)
    except ProviderError as error:
        assert error.provider == "acme"


# Written for a client


def test_an_answer_is_written():
    logprob = TokenLogprob("A", -0.5, (65,), (TokenLogprob("B", -1.0),))
    usage = Usage(9, 5, 4, 2, 3)
    choice = Choice((Text("A"), Text("B")), "stop", logprobs=(logprob,))
    body = OPENAI.write_completion(Completion("id-1", "m", (choice,), usage, 5), CHAT)
    assert body == {
        "id": "id-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "AB", "refusal": None},
                "logprobs": {
                    "content": [
                        {
                            "token": "A",
                            "logprob": -0.5,
                            "bytes": [65],
                            "top_logprobs": [{"token": "B", "logprob": -1.0, "bytes": None}],
                        }
                    ],
                    "refusal": None,
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }


def test_an_answer_without_an_id_or_a_date_gets_them():
    completion = Completion("", "m", (Choice((Text("A"),), "stop"),))
    dialect = OpenAI(clock=lambda: 77.9)
    first, second = (dialect.write_completion(completion, CHAT) for _ in range(2))
    assert first["id"].startswith("chatcmpl-")
    assert first["id"] != second["id"]
    assert first["created"] == 77


def test_content_is_null_only_beside_a_call_or_a_refusal():
    assert write()["message"]["content"] == ""
    assert write(Refusal("no"))["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "no",
    }
    message = write(ToolCall("c", "f"), finish_reason=None)
    assert message["message"]["content"] is None
    assert message["finish_reason"] == "tool_calls"


def test_thinking_is_written_without_its_signature():
    message = write(
        Reasoning("Hm.", Signature("abc", "anthropic")),
        Reasoning(redacted=Signature("secret", "anthropic")),
        Text("A"),
    )["message"]
    assert message["reasoning_content"] == "Hm."
    assert message["content"] == "A"
    assert "abc" not in json.dumps(message)


def test_geminis_signatures_are_sealed_so_that_a_client_can_carry_them():
    signature = Signature("raw", "gemini")
    message = write(Text("A", signature), ToolCall("c", "f", "{}", signature))["message"]
    extra = {"google": {"thought_signature": seal(signature)}}
    assert message["extra_content"] == extra
    assert message["tool_calls"][0]["extra_content"] == extra
    chat = OPENAI.read_chat({"model": "m", "messages": [message]})
    assert chat.messages[0].parts == (Text("A", signature), ToolCall("c", "f", "{}", signature))


def test_a_picture_is_written_after_openrouters_manner_and_a_sound_refused():
    message = write(Image("image/png", "AAAA"))["message"]
    assert message["images"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    ]
    with pytest.raises(UnsupportedParameter):
        write(Audio("AAAA", "wav"))


# Errors


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "raised"),
    [
        (RequestError("x", param="n"), 400, "invalid_request_error", "invalid_request",
         openai.BadRequestError),
        (AuthenticationFailed("x"), 401, "authentication_error", "invalid_api_key",
         openai.AuthenticationError),
        (UnknownModel("x"), 404, "not_found_error", "model_not_found", openai.NotFoundError),
        (ProviderError("x", provider="p", status=403), 403, "permission_error", "provider_error",
         openai.PermissionDeniedError),
        (ProviderError("x", provider="p", status=429), 429, "rate_limit_error", "provider_error",
         openai.RateLimitError),
        (ProviderError("x", provider="p"), 502, "server_error", "provider_error",
         openai.InternalServerError),
        (PointsmanError("x"), 500, "server_error", "internal_error", openai.InternalServerError),
    ],
)  # fmt: skip
def test_errors_are_written_as_the_official_client_reads_them(error, status, kind, code, raised):
    written, body = OPENAI.write_error(error)
    assert written == status
    assert body == {"error": {"message": "x", "type": kind, "param": error.param, "code": code}}
    client = openai.OpenAI(api_key="k", base_url="http://localhost")
    response = openai.OpenAI._make_status_error(
        client, "x", body=body, response=_response(status, body)
    )
    client.close()
    assert type(response) is raised
    assert (response.code, response.type, response.param) == (code, kind, error.param)


def _response(status, body):
    module = __import__(openai.APIStatusError.__init__.__annotations__["response"].split(".")[0])
    return module.Response(status, json=body, request=module.Request("POST", "http://localhost"))


@pytest.mark.parametrize(
    ("body", "message", "kind"),
    [
        (b'{"error":{"message":"m","type":"t","code":"c","param":"p"}}', "m", "c"),
        (b'{"error":{"message":"m","type":"t","code":null}}', "m", "t"),
        (b'{"error":"m"}', "m", None),
        (b'{"message":"m","type":"t"}', "m", "t"),
        (b'{"detail":"m"}', "m", None),
        (b'{"detail":[{"loc":["body","n"],"msg":"m"}]}', '"msg":"m"', None),
        (b'{"message":{"detail":[{"msg":"m"}]}}', '"msg":"m"', None),
        (b'[{"error":{"message":"m","status":"s"}}]', "m", None),
        (b"<html>m</html>", "<html>m</html>", None),
        (b"", "HTTP status 418", None),
        (b"\xff\xfe", "\ufffd", None),
        (b"5", "5", None),
    ],
)
def test_an_upstreams_error_is_read_whatever_its_form(body, message, kind):
    error = OPENAI.read_error(418, {}, body, TARGET)
    assert error.status == 418
    assert message in error.message
    assert error.kind == kind
    assert error.provider == "acme"


def test_an_upstreams_error_is_short_and_holds_no_key():
    key = "sk-proj-abcdefgh12345678"
    body = {"error": {"message": f"Incorrect key {key}: " + "x" * 999, "code": key, "param": key}}
    error = OPENAI.read_error(401, {}, json.dumps(body).encode(), TARGET)
    assert "abcdefgh" not in repr(error.__dict__)
    assert len(error.message) < 330


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:10 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            10.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
    ],
)
def test_the_wait_that_an_upstream_asks_for_is_read(headers, wait_s):
    assert OPENAI.read_error(429, headers, b"", TARGET).retry_after_s == wait_s


# Embeddings


@pytest.mark.parametrize(
    "vector", [[0.5, -1.0], base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()]
)
def test_vectors_are_read_in_order_as_numbers_or_base64(vector):
    body = {
        "model": "acme-1",
        "data": [{"index": 1, "embedding": vector}, {"index": 0, "embedding": [1, 2]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert OPENAI.read_embeddings(body, TARGET) == Embeddings(
        "acme-1", ((1.0, 2.0), (0.5, -1.0)), Usage(4)
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": "x"},
        {"data": [1]},
        {"data": [{"index": 1, "embedding": [1]}]},
        {"data": [{"index": "a", "embedding": [1]}]},
        {"data": [{"embedding": None}]},
        {"data": [{"embedding": [None]}]},
        {"data": [{"embedding": "?"}]},
        {"data": [{"embedding": "ÄÄ=="}]},
        {"data": [{"embedding": "AAA="}]},
    ],
)
def test_embeddings_that_break_the_dialect_are_a_bad_answer(body):
    with pytest.raises(BadAnswer):
        OPENAI.read_embeddings(body, TARGET)


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_vectors_are_written_in_the_encoding_asked_for(encoding):
    vectors = Embeddings("m", ((0.5, -1.0), (2.0, 0.0)), Usage(4))
    body = write_embeddings(vectors, Embed(model="m", inputs=("a", "b"), encoding=encoding))
    assert isinstance(body["data"][0]["embedding"], str if encoding == "base64" else list)
    assert OPENAI.read_embeddings(body, TARGET) == vectors
    if encoding != "base64":
        CreateEmbeddingResponse.model_validate(body, strict=True)
