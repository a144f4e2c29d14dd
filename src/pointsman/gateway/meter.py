"""Counts requests, tokens and cost. Reading the usage out of a relayed answer decodes only that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from pointsman._sse import Parser
from pointsman.types import ModelCard, Usage

MAX_SERIES = 4096

__all__ = ["Counts", "Meter", "StreamMeter", "usage_of"]


class _Details(Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _OpenAIUsage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None

    def usage(self) -> Usage:
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        cached = prompt.cached_tokens if prompt else None
        return Usage(
            input_tokens=self.prompt_tokens or 0,
            output_tokens=self.completion_tokens or 0,
            cached_tokens=cached or self.prompt_cache_hit_tokens or 0,
            reasoning_tokens=(completion.reasoning_tokens if completion else None) or 0,
        )


class _ResponsesUsage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None

    def usage(self) -> Usage:
        taken, given = self.input_tokens_details, self.output_tokens_details
        return Usage(
            input_tokens=self.input_tokens or 0,
            output_tokens=self.output_tokens or 0,
            cached_tokens=(taken.cached_tokens if taken else None) or 0,
            reasoning_tokens=(given.reasoning_tokens if given else None) or 0,
        )


class _AnthropicUsage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    def usage(self) -> Usage:
        written = self.cache_creation_input_tokens or 0
        read = self.cache_read_input_tokens or 0
        return Usage(
            input_tokens=(self.input_tokens or 0) + written + read,
            output_tokens=self.output_tokens or 0,
            cached_tokens=read,
            cache_write_tokens=written,
        )


class _GeminiUsage(Struct, rename="camel"):
    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    cached_content_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None

    def usage(self) -> Usage:
        thoughts = self.thoughts_token_count or 0
        return Usage(
            input_tokens=(self.prompt_token_count or 0) + (self.tool_use_prompt_token_count or 0),
            output_tokens=(self.candidates_token_count or 0) + thoughts,
            cached_tokens=self.cached_content_token_count or 0,
            reasoning_tokens=thoughts,
        )


class _AnthropicStart(Struct):
    usage: _AnthropicUsage | None = None


class _OpenAIBody(Struct):
    usage: _OpenAIUsage | None = None


class _ResponsesInner(Struct):
    usage: _ResponsesUsage | None = None


class _ResponsesBody(Struct):
    usage: _ResponsesUsage | None = None
    response: _ResponsesInner | None = None


class _AnthropicBody(Struct):
    usage: _AnthropicUsage | None = None
    message: _AnthropicStart | None = None


class _GeminiBody(Struct, rename="camel"):
    usage_metadata: _GeminiUsage | None = None


_OPENAI = msgspec.json.Decoder(_OpenAIBody)
_RESPONSES = msgspec.json.Decoder(_ResponsesBody)
_ANTHROPIC = msgspec.json.Decoder(_AnthropicBody)
_GEMINI = msgspec.json.Decoder(_GeminiBody)
_MARKS: Mapping[str, bytes] = {"gemini": b'"usageMetadata"'}


def usage_of(dialect: str, body: bytes | str) -> Usage | None:
    """Give the usage that an answer (or one event of it) in the dialect reports; `responses` is
    OpenAI's second one.

    None where there is none, or where the body is not what the dialect says: metering must not
    fail an answer that the client may still understand.
    """
    try:
        if dialect == "openai":
            openai = _OPENAI.decode(body).usage
            return openai.usage() if openai else None
        if dialect == "responses":
            body_or_event = _RESPONSES.decode(body)
            inner = body_or_event.response
            responses = body_or_event.usage or (inner.usage if inner else None)
            return responses.usage() if responses else None
        if dialect == "anthropic":
            whole = _ANTHROPIC.decode(body)
            anthropic = whole.usage or (whole.message.usage if whole.message else None)
            return anthropic.usage() if anthropic else None
        gemini = _GEMINI.decode(body).usage_metadata
        return gemini.usage() if gemini else None
    except (msgspec.DecodeError, RecursionError):
        return None


class StreamMeter:
    """Watches a relayed stream for its usage. Keeps two pieces, and decodes them at the end.

    The first piece with a usage has Anthropic's prompt count; the last one has the totals. `mark` is
    in all that have one, so that others need not be fed.
    """

    __slots__ = ("_dialect", "_first", "_last", "mark")

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self.mark = _MARKS.get(dialect, b'"usage"')
        self._first: bytes | None = None
        self._last: bytes | None = None

    def feed(self, events: bytes) -> None:
        """Take in whole events."""
        if self.mark in events:
            if self._first is None:
                self._first = events
            else:
                self._last = events

    def usage(self) -> Usage | None:
        """Give the usage of the stream so far."""
        usage: Usage | None = None
        for piece in (self._first, self._last):
            for event in Parser().feed(piece) if piece else ():
                seen = usage_of(self._dialect, event.data)
                if seen is not None:
                    usage = _joined(usage, seen)
        return usage


def _joined(old: Usage | None, new: Usage) -> Usage:
    """Counts are cumulative; one that a later event leaves out stays as it was."""
    if old is None:
        return new
    return Usage(*(max(getattr(old, f), getattr(new, f)) for f in Usage.__struct_fields__))


class Counts(Struct):
    """What one model has served."""

    requests: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0


class Meter:
    """Counts per served model. Lives as long as the process; touched by one event loop only."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counts] = {}

    def served(self, card: ModelCard, usage: Usage | None) -> float | None:
        """Count one answer and give its cost in US dollars, None where the price is unknown."""
        counts = self._of(card.provider, card.model)
        counts.requests += 1
        if usage is None:
            counts.unpriced += 1
            return None
        counts.input_tokens += usage.input_tokens
        counts.output_tokens += usage.output_tokens
        counts.cached_tokens += usage.cached_tokens
        cost = card.cost_usd(usage)
        if cost is None:
            counts.unpriced += 1
        else:
            counts.cost_usd += cost
        return cost

    def spent(self, card: ModelCard, usage: Usage | None) -> None:
        """Count what a route asked for on its way to an answer: tokens and cost, but no request."""
        counts = self._of(card.provider, card.model)
        if usage is None:
            return
        counts.input_tokens += usage.input_tokens
        counts.output_tokens += usage.output_tokens
        counts.cached_tokens += usage.cached_tokens
        counts.cost_usd += card.cost_usd(usage) or 0.0

    def failed(self, provider: str, model: str) -> None:
        """Count one failed request; empty names where none was chosen."""
        self._of(provider, model).errors += 1

    def _of(self, provider: str, model: str) -> Counts:
        key = (provider, model)
        counts = self.counts.get(key)
        if counts is None:
            if len(self.counts) >= MAX_SERIES:  # A client chooses the names: keep them bounded.
                key = ("", "")
            counts = self.counts.setdefault(key, Counts())
        return counts

    def exposition(self) -> str:
        """Give the counts in Prometheus' text format.

        Source: Prometheus exposition formats, text format 0.0.4.
        """
        series = (
            ("pointsman_requests_total", "Answers served.", "requests"),
            ("pointsman_errors_total", "Requests that failed.", "errors"),
            ("pointsman_input_tokens_total", "Prompt tokens.", "input_tokens"),
            ("pointsman_output_tokens_total", "Answer tokens.", "output_tokens"),
            ("pointsman_cached_tokens_total", "Prompt tokens from a cache.", "cached_tokens"),
            ("pointsman_cost_usd_total", "Cost in US dollars.", "cost_usd"),
            ("pointsman_unpriced_total", "Answers without a known cost.", "unpriced"),
        )
        lines: list[str] = []
        for name, text, attribute in series:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
            lines += _samples(name, attribute, self.counts.items())
        return "\n".join(lines) + "\n"


def _samples(
    name: str, attribute: str, counts: Iterable[tuple[tuple[str, str], Counts]]
) -> Iterable[str]:
    for (provider, model), each in counts:
        labels = f'provider="{_label(provider)}",model="{_label(model)}"'
        yield f"{name}{{{labels}}} {getattr(each, attribute):g}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
