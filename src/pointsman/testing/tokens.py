"""Counts tokens without a tokenizer, and cuts texts into pieces. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from msgspec import Struct

from pointsman.testing.script import Answer

__all__ = ["Counts", "Facts", "counts_of", "cut", "tokens_of"]

CHARS_PER_TOKEN = 4


class Facts(Struct, frozen=True, kw_only=True):
    """What a wire has to know of the request that it answers.

    `number` counts the answers of this provider from 1 and makes ids. `choices` is how many
    answers are wanted at once, `include_usage` OpenAI's wish for a last chunk with the usage.
    """

    model: str
    number: int = 1
    prompt_tokens: int = 1
    choices: int = 1
    include_usage: bool = False


class Counts(Struct, frozen=True):
    """The tokens of an answer: `prompt` includes `cached` and `written`, `done` includes `thought`."""

    prompt: int
    cached: int
    written: int
    done: int
    thought: int


def counts_of(answer: Answer, facts: Facts) -> Counts:
    """Give the answer's counts: those it names, and the rest from its text."""
    thought = answer.reasoning_tokens
    written = "".join(json.dumps(call.arguments) + call.name for call in answer.calls)
    done = tokens_of(answer.text + answer.refusal + written) + thought
    prompt = facts.prompt_tokens + answer.cached_tokens + answer.cache_write_tokens
    return Counts(
        answer.input_tokens or prompt,
        answer.cached_tokens,
        answer.cache_write_tokens,
        answer.output_tokens or done * facts.choices,
        thought,
    )


def tokens_of(text: str) -> int:
    """Count the tokens of a text, four characters each and never none."""
    return max(-(-len(text) // CHARS_PER_TOKEN), 1)


def cut(text: str, pieces: int) -> Iterator[str]:
    """Yield a text in at most so many pieces of equal length; none for an empty text."""
    size = max(-(-len(text) // max(pieces, 1)), 1)
    for start in range(0, len(text), size):
        yield text[start : start + size]
