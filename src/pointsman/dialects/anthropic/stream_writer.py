"""Anthropic's stream, written to a client.

Source: the event types of the official client, anthropic 2.12.0
(`types/raw_message_stream_event.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from pointsman._sse import frame
from pointsman.dialects.anthropic.answer import write_stop_reason, write_usage
from pointsman.dialects.anthropic.blocks import UNSIGNED, for_client
from pointsman.dialects.anthropic.error import write_error
from pointsman.errors import BadAnswer, PointsmanError
from pointsman.types import (
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
_decode = msgspec.json.Decoder().decode


def _event(body: dict[str, Any]) -> bytes:
    return frame(_encode(body), body["type"])


class Writer:
    """Writes chunks as Anthropic's events, in Anthropic's order: one block open at a time.

    `message_delta` waits for `finish`, because the usage may come after the end of the choice. An
    upstream that mixes the fragments of several tool calls is put in order: while a call's
    arguments are unfinished, what belongs to other blocks is held back. Choices other than the
    first cannot have been asked for by an Anthropic client, and are left out.
    """

    def __init__(self, model: str) -> None:
        self._started: Started | None = None
        self._model = model
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._refused = False
        self._called = False
        self._index = -1
        self._kind: str | None = None
        self._signed = False
        self._call = -1
        self._arguments: list[str] = []
        self._waiting: list[Chunk] = []
        self._ending = False

    def write(self, chunk: Chunk) -> bytes:
        """Give the events for the chunk; may be empty.

        Raises:
            BadAnswer: a fragment for a tool call that is already complete, or that never began.
        """
        if isinstance(chunk, Started):
            if self._started is not None:
                return b""
            self._usage = chunk.usage or self._usage
            return self._message_start(chunk)
        if isinstance(chunk, UsageReported):
            self._usage = chunk.usage
            return b""
        if chunk.choice != 0:
            return b""
        if isinstance(chunk, Finished):
            self._finished = chunk
            return b""
        begin = b"" if self._started is not None else self._message_start(Started("", self._model))
        return begin + self._route(chunk)

    def finish(self) -> bytes:
        """Give the events that end a complete stream: `message_delta`, then `message_stop`."""
        out = b"" if self._started is not None else self._message_start(Started("", self._model))
        self._ending = True
        out += self._drain() + self._close()
        finished = self._finished or Finished("tool_calls" if self._called else "stop")
        reason = write_stop_reason(
            finished.reason, finished.native, finished.stop_sequence, refused=self._refused
        )
        out += _event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": finished.stop_sequence},
                "usage": write_usage(self._usage),
            }
        )
        return out + _event({"type": "message_stop"})

    def fail(self, error: PointsmanError) -> bytes:
        """Give the `error` event; no `message_stop` comes after it."""
        return _event(write_error(error)[1])

    def _message_start(self, started: Started) -> bytes:
        self._started = started
        return _event(
            {
                "type": "message_start",
                "message": {
                    "id": started.id,
                    "type": "message",
                    "role": "assistant",
                    "model": started.model,
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": write_usage(self._usage),
                },
            }
        )

    def _route(self, chunk: Chunk) -> bytes:
        if isinstance(chunk, ToolCallDelta) and chunk.index == self._call:
            out = self._fragment(chunk)
            return out + self._drain() if self._waiting and self._complete() else out
        if self._waiting or (self._call >= 0 and not self._ending and not self._complete()):
            self._waiting.append(chunk)
            return b""
        return self._block(chunk)

    def _drain(self) -> bytes:
        waiting, self._waiting = self._waiting, []
        return b"".join([self._route(chunk) for chunk in waiting])

    def _complete(self) -> bool:
        try:
            return isinstance(_decode("".join(self._arguments)), dict)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False

    def _block(self, chunk: Chunk) -> bytes:
        if isinstance(chunk, TextDelta):
            return self._text(chunk.text)
        if isinstance(chunk, RefusalDelta):
            self._refused = True
            return self._text(chunk.text)
        if isinstance(chunk, ReasoningDelta):
            return self._reasoning(chunk)
        if isinstance(chunk, ToolCallStarted):
            self._called = True
            out = self._open({"type": "tool_use", "id": chunk.id, "name": chunk.name, "input": {}})
            self._call = chunk.index
            return out
        if isinstance(chunk, ToolCallDelta) and chunk.arguments.strip():
            raise BadAnswer(
                f"a fragment came for tool call {chunk.index}, which is not open", provider=""
            )
        return b""

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        begin = b"" if self._kind == "text" else self._open({"type": "text", "text": ""})
        return begin + self._delta({"type": "text_delta", "text": text})

    def _reasoning(self, chunk: ReasoningDelta) -> bytes:
        if chunk.redacted is not None:
            data = for_client(chunk.redacted)
            return self._open({"type": "redacted_thinking", "data": data}) + self._close()
        if not chunk.text and chunk.signature is None:
            return b""
        out = b""
        if self._kind != "thinking":
            out = self._open({"type": "thinking", "thinking": "", "signature": ""})
        if chunk.text:
            out += self._delta({"type": "thinking_delta", "thinking": chunk.text})
        if chunk.signature is not None:
            signature = for_client(chunk.signature)
            out += self._delta({"type": "signature_delta", "signature": signature})
            self._signed = True
            out += self._close()
        return out

    def _fragment(self, chunk: ToolCallDelta) -> bytes:
        if not chunk.arguments:
            return b""
        self._arguments.append(chunk.arguments)
        return self._delta({"type": "input_json_delta", "partial_json": chunk.arguments})

    def _open(self, block: dict[str, Any]) -> bytes:
        out = self._close()
        self._index += 1
        self._kind = block["type"]
        return out + _event(
            {"type": "content_block_start", "index": self._index, "content_block": block}
        )

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> bytes:
        if self._kind is None:
            return b""
        out = b""
        if self._kind == "tool_use" and not self._arguments:
            out = self._delta({"type": "input_json_delta", "partial_json": "{}"})
        if self._kind == "thinking" and not self._signed:
            out = self._delta({"type": "signature_delta", "signature": UNSIGNED})
        self._signed = False
        self._kind = None
        self._call = -1
        self._arguments = []
        return out + _event({"type": "content_block_stop", "index": self._index})
