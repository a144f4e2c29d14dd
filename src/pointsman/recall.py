"""Remembers what a client's dialect cannot carry between turns: thinking and signatures.

A model that thinks wants its signed thoughts back with the tool results. An OpenAI client has no
field for them, so they are kept here by the tool call's id and put back when the call returns.
Bounded, and lost with the process: a provider then answers as if there had been no thoughts.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec
from msgspec import Struct

from pointsman._stream import Accumulator
from pointsman.types import (
    Chat,
    Chunk,
    Completion,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Signature,
    Text,
    TextDelta,
    ToolCall,
    ToolCallStarted,
)

__all__ = ["Outline", "Recall"]

MAX_BYTES = 64 * 1024 * 1024


class _Kept(Struct, frozen=True):
    """`ahead` stood before the text that came before the call, `reasoning` between the two."""

    ahead: tuple[Reasoning, ...]
    reasoning: tuple[Reasoning, ...]
    signature: Signature | None
    size_bytes: int


class Outline:
    """Grows what is to be remembered of a streamed answer.

    Of a text only its place is kept, by its first delta, so that an endless one takes no memory.
    """

    def __init__(self) -> None:
        self._all = Accumulator()
        self._saying: set[int] = set()

    def feed(self, chunk: Chunk) -> None:
        """Take one chunk in."""
        if isinstance(chunk, TextDelta):
            if not chunk.text or chunk.choice in self._saying:
                return
            self._saying.add(chunk.choice)
        elif isinstance(chunk, ReasoningDelta | ToolCallStarted):
            self._saying.discard(chunk.choice)
        self._all.feed(chunk)

    def completion(self) -> Completion:
        """The answer without the most of its text."""
        return self._all.completion()


class Recall:
    """Tool call id → the reasoning before it and its signature; the oldest go first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._max = max_bytes
        self._size = 0

    def remember(self, completion: Completion) -> None:
        """Keep the signed parts of an answer that calls tools."""
        for choice in completion.choices:
            ahead: list[Reasoning] = []
            reasoning: list[Reasoning] = []
            for part in choice.parts:
                if isinstance(part, Reasoning) and (part.signature or part.redacted):
                    reasoning.append(part)
                elif isinstance(part, Text) and part.text:
                    ahead, reasoning = ahead + reasoning, []
                elif isinstance(part, ToolCall) and (ahead or reasoning or part.signature):
                    self._keep(part.id, tuple(ahead), tuple(reasoning), part.signature)
                    ahead, reasoning = [], []

    def restore(self, chat: Chat) -> Chat:
        """Give the chat with what is remembered put back where the client left it out."""
        if not self._kept:
            return chat
        messages = tuple(self._restored(message) for message in chat.messages)
        return msgspec.structs.replace(chat, messages=messages)

    def _restored(self, message: Message) -> Message:
        if message.role != "assistant":
            return message
        signed = any(
            isinstance(p, Reasoning) and (p.signature or p.redacted) for p in message.parts
        )
        parts: list[Part] = []
        # What stands between two calls belongs to the second one.
        between: list[Part] = []
        for part in message.parts:
            if not isinstance(part, ToolCall):
                between.append(part)
                continue
            kept = self._kept.get(part.id)
            if kept is not None:
                if (kept.ahead or kept.reasoning) and not signed:
                    # Unsigned copies of the same thoughts make way for the signed ones.
                    parts, between = _without_copies(parts), _without_copies(between)
                    between = [*kept.ahead, *between, *kept.reasoning]
                part = msgspec.structs.replace(part, signature=part.signature or kept.signature)
            parts += [*between, part]
            between = []
        return msgspec.structs.replace(message, parts=(*parts, *between))

    def _keep(
        self,
        call_id: str,
        ahead: tuple[Reasoning, ...],
        reasoning: tuple[Reasoning, ...],
        signature: Signature | None,
    ) -> None:
        size = len(call_id) + sum(_size(part) for part in ahead + reasoning)
        size += len(signature.value) if signature else 0
        old = self._kept.pop(call_id, None)
        self._size += size - (old.size_bytes if old else 0)
        self._kept[call_id] = _Kept(ahead, reasoning, signature, size)
        while self._size > self._max and self._kept:
            self._size -= self._kept.popitem(last=False)[1].size_bytes


def _without_copies(parts: list[Part]) -> list[Part]:
    return [
        part for part in parts if not isinstance(part, Reasoning) or part.signature or part.redacted
    ]


def _size(part: Reasoning) -> int:
    values = (part.signature, part.redacted)
    return len(part.text) + sum(len(value.value) for value in values if value is not None)
