"""Anthropic's wire: messages, the count of tokens, models, errors.

Written by hand and apart from `pointsman.dialects`, since a mistake that both shared could not be
seen. Source: the types of the official client, anthropic 2.12.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pointsman.testing.script import Answer
from pointsman.testing.tokens import Counts, Facts, counts_of, cut

__all__ = [
    "GARBAGE",
    "error",
    "headers",
    "model",
    "models",
    "stream",
    "stream_error",
    "token_count",
    "whole",
]

GARBAGE = b"event: content_block_delta\ndata: {this is no JSON\n\n"

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _usage(counts: Counts, done: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": counts.prompt - counts.cached - counts.written,
        "cache_creation_input_tokens": counts.written,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": done,
    }
    if counts.thought and done == counts.done:
        usage["output_tokens_details"] = {"thinking_tokens": counts.thought}
    return usage


def _end(answer: Answer) -> dict[str, Any]:
    usual = "tool_use" if answer.calls else "end_turn"
    details = None
    if answer.refusal:
        usual = "refusal"
        details = {"type": "refusal", "category": None, "explanation": answer.refusal}
    elif answer.stop_sequence is not None:
        usual = "stop_sequence"
    return {
        "stop_reason": answer.finish or usual,
        "stop_sequence": answer.stop_sequence,
        "stop_details": details,
    }


def _message(facts: Facts, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_fake{facts.number}",
        "type": "message",
        "role": "assistant",
        "model": facts.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {**usage, "service_tier": "standard"},
    }


def _blocks(answer: Answer, facts: Facts) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning or answer.signature:
        signature = answer.signature or f"sig-fake{facts.number}"
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": signature})
    if answer.redacted:
        blocks.append({"type": "redacted_thinking", "data": answer.redacted})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text, "citations": None})
    for i, call in enumerate(answer.calls):
        identity = call.id or f"toolu_fake{facts.number}x{i}"
        blocks.append(
            {"type": "tool_use", "id": identity, "name": call.name, "input": call.arguments}
        )
    return blocks


def whole(answer: Answer, facts: Facts) -> dict[str, Any]:
    """Give a message."""
    counts = counts_of(answer, facts)
    return {
        **_message(facts, _usage(counts, counts.done)),
        "content": _blocks(answer, facts),
        **_end(answer),
    }


def stream(answer: Answer, facts: Facts) -> Iterator[bytes]:
    """Yield the events of a stream."""
    counts = counts_of(answer, facts)
    yield _event("message_start", {"message": _message(facts, _usage(counts, 1))})
    yield _event("ping", {})
    for index, block in enumerate(_blocks(answer, facts)):
        yield from _block(index, block, answer.pieces)
    yield _event("message_delta", {"delta": _end(answer), "usage": _usage(counts, counts.done)})
    yield _event("message_stop", {})


def _block(index: int, block: dict[str, Any], pieces: int) -> Iterator[bytes]:
    blank: dict[str, dict[str, Any]] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    empty = blank.get(block["type"], {})
    yield _event("content_block_start", {"index": index, "content_block": {**block, **empty}})
    for delta in _deltas(block, pieces):
        yield _event("content_block_delta", {"index": index, "delta": delta})
    yield _event("content_block_stop", {"index": index})


def _deltas(block: dict[str, Any], pieces: int) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "thinking":
            for piece in cut(block["thinking"], pieces):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "text":
            for piece in cut(block["text"], pieces):
                yield {"type": "text_delta", "text": piece}
        case "tool_use":
            # A call without arguments has this one empty delta and no more.
            yield {"type": "input_json_delta", "partial_json": ""}
            text = json.dumps(block["input"]) if block["input"] else ""
            for piece in cut(text, pieces):
                yield {"type": "input_json_delta", "partial_json": piece}


def error(status: int, message: str) -> dict[str, Any]:
    """Give an error's body."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = {"type": kind, "message": message}
    return {"type": "error", "error": body, "request_id": "req_fake"}


def stream_error(status: int, message: str) -> bytes:
    """Give an error inside a stream."""
    return _event("error", {"error": error(status, message)["error"]})


def headers(number: int) -> dict[str, str]:
    """Give the headers that every answer has."""
    return {"request-id": f"req_fake{number}"}


def model(name: str) -> dict[str, Any]:
    """Give one model of the list."""
    return {
        "id": name,
        "type": "model",
        "display_name": f"Fake {name}",
        "created_at": "2026-09-21T00:00:00Z",
        "lifecycle": "active",
    }


def models(names: Sequence[str]) -> dict[str, Any]:
    """Give the list of models."""
    data = [model(name) for name in names]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def token_count(tokens: int) -> dict[str, Any]:
    """Give the answer to a count."""
    return {"input_tokens": tokens}


def _event(kind: str, body: dict[str, Any]) -> bytes:
    data = json.dumps({"type": kind, **body}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()
