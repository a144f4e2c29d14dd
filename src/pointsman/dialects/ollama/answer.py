"""Ollama's answers: their fields, their times in nanoseconds, and a whole one.

Source: ollama/ollama, docs/api.md, api/types.go (ChatResponse, GenerateResponse, Metrics) and
server/routes.go, read 2026-11.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

from pointsman.dialects._shared import arguments_object
from pointsman.errors import BadAnswer, RequestError
from pointsman.types import (
    Chat,
    Completion,
    FinishReason,
    Reasoning,
    Refusal,
    Text,
    Timings,
    TokenLogprob,
    Usage,
)

__all__ = [
    "Form",
    "Stopwatch",
    "done_reason",
    "rfc3339",
    "write_calls",
    "write_completion",
    "write_logprobs",
]

Form: TypeAlias = Literal["chat", "generate"]
# Ollama knows of stop, length, load and unload; what a provider filtered must not look whole.
_REASONS: dict[FinishReason, str] = {
    "stop": "stop",
    "tool_calls": "stop",
    "length": "length",
    "content_filter": "content_filter",
}


def rfc3339(time_ns: int) -> str:
    """The time in UTC as Go writes it: RFC 3339, with microseconds."""
    moment = datetime.datetime.fromtimestamp(time_ns // 1000 / 1e6, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Stopwatch:
    """The times of one request. `now_ns` gives the Unix time in nanoseconds.

    `loaded` and `said` are called when the model is there, and when a piece of the answer came.
    """

    __slots__ = ("_first_ns", "_last_ns", "_loaded_ns", "_started_ns", "now_ns")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self._started_ns = self._loaded_ns = now_ns()
        self._first_ns = self._last_ns = 0

    def loaded(self) -> None:
        """Note that the model is loaded."""
        self._loaded_ns = self.now_ns()

    def said(self) -> None:
        """Note that a piece of the answer came."""
        self._last_ns = self.now_ns()
        self._first_ns = self._first_ns or self._last_ns

    def total(self) -> dict[str, int]:
        """The fields of the whole time, and of the time to load the model."""
        return {
            "total_duration": max(1, self.now_ns() - self._started_ns),
            "load_duration": max(0, self._loaded_ns - self._started_ns),
        }

    def metrics(self, usage: Usage | None, timings: Timings | None = None) -> dict[str, int]:
        """Give the fields of a finished answer.

        The engine's own timings go before what is seen here: the time to the first piece, and from
        that to the last one; of an answer that came in one piece, the whole time.
        """
        if timings is not None:
            prompt_ns, output_ns = timings.prompt_ms * 1e6, timings.output_ms * 1e6
        elif self._first_ns:
            prompt_ns = self._first_ns - self._loaded_ns
            output_ns = self._last_ns - self._first_ns
        else:
            prompt_ns, output_ns = 0, self.now_ns() - self._loaded_ns
        fields = self.total()
        if usage is not None:
            fields["prompt_eval_count"] = usage.input_tokens
        if prompt_ns > 0:
            fields["prompt_eval_duration"] = int(prompt_ns)
        if usage is not None:
            fields["eval_count"] = usage.output_tokens
        # Never 0: clients divide by it.
        fields["eval_duration"] = max(1, int(output_ns))
        return fields


def write_calls(calls: Iterable[tuple[str, str, str]], *, cut: bool) -> list[dict[str, Any]]:
    """Give tool calls (id, name, arguments as text); the arguments are an object here.

    Of an answer that was `cut` at its limit, a call that is not whole is left out.

    Raises:
        BadAnswer: arguments that are no object.
    """
    written: list[dict[str, Any]] = []
    for call_id, name, arguments in calls:
        try:
            value = arguments_object(arguments, "arguments")
        except RequestError as error:
            if cut:
                continue
            raise BadAnswer(
                f"the model called '{name}' with what is no JSON object", provider=""
            ) from error
        function = {"index": len(written), "name": name, "arguments": value}
        written.append({"id": call_id, "function": function})
    return written


def write_logprobs(logprobs: tuple[TokenLogprob, ...]) -> list[dict[str, Any]]:
    """Give the log-probabilities of a piece."""
    return [
        {**_logprob(each), "top_logprobs": [_logprob(top) for top in each.top]}
        if each.top
        else _logprob(each)
        for each in logprobs
    ]


def _logprob(each: TokenLogprob) -> dict[str, Any]:
    body: dict[str, Any] = {"token": each.token, "logprob": each.logprob}
    if each.bytes:
        body["bytes"] = list(each.bytes)
    return body


def done_reason(reason: FinishReason | None) -> str:
    """Ollama's word for how an answer ended."""
    return _REASONS.get(reason or "stop", "stop")


def write_completion(
    completion: Completion, chat: Chat, form: Form, watch: Stopwatch
) -> dict[str, Any]:
    """Write a whole answer, of which there is one choice.

    Raises:
        BadAnswer: it has none, or a tool call whose arguments are no object.
    """
    if not completion.choices:
        raise BadAnswer("the answer has no choice", provider="")
    choice = completion.choices[0]
    text = "".join(p.text for p in choice.parts if isinstance(p, Text | Refusal))
    thinking = "".join(part.text for part in choice.parts if isinstance(part, Reasoning))
    body: dict[str, Any] = {"model": chat.model, "created_at": rfc3339(watch.now_ns())}
    if form == "generate":
        body["response"] = text
        if thinking:
            body["thinking"] = thinking
    else:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if completion.tool_calls:
            calls = [(call.id, call.name, call.arguments) for call in completion.tool_calls]
            message["tool_calls"] = write_calls(calls, cut=choice.finish_reason == "length")
        body["message"] = message
    body |= {"done": True, "done_reason": done_reason(choice.finish_reason)}
    if choice.logprobs:
        body["logprobs"] = write_logprobs(choice.logprobs)
    return body | watch.metrics(completion.usage, completion.timings)
