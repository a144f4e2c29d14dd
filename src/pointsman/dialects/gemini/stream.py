"""Gemini's stream, both ways: each event is an answer of its own that holds what is new.

Source: the official client, google-genai 2.34 (`models.py`: `generate_content_stream`,
`_api_client.py`), and Google's REST reference of streamGenerateContent (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman._sse import Event, frame
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.answer import (
    bad,
    block_reason,
    read_finish,
    read_logprobs,
    read_part,
    read_usage,
    write_finish,
    write_part,
    write_usage,
)
from pointsman.dialects.gemini.error import error_body, read_error_body
from pointsman.errors import PointsmanError, StreamCut
from pointsman.types import (
    Chat,
    Chunk,
    Finished,
    Part,
    Reasoning,
    ReasoningDelta,
    Started,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

__all__ = ["ArrayWriter", "Reader", "Writer"]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Reader:
    """A `StreamReader` for one stream. It has ended when each candidate gave a finish reason."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._started = False
        self._calls: dict[int, int] = {}
        self._finished: dict[int, bool] = {}

    def read(self, event: Event) -> list[Chunk]:
        """Give the chunks of an event.

        Raises:
            ProviderError: it is an in-band error, or a call that cannot be used.
            BadAnswer: it is no answer.
        """
        try:
            body = _decode(event.data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise bad(self._target, f"an event is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise bad(self._target, "an event is no object")
        if body.get("error"):
            raise read_error_body(body, self._target)
        out: list[Chunk] = []
        if not self._started:
            self._started = True
            identity, model = body.get("responseId"), body.get("modelVersion")
            out.append(
                Started(
                    identity if isinstance(identity, str) else "",
                    model if isinstance(model, str) and model else self._target.model,
                )
            )
        candidates = body.get("candidates")
        for item in candidates if isinstance(candidates, list) else ():
            if isinstance(item, Mapping):
                self._read_candidate(item, out)
        blocked = block_reason(body)
        if blocked is not None and not self._finished:
            self._finished[0] = True
            out.append(Finished("content_filter", 0, blocked))
        usage = read_usage(body)
        if usage is not None:
            out.append(UsageReported(usage))
        return out

    def finish(self) -> list[Chunk]:
        """Give nothing more.

        Raises:
            StreamCut: a candidate, or all of them, did not end.
        """
        if not self._finished or not all(self._finished.values()):
            raise StreamCut(
                f"{self._target.provider} ended its stream for {self._target.model}"
                " before the answer's end",
                provider=self._target.provider,
                model=self._target.model,
            )
        return []

    def _read_candidate(self, item: Mapping[str, Any], out: list[Chunk]) -> None:
        index = item.get("index")
        number = index if isinstance(index, int) else 0
        self._finished.setdefault(number, False)
        content = item.get("content")
        raw = content.get("parts") if isinstance(content, Mapping) else None
        for each in raw if isinstance(raw, list) else ():
            part = read_part(each, self._target)
            if part is not None:
                self._emit(part, number, out)
        logprobs = read_logprobs(item.get("logprobsResult"))
        if logprobs:
            out.append(TextDelta("", number, None, logprobs))
        native = item.get("finishReason")
        if isinstance(native, str) and native and not self._finished[number]:
            self._finished[number] = True
            called = self._calls.get(number, 0) > 0
            reason = read_finish(native, self._target, called=called)
            out.append(Finished(reason, number, native))

    def _emit(self, part: Part, number: int, out: list[Chunk]) -> None:
        if isinstance(part, Text):
            out.append(TextDelta(part.text, number, part.signature))
        elif isinstance(part, Reasoning):
            out.append(ReasoningDelta(part.text, number, part.signature))
        elif isinstance(part, ToolCall):
            position = self._calls.get(number, 0)
            self._calls[number] = position + 1
            out.append(ToolCallStarted(position, part.id, part.name, number, part.signature))
            out.append(ToolCallDelta(position, part.arguments, number))


class _OpenCall:
    """A call whose arguments still come: Gemini's clients want it whole."""

    __slots__ = ("arguments", "started")

    def __init__(self, started: ToolCallStarted) -> None:
        self.started = started
        self.arguments: list[str] = []

    def part(self) -> ToolCall:
        started = self.started
        arguments = "".join(self.arguments) or "{}"
        return ToolCall(started.id, started.name, arguments, started.signature)


class Writer:
    """A `StreamWriter` for one answer, as server-sent events.

    Calls wait until they are whole; the finish reason waits for the end, where the usage is known.
    """

    def __init__(self, chat: Chat) -> None:
        self._head: dict[str, Any] = {"modelVersion": chat.model, "responseId": ""}
        self._usage: Usage | None = None
        self._calls: dict[tuple[int, int], _OpenCall] = {}
        self._finished: list[Finished] = []

    def write(self, chunk: Chunk) -> bytes:
        """Give the event of a chunk; may be empty.

        Raises:
            BadAnswer: a call whose arguments are no object.
        """
        if isinstance(chunk, Started):
            self._head = {
                "modelVersion": chunk.model or self._head["modelVersion"],
                "responseId": chunk.id,
            }
            self._usage = chunk.usage or self._usage
            return b""
        if isinstance(chunk, UsageReported):
            self._usage = chunk.usage
            return b""
        if isinstance(chunk, ToolCallStarted):
            self._calls[chunk.choice, chunk.index] = _OpenCall(chunk)
            return b""
        if isinstance(chunk, ToolCallDelta):
            self._calls[chunk.choice, chunk.index].arguments.append(chunk.arguments)
            return b""
        if isinstance(chunk, Finished):
            self._finished.append(chunk)
            return self._whole_calls(chunk.choice)
        if isinstance(chunk, TextDelta):
            part: Part = Text(chunk.text, chunk.signature)
        elif isinstance(chunk, ReasoningDelta):
            part = Reasoning(chunk.text, chunk.signature, chunk.redacted)
        else:
            part = Text(chunk.text)
        if not (chunk.text or (isinstance(chunk, TextDelta | ReasoningDelta) and _signed(chunk))):
            return b""
        return self._whole_calls(chunk.choice) + self._event([write_part(part)], chunk.choice, None)

    def finish(self) -> bytes:
        """Give the last events: each candidate's finish reason, with the usage."""
        events = []
        for finished in self._finished:
            events.append(self._whole_calls(finished.choice))
            events.append(self._event([], finished.choice, finished))
        return b"".join(events)

    def fail(self, error: PointsmanError) -> bytes:
        """Give the error; no finish reason follows."""
        return self._frame(_encode(error_body(error)))

    def _whole_calls(self, choice: int) -> bytes:
        keys = [key for key in self._calls if key[0] == choice]
        parts = [write_part(self._calls.pop(key).part()) for key in keys]
        return self._event(parts, choice, None) if parts else b""

    def _event(self, parts: list[dict[str, Any]], choice: int, finished: Finished | None) -> bytes:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": choice}
        body: dict[str, Any] = {"candidates": [candidate], **self._head}
        if finished is not None:
            candidate["finishReason"] = write_finish(finished.reason, finished.native)
            if self._usage is not None:
                body["usageMetadata"] = write_usage(self._usage)
        return self._frame(_encode(body))

    def _frame(self, data: bytes) -> bytes:
        return frame(data)


class ArrayWriter(Writer):
    """The same as one JSON array, which clients get that do not ask for `alt=sse`."""

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        self._begun = False

    def finish(self) -> bytes:
        """Give the last items and the array's end."""
        last = super().finish()
        return last + (b"]" if self._begun else b"[]")

    def fail(self, error: PointsmanError) -> bytes:
        """Give the error as the last item; the array ends, its answer does not."""
        return super().fail(error) + b"]"

    def _frame(self, data: bytes) -> bytes:
        start = b",\r\n" if self._begun else b"["
        self._begun = True
        return start + data


def _signed(chunk: TextDelta | ReasoningDelta) -> bool:
    redacted = chunk.redacted if isinstance(chunk, ReasoningDelta) else None
    return chunk.signature is not None or redacted is not None
