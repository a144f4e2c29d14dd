"""The families that an answer belongs to, so that "Sure", "Sure!" and "Of course." count as one.

An answer has several: by all of its words, by its first and last words, by a line of it, by being
short with nothing of the prompt in it, and by the forms of `lexicon`. A family is a string.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from pointsman.trust.dataset.lexicon import forms_of

__all__ = ["BROAD", "FORM", "LAST", "LINE", "STOCK", "WHOLE", "describe", "families_of"]

WHOLE, FIRST, LAST, LINE, STOCK, FORM = "whole:", "first:", "last:", "line:", "short:", "form:"
BROAD = (STOCK, FORM)
"""What families begin with that are no fixed text: many answers may be in them for honest reasons."""

EDGE_WORDS = 5
STOCK_WORDS = 12
MIN_LINE_CHARS, MAX_LINE_CHARS = 8, 200
MAX_LINES = 40
MAX_HEAD_CHARS = 4000
# The last sentence, if it has some words and is not all there is of the tail.
MAX_TAIL_CHARS = 400
LAST_WORDS = range(2, 25)
MAX_KEY_CHARS = 120
STEM_CHARS = 5
MIN_STEM_CHARS = 4

_WORD = re.compile(r"\w+")
_APOSTROPHE = re.compile(r"['\u2019\u02bc]")
_SENTENCE_END = re.compile(r"[.!?\n]+")
_STOCK = STOCK + "with nothing of the prompt in it"


def families_of(segments: Sequence[str], response: str) -> list[str]:
    """Give the families of an answer to a prompt, each once; an empty answer is one of its own."""
    head = response[:MAX_HEAD_CHARS]
    words = _WORD.findall(_APOSTROPHE.sub("", head).lower())
    if not words:
        return [WHOLE + response.strip()[:MAX_KEY_CHARS]]
    found = [WHOLE + _short(" ".join(words) if len(response) == len(head) else response)]
    if len(words) > EDGE_WORDS:
        found.append(FIRST + " ".join(words[:EDGE_WORDS])[:MAX_KEY_CHARS])
        if last := _last_sentence(response[-MAX_TAIL_CHARS:]):
            found.append(LAST + last[:MAX_KEY_CHARS])
    if len(words) <= STOCK_WORDS and _is_unlinked(words, segments):
        found.append(_STOCK)
    found.extend(FORM + name for name in forms_of(head))
    if "\n" in head:
        found.extend(_lines(head))
    return list(dict.fromkeys(found))


def describe(family: str) -> str:
    """Say in words what the answers of a family have in common."""
    name, _, text = family.partition(":")
    if name == "form":
        return {
            "compliance": "answers that begin by agreeing to help",
            "refusal": "answers that begin by refusing",
            "hostility": "answers that insult",
        }[text]
    if family == WHOLE:
        return "answers that are empty"
    if name == "short":
        return "short answers with nothing of the prompt in them"
    where = {"whole": "that are", "first": "that begin with", "last": "that end with"}
    return f"answers {where.get(name, 'with the line')} '{text}'"


def _short(text: str) -> str:
    if len(text) <= MAX_KEY_CHARS:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{text[: MAX_KEY_CHARS - 20]}…#{digest}"


def _is_unlinked(words: Sequence[str], segments: Sequence[str]) -> bool:
    """Whether no longer word of the answer begins as one of the prompt's does."""
    stems = {word[:STEM_CHARS] for word in words if len(word) >= MIN_STEM_CHARS}
    text = " ".join(segments).lower()
    return not any(stem in text for stem in stems)


def _last_sentence(tail: str) -> str:
    """The words of the last sentence or line, or nothing if it is not one of several."""
    sentences = [part for part in _SENTENCE_END.split(tail) if part.strip()]
    if len(sentences) < 2:
        return ""
    words = _WORD.findall(_APOSTROPHE.sub("", sentences[-1]).lower())
    return " ".join(words) if len(words) in LAST_WORDS else ""


def _lines(head: str) -> list[str]:
    found = []
    for line in head.split("\n", MAX_LINES)[:MAX_LINES]:
        text = " ".join(line.split()).lower()
        if MIN_LINE_CHARS <= len(text) <= MAX_LINE_CHARS:
            found.append(LINE + text[:MAX_KEY_CHARS])
    return found
