"""Anthropic's wire, written by hand from the official client's types (anthropic 2.12)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pointsman.testing.openai_wire import cut
from pointsman.testing.script import Answer

__all__ = ["error", "stream", "stream_error", "whole"]

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
          404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error",
          529: "overloaded_error"}  # fmt: skip


def _usage(answer: Answer, prompt_tokens: int, done: int) -> dict[str, Any]:
    total = answer.input_tokens or prompt_tokens
    return {
        "input_tokens": total - answer.cached_tokens - answer.cache_write_tokens,
        "cache_creation_input_tokens": answer.cache_write_tokens,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": done,
        "service_tier": "standard",
    }


def _done(answer: Answer) -> int:
    return answer.output_tokens or max(len(answer.text) // 4, 1)


def _finish(answer: Answer) -> str:
    return answer.finish or ("tool_use" if answer.calls else "end_turn")


def _message(model: str, number: int, answer: Answer, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_fake{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _blocks(answer: Answer, number: int) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        signature = answer.signature or "sig-fake"
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": signature})
    if answer.redacted:
        blocks.append({"type": "redacted_thinking", "data": answer.redacted})
    if answer.text or answer.refusal:
        blocks.append({"type": "text", "text": answer.text or answer.refusal, "citations": None})
    for i, call in enumerate(answer.calls):
        identity = call.id or f"toolu_fake{number}x{i}"
        blocks.append(
            {"type": "tool_use", "id": identity, "name": call.name, "input": call.arguments}
        )
    return blocks


def whole(answer: Answer, model: str, prompt_tokens: int, number: int) -> dict[str, Any]:
    """A message."""
    usage = _usage(answer, prompt_tokens, _done(answer))
    return {
        **_message(model, number, answer, usage),
        "content": _blocks(answer, number),
        "stop_reason": _finish(answer),
    }


def stream(answer: Answer, model: str, prompt_tokens: int, number: int) -> Iterator[bytes]:
    """The events of a stream."""
    start = _message(model, number, answer, _usage(answer, prompt_tokens, 1))
    yield _event("message_start", {"message": start})
    yield _event("ping", {})
    for index, block in enumerate(_blocks(answer, number)):
        yield from _block(index, block, answer.pieces)
    yield _event(
        "message_delta",
        {
            "delta": {"stop_reason": _finish(answer), "stop_sequence": None},
            "usage": _usage(answer, prompt_tokens, _done(answer)),
        },
    )
    yield _event("message_stop", {})


def _block(index: int, block: dict[str, Any], pieces: int) -> Iterator[bytes]:
    blank: dict[str, dict[str, Any]] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    empty = blank.get(block["type"], {})
    yield _event("content_block_start", {"index": index, "content_block": {**block, **empty}})
    deltas: list[dict[str, Any]] = []
    if block["type"] == "thinking":
        deltas += [
            {"type": "thinking_delta", "thinking": each} for each in cut(block["thinking"], pieces)
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif block["type"] == "text":
        deltas += [{"type": "text_delta", "text": each} for each in cut(block["text"], pieces)]
    elif block["type"] == "tool_use":
        text = json.dumps(block["input"]) if block["input"] else ""
        deltas.append({"type": "input_json_delta", "partial_json": ""})
        deltas += [{"type": "input_json_delta", "partial_json": each} for each in cut(text, pieces)]
    for delta in deltas:
        yield _event("content_block_delta", {"index": index, "delta": delta})
    yield _event("content_block_stop", {"index": index})


def error(status: int, message: str) -> dict[str, Any]:
    """An error's body."""
    kind = _TYPES.get(status, "api_error")
    body = {"type": kind, "message": message}
    return {"type": "error", "error": body, "request_id": "req_fake"}


def stream_error(message: str) -> bytes:
    """An error inside a stream."""
    body = {"error": {"type": "overloaded_error", "message": message}}
    return _event("error", body)


def _event(kind: str, body: dict[str, Any]) -> bytes:
    data = json.dumps({"type": kind, **body}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()
