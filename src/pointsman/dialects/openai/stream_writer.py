"""Writes a stream of chat completion chunks to a client.

Source: the types of the official client, openai 3.54 (`types/chat/chat_completion_chunk.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from pointsman._sse import frame
from pointsman.dialects.openai.answer import extra_content, mint_id, write_logprobs, write_usage
from pointsman.dialects.openai.error import error_body
from pointsman.errors import PointsmanError
from pointsman.types import (
    Chat,
    Chunk,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

__all__ = ["Writer"]

_encode = msgspec.json.Encoder().encode
_DONE = frame(b"[DONE]")


class Writer:
    """A `StreamWriter` for one answer.

    Each chunk has the same id, creation time and model. A call's id, name and type stand on its
    first fragment only. The usage is one last chunk without choices, if the client asked for it.
    """

    def __init__(self, chat: Chat) -> None:
        self._usage_asked = chat.include_usage
        self._head: dict[str, Any] = {
            "id": "",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": chat.model,
        }
        self._opened: set[int] = set()
        self._usage: Usage | None = None

    def write(self, chunk: Chunk) -> bytes:
        """Give the events of a chunk."""
        if isinstance(chunk, Started):
            self._head |= {
                "id": chunk.id or mint_id(),
                "created": chunk.created or 0,
                "model": chunk.model or self._head["model"],
            }
            self._usage = chunk.usage or self._usage
            return b""
        if isinstance(chunk, UsageReported):
            self._usage = chunk.usage
            return b""
        if isinstance(chunk, Finished):
            return self._choice(chunk.choice, {}, chunk.reason)
        if isinstance(chunk, TextDelta):
            delta = {"content": chunk.text, **extra_content(chunk.signature)}
            return self._choice(chunk.choice, delta, None, write_logprobs(chunk.logprobs))
        if isinstance(chunk, ReasoningDelta):
            # A signature has no field here: the gateway keeps it until the tool's result returns.
            if not chunk.text:
                return b""
            return self._choice(chunk.choice, {"reasoning_content": chunk.text}, None)
        if isinstance(chunk, RefusalDelta):
            return self._choice(chunk.choice, {"refusal": chunk.text}, None)
        return self._choice(chunk.choice, {"tool_calls": [_call(chunk)]}, None)

    def finish(self) -> bytes:
        """Give the usage, if it was asked for, and the mark of a complete stream."""
        if not self._usage_asked:
            return _DONE
        usage = write_usage(self._usage or Usage())
        return frame(_encode({**self._head, "choices": [], "usage": usage})) + _DONE

    def fail(self, error: PointsmanError) -> bytes:
        """Give the error, and no mark of completeness."""
        return frame(_encode(error_body(error)))

    def _choice(
        self,
        number: int,
        delta: dict[str, Any],
        finish: str | None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        if number not in self._opened:
            self._opened.add(number)
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if not self._head["id"]:
            self._head["id"] = mint_id()
        return frame(_encode({**self._head, "choices": [choice]}))


def _call(chunk: ToolCallStarted | ToolCallDelta) -> dict[str, Any]:
    if isinstance(chunk, ToolCallDelta):
        return {"index": chunk.index, "function": {"arguments": chunk.arguments}}
    return {
        "index": chunk.index,
        "id": chunk.id,
        "type": "function",
        "function": {"name": chunk.name, "arguments": ""},
        **extra_content(chunk.signature),
    }
