"""Anthropic's stream, read from an upstream.

Source: the event types of the official client, anthropic 2.12.0
(`types/raw_message_stream_event.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from pointsman._sse import Event
from pointsman.dialects.anthropic.answer import read_finish, read_usage
from pointsman.dialects.anthropic.blocks import from_upstream
from pointsman.dialects.anthropic.error import read_error_body
from pointsman.dialects.base import Target
from pointsman.errors import BadAnswer, StreamCut
from pointsman.types import (
    Chunk,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)

__all__ = ["Reader"]

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
        except (msgspec.DecodeError, UnicodeError, RecursionError):
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
