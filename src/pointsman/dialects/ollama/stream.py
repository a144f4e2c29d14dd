"""Ollama's streams: a line of JSON for each piece, and a last one that says `done`.

Source: ollama/ollama, docs/api.md and server/routes.go (streamResponse), read 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pointsman.dialects.ollama.answer import (
    Form,
    Stopwatch,
    done_reason,
    rfc3339,
    write_calls,
    write_logprobs,
)
from pointsman.dialects.ollama.error import error_line
from pointsman.errors import PointsmanError
from pointsman.types import (
    Chat,
    Chunk,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

__all__ = ["LINES_TYPE", "Writer"]

LINES_TYPE = b"application/x-ndjson"
_encode = msgspec.json.Encoder().encode


class Writer:
    """A `StreamWriter` for one stream: the tool calls are written when all of them are whole."""

    def __init__(self, chat: Chat, form: Form, watch: Stopwatch) -> None:
        self._model = chat.model
        self._chat = form == "chat"
        self._watch = watch
        self._usage: Usage | None = None
        self._finished: Finished | None = None
        self._calls: list[tuple[ToolCallStarted, list[str]]] = []

    def write(self, chunk: Chunk) -> bytes:
        """Give the lines that the chunk completes; may be empty.

        Raises:
            BadAnswer: a call whose arguments are no object.
        """
        if isinstance(chunk, Started):
            self._usage = chunk.usage or self._usage
            return b""
        if isinstance(chunk, UsageReported):
            self._usage = chunk.usage
            return b""
        if chunk.choice:
            return b""
        if isinstance(chunk, Finished):
            self._finished = chunk
            return self._write_calls(cut=chunk.reason == "length")
        self._watch.said()
        if isinstance(chunk, ToolCallDelta):
            for started, pieces in self._calls:
                if started.index == chunk.index:
                    pieces.append(chunk.arguments)
            return b""
        lines = b""
        if isinstance(chunk, ToolCallStarted):
            self._calls.append((chunk, []))
        elif isinstance(chunk, ReasoningDelta):
            if chunk.text:
                lines = self._line("", thinking=chunk.text)
        elif isinstance(chunk, TextDelta):
            if chunk.text or chunk.logprobs:
                more = {"logprobs": write_logprobs(chunk.logprobs)} if chunk.logprobs else {}
                lines = self._line(chunk.text, **more)
        else:
            lines = self._line(chunk.text)
        return lines

    def finish(self) -> bytes:
        """Give the last line, with the counts and the times."""
        finished = self._finished
        body = self._head("")
        body |= {"done": True, "done_reason": done_reason(finished.reason if finished else None)}
        return _encode(body | self._watch.metrics(self._usage)) + b"\n"

    def fail(self, error: PointsmanError) -> bytes:
        """Give the error; no line that says `done` follows."""
        return error_line(error)

    def _write_calls(self, cut: bool) -> bytes:
        calls = [(each.id, each.name, "".join(pieces)) for each, pieces in self._calls]
        written = write_calls(calls, cut=cut)
        return self._line("", tool_calls=written) if written else b""

    def _line(self, text: str, **more: Any) -> bytes:
        body = self._head(text)
        place = body["message"] if self._chat else body
        logprobs = more.pop("logprobs", None)
        place |= more
        body["done"] = False
        if logprobs is not None:
            body["logprobs"] = logprobs
        return _encode(body) + b"\n"

    def _head(self, text: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "created_at": rfc3339(self._watch.now_ns()),
        }
        if self._chat:
            body["message"] = {"role": "assistant", "content": text}
        else:
            body["response"] = text
        return body
