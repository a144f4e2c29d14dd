"""Gemini's stream, both ways: each event is an answer of its own that holds what is new.

Source: the official client, google-genai 2.34 (`models.py`: `generate_content_stream`,
`_api_client.py`), and Google's REST reference of streamGenerateContent (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from pointsman._sse import Event, frame
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.answer import (
    bad,
    block_reason,
    is_whole,
    native_finish,
    read_finish,
    read_logprobs,
    read_part,
    read_usage,
    write_candidate,
    write_finish,
    write_part,
    write_usage,
)
from pointsman.dialects.gemini.error import error_body, read_error_body
from pointsman.dialects.gemini.partial import GrowingCall, is_partial
from pointsman.errors import BadAnswer, PointsmanError, RequestError, StreamCut
from pointsman.types import (
    Chat,
    Chunk,
    Finished,
    Part,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    Started,
    Text,
    TextDelta,
    TokenLogprob,
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
    """A `StreamReader` for one stream. It has ended when each candidate gave a finish reason.

    The reasons are given at the stream's end: some models repeat theirs in every event.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._started = False
        self._calls: dict[int, int] = {}
        self._growing: dict[int, GrowingCall] = {}
        self._natives: dict[int, str | None] = {}
        self._blocked: str | None = None

    def read(self, event: Event) -> list[Chunk]:
        """Give the chunks of an event.

        Raises:
            ProviderError: it is an in-band error, or a call that cannot be used.
            BadAnswer: it is no answer.
        """
        try:
            body = _decode(event.data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise bad(self._target, f"an event is no JSON: {error}") from error
        if isinstance(body, list) and body:
            body = body[0]  # So Google sends an error to those that ask for no `alt=sse`.
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
        self._blocked = block_reason(body) or self._blocked
        usage = read_usage(body)
        if usage is not None:
            out.append(UsageReported(usage))
        return out

    def finish(self) -> list[Chunk]:
        """Give how each candidate ended.

        Raises:
            StreamCut: a candidate, or all of them, did not end.
        """
        if self._blocked is not None and not self._natives:
            return [Finished("content_filter", 0, self._blocked)]
        out: list[Chunk] = []
        ended = 0
        for number, native in sorted(self._natives.items()):
            if native is None and self._blocked is not None:
                out.append(Finished("content_filter", number, self._blocked))
            elif native is not None:
                if number in self._growing and native == "STOP":
                    # Its last piece was not marked; one that a limit cut off is no call.
                    self._emit(self._growing.pop(number).part(), number, out)
                called = self._calls.get(number, 0) > 0
                reason = read_finish(native, self._target, called=called)
                out.append(Finished(reason, number, native))
            else:
                continue
            ended += 1
        if not ended or ended < len(self._natives):
            raise StreamCut(
                f"{self._target.provider} ended its stream for {self._target.model}"
                " before the answer's end",
                provider=self._target.provider,
                model=self._target.model,
            )
        return out

    def _read_candidate(self, item: Mapping[str, Any], out: list[Chunk]) -> None:
        index = item.get("index")
        number = index if isinstance(index, int) else 0
        content = item.get("content")
        raw = content.get("parts") if isinstance(content, Mapping) else None
        for each in raw if isinstance(raw, list) else ():
            for part in self._parts(each, number):
                self._emit(part, number, out)
        logprobs = read_logprobs(item.get("logprobsResult"))
        if logprobs:
            out.append(TextDelta("", number, None, logprobs))
        native = native_finish(item)
        if native is not None:
            read_finish(native, self._target, called=False)
        self._natives[number] = native or self._natives.get(number)

    def _parts(self, raw: object, number: int) -> Iterator[Part]:
        """The parts that are whole with this one: a call may come in pieces."""
        part_of = raw if isinstance(raw, Mapping) else {}
        call = part_of.get("functionCall")
        growing = self._growing.get(number)
        if isinstance(call, Mapping):
            if growing is not None and call.get("name") and call.get("id") != growing.id:
                yield self._growing.pop(number).part()
                growing = None
            if growing is not None or is_partial(call):
                yield from self._grow(growing, part_of, call, number)
                return
        part = read_part(raw, self._target)
        if part is not None:
            yield part

    def _grow(
        self,
        growing: GrowingCall | None,
        raw: Mapping[str, Any],
        call: Mapping[str, Any],
        number: int,
    ) -> Iterator[Part]:
        try:
            if growing is None:
                first = read_part(raw, self._target)
                if not isinstance(first, ToolCall):
                    return
                growing = self._growing[number] = GrowingCall(first)
            value = raw.get("thoughtSignature")
            signed = isinstance(value, str) and value != ""
            growing.feed(call, Signature(str(value), self._target.provider) if signed else None)
        except RequestError as error:
            raise bad(self._target, error.message) from error
        if call.get("willContinue") is not True:
            yield self._growing.pop(number).part()

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

    __slots__ = ("arguments", "checked", "started")

    def __init__(self, started: ToolCallStarted) -> None:
        self.started = started
        self.arguments: list[str] = []
        self.checked = 0

    def part(self) -> ToolCall:
        started = self.started
        arguments = "".join(self.arguments) or "{}"
        return ToolCall(started.id, started.name, arguments, started.signature)

    def is_complete(self) -> bool:
        """Whether nothing more can come; looked at anew only when something has come."""
        if len(self.arguments) == self.checked:
            return False
        self.checked = len(self.arguments)
        return self.arguments[-1].rstrip().endswith("}") and is_whole(self.part())


_Waiting: TypeAlias = "_OpenCall | TextDelta | ReasoningDelta | RefusalDelta"


class Writer:
    """A `StreamWriter` for one answer, as server-sent events.

    A call waits until it is whole, and what comes after it in its candidate waits with it, so that
    the parts keep their order. The finish reason waits for the end, where the usage is known.
    """

    def __init__(self, chat: Chat) -> None:
        self._head: dict[str, Any] = {"modelVersion": chat.model, "responseId": ""}
        self._usage: Usage | None = None
        self._waiting: dict[int, list[_Waiting]] = {}
        self._finished: dict[int, Finished] = {}

    def write(self, chunk: Chunk) -> bytes:
        """Give the events that the chunk completes; may be empty.

        Raises:
            BadAnswer: a call whose arguments are no object, or a fragment for a call that is not
                open.
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
        if isinstance(chunk, Finished):
            self._finished.setdefault(chunk.choice, chunk)
            return self._drain(chunk.choice, ended=chunk)
        waiting = self._waiting.setdefault(chunk.choice, [])
        if isinstance(chunk, ToolCallDelta):
            _fragment(waiting, chunk)
            return self._drain(chunk.choice) if len(waiting) > 1 else b""
        if not waiting and not isinstance(chunk, ToolCallStarted):
            return self._delta(chunk)
        waiting.append(_OpenCall(chunk) if isinstance(chunk, ToolCallStarted) else chunk)
        return self._drain(chunk.choice) if len(waiting) > 1 else b""

    def finish(self) -> bytes:
        """Give the last events: each candidate's finish reason, with the usage."""
        return b"".join(
            [self._drain(choice) + self._end(each) for choice, each in self._finished.items()]
        )

    def fail(self, error: PointsmanError) -> bytes:
        """Give the error; no finish reason follows."""
        return self._frame(_encode(error_body(error)))

    def _drain(self, choice: int, ended: Finished | None = None) -> bytes:
        """Write what waits, up to a call that is not whole; at the candidate's end, all of it."""
        waiting = self._waiting.get(choice, [])
        events = []
        while waiting:
            first = waiting[0]
            if not isinstance(first, _OpenCall):
                events.append(self._delta(first))
            elif ended is None and not first.is_complete():
                break
            elif not (ended and ended.reason == "length" and not is_whole(first.part())):
                events.append(self._event([write_part(first.part())], choice))
            del waiting[0]
        return b"".join(events)

    def _delta(self, chunk: TextDelta | ReasoningDelta | RefusalDelta) -> bytes:
        part: Part
        if isinstance(chunk, TextDelta):
            if chunk.logprobs is not None:
                parts = [write_part(Text(chunk.text, chunk.signature))]
                return self._event(parts, chunk.choice, chunk.logprobs)
            part = Text(chunk.text, chunk.signature)
            marked = chunk.signature is not None
        elif isinstance(chunk, ReasoningDelta):
            part = Reasoning(chunk.text, chunk.signature, chunk.redacted)
            marked = chunk.signature is not None or chunk.redacted is not None
        else:
            part, marked = Text(chunk.text), False
        if not (chunk.text or marked):
            return b""
        return self._event([write_part(part)], chunk.choice)

    def _event(
        self,
        parts: list[dict[str, Any]],
        choice: int,
        logprobs: tuple[TokenLogprob, ...] | None = None,
    ) -> bytes:
        candidate = write_candidate(parts, choice, None, logprobs)
        return self._frame(_encode({"candidates": [candidate], **self._head}))

    def _end(self, finished: Finished) -> bytes:
        reason = write_finish(finished.reason, finished.native)
        body = {"candidates": [write_candidate([], finished.choice, reason)], **self._head}
        if self._usage is not None:
            body["usageMetadata"] = write_usage(self._usage)
        return self._frame(_encode(body))

    def _frame(self, data: bytes) -> bytes:
        return frame(data)


def _fragment(waiting: list[_Waiting], chunk: ToolCallDelta) -> None:
    for each in waiting:
        if isinstance(each, _OpenCall) and each.started.index == chunk.index:
            if chunk.arguments:
                each.arguments.append(chunk.arguments)
            return
    if chunk.arguments.strip():
        raise BadAnswer(
            f"a fragment came for tool call {chunk.index}, which is not open", provider=""
        )


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
