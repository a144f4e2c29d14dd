"""Reads an upstream's stream of chat completion chunks.

Source: the types of the official client, openai 3.54 (`types/chat/chat_completion_chunk.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman._sse import Event
from pointsman.dialects._shared import arguments_text
from pointsman.dialects.base import Target
from pointsman.dialects.openai.answer import (
    bad,
    content_of,
    mint_call_id,
    mint_id,
    read_finish,
    reasoning_of,
    refuse_audio,
)
from pointsman.dialects.openai.error import read_error_body
from pointsman.dialects.openai.logprobs import read_logprobs
from pointsman.dialects.openai.parts import signature_of
from pointsman.dialects.openai.usage import read_usage
from pointsman.errors import StreamCut
from pointsman.types import (
    Chunk,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)

__all__ = ["Reader"]

_decode = msgspec.json.Decoder().decode


class _Calls:
    """The tool calls of one choice: the upstream's word for each → our count from 0."""

    __slots__ = ("by_id", "by_index", "count", "finished", "last", "thinking")

    def __init__(self) -> None:
        self.by_index: dict[int, int] = {}
        self.by_id: dict[str, int] = {}
        self.last: int | None = None
        self.count = 0
        self.finished = False
        self.thinking: str | None = None


class Reader:
    """A `StreamReader` for one stream.

    Servers depart from OpenAI in known ways: an id on each fragment, whole calls in one, no index,
    no id, a finish reason said twice, no `[DONE]`. All are taken.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._started = False
        self._done = False
        self._choices: dict[int, _Calls] = {}

    def read(self, event: Event) -> list[Chunk]:
        """Give the chunks of an event.

        Raises:
            ProviderError: it is an in-band error.
            BadAnswer: it is no chunk.
        """
        if self._done:
            return []
        if event.data == "[DONE]":
            self._done = True
            return []
        try:
            body = _decode(event.data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise bad(self._target, f"an event is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise bad(self._target, "an event is no object")
        if body.get("error"):
            raise read_error_body(body["error"], self._target)
        if event.event == "error":
            raise read_error_body(body, self._target)
        out: list[Chunk] = []
        choices = body.get("choices")
        if not self._started and (body.get("id") or choices):
            # Azure's first chunk tells of its content filter, with neither an id nor a choice.
            self._started = True
            out.append(self._start(body))
        for item in choices if isinstance(choices, list) else ():
            if isinstance(item, Mapping):
                self._read_choice(item, out)
        usage = read_usage(body)
        if usage is not None:
            out.append(UsageReported(usage))
        return out

    def finish(self) -> list[Chunk]:
        """Give the end of choices that the upstream ended with nothing but `[DONE]`.

        Raises:
            StreamCut: neither `[DONE]` nor every choice's finish reason was seen.
            BadAnswer: the stream is complete, and holds no choice.
        """
        ended = bool(self._choices) and all(each.finished for each in self._choices.values())
        if not ended and not self._done:
            raise StreamCut(
                f"{self._target.provider} ended its stream for {self._target.model}"
                " before the answer's end",
                provider=self._target.provider,
                model=self._target.model,
            )
        if not self._choices:
            raise bad(self._target, "its stream holds no choice")
        out: list[Chunk] = []
        for number, state in self._choices.items():
            self._finish(number, state, None, out)
        return out

    def _start(self, body: Mapping[str, Any]) -> Started:
        identity, model, created = body.get("id"), body.get("model"), body.get("created")
        return Started(
            id=identity if isinstance(identity, str) and identity else mint_id(),
            model=model if isinstance(model, str) and model else self._target.model,
            created=int(created) if isinstance(created, int | float) else None,
        )

    def _read_choice(self, item: Mapping[str, Any], out: list[Chunk]) -> None:
        index = item.get("index")
        number = index if isinstance(index, int) else 0
        state = self._choices.get(number)
        if state is None:
            state = self._choices[number] = _Calls()
        if item.get("error"):
            raise read_error_body(item["error"], self._target)
        delta = item.get("delta")
        if isinstance(delta, Mapping):
            self._read_delta(delta, item, number, state, out)
        native = item.get("finish_reason")
        if isinstance(native, str) and native:
            self._finish(number, state, native, out)

    def _finish(self, number: int, state: _Calls, native: str | None, out: list[Chunk]) -> None:
        if not state.finished:
            reason = read_finish(native, self._target, called=state.count > 0)
            self._end_thinking(number, state, out)
            state.finished = True
            out.append(Finished(reason, number, native))

    def _read_delta(
        self,
        delta: Mapping[str, Any],
        item: Mapping[str, Any],
        number: int,
        state: _Calls,
        out: list[Chunk],
    ) -> None:
        refuse_audio(delta, self._target)
        thought = reasoning_of(delta)
        if thought is not None:
            state.thinking = thought[1]
            out.append(ReasoningDelta(thought[0], number))
        text, thinking = content_of(delta.get("content"))
        if thinking:
            out.append(ReasoningDelta(thinking, number))
        logprobs = read_logprobs(item.get("logprobs"))
        signature = signature_of(delta, self._target.provider)
        if text or logprobs or signature:
            self._end_thinking(number, state, out)
            out.append(TextDelta(text, number, signature, logprobs))
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._end_thinking(number, state, out)
            out.append(RefusalDelta(refusal, number))
        calls = delta.get("tool_calls")
        legacy = delta.get("function_call")
        if not isinstance(calls, list):
            calls = [{"index": 0, "function": legacy}] if isinstance(legacy, Mapping) else []
        for call in calls:
            if isinstance(call, Mapping):
                self._end_thinking(number, state, out)
                self._read_call(call, number, state, out)

    def _end_thinking(self, number: int, state: _Calls, out: list[Chunk]) -> None:
        """Sign the thinking with the field it came in, so that it goes back there and only there."""
        if state.thinking is not None:
            signature = Signature(state.thinking, self._target.provider)
            state.thinking = None
            out.append(ReasoningDelta("", number, signature))

    def _read_call(
        self, call: Mapping[str, Any], number: int, state: _Calls, out: list[Chunk]
    ) -> None:
        raw = call.get("function")
        function: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        name = function.get("name")
        position = self._position(call, name, state)
        if position is None:
            if not isinstance(name, str) or not name:
                raise bad(self._target, "a tool call begins without a name")
            position = state.count
            state.count += 1
            identity = call.get("id")
            identity = identity if isinstance(identity, str) and identity else mint_call_id()
            state.by_id[identity] = position
            index = call.get("index")
            if isinstance(index, int):
                state.by_index[index] = position
            signature = signature_of(call, self._target.provider)
            out.append(ToolCallStarted(position, identity, name, number, signature))
        state.last = position
        arguments = function.get("arguments")
        if isinstance(arguments, Mapping):
            arguments = arguments_text(arguments)
        if isinstance(arguments, str) and arguments:
            out.append(ToolCallDelta(position, arguments, number))

    def _position(self, call: Mapping[str, Any], name: object, state: _Calls) -> int | None:
        """Which call a fragment goes on with; None if it begins a new one."""
        identity, index = call.get("id"), call.get("index")
        if isinstance(identity, str) and identity:
            if identity in state.by_id:
                return state.by_id[identity]
            if not isinstance(index, int) or (isinstance(name, str) and name):
                # A new id with a name is a new call, even where a server counts all of them 0.
                return None
        if isinstance(index, int):
            return state.by_index.get(index)
        return None if isinstance(name, str) and name else state.last
