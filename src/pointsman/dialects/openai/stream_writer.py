"""Writes a stream of chat completion chunks to a client.

Source: the types of the official client, openai 3.54 (`types/chat/chat_completion_chunk.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from pointsman._sse import frame
from pointsman.dialects.openai.answer import extra_content, mint_id
from pointsman.dialects.openai.error import error_body
from pointsman.dialects.openai.logprobs import write_logprobs
from pointsman.dialects.openai.usage import write_usage
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

    def __init__(self, chat: Chat, clock: Callable[[], float]) -> None:
        self._usage_asked = chat.include_usage
        self._model = chat.model
        self._clock = clock
        self._head: dict[str, Any] = {}
        # A chunk is this, one choice's JSON and `_tail`: only the choice differs between chunks.
        self._before = b""
        self._tail = b'],"usage":null}' if chat.include_usage else b"]}"
        self._opened: set[int] = set()
        self._finished: set[int] = set()
        # Calls that began and have no arguments yet, as (choice, index).
        self._bare: set[tuple[int, int]] = set()
        self._usage: Usage | None = None

    def write(self, chunk: Chunk) -> bytes:
        """Give the events of a chunk."""
        if isinstance(chunk, Started):
            self._start(chunk)
            return b""
        if isinstance(chunk, UsageReported):
            self._usage = chunk.usage
            return b""
        if isinstance(chunk, Finished):
            return self._finish(chunk.choice, chunk.reason)
        if isinstance(chunk, TextDelta):
            if not chunk.text and chunk.signature is None and chunk.logprobs is None:
                return b""
            delta = {"content": chunk.text, **extra_content(chunk.signature)}
            return self._choice(chunk.choice, delta, None, write_logprobs(chunk.logprobs))
        if isinstance(chunk, ReasoningDelta):
            # A signature has no field here: the gateway keeps it until the tool's result returns.
            if not chunk.text:
                return b""
            return self._choice(chunk.choice, {"reasoning_content": chunk.text}, None)
        if isinstance(chunk, RefusalDelta):
            return self._choice(chunk.choice, {"refusal": chunk.text}, None)
        call = (chunk.choice, chunk.index)
        if isinstance(chunk, ToolCallStarted):
            self._bare.add(call)
        elif chunk.arguments:
            self._bare.discard(call)
        else:
            return b""
        return self._choice(chunk.choice, {"tool_calls": [_call(chunk)]}, None)

    def finish(self) -> bytes:
        """Give the usage, if it was asked for and is known, and the mark of a complete stream."""
        out = b"".join(
            self._finish(number, "stop") for number in sorted(self._opened - self._finished)
        )
        if self._usage_asked and self._usage is not None:
            usage = write_usage(self._usage)
            out += frame(_encode({**self._headed(), "choices": [], "usage": usage}))
        return out + _DONE

    def fail(self, error: PointsmanError) -> bytes:
        """Give the error, and no mark of completeness."""
        return frame(_encode(error_body(error)))

    def _start(self, chunk: Started) -> None:
        created = chunk.created
        self._usage = chunk.usage or self._usage
        self._head = {
            "id": chunk.id or mint_id(),
            "object": "chat.completion.chunk",
            "created": int(self._clock()) if created is None else created,
            "model": chunk.model or self._model,
        }
        self._before = _encode(self._head)[:-1] + b',"choices":['

    def _headed(self) -> dict[str, Any]:
        if not self._head:
            self._start(Started("", ""))
        return self._head

    def _finish(self, number: int, reason: str) -> bytes:
        """End a choice, once. A call without arguments gets `{}`: clients parse what they have."""
        if number in self._finished:
            return b""
        self._finished.add(number)
        out = b""
        for choice, index in sorted(self._bare):
            if choice == number:
                empty = _call(ToolCallDelta(index, "{}", choice))
                out += self._choice(number, {"tool_calls": [empty]}, None)
        return out + self._choice(number, {}, reason)

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
        self._headed()
        return b"data: %b%b%b\n\n" % (self._before, _encode(choice), self._tail)


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
