"""OpenAI's wire, written by hand from the official client's types (openai 3.54), not by
`pointsman.dialects`: a mistake that both shared could not be seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pointsman.testing.script import Answer

__all__ = ["error", "stream", "stream_error", "whole"]

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "invalid_request_error",
          429: "rate_limit_error"}  # fmt: skip


def usage(answer: Answer, prompt_tokens: int) -> dict[str, Any]:
    """The usage object."""
    prompt = answer.input_tokens or prompt_tokens
    done = answer.output_tokens or max(len(answer.text) // 4, 1)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": done,
        "total_tokens": prompt + done,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _finish(answer: Answer) -> str:
    return answer.finish or ("tool_calls" if answer.calls else "stop")


def _logprob(token: str) -> dict[str, Any]:
    each = {"token": token, "logprob": -0.25, "bytes": list(token.encode())}
    return {**each, "top_logprobs": [each]}


def whole(answer: Answer, model: str, prompt_tokens: int, number: int) -> dict[str, Any]:
    """A chat.completion."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text if answer.text or not answer.calls else None,
        "refusal": answer.refusal or None,
        "annotations": [],
    }
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call.id or f"call_fake{number}x{i}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for i, call in enumerate(answer.calls)
        ]
    logprobs = {"content": [_logprob(answer.text)], "refusal": None} if answer.logprobs else None
    return {
        "id": f"chatcmpl-fake{number}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": logprobs,
                "finish_reason": _finish(answer),
            }
        ],
        "usage": usage(answer, prompt_tokens),
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def stream(
    answer: Answer, model: str, prompt_tokens: int, number: int, include_usage: bool
) -> Iterator[bytes]:
    """The events of a stream."""
    head = {
        "id": f"chatcmpl-fake{number}",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }

    def chunk(delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        body: dict[str, Any] = {**head, "choices": [choice]}
        if include_usage:
            body["usage"] = None
        return _event(body)

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in cut(answer.reasoning, answer.pieces):
        yield chunk({"reasoning_content": piece})
    for piece in cut(answer.text, answer.pieces):
        logprobs = {"content": [_logprob(piece)], "refusal": None} if answer.logprobs else None
        yield chunk({"content": piece}, None, logprobs)
    for piece in cut(answer.refusal, answer.pieces):
        yield chunk({"refusal": piece})
    for i, call in enumerate(answer.calls):
        first = {"name": call.name, "arguments": ""}
        identity = call.id or f"call_fake{number}x{i}"
        yield chunk(
            {"tool_calls": [{"index": i, "id": identity, "type": "function", "function": first}]}
        )
        for piece in cut(json.dumps(call.arguments), answer.pieces):
            yield chunk({"tool_calls": [{"index": i, "function": {"arguments": piece}}]})
    yield chunk({}, _finish(answer))
    if include_usage:
        yield _event({**head, "choices": [], "usage": usage(answer, prompt_tokens)})
    yield b"data: [DONE]\n\n"


def error(status: int, message: str) -> dict[str, Any]:
    """An error's body."""
    kind = _TYPES.get(status, "server_error")
    code = "rate_limit_exceeded" if status == 429 else None
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def stream_error(message: str) -> bytes:
    """An error inside a stream."""
    return _event(error(500, message))


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def cut(text: str, pieces: int) -> Iterator[str]:
    """Cut a text into at most so many pieces; none for an empty text."""
    size = max(-(-len(text) // max(pieces, 1)), 1)
    for start in range(0, len(text), size):
        yield text[start : start + size]
