"""OpenAI's wire: chat completions, embeddings, models, errors.

Written by hand and apart from `pointsman.dialects`, since a mistake that both shared could not be
seen. Source: the types of the official client, openai 3.54.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pointsman.testing.script import Answer, Call
from pointsman.testing.tokens import Facts, counts_of, cut
from pointsman.testing.vectors import vector

__all__ = [
    "GARBAGE",
    "embeddings",
    "error",
    "headers",
    "model",
    "models",
    "stream",
    "stream_error",
    "whole",
]

GARBAGE = b"data: {this is no JSON\n\n"

CREATED_S = 1_790_000_000
# Status → (type, code), as OpenAI's own servers say them.
_ERRORS: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
}


def _usage(answer: Answer, facts: Facts) -> dict[str, Any]:
    counts = counts_of(answer, facts)
    prompt = {"cached_tokens": counts.cached, "audio_tokens": 0}
    if counts.written:
        prompt["cache_write_tokens"] = counts.written
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.done,
        "total_tokens": counts.prompt + counts.done,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": counts.thought,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _finish(answer: Answer) -> str:
    return answer.finish or ("tool_calls" if answer.calls else "stop")


def _logprobs(answer: Answer, tokens: Sequence[str]) -> dict[str, Any] | None:
    if not answer.logprobs:
        return None
    content = []
    for token in tokens:
        each = {"token": token, "logprob": answer.logprob, "bytes": list(token.encode())}
        content.append({**each, "top_logprobs": [each]})
    return {"content": content, "refusal": None}


def _call(call: Call, index: int, facts: Facts, choice: int, arguments: str) -> dict[str, Any]:
    return {
        "id": call.id or f"call_fake{facts.number}x{choice}x{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def whole(answer: Answer, facts: Facts) -> dict[str, Any]:
    """Give a chat.completion."""
    choices = []
    for index in range(facts.choices):
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text or (None if answer.calls or answer.refusal else ""),
            "refusal": answer.refusal or None,
            "annotations": [],
        }
        if answer.reasoning:
            # Not OpenAI's own: the field by which compatible servers show the thoughts.
            message["reasoning_content"] = answer.reasoning
        if answer.calls:
            message["tool_calls"] = [
                _call(call, i, facts, index, json.dumps(call.arguments))
                for i, call in enumerate(answer.calls)
            ]
        choices.append(
            {
                "index": index,
                "message": message,
                "logprobs": _logprobs(answer, list(cut(answer.text, answer.pieces))),
                "finish_reason": _finish(answer),
            }
        )
    return {
        **_head("chat.completion", facts),
        "choices": choices,
        "usage": _usage(answer, facts),
    }


def stream(answer: Answer, facts: Facts) -> Iterator[bytes]:
    """Yield the events of a stream, `[DONE]` included."""
    head = _head("chat.completion.chunk", facts)
    if facts.include_usage:
        head["usage"] = None
    for index in range(facts.choices):
        for delta, finish, logprobs in _deltas(answer, facts, index):
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            yield _event({**head, "choices": [choice]})
    if facts.include_usage:
        yield _event({**head, "choices": [], "usage": _usage(answer, facts)})
    yield b"data: [DONE]\n\n"


def _deltas(
    answer: Answer, facts: Facts, choice: int
) -> Iterator[tuple[dict[str, Any], str | None, Any]]:
    yield {"role": "assistant", "content": "", "refusal": None}, None, None
    for piece in cut(answer.reasoning, answer.pieces):
        yield {"reasoning_content": piece}, None, None
    for piece in cut(answer.text, answer.pieces):
        yield {"content": piece}, None, _logprobs(answer, [piece])
    for piece in cut(answer.refusal, answer.pieces):
        yield {"refusal": piece}, None, None
    for index, call in enumerate(answer.calls):
        first = {"index": index, **_call(call, index, facts, choice, "")}
        yield {"tool_calls": [first]}, None, None
        for piece in cut(json.dumps(call.arguments), answer.pieces):
            more = {"index": index, "function": {"arguments": piece}}
            yield {"tool_calls": [more]}, None, None
    yield {}, _finish(answer), None


def _head(kind: str, facts: Facts) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-fake{facts.number}",
        "object": kind,
        "created": CREATED_S,
        "model": facts.model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }


def error(status: int, message: str) -> dict[str, Any]:
    """Give an error's body."""
    kind, code = _ERRORS.get(status, ("server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def stream_error(status: int, message: str) -> bytes:
    """Give an error inside a stream."""
    return _event(error(status, message))


def headers(number: int) -> dict[str, str]:
    """Give the headers that every answer has."""
    return {"x-request-id": f"req_fake{number}", "openai-processing-ms": "1"}


def model(name: str) -> dict[str, Any]:
    """Give one model of the list."""
    return {"id": name, "object": "model", "created": CREATED_S, "owned_by": "fake"}


def models(names: Sequence[str]) -> dict[str, Any]:
    """Give the list of models."""
    return {"object": "list", "data": [model(name) for name in names]}


def embeddings(body: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Give an embedding for each input of the request."""
    given = body.get("input")
    rows = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    data = []
    for index, row in enumerate(rows):
        values = vector(str(row), body.get("dimensions"))
        packed = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
        shown: Any = packed if body.get("encoding_format") == "base64" else values
        data.append({"object": "embedding", "index": index, "embedding": shown})
    usage = {"prompt_tokens": facts.prompt_tokens, "total_tokens": facts.prompt_tokens}
    return {"object": "list", "data": data, "model": facts.model, "usage": usage}


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"
