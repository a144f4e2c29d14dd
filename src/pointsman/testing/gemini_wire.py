"""Gemini's wire: generateContent, embeddings, the count of tokens, models, errors.

Written by hand and apart from `pointsman.dialects`, since a mistake that both shared could not be
seen. Source: the types of the official client, google-genai 2.34.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pointsman.testing.script import Answer, Call
from pointsman.testing.tokens import Facts, counts_of, cut, tokens_of
from pointsman.testing.vectors import vector

__all__ = [
    "ARRAY_GARBAGE",
    "GARBAGE",
    "array_stream",
    "array_stream_error",
    "embedding",
    "embeddings",
    "error",
    "headers",
    "model",
    "models",
    "stream",
    "stream_error",
    "token_count",
    "whole",
]

GARBAGE = b"data: {this is no JSON\r\n\r\n"
ARRAY_GARBAGE = b",\r\n{this is no JSON]"

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _usage(answer: Answer, facts: Facts, done: int | None = None) -> dict[str, Any]:
    """The counts, with `done` tokens of text so far (all of them if None)."""
    counts = counts_of(answer, facts)
    text = counts.done - counts.thought
    shown = text if done is None else min(done, text)
    usage: dict[str, Any] = {
        "promptTokenCount": counts.prompt,
        "candidatesTokenCount": shown,
        "totalTokenCount": counts.prompt + shown + counts.thought,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": counts.prompt}],
    }
    if counts.cached:
        usage["cachedContentTokenCount"] = counts.cached
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": counts.cached}]
    if counts.thought:
        usage["thoughtsTokenCount"] = counts.thought
    return usage


def _signature(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _call(call: Call) -> dict[str, Any]:
    body: dict[str, Any] = {"name": call.name, "args": call.arguments}
    if call.id is not None:
        body["id"] = call.id
    part: dict[str, Any] = {"functionCall": body}
    if call.signature is not None:
        part["thoughtSignature"] = _signature(call.signature)
    return part


def _ended(candidate: dict[str, Any], answer: Answer) -> dict[str, Any]:
    candidate["finishReason"] = answer.finish or ("SAFETY" if answer.refusal else "STOP")
    if answer.refusal:
        candidate["finishMessage"] = answer.refusal
    if answer.logprobs:
        chosen = [
            {"token": piece, "tokenId": index, "logProbability": answer.logprob}
            for index, piece in enumerate(cut(answer.text, answer.pieces))
        ]
        candidate["avgLogprobs"] = answer.logprob
        candidate["logprobsResult"] = {
            "chosenCandidates": chosen,
            "topCandidates": [{"candidates": [each]} for each in chosen],
        }
    return candidate


def _candidate(parts: list[dict[str, Any]], index: int) -> dict[str, Any]:
    return {"content": {"parts": parts, "role": "model"}, "index": index}


def _response(
    candidates: list[dict[str, Any]], usage: dict[str, Any], facts: Facts
) -> dict[str, Any]:
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": facts.model,
        "responseId": f"fake{facts.number}",
    }


def whole(answer: Answer, facts: Facts) -> dict[str, Any]:
    """Give a GenerateContentResponse."""
    parts: list[dict[str, Any]] = []
    if answer.reasoning:
        parts.append({"text": answer.reasoning, "thought": True})
    if answer.text:
        part: dict[str, Any] = {"text": answer.text}
        if answer.signature is not None:
            part["thoughtSignature"] = _signature(answer.signature)
        parts.append(part)
    parts += [_call(call) for call in answer.calls]
    candidates = [_ended(_candidate(parts, index), answer) for index in range(facts.choices)]
    if not parts:
        for candidate in candidates:
            del candidate["content"]
    return _response(candidates, _usage(answer, facts), facts)


def _events(answer: Answer, facts: Facts) -> Iterator[dict[str, Any]]:
    """The parts of a stream: each a GenerateContentResponse."""
    for index in range(facts.choices):
        for piece in cut(answer.reasoning, answer.pieces):
            part: dict[str, Any] = {"text": piece, "thought": True}
            yield _response([_candidate([part], index)], _usage(answer, facts, 0), facts)
        done = 0
        for piece in cut(answer.text, answer.pieces):
            done += tokens_of(piece)
            candidate = _candidate([{"text": piece}], index)
            yield _response([candidate], _usage(answer, facts, done), facts)
        for call in answer.calls:
            candidate = _candidate([_call(call)], index)
            yield _response([candidate], _usage(answer, facts, done), facts)
        last: dict[str, Any] = {"text": ""}
        if answer.signature is not None and answer.text:
            last["thoughtSignature"] = _signature(answer.signature)
        candidate = _ended(_candidate([last], index), answer)
        yield _response([candidate], _usage(answer, facts), facts)


def stream(answer: Answer, facts: Facts) -> Iterator[bytes]:
    """Yield the events of a stream with `alt=sse`."""
    for event in _events(answer, facts):
        yield b"data: " + _json(event) + b"\r\n\r\n"


def array_stream(answer: Answer, facts: Facts) -> Iterator[bytes]:
    """Yield the pieces of a stream without `alt=sse`: one JSON array."""
    before = b"["
    for event in _events(answer, facts):
        yield before + _json(event)
        before = b",\r\n"
    yield b"]"


def error(status: int, message: str) -> dict[str, Any]:
    """Give an error's body."""
    name = _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    return {"error": {"code": status, "message": message, "status": name}}


def stream_error(status: int, message: str) -> bytes:
    """Give an error inside a stream with `alt=sse`."""
    return b"data: " + _json(error(status, message)) + b"\r\n\r\n"


def array_stream_error(status: int, message: str, *, first: bool) -> bytes:
    """Give an error inside a stream without `alt=sse`: the array's last element."""
    return (b"[" if first else b",\r\n") + _json(error(status, message)) + b"]"


def headers(number: int) -> dict[str, str]:
    """Give the headers that every answer has."""
    return {"server-timing": f"gfet4t7; dur={number}"}


def model(name: str) -> dict[str, Any]:
    """Give one model of the list."""
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": f"Fake {name}",
        "inputTokenLimit": 8192,
        "outputTokenLimit": 4096,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def models(names: Sequence[str]) -> dict[str, Any]:
    """Give the list of models."""
    return {"models": [model(name) for name in names]}


def embedding(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the answer to embedContent."""
    text = json.dumps(body.get("content"), sort_keys=True)
    size = body.get("outputDimensionality") or body.get("output_dimensionality")
    return {"embedding": {"values": vector(text, size)}}


def embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the answer to batchEmbedContents."""
    return {"embeddings": [embedding(each)["embedding"] for each in body.get("requests") or ()]}


def token_count(tokens: int) -> dict[str, Any]:
    """Give the answer to countTokens."""
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    return {"totalTokens": tokens, "promptTokensDetails": details}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
