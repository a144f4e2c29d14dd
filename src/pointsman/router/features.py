"""What the router sees of a prompt: hashed words and word pairs, and features of its surface. Pure.

The hash is CRC-32 of the UTF-8 bytes, so a trained table means the same on every platform.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence

__all__ = ["BUCKETS", "SURFACE", "VERSION", "hashed", "seen", "surface"]

VERSION = 1
BUCKETS = 4096
# Long prompts say what they want at their ends; the middle is material.
HEAD_CHARS = 4000
TAIL_CHARS = 2000

_TOKEN = re.compile(r"[^\W\d_]+|\d|[^\w\s]")
_CODE = re.compile(r"```|\bdef \w+\(|\bclass \w+|[;{}]\s*$|=>|</\w+>|\bimport \w+", re.MULTILINE)
_MATH = re.compile(r"\\[a-z]+|[=<>≤≥±×÷√∑∫π^]|\d\s*[-+*/]\s*\d")
_CHOICE = re.compile(r"(?:^|\n)\s*\(?[A-J][).:]\s")
_QUESTION = re.compile(r"\b(?:what|which|who|when|where|how|why)\b", re.IGNORECASE)
_REASON = re.compile(
    r"\b(?:prove|derive|explain|compare|analyse|analyze|evaluate|step|steps|why|justify)\b",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"\b(?:each|total|per|times|twice|half|many|much|percent|average|left|cost|costs)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|except|never|neither|incorrect|false)\b", re.IGNORECASE)
_TECHNICAL = re.compile(r"\b\w*(?:tion|ology|ity|ism|ase|ium|ics)\b", re.IGNORECASE)

SURFACE = (
    "log_chars", "log_words", "word_chars", "digit_share", "upper_share", "non_ascii_share",
    "punctuation_share", "lines", "code_marks", "math_marks", "choices", "question_marks",
    "question_words", "reasoning_words", "quantity_words", "negations", "technical_words",
    "numbers",
)  # fmt: skip


def seen(text: str) -> str:
    """Give the part of a prompt that is looked at: the first 4,000 and the last 2,000 characters."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"


def surface(text: str) -> list[float]:
    """Give the features of the surface, in the order of `SURFACE`; counts are log(1 + n)."""
    text = seen(text)
    chars = max(len(text), 1)
    words = text.split()
    count = len(words)
    digits = sum(map(text.count, "0123456789"))
    upper = sum(1 for c in text if c.isupper())
    ascii_chars = len(text.encode("ascii", "ignore"))
    punctuation = sum(map(text.count, ".,;:!?()[]\"'"))
    return [
        math.log1p(chars),
        math.log1p(count),
        sum(map(len, words)) / max(count, 1),
        digits / chars,
        upper / chars,
        1 - ascii_chars / chars,
        punctuation / chars,
        math.log1p(text.count("\n")),
        _found(_CODE, text),
        _found(_MATH, text),
        _found(_CHOICE, text),
        math.log1p(text.count("?")),
        _found(_QUESTION, text),
        _found(_REASON, text),
        _found(_QUANTITY, text),
        _found(_NEGATION, text),
        _found(_TECHNICAL, text),
        math.log1p(sum(1 for word in words if word[0].isdigit())),
    ]


def _found(pattern: re.Pattern[str], text: str) -> float:
    return math.log1p(len(pattern.findall(text)))


def hashed(text: str) -> tuple[Sequence[int], Sequence[float]]:
    """Give (buckets, values) of the words and word pairs: log counts, of length 1 together.

    Buckets are 0 to 4,095, each once; an empty prompt has none.
    """
    tokens = [token.encode() for token in _TOKEN.findall(seen(text).lower())]
    crc32 = zlib.crc32
    counts: dict[int, int] = {}
    previous = b""
    for token in tokens:
        bucket = crc32(token) & 4095
        counts[bucket] = counts.get(bucket, 0) + 1
        pair = crc32(previous + b" " + token) & 4095
        counts[pair] = counts.get(pair, 0) + 1
        previous = token
    values = [math.log1p(n) for n in counts.values()]
    norm = math.sqrt(sum(v * v for v in values)) or 1.0
    return list(counts), [v / norm for v in values]
