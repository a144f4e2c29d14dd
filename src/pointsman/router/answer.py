"""What an answer looks like: the numbers that a verifier weighs. Pure, and bounded in time.

A feature that cannot be had has a flag that says so and stands at 0: an upstream without
log-probabilities, a request that asked for no format, an answer that was asked for once only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from pointsman.router.schema import fits
from pointsman.router.steps import Attempt
from pointsman.types import Chat, TokenLogprob, Tool

__all__ = ["FEATURES", "agreement", "answer_features", "final_answer", "format_ok", "refuses"]

# The order is part of the verifier's file.
FEATURES = (
    "prior",  # The logit that the prompt gave this candidate.
    "has_logprobs",
    "mean_logprob",
    "min_logprob",
    "low_share",  # Share of tokens less likely than 1 in e.
    "first_logprob",
    "has_agreement",
    "agreement",
    "log_tokens",
    "empty",
    "truncated",
    "refused",
    "filtered",
    "format_asked",
    "format_wrong",
    "called",
    "call_wrong",
    "hedged",
    "repeated",  # Share of 4-word runs that stood before.
    "head",  # Only the first part of a stream was seen.
)

MAX_READ_CHARS = 32_768
MAX_TOKENS_READ = 8192
# Log-probabilities lower than this say no more.
FLOOR = -10.0
LOW = -1.0
# At most so much of an answer is taken for a refusal: longer ones help after all.
REFUSAL_CHARS = 400

# How current models decline, in the languages that are asked most. Matched at the start only.
_REFUSAL = re.compile(
    r"^\W*(?:i['’]?m (?:very |really )?sorry,? (?:but )?i (?:can|am|do)|sorry,? (?:but )?i can"
    r"|i (?:can['’]?t|cannot|can not|am unable to|['’]m unable to|won['’]t|must decline)"
    r"|i(?:['’]m| am) (?:not able|unable)|as an ai\b|unfortunately,? i (?:can|am)"
    r"|es tut mir leid,? (?:aber )?ich kann|ich kann (?:dabei|ihnen|dir|das) (?:leider )?nicht"
    r"|lo siento,? (?:pero )?no puedo|je suis désolée?,? (?:mais )?je ne peux)",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:i(?:['’]m| am) not (?:sure|certain)|i (?:don['’]t|do not) know|it is unclear|not enough"
    r" information|i may be (?:wrong|mistaken)|hard to say|i think|probably|perhaps|might be)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_OPTION = re.compile(r"(?:answer|option|choice)?\W{0,12}\(?\b([A-J])\b\)?[.):]?", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL | re.IGNORECASE)


def answer_features(
    attempt: Attempt,
    chat: Chat,
    prior_logit: float,
    agreed: float | None = None,
) -> tuple[float, ...]:
    """Give the numbers of `FEATURES` for an answer that came.

    `prior_logit` is the candidate's by the prompt; `agreed` how far samples agree with the answer, 0
    to 1, None if there are none.
    """
    text = attempt.text[:MAX_READ_CHARS]
    mean, lowest, low_share, first = _likelihood(attempt.logprobs or ())
    asked = chat.response_format is not None and chat.response_format.kind != "text"
    # A format and a call can only be judged once they are there in full.
    form = format_ok(attempt.text, chat) if asked and attempt.whole else None
    called = bool(attempt.tool_calls)
    tokens = attempt.usage.output_tokens if attempt.usage else 0
    return (
        max(-6.0, min(6.0, prior_logit)),
        float(bool(attempt.logprobs)),
        mean,
        lowest,
        low_share,
        first,
        float(agreed is not None),
        agreed or 0.0,
        math.log1p(tokens or len(text) / 4.0),
        float(attempt.whole and not text.strip() and not called and not attempt.refusal),
        float(attempt.finish_reason == "length"),
        float(bool(attempt.refusal) or refuses(text)),
        float(attempt.finish_reason == "content_filter"),
        float(asked),
        float(form is False),
        float(called),
        float(attempt.whole and called and not _calls_ok(attempt, chat)),
        float(min(len(_HEDGE.findall(text)), 3)) / 3.0,
        _repeated(text),
        float(not attempt.whole),
    )


def refuses(text: str) -> bool:
    """Whether an answer declines: it begins as refusals do, and says little else."""
    return len(text) <= REFUSAL_CHARS and _REFUSAL.match(text) is not None


def format_ok(text: str, chat: Chat) -> bool:
    """Whether an answer is of the form that was asked for: JSON, and of the schema if there is one."""
    form = chat.response_format
    if form is None or form.kind == "text":
        return True
    fenced = _FENCE.match(text)
    try:
        value = msgspec.json.decode((fenced.group(1) if fenced else text).encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return isinstance(value, dict) if form.schema is None else fits(value, form.schema)


def final_answer(text: str) -> str:
    """Give what an answer comes to, so that two can be compared: an option's letter, a number, or
    its words in order."""
    last = text.strip().rpartition("\n")[2].strip(" *_.`")
    if option := _OPTION.fullmatch(last):
        letter: str = option.group(1)
        return letter.upper()
    numbers: list[str] = _NUMBER.findall(text[-MAX_READ_CHARS:])
    if numbers:
        return numbers[-1].replace(",", "").rstrip(".")
    return " ".join(_WORD.findall(text[:MAX_READ_CHARS].lower()))


def agreement(texts: Sequence[str]) -> float:
    """Give how far the other answers agree with the first, 0 to 1: 1 for the same final answer, else
    half of the share of words that two have in common."""
    if len(texts) < 2:
        return 1.0
    first, rest = texts[0], texts[1:]
    return sum(_alike(first, other) for other in rest) / len(rest)


def _alike(one: str, other: str) -> float:
    if final_answer(one) == final_answer(other):
        return 1.0
    a = set(_WORD.findall(one[:MAX_READ_CHARS].lower()))
    b = set(_WORD.findall(other[:MAX_READ_CHARS].lower()))
    return 0.5 * len(a & b) / max(len(a | b), 1)


def _likelihood(logprobs: Sequence[TokenLogprob]) -> tuple[float, float, float, float]:
    """Mean, lowest, share of unlikely ones, and the first; upstreams write −9999 or −inf for never."""
    values = [
        max(FLOOR, min(0.0, each.logprob)) if each.logprob == each.logprob else FLOOR
        for each in logprobs[:MAX_TOKENS_READ]
    ]
    if not values:
        return 0.0, 0.0, 0.0, 0.0
    low = sum(value < LOW for value in values) / len(values)
    return sum(values) / len(values), min(values), low, values[0]


def _calls_ok(attempt: Attempt, chat: Chat) -> bool:
    """Whether each call is of a tool that was offered, with arguments that fit its schema."""
    tools = {tool.name: tool for tool in chat.tools if isinstance(tool, Tool)}
    for call in attempt.tool_calls:
        tool = tools.get(call.name)
        if tool is None:
            return False
        try:
            arguments: Any = msgspec.json.decode(call.arguments.encode())
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return False
        if not isinstance(arguments, dict) or not fits(arguments, tool.parameters or {}):
            return False
    return True


def _repeated(text: str) -> float:
    words = _WORD.findall(text.lower())
    if len(words) < 8:
        return 0.0
    runs = Counter(zip(words, words[1:], words[2:], words[3:], strict=False))
    total = sum(runs.values())
    return (total - len(runs)) / total
