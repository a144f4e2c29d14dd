"""What the gateway answers is of the official clients' own types, to the last field.

The clients themselves take almost anything that a server sends; a program in another language, or
the next version of a client, may not.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.types import Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from google.genai.types import GenerateContentResponse
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, TypeAdapter

from pointsman.testing import Answer, Call, Fault

PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:{verb}",
}
WHOLE: dict[str, Any] = {
    "openai": ChatCompletion,
    "anthropic": Message,
    "gemini": GenerateContentResponse,
}
PIECE: dict[str, Any] = {
    "openai": ChatCompletionChunk,
    "anthropic": RawMessageStreamEvent,
    "gemini": GenerateContentResponse,
}
# Compatible servers' field for thoughts, and Google's own for a signature that OpenAI's form lacks.
BESIDE = {"reasoning_content", "extra_content"}
ANSWERS = {
    "text": Answer(text="Größe 你好 🎉", input_tokens=90, output_tokens=5, cached_tokens=20),
    "calls": Answer(text="so", calls=(Call("f", {"a": [1, {"b": "é"}]}), Call("g"))),
    "thoughts": Answer(
        text="so",
        reasoning="let me think",
        signature="sig",
        redacted="b3BhcXVl",
        reasoning_tokens=3,
        calls=(Call("f", {"a": 1}, signature="s"),),
    ),
    "refusal": Answer(refusal="I will not."),
    "nothing": Answer(),
}


def unknown_fields(value: Any, path: str = "$") -> Iterator[str]:
    """The paths of fields that the types do not know."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in set(value.model_extra or {}) - BESIDE)
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from unknown_fields(each, f"{path}[{index}]")


def check(kind: Any, payload: Any) -> None:
    value = TypeAdapter(kind).validate_python(payload)
    assert list(unknown_fields(value)) == [], payload


def request(site, path, body=None, headers=None):
    connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=20)
    try:
        data = json.dumps(body) if body else None
        connection.request("POST" if body else "GET", path, data, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def ask(site, dialect, model, *, stream=False, sse=True):
    path, body = PATHS[dialect], {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    if dialect == "anthropic":
        body["max_tokens"] = 99
    if stream:
        body["stream"] = True
        if dialect == "openai":
            body["stream_options"] = {"include_usage": True}
    if dialect == "gemini":
        verb = "generateContent"
        if stream:
            verb = "streamGenerateContent" + ("?alt=sse" if sse else "")
        path = path.format(model=model, verb=verb)
        body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    return request(site, path, body)


def events(body):
    """The decoded data of each event, `[DONE]` as it is, after its event's name."""
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        name, data = None, None
        for line in block.split("\n"):
            key, _, value = line.partition(": ")
            name = value if key == "event" else name
            data = value if key == "data" else data
        if data is not None:
            yield name, json.loads(data) if data != "[DONE]" else data


each_dialect = pytest.mark.parametrize("dialect", PATHS)
each_answer = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)


@each_dialect
@each_answer
def test_a_whole_answer(site, upstream, dialect, answer):
    site.fake.play([answer])
    status, headers, body = ask(site, dialect, f"{upstream}:m")
    assert (status, headers["content-type"]) == (200, "application/json")
    check(WHOLE[dialect], json.loads(body))


@each_dialect
@each_answer
def test_a_stream(site, upstream, dialect, answer):
    site.fake.play([answer])
    status, headers, body = ask(site, dialect, f"{upstream}:m", stream=True)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    found = list(events(body))
    for name, data in found:
        if dialect == "anthropic":
            assert name == data["type"]
        if data != "[DONE]" and data.get("type") != "ping":
            check(PIECE[dialect], data)
    assert [data for _, data in found].count("[DONE]") == (1 if dialect == "openai" else 0)


@each_answer
def test_a_stream_as_an_array(site, upstream, answer):
    site.fake.play([answer])
    status, headers, body = ask(site, "gemini", f"{upstream}:m", stream=True, sse=False)
    assert status == 200
    for each in json.loads(body):
        check(GenerateContentResponse, each)
    assert headers["content-type"].startswith("application/json")


@each_dialect
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 529])
def test_an_error(site, upstream, dialect, status):
    site.fake.play([Fault(status=status, message="because")])
    code, headers, body = ask(site, dialect, f"{upstream}:m")
    error = json.loads(body)
    assert (code, headers["content-type"]) == (status, "application/json")
    inner = error["error"]
    assert "because" in inner["message"]
    if dialect == "openai":
        assert set(inner) == {"message", "type", "param", "code"}
    elif dialect == "anthropic":
        assert error["type"] == "error" and set(inner) == {"type", "message"}
    else:
        assert inner["code"] == status and inner["status"].isupper()


def test_the_small_surfaces(site):
    status, _, body = request(site, "/v1/embeddings", {"model": "gemini:e", "input": ["a"]})
    assert status == 200
    check(CreateEmbeddingResponse, json.loads(body))
    asked = {"model": "gemini:m", "messages": [{"role": "user", "content": "hi"}]}
    status, _, body = request(site, "/v1/messages/count_tokens", asked)
    assert status == 200
    check(MessageTokensCount, json.loads(body))
    status, _, body = request(site, "/v1/models")
    assert status == 200
    listed = json.loads(body)["data"]
    assert listed
    for model in listed:
        Model.model_validate(model)


def test_the_list_of_models_for_anthropic_clients(site):
    _, _, body = request(site, "/v1/models", headers={"anthropic-version": "2023-06-01"})
    for model in json.loads(body)["data"]:
        check(ModelInfo, model)
