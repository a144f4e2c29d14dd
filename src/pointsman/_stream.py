"""A stream and a whole answer are two forms of one value: `accumulate` and `explode` go between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from pointsman.types import (
    Choice,
    Chunk,
    Completion,
    Finished,
    FinishReason,
    Part,
    Reasoning,
    ReasoningDelta,
    Refusal,
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

__all__ = ["Accumulator", "accumulate", "explode", "first_call_only", "first_calls"]


class _Growing:
    """A part that still grows: its kind, the text so far and its signature."""

    __slots__ = ("id", "kind", "name", "redacted", "signature", "text")

    def __init__(self, kind: str, *, id: str = "", name: str = "") -> None:
        self.kind = kind
        self.text: list[str] = []
        self.signature: Signature | None = None
        self.redacted: Signature | None = None
        self.id = id
        self.name = name

    def part(self) -> Part:
        text = "".join(self.text)
        match self.kind:
            case "text":
                return Text(text, self.signature)
            case "refusal":
                return Refusal(text)
            case "reasoning":
                return Reasoning(text, self.signature, self.redacted)
            case _:
                return ToolCall(self.id, self.name, text or "{}", self.signature)


class _GrowingChoice:
    __slots__ = ("calls", "finish", "logprobs", "parts")

    def __init__(self) -> None:
        self.parts: list[_Growing] = []
        self.calls: dict[int, _Growing] = {}
        self.finish: Finished | None = None
        self.logprobs: list[TokenLogprob] | None = None

    def tail(self, kind: str) -> _Growing:
        """The part that a delta of `kind` belongs to: the last one if it is open, else a new one."""
        last = self.parts[-1] if self.parts else None
        if last is None or last.kind != kind or last.signature is not None or last.redacted:
            last = _Growing(kind)
            self.parts.append(last)
        return last


class Accumulator:
    """Grows a Completion from the chunks fed to it, in order."""

    def __init__(self) -> None:
        self._started = Started("", "")
        self._choices: dict[int, _GrowingChoice] = {}
        self._usage: Usage | None = None

    def feed(self, chunk: Chunk) -> None:
        """Take one chunk in."""
        if isinstance(chunk, Started):
            self._started = chunk
            self._usage = chunk.usage or self._usage
            return
        if isinstance(chunk, UsageReported):
            self._usage = chunk.usage
            return
        choice = self._choices.get(chunk.choice)
        if choice is None:
            choice = self._choices[chunk.choice] = _GrowingChoice()
        if isinstance(chunk, TextDelta):
            part = choice.tail("text")
            part.text.append(chunk.text)
            part.signature = chunk.signature
            if chunk.logprobs is not None:
                choice.logprobs = [*(choice.logprobs or ()), *chunk.logprobs]
        elif isinstance(chunk, RefusalDelta):
            choice.tail("refusal").text.append(chunk.text)
        elif isinstance(chunk, ReasoningDelta):
            if chunk.redacted is not None:
                part = _Growing("reasoning")
                part.redacted = chunk.redacted
                choice.parts.append(part)
            else:
                part = choice.tail("reasoning")
                part.text.append(chunk.text)
                part.signature = chunk.signature
        elif isinstance(chunk, ToolCallStarted):
            part = _Growing("tool_call", id=chunk.id, name=chunk.name)
            part.signature = chunk.signature
            choice.parts.append(part)
            choice.calls[chunk.index] = part
        elif isinstance(chunk, ToolCallDelta):
            choice.calls[chunk.index].text.append(chunk.arguments)
        else:
            choice.finish = chunk

    def completion(self) -> Completion:
        """The answer as far as it has come."""
        return Completion(
            id=self._started.id,
            model=self._started.model,
            created=self._started.created,
            choices=tuple(_choice(index, self._choices[index]) for index in sorted(self._choices)),
            usage=self._usage,
        )


def _choice(index: int, growing: _GrowingChoice) -> Choice:
    finish = growing.finish
    reason: FinishReason | None = finish.reason if finish else None
    return Choice(
        index=index,
        parts=tuple(
            part.part()
            for part in growing.parts
            if part.kind == "tool_call" or part.redacted or part.signature or any(part.text)
        ),
        finish_reason=reason,
        native_finish=finish.native if finish else None,
        stop_sequence=finish.stop_sequence if finish else None,
        logprobs=None if growing.logprobs is None else tuple(growing.logprobs),
    )


def accumulate(chunks: Iterable[Chunk]) -> Completion:
    """Give the Completion that the chunks add up to."""
    accumulator = Accumulator()
    for chunk in chunks:
        accumulator.feed(chunk)
    return accumulator.completion()


def first_calls(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Give the chunks without those of a choice's second and later tool calls."""
    return [
        chunk
        for chunk in chunks
        if not (isinstance(chunk, ToolCallStarted | ToolCallDelta) and chunk.index > 0)
    ]


def first_call_only(completion: Completion) -> Completion:
    """Give the answer without each choice's second and later tool calls."""
    return msgspec.structs.replace(
        completion,
        choices=tuple(
            msgspec.structs.replace(choice, parts=tuple(_to_first_call(choice.parts)))
            for choice in completion.choices
        ),
    )


def _to_first_call(parts: Iterable[Part]) -> Iterator[Part]:
    called = False
    for part in parts:
        if not (called and isinstance(part, ToolCall)):
            yield part
        called = called or isinstance(part, ToolCall)


def explode(completion: Completion) -> Iterator[Chunk]:
    """Yield the chunks of a stream that adds up to `completion`; usage comes last."""
    yield Started(completion.id, completion.model, completion.created)
    for choice in completion.choices:
        calls = 0
        logprobs = choice.logprobs
        for part in choice.parts:
            if isinstance(part, Text):
                yield TextDelta(part.text, choice.index, part.signature, logprobs)
                logprobs = None
            elif isinstance(part, Refusal):
                yield RefusalDelta(part.text, choice.index)
            elif isinstance(part, Reasoning):
                yield ReasoningDelta(part.text, choice.index, part.signature, part.redacted)
            elif isinstance(part, ToolCall):
                yield ToolCallStarted(calls, part.id, part.name, choice.index, part.signature)
                yield ToolCallDelta(calls, part.arguments, choice.index)
                calls += 1
        if choice.finish_reason is not None:
            yield Finished(
                choice.finish_reason, choice.index, choice.native_finish, choice.stop_sequence
            )
    if completion.usage is not None:
        yield UsageReported(completion.usage)
