"""Whatever comes in place of a value, the error is one of Pointsman's own."""

from __future__ import annotations

import copy
import json

import pytest
from google.genai import types as genai

from pointsman._sse import Event
from pointsman.dialects.base import Target
from pointsman.dialects.gemini import GEMINI
from pointsman.errors import ProviderError, RequestError

TARGET = Target("acme", "gemini-3-pro")
REQUEST = {
    "model": "m",
    "stream": False,
    "systemInstruction": {"parts": [{"text": "s"}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "a"},
                {"inlineData": {"mimeType": "image/png", "data": "aa==", "displayName": "n"}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://a"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "t", "thought": True, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "c",
                        "name": "f",
                        "response": {"r": 1},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": "aa=="}}],
                    }
                }
            ],
        },
    ],
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "description": "d",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"a": {"type": "STRING", "nullable": True, "enum": ["x"]}},
                    },
                },
                {"name": "g", "parametersJsonSchema": {"type": "object"}},
            ]
        },
        {"googleSearch": {}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "maxOutputTokens": 5,
        "temperature": 0.5,
        "thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW", "includeThoughts": True},
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT"},
        "stopSequences": ["x"],
        "candidateCount": 1,
        "responseLogprobs": True,
        "logprobs": 2,
        "speechConfig": {"a": 1},
    },
    "safetySettings": [{"category": "x"}],
}
EMBED = {
    "model": "m",
    "requests": [
        {"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4, "taskType": "T"},
        {"content": {"parts": [{"text": "b"}]}, "outputDimensionality": 4, "taskType": "T"},
    ],
}
ANSWER = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "t", "thought": True, "thoughtSignature": "c2ln"},
                    {"text": "a"},
                    {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}},
                    {"executableCode": {"code": "x"}},
                ],
            },
            "finishReason": "STOP",
            "index": 0,
            "logprobsResult": {
                "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
                "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}]}],
            },
        }
    ],
    "promptFeedback": {"blockReason": "SAFETY"},
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 1},
    "modelVersion": "v",
    "responseId": "r",
}
ERROR = {
    "error": {
        "code": 429,
        "message": "m",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "RetryInfo", "retryDelay": "7s"}],
    }
}
VECTORS = {"embeddings": [{"values": [0.5, 1]}]}
ODD = (
    None, True, 0, -1, 10**400, 1.5, "", "text", "é", [], {}, [None], [[]], {"a": None},
    {"type": []}, [{"text": "x"}],
)  # fmt: skip
every_odd_value = pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])


def spots(value, path=()):
    """Every place in the value, the root left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from spots(inner, (*path, key))


def with_odd(value, path, odd):
    out = copy.deepcopy(value)
    inner = out
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    return out


def test_the_bodies_are_good_but_for_what_is_put_in():
    assert len(GEMINI.read_chat(REQUEST).messages) == 4
    genai.GenerateContentResponse.model_validate(ANSWER)
    assert GEMINI.read_embed(EMBED).inputs == ("a", "b")
    assert GEMINI.read_embeddings(VECTORS, TARGET).vectors == ((0.5, 1.0),)


@every_odd_value
def test_a_request(odd):
    for path in spots(REQUEST):
        body = with_odd(REQUEST, path, odd)
        GEMINI.own_body(body, TARGET)
        try:
            chat = GEMINI.read_chat(body)
            GEMINI.write_chat(chat, TARGET)
            GEMINI.write_count(chat, TARGET)
        except RequestError as error:
            assert error.param, error


@every_odd_value
def test_a_request_for_embeddings(odd):
    for path in spots(EMBED):
        try:
            GEMINI.write_embed(GEMINI.read_embed(with_odd(EMBED, path, odd)), TARGET)
        except RequestError as error:
            assert error.param, error


@every_odd_value
def test_an_answer_whole_and_streamed(odd):
    for path in spots(ANSWER):
        body = with_odd(ANSWER, path, odd)
        try:
            GEMINI.read_completion(body, TARGET)
        except ProviderError as error:
            assert error.provider == "acme"
        reader = GEMINI.stream_reader(TARGET)
        try:
            reader.read(Event("", json.dumps(body)))
            reader.finish()
        except ProviderError as error:
            assert error.provider == "acme"


@every_odd_value
def test_embeddings_and_counts(odd):
    for path in spots(VECTORS):
        try:
            GEMINI.read_embeddings(with_odd(VECTORS, path, odd), TARGET)
        except ProviderError as error:
            assert error.provider == "acme"
    try:
        assert GEMINI.read_count({"totalTokens": odd}) is not None
    except ProviderError as error:
        assert "count" in error.message


@every_odd_value
def test_an_error(odd):
    for path in spots(ERROR):
        body = json.dumps(with_odd(ERROR, path, odd)).encode()
        error = GEMINI.read_error(429, {}, body, TARGET)
        assert (error.status, error.provider) == (429, "acme")
        assert error.message
        assert error.retry_after_s in (None, 7.0)


@pytest.mark.parametrize("value", [[], {}])
def test_what_is_nested_without_end(value):
    schema = value
    for _ in range(200):
        schema = [schema] if isinstance(value, list) else {"items": schema}
    tools = [{"functionDeclarations": [{"name": "f", "parameters": {"items": schema}}]}]
    with pytest.raises(RequestError, match="nested") as caught:
        GEMINI.read_chat({**REQUEST, "tools": tools})
    assert caught.value.param == "tools[0].functionDeclarations[0].parameters"
