"""What can be told from a template's text alone: hidden letters, addresses, blobs, instructions."""

from __future__ import annotations

import re

__all__ = [
    "blobs",
    "hides_instructions",
    "instructs_a_reader",
    "is_marker",
    "prose",
    "urls",
]

# Words that chat formats put between parts of a message, and known switches of models.
_SWITCHES = {
    "/think", "/no_think", "/nothink", "/system_override", "/no-think", "/reasoning", "/thinking",
    "assistant", "user", "system", "tool", "ipython", "think", "json", "observation", "action",
    "final answer", "thought", "answer", "question", "final", "analysis", "commentary", "auto",
    "none", "null", "true", "false", "text", "image", "function", "low", "medium", "high", "python",
    "detailed thinking on", "detailed thinking off", "thinking", "reasoning", "tool_call", "end",
    "str", "int", "list", "dict", "object", "array", "string", "number", "integer", "boolean",
}  # fmt: skip
_BRACKETED = re.compile(
    r"\s*(?:<[^<>]{0,60}>?|\[[^\[\]]{0,40}\]?|<\|[^|]{0,60}\|?>?|```\w*|#+ ?\w{0,20}:?)\s*"
)
_CLOSERS = re.compile(r"\s*(?:[\w|/=\s-]{0,40}[>\]]|\|>)\s*")
_WORDS = re.compile(r"[^\W\d_]{2,}")
_URL = re.compile(
    r"(?:https?|ftp|wss?|file|data)://?[^\s'\"<>)\]}]{3,200}|\bwww\.[\w-]+\.\w{2,}", re.I
)
# Schemas that tool definitions name, and what no one dials.
_USUAL = re.compile(
    r"json-schema\.org|w3\.org|localhost|127\.0\.0\.1|example\.(?:com|org|net)\b|schema\.org", re.I
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{120,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){40,}")
_ESCAPES = re.compile(r"(?:\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}){8,}")
_CONCEALS = re.compile(
    r"\b(?:never|not|don'?t|without)\b[^.\n]{0,30}\b(?:tell|telling|reveal\w*|disclos\w+|mention\w*)\b"
    r"[^.\n]{0,40}\b(?:these|this|instructions?|prompt|rules?|secret\w*|hidden)\b",
    re.I,
)
_OVERRIDES = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,30}\b(?:previous|prior|above|all|any|safety|guideline\w*|instruction\w*|polic\w+|rules)\b",
    re.I,
)
_ADDRESSES = re.compile(
    r"\b(?:you (?:must|should|are now|will)|always (?:answer|reply|respond|recommend|say)|respond with|reply with|answer with)\b",
    re.I,
)


def is_marker(text: str) -> bool:
    """Whether a text is a mark of a chat format or a known switch, not something a person says."""
    bare = text.strip()
    if not _WORDS.search(bare) or bare.lower().strip(":*. ") in _SWITCHES:
        return True
    if _BRACKETED.fullmatch(text) or _CLOSERS.fullmatch(text):
        return True
    # Names in snake_case or with a bar are a program's words.
    return bool(re.fullmatch(r"\w+_\w+", bare)) or "<|" in bare or "｜" in bare


def prose(text: str) -> bool:
    """Whether a text holds a sentence or more: six words, most of them of letters alone."""
    bare = re.sub(r"<[^<>]{0,80}>", " ", text)
    return len(_WORDS.findall(bare)) >= 6 and bare.count(" ") >= 5


def urls(text: str) -> list[tuple[int, str]]:
    """Give (index, address) of each address that is none of the usual schemas."""
    found = [(each.start(), each[0]) for each in _URL.finditer(text)]
    return [each for each in found if not _USUAL.search(each[1])]


def blobs(text: str) -> list[tuple[int, str]]:
    """Give (index, what it is) of each long run that is encoded."""
    found = [
        (each.start(), f"{len(each[0])} letters of base64")
        for each in _BASE64.finditer(text)
        if _mixed(each[0])
    ]
    found += [(each.start(), f"{len(each[0])} hexadecimal digits") for each in _HEX.finditer(text)]
    found += [(each.start(), "a run of escaped letters") for each in _ESCAPES.finditer(text)]
    return found


def _mixed(text: str) -> bool:
    kinds = (str.isupper, str.islower, str.isdigit)
    return all(any(map(kind, text)) for kind in kinds)


def hides_instructions(text: str) -> re.Match[str] | None:
    """Find words that tell a model to keep something from the user, or to leave its rules."""
    return _CONCEALS.search(text) or _OVERRIDES.search(text)


def instructs_a_reader(text: str) -> re.Match[str] | None:
    """Find words in a comment that address a model rather than a person who reads the template."""
    return hides_instructions(text) or _ADDRESSES.search(text)
