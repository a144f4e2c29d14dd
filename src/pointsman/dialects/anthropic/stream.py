"""Anthropic's stream, read from an upstream and written to a client.

Source: the event types of the official client, anthropic 2.12.0
(`types/raw_message_stream_event.py`).
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from pointsman._sse import Event, frame
from pointsman.dialects.anthropic.answer import (
    read_finish,
    read_usage,
    write_stop_reason,
    write_usage,
)
from pointsman.dialects.anthropic.blocks import for_client, from_upstream
from pointsman.dialects.anthropic.error import read_error_body, write_error
from pointsman.dialects.base import Target
from pointsman.errors import BadAnswer, PointsmanError, StreamCut
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

__all__ = ["Reader", "Writer"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Block:
    """A content block of the upstream's that has begun."""

    __slots__ = ("call", "fragments", "input", "signature", "signed")

    def __init__(self) -> None:
        self.call: int | None = None
        self.fragments = False
        self.input: Any = None
        self.signature = ""
        self.signed = False


class Reader:
    """Turns Anthropic's events into chunks.

    Events, blocks and deltas of a kind that is not known here (server tools and their results,
    citations, whatever comes next) give no chunk and break nothing, but any text in them is kept.
    The counts of `message_delta` are totals, so they take the place of the earlier ones. The end
    of the choice and the usage are given at `message_stop`, once each.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None
        self._started = False
        self._done = False

    def read(self, event: Event) -> list[Chunk]:
        """Give the chunks that the event holds.

        Raises:
            ProviderError: the event is an in-band error; its status follows from the error's type.
            BadAnswer: the event breaks the dialect.
        """
        if self._done or event.data == "[DONE]":
            return []
        body = self._body(event)
        kind = body.get("type") or event.event
        if kind == "content_block_delta":
            return self._delta(body)
        if kind == "content_block_start":
            return self._block_start(body)
        if kind == "content_block_stop":
            block = self._blocks.pop(self._index(body), None)
            return [] if block is None else self._block_stop(block)
        if kind == "message_start":
            return self._message_start(body)
        if kind == "message_delta":
            self._message_delta(body)
            return []
        if kind == "message_stop":
            return self._message_stop()
        if kind == "error":
            raise read_error_body(body, self._target)
        return []

    def finish(self) -> list[Chunk]:
        """Give nothing: all was given at `message_stop`.

        Raises:
            StreamCut: `message_stop` was not seen.
        """
        if not self._done:
            raise StreamCut(
                f"the stream of {self._target.provider} ended before message_stop",
                provider=self._target.provider,
                model=self._target.model,
            )
        return []

    def _bad(self, what: str) -> BadAnswer:
        return BadAnswer(
            f"the stream of {self._target.provider} breaks the Messages format: {what}",
            provider=self._target.provider,
            model=self._target.model,
        )

    def _body(self, event: Event) -> dict[str, Any]:
        try:
            body = _decode(event.data)
        except (msgspec.DecodeError, UnicodeError):
            raise self._bad("an event's data is not JSON") from None
        if not isinstance(body, dict):
            raise self._bad("an event's data is not an object")
        return body

    def _index(self, body: dict[str, Any]) -> int:
        index = body.get("index")
        if not isinstance(index, int):
            raise self._bad("a block event without an index")
        return index

    def _object(self, body: dict[str, Any], name: str) -> dict[str, Any]:
        value = body.get(name)
        if not isinstance(value, dict):
            raise self._bad(f"'{name}' is not an object")
        return value

    def _string(self, body: dict[str, Any], name: str) -> str:
        value = body.get(name)
        if not isinstance(value, str):
            raise self._bad(f"'{name}' is not a string")
        return value

    def _message_start(self, body: dict[str, Any]) -> list[Chunk]:
        message = self._object(body, "message")
        self._started = True
        self._count(message.get("usage"))
        return [
            Started(
                str(message.get("id") or ""),
                str(message.get("model") or self._target.model),
                usage=read_usage(self._usage) if self._usage else None,
            )
        ]

    def _count(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._usage.update((name, n) for name, n in usage.items() if n is not None)

    def _block_start(self, body: dict[str, Any]) -> list[Chunk]:
        if not self._started:
            raise self._bad("a block before message_start")
        start = self._object(body, "content_block")
        block = self._blocks[self._index(body)] = _Block()
        kind = start.get("type")
        if kind == "tool_use":
            block.call = self._calls
            self._calls += 1
            block.input = start.get("input")
            return [
                ToolCallStarted(block.call, self._string(start, "id"), self._string(start, "name"))
            ]
        if kind == "thinking":
            block.signature = str(start.get("signature") or "")
            text = start.get("thinking")
            return [ReasoningDelta(text)] if isinstance(text, str) and text else []
        if kind == "redacted_thinking":
            data = from_upstream(self._string(start, "data"), self._target)
            return [ReasoningDelta(redacted=data)]
        text = start.get("text")
        return [TextDelta(text)] if isinstance(text, str) and text else []

    def _delta(self, body: dict[str, Any]) -> list[Chunk]:
        if not self._started:
            raise self._bad("a block before message_start")
        delta = self._object(body, "delta")
        kind = delta.get("type")
        if kind == "text_delta":
            text = self._string(delta, "text")
            return [TextDelta(text)] if text else []
        if kind == "thinking_delta":
            text = self._string(delta, "thinking")
            return [ReasoningDelta(text)] if text else []
        block = self._blocks.get(self._index(body))
        if kind == "input_json_delta":
            fragment = self._string(delta, "partial_json")
            if block is None:
                raise self._bad("arguments for a block that is not open")
            # A block of a server tool has no call: the provider ran it itself.
            if block.call is None or not fragment:
                return []
            block.fragments = True
            return [ToolCallDelta(block.call, fragment)]
        if kind == "signature_delta":
            signature = self._string(delta, "signature")
            if not signature:
                return []
            if block is not None:
                block.signed = True
            return [ReasoningDelta(signature=from_upstream(signature, self._target))]
        other = delta.get("text")
        return [TextDelta(other)] if isinstance(other, str) and other else []

    def _block_stop(self, block: _Block) -> list[Chunk]:
        if block.call is not None and not block.fragments:
            # Some compatible servers give the whole input at the start of the block.
            given = block.input if isinstance(block.input, dict) else {}
            return [ToolCallDelta(block.call, _encode(given).decode())]
        if block.signature and not block.signed:
            return [ReasoningDelta(signature=from_upstream(block.signature, self._target))]
        return []

    def _message_delta(self, body: dict[str, Any]) -> None:
        self._count(body.get("usage"))
        delta = self._object(body, "delta")
        reason = delta.get("stop_reason")
        if isinstance(reason, str):
            self._stop_reason = reason
        sequence = delta.get("stop_sequence")
        if isinstance(sequence, str):
            self._stop_sequence = sequence

    def _message_stop(self) -> list[Chunk]:
        if not self._started:
            raise self._bad("message_stop before message_start")
        self._done = True
        chunks: list[Chunk] = []
        for index in sorted(self._blocks):
            chunks += self._block_stop(self._blocks[index])
        reason = read_finish(self._stop_reason, called=self._calls > 0)
        chunks.append(Finished(reason, native=self._stop_reason, stop_sequence=self._stop_sequence))
        if self._usage:
            chunks.append(UsageReported(read_usage(self._usage)))
        return chunks


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
            return isinstance(json.loads("".join(self._arguments)), dict)
        except ValueError:
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
            out += self._delta({"type": "signature_delta", "signature": signature}) + self._close()
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
        self._kind = None
        self._call = -1
        self._arguments = []
        return out + _event({"type": "content_block_stop", "index": self._index})
