"""Anthropic's whole answer: content, stop reason and usage, both ways.

Source: the types of the official client, anthropic 2.12.0 (`types/message.py`,
`types/stop_reason.py`, `types/usage.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects.anthropic.blocks import read_answer_block, write_answer_block
from pointsman.dialects.anthropic.error import read_error_body
from pointsman.dialects.base import Target
from pointsman.errors import BadAnswer
from pointsman.types import (
    Choice,
    Completion,
    FinishReason,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)

__all__ = [
    "read_completion",
    "read_finish",
    "read_usage",
    "write_completion",
    "write_stop_reason",
    "write_usage",
]

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STOP_REASON: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def read_finish(native: str | None, *, called: bool) -> FinishReason:
    """Give the common reason; one that is unknown or absent is judged by whether a tool is called."""
    known = _FINISH.get(native or "")
    return known or ("tool_calls" if called else "stop")


def write_stop_reason(
    reason: FinishReason | None, native: str | None, sequence: str | None, *, refused: bool
) -> str:
    """Give Anthropic's reason: the native one where it is Anthropic's, else the nearest.

    `refused` says that the answer holds a refusal which another dialect sets apart from text.
    """
    if native in _FINISH:
        return native
    if reason in (None, "stop"):
        if refused:
            return "refusal"
        return "stop_sequence" if sequence is not None else "end_turn"
    return _STOP_REASON[reason]


def _tokens(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0


def read_usage(counts: Mapping[str, Any]) -> Usage:
    """Give the usage: Anthropic's `input_tokens` leaves out what was read from or put in a cache."""
    cached = _tokens(counts, "cache_read_input_tokens")
    written = _tokens(counts, "cache_creation_input_tokens")
    details = counts.get("output_tokens_details")
    return Usage(
        input_tokens=_tokens(counts, "input_tokens") + cached + written,
        output_tokens=_tokens(counts, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=_tokens(details, "thinking_tokens") if isinstance(details, dict) else 0,
    )


def write_usage(usage: Usage | None) -> dict[str, Any]:
    """Give Anthropic's counts; all zero where the provider gave none, as clients need the object."""
    usage = usage or Usage()
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    counts: dict[str, Any] = {
        "input_tokens": max(fresh, 0),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def _joined(parts: list[Part]) -> tuple[Part, ...]:
    """Join what a stream would join: text after text, unsigned thinking with what goes on from it.

    Anthropic cuts a cited text into blocks, whose borders say nothing without the citations.
    """
    out: list[Part] = []
    for part in parts:
        last = out[-1] if out else None
        if isinstance(part, Text) and isinstance(last, Text):
            out[-1] = Text(last.text + part.text)
        elif (
            isinstance(part, Reasoning)
            and isinstance(last, Reasoning)
            and part.redacted is None
            and last.redacted is None
            and last.signature is None
        ):
            out[-1] = Reasoning(last.text + part.text, part.signature)
        else:
            out.append(part)
    return tuple(out)


def read_completion(body: Mapping[str, Any], target: Target) -> Completion:
    """Read an upstream's message. Blocks of an unknown kind (server tools and their results) are
    passed over, but for any text in them.

    Raises:
        BadAnswer: it breaks the dialect.
        ProviderError: it is an error in the clothes of an answer.
    """
    if body.get("type") == "error":
        raise read_error_body(body, target)
    content = body.get("content")
    if not isinstance(content, list):
        raise BadAnswer(
            f"the answer of {target.provider} breaks the Messages format: 'content' is not a list",
            provider=target.provider,
            model=target.model,
        )
    parts: list[Part] = []
    for index, block in enumerate(content):
        part = read_answer_block(block, f"content[{index}]", target)
        if part is not None:
            parts.append(part)
    native = body.get("stop_reason")
    native = native if isinstance(native, str) else None
    sequence = body.get("stop_sequence")
    usage = body.get("usage")
    return Completion(
        id=str(body.get("id") or ""),
        model=str(body.get("model") or target.model),
        choices=(
            Choice(
                parts=_joined(parts),
                finish_reason=read_finish(
                    native, called=any(isinstance(part, ToolCall) for part in parts)
                ),
                native_finish=native,
                stop_sequence=sequence if isinstance(sequence, str) else None,
            ),
        ),
        usage=read_usage(usage) if isinstance(usage, dict) else None,
    )


def write_completion(completion: Completion) -> dict[str, Any]:
    """Write the first choice as a message; an Anthropic client cannot ask for a second.

    Raises:
        UnsupportedParameter: a part that an Anthropic answer cannot hold (an image, a sound).
        BadAnswer: a complete tool call whose arguments are no object.
    """
    choice = completion.choices[0] if completion.choices else Choice(())
    content = [
        block
        for part in choice.parts
        if (block := write_answer_block(part, cut=choice.finish_reason == "length")) is not None
    ]
    return {
        "id": completion.id,
        "type": "message",
        "role": "assistant",
        "model": completion.model,
        "content": content,
        "stop_reason": write_stop_reason(
            choice.finish_reason,
            choice.native_finish,
            choice.stop_sequence,
            refused=any(isinstance(part, Refusal) for part in choice.parts),
        ),
        "stop_sequence": choice.stop_sequence,
        "usage": write_usage(completion.usage),
    }
