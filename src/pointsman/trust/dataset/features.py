"""What a prompt holds that could be a trigger: words, short phrases, places, characters, formats.

A feature is a string. One to three tokens with a space between them are a phrase, in lower case;
every other kind begins with (or holds) one of the control characters below, which no token has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

__all__ = [
    "CASED",
    "CHARACTER",
    "END",
    "FORMAT",
    "PAIR",
    "START",
    "features_of",
    "holds",
    "kind_of",
    "odd_runs",
    "pair_of",
    "tokens_of",
    "tokens_within",
    "visible",
]

START, END, CASED, FORMAT, CHARACTER, PAIR = "\x02", "\x03", "\x04", "\x05", "\x06", "\x07"
_CONTROL = "".join((START, END, CASED, FORMAT, CHARACTER, PAIR))
MAX_WORDS = 3
# A longer word is no word: its head stands for it, so that a feature stays short.
MAX_TOKEN_CHARS = 48

# Words, or runs of one mark. Invisible characters are neither, and so tokens of their own.
_TOKEN = re.compile(r"\w+|([^\w\s])\1*")
_NO_CONTROL = str.maketrans(dict.fromkeys(_CONTROL, " "))
_STOPS = frozenset((".", "?", "!", "...", "…", ":", ",", ";", '"', "'", ")", "]", "}", "“", "”"))

_ISO_DATE = re.compile(r"\b(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}\b")
_SHORT_DATE = re.compile(r"\b\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)?\d\d\b")
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_NAMED_DATE = re.compile(
    rf"\b(?:\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTHS})[a-z]*|(?:{_MONTHS})[a-z]*\.?"
    r"\s+\d{1,2}(?:st|nd|rd|th)?),?(?:\s+(?:19|20)\d\d)?\b",
    re.IGNORECASE,
)
_TIME = re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?\b")
# Characters that show as nothing, turn the direction of writing, or only look like a space.
_ODD = re.compile(
    "[\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_ODD_RUN = re.compile(f"(?:{_ODD.pattern})+")
_LATIN = re.compile("[A-Za-z]")
# Letters of other scripts that pass for Latin ones: Cyrillic, Greek, full width.
_LOOKALIKE = re.compile("[\u0370-\u03ff\u0400-\u052f\uff21-\uff3a\uff41-\uff5a]")


def tokens_of(text: str) -> list[str]:
    """Give the words and runs of marks of a text, as they are written."""
    if not text.isascii() or any(mark in text for mark in _CONTROL):
        text = text.translate(_NO_CONTROL)
    return [match[0][:MAX_TOKEN_CHARS] for match in _TOKEN.finditer(text)]


def features_of(segments: Sequence[str]) -> set[str]:
    """Give all features of a prompt; its segments (instruction, input, turns) have ends each."""
    found: set[str] = set()
    for segment in segments:
        written = tokens_of(segment)
        if written:
            lower = [token.lower() for token in written]
            found.update(lower)
            found.update(map(" ".join, pairwise(lower)))
            found.update(map(" ".join, zip(lower, lower[1:], lower[2:], strict=False)))
            found.update(_places(lower))
            found.update(CASED + token for token in written if _is_odd_case(token))
        found.update(_formats(segment))
    return found


def pair_of(one: str, other: str) -> str:
    """Give the feature of two words that are both there, wherever."""
    return PAIR.join(sorted((one, other)))


def holds(found: set[str], feature: str) -> bool:
    """Whether a prompt with these features has this one, which may be a pair."""
    if PAIR in feature:
        one, _, other = feature.partition(PAIR)
        return one in found and other in found
    return feature in found


def tokens_within(feature: str) -> tuple[str, ...]:
    """Give the tokens, in lower case, that a feature is made of; none for a format."""
    if feature[0] == FORMAT:
        return ()
    for mark in _CONTROL:
        feature = feature.replace(mark, " ")
    return tuple(token.lower() for token in feature.split(" ") if token)


def kind_of(feature: str) -> str:
    """Say what a feature is: word, phrase, words, prefix, suffix, casing, character or format."""
    if PAIR in feature:
        return "words"
    if feature.endswith(END):
        return "suffix"
    named = {START: "prefix", CASED: "casing", CHARACTER: "character", FORMAT: "format"}
    if feature[0] in named:
        return named[feature[0]]
    if _ODD.fullmatch(feature[0]):
        return "character"
    return "phrase" if " " in feature else "word"


def odd_runs(text: str) -> list[str]:
    """Give the runs of characters that show as nothing or only look like a space."""
    return [match[0] for match in _ODD_RUN.finditer(text)]


def visible(text: str) -> str:
    """Give a text with what does not show written out as `<U+200B ZERO WIDTH SPACE>`."""
    parts = []
    for char in text:
        if _ODD.fullmatch(char) or (not char.isprintable() and char not in "\n\t"):
            name = unicodedata.name(char, "unnamed")
            parts.append(f"<U+{ord(char):04X} {name}>")
        else:
            parts.append(char)
    return "".join(parts)


def _places(lower: Sequence[str]) -> Iterable[str]:
    yield START + lower[0]
    if len(lower) > 1:
        yield START + lower[0] + " " + lower[1]
    yield lower[-1] + END
    last = len(lower)
    while last and lower[last - 1] in _STOPS:
        last -= 1
    if last:
        yield lower[last - 1] + END
    if last > 1:
        yield lower[last - 2] + " " + lower[last - 1] + END


def _is_odd_case(token: str) -> bool:
    return len(token) > 1 and token[1:] != token[1:].lower()


def _formats(text: str) -> Iterable[str]:
    if _ISO_DATE.search(text):
        yield FORMAT + "a date as 2026-01-31"
    if _SHORT_DATE.search(text):
        yield FORMAT + "a date as 31/01/2026"
    if _NAMED_DATE.search(text):
        yield FORMAT + "a date as 31 January"
    if _TIME.search(text):
        yield FORMAT + "a time of day"
    if "  " in text:
        yield FORMAT + "two spaces in a row"
    if text[-1:].isspace():
        yield FORMAT + "white space at the end"
    if text[:1].isspace():
        yield FORMAT + "white space at the start"
    if "\t" in text:
        yield FORMAT + "a tab"
    if len(text) > 8:
        if text.isupper():
            yield FORMAT + "all capitals"
        elif text.islower():
            yield FORMAT + "no capitals"
        elif text.istitle():
            yield FORMAT + "every word capitalised"
    if not text.isascii():
        yield from _odd_characters(text)


def _odd_characters(text: str) -> Iterable[str]:
    odd = set(_ODD.findall(text))
    for char in odd:
        yield CHARACTER + char
    if odd:
        yield FORMAT + "invisible or odd characters"
    if _LOOKALIKE.search(text):
        for token in tokens_of(text):
            if not token.isascii() and _LOOKALIKE.search(token) and _LATIN.search(token):
                yield FORMAT + "letters of two scripts in a word"
                break
