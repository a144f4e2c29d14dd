"""Gemini's wire, written by hand from the official client's types (google-genai 2.34)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from pointsman.testing.openai_wire import cut
from pointsman.testing.script import Answer, Call

__all__ = ["error", "events", "stream_error", "whole"]

_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED",
             404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE",
             504: "DEADLINE_EXCEEDED"}  # fmt: skip


def _usage(answer: Answer, prompt_tokens: int) -> dict[str, Any]:
    prompt = answer.input_tokens or prompt_tokens
    done = answer.output_tokens or max(len(answer.text) // 4, 1)
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": done - answer.reasoning_tokens,
        "totalTokenCount": prompt + done,
    }
    if answer.cached_tokens:
        usage["cachedContentTokenCount"] = answer.cached_tokens
    if answer.reasoning_tokens:
        usage["thoughtsTokenCount"] = answer.reasoning_tokens
    return usage


def _signature(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _call(call: Call, number: int) -> dict[str, Any]:
    body: dict[str, Any] = {"name": call.name, "args": call.arguments}
    if call.id is not None:
        body["id"] = call.id
    part: dict[str, Any] = {"functionCall": body}
    if call.signature is not None:
        part["thoughtSignature"] = _signature(call.signature)
    return part


def _response(
    parts: list[dict[str, Any]],
    finish: str | None,
    answer: Answer,
    model: str,
    meta: tuple[int, int],
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
        if answer.logprobs:
            chosen = {"token": answer.text, "logProbability": -0.25}
            candidate["logprobsResult"] = {
                "chosenCandidates": [chosen],
                "topCandidates": [{"candidates": [chosen]}],
            }
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(answer, meta[0]),
        "modelVersion": model,
        "responseId": f"fake{meta[1]}",
    }


def whole(answer: Answer, model: str, prompt_tokens: int, number: int) -> dict[str, Any]:
    """A GenerateContentResponse."""
    parts: list[dict[str, Any]] = []
    if answer.reasoning:
        parts.append({"text": answer.reasoning, "thought": True})
    if answer.text or answer.refusal:
        part: dict[str, Any] = {"text": answer.text or answer.refusal}
        if answer.signature is not None:
            part["thoughtSignature"] = _signature(answer.signature)
        parts.append(part)
    parts += [_call(call, number) for call in answer.calls]
    return _response(parts, answer.finish or "STOP", answer, model, (prompt_tokens, number))


def events(answer: Answer, model: str, prompt_tokens: int, number: int) -> Iterator[dict[str, Any]]:
    """The parts of a stream: each a GenerateContentResponse."""
    meta = (prompt_tokens, number)
    for piece in cut(answer.reasoning, answer.pieces):
        part: dict[str, Any] = {"text": piece, "thought": True}
        yield _response([part], None, answer, model, meta)
    for piece in cut(answer.text or answer.refusal, answer.pieces):
        yield _response([{"text": piece}], None, answer, model, meta)
    for call in answer.calls:
        yield _response([_call(call, number)], None, answer, model, meta)
    last: list[dict[str, Any]] = []
    if answer.signature is not None and answer.text:
        last = [{"text": "", "thoughtSignature": _signature(answer.signature)}]
    yield _response(last or [{"text": ""}], answer.finish or "STOP", answer, model, meta)


def error(status: int, message: str) -> dict[str, Any]:
    """An error's body."""
    name = _STATUSES.get(status, "INTERNAL")
    return {"error": {"code": status, "message": message, "status": name}}


def stream_error(message: str) -> bytes:
    """An error inside a stream."""
    return b"data: " + json.dumps(error(503, message)).encode() + b"\r\n\r\n"
