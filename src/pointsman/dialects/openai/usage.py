"""OpenAI's token counts, both ways, with the departures of compatible servers.

Source: the types of the official client, openai 3.54 (`types/completion_usage.py`); the references
of DeepSeek, Groq, Moonshot and xAI (read 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.types import Usage

__all__ = ["read_usage", "write_usage"]


def read_usage(body: Mapping[str, Any]) -> Usage | None:
    """Give the usage, None if the answer has none."""
    counts = body.get("usage")
    if not isinstance(counts, Mapping):
        groq = body.get("x_groq")  # Groq's streams carry it here.
        counts = groq.get("usage") if isinstance(groq, Mapping) else None
    if not isinstance(counts, Mapping):
        return None
    details = counts.get("prompt_tokens_details")
    prompt, completion = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
    thoughts = _count(counts.get("completion_tokens_details"), "reasoning_tokens")
    if thoughts and _count(counts, "total_tokens") == prompt + completion + thoughts:
        # xAI counts thoughts beside the answer's tokens; the total tells.
        completion += thoughts
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cached_tokens=_count(details, "cached_tokens")
        or _count(counts, "prompt_cache_hit_tokens")  # DeepSeek
        or _count(counts, "cached_tokens"),  # Moonshot
        cache_write_tokens=_count(details, "cache_write_tokens"),
        reasoning_tokens=thoughts,
    )


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def write_usage(usage: Usage) -> dict[str, Any]:
    """Give OpenAI's counts: the prompt's include the cached, the answer's the reasoning tokens."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            **(
                {"cache_write_tokens": usage.cache_write_tokens} if usage.cache_write_tokens else {}
            ),
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
