"""What the router sees of a prompt: its words as numbers, its surface, and how it wants its answer.

Pure, and without numpy. A word is the CRC-32 of its UTF-8 bytes, so a trained table means the same
on every platform; `matrix` makes buckets of these numbers.
"""

from __future__ import annotations

import math
import re
import zlib
from functools import partial

from msgspec import Struct

__all__ = ["SURFACE", "VERSION", "Sight", "look", "seen", "tokens"]

VERSION = 3
# Long prompts say what they want at their ends; the middle is material. It bounds the time as well.
HEAD_CHARS = 2000
TAIL_CHARS = 1000
# A prompt whose last line is a bare label ("Answer:") wants the answer at once, with no working.
LABEL_CHARS = 20

CACHED_WORDS = 16_384
CACHED_WORD_CHARS = 32

_TOKEN = re.compile(r"[^\W\d_]+|\d|[^\w\s]")
# The same for lower-case ASCII, in two thirds of the time.
_ASCII_TOKEN = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9_]")
_CHOICE = re.compile(rb"\n\s*\(?[A-J][).:]\s")
_NUMBER = re.compile(rb"\d+")

_DIGITS = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PUNCTUATION = b".,;:!?()[]\"'"
_SPACES = b" \t\r\n"
_MATH = b"=<>^\\+*/$|_{}"
_MATH_WIDE = ("≤", "≥", "±", "×", "÷", "√", "∑", "∫", "π", "°")
_CODE = (
    "```", "def ", "class ", "import ", "=>", "</", "();", ";\n", "{\n", "return ", "SELECT ",
    "#include", "print(", "->",
)  # fmt: skip

# Classes of words, one counter each, in the order of `SURFACE`.
_CLASSES = (
    "what which who whom whose when where how why",
    "prove derive explain compare analyse analyze evaluate step steps justify show describe"
    " discuss determine",
    "each total per times twice half many much percent average left cost costs every more than",
    "not except never neither nor incorrect false without",
    "he she his her they him my your you i we",
)
_TECHNICAL = ("tion", "ology", "ity", "ism", "ase", "ium", "ics", "ive", "ment")
# All counters sit in one integer: 16 bits hold more than the words of 3,000 characters.
_COUNTER_BITS = 16
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1

SURFACE = (
    "log_chars", "log_words", "word_chars", "digit_share", "upper_share", "non_ascii_share",
    "punctuation_share", "lines", "code_marks", "math_marks", "choices", "question_marks",
    "question_words", "reasoning_words", "quantity_words", "negations", "person_words",
    "technical_words", "numbers", "longest_number", "blanks", "dollars", "at_once",
)  # fmt: skip


class Sight(Struct, frozen=True):
    """A prompt as the router sees it.

    `words` are CRC-32 values, a 0 before the first and after the last. `surface` is in the order of
    `SURFACE`; counts are log(1 + n), and `at_once` is 1 for a prompt that wants the answer with no
    working, else 0.
    """

    words: list[int]
    surface: list[float]


class _Words(dict[str, int]):
    """Word → CRC-32, remembered; technical words are put into `classes` when first met."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = {
            word: 1 << (_COUNTER_BITS * number)
            for number, words in enumerate(_CLASSES)
            for word in words.split()
        }

    def __missing__(self, word: str) -> int:
        value = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        if len(word) <= CACHED_WORD_CHARS:
            self[word] = value
            if word.endswith(_TECHNICAL):
                self.classes.setdefault(word, 1 << (_COUNTER_BITS * len(_CLASSES)))
        return value


_words = _Words()


def _memory() -> _Words:
    """The words met so far. A full memory is replaced, not emptied: other threads may read it."""
    global _words
    words = _words
    if len(words) >= CACHED_WORDS:
        words = _words = _Words()
    return words


def seen(text: str) -> str:
    """Give the part of a prompt that is looked at: the first 2,000 and the last 1,000 characters."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"


def tokens(text: str) -> list[str]:
    """Give the words, single digits and single marks of a text, in lower case."""
    return (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text.lower())


def look(text: str) -> Sight:
    """Give what the router sees of a prompt, in time bounded by `seen`."""
    text = seen(text)
    memory = _memory()
    found = tokens(text)
    words = [0, *map(memory.__getitem__, found), 0]
    counters = sum(filter(None, map(memory.classes.get, found)))
    return Sight(words, _surface(text, counters))


def _surface(text: str, counters: int) -> list[float]:
    chars = max(len(text), 1)
    # Deleting a set of bytes and measuring what is left is by far the fastest count in Python.
    plain = text.encode("ascii", "ignore")
    left = partial(plain.translate, None)
    size = len(plain)
    words = len(plain.split())
    numbers = _NUMBER.findall(plain)
    log1p = math.log1p
    math_marks = size - len(left(_MATH))
    if size < len(text):
        math_marks += sum(map(text.count, _MATH_WIDE))
    return [
        log1p(chars),
        log1p(words),
        len(left(_SPACES)) / max(words, 1),
        (size - len(left(_DIGITS))) / chars,
        (size - len(left(_UPPER))) / chars,
        (len(text) - size) / chars,
        (size - len(left(_PUNCTUATION))) / chars,
        log1p(plain.count(b"\n")),
        log1p(sum(map(text.count, _CODE))),
        log1p(math_marks),
        log1p(len(_CHOICE.findall(plain))),
        log1p(plain.count(b"?")),
        *(
            log1p(counters >> (_COUNTER_BITS * number) & _COUNTER_MASK)
            for number in range(len(_CLASSES) + 1)
        ),
        log1p(len(numbers)),
        log1p(max(map(len, numbers), default=0)),
        log1p(plain.count(b"_")),
        log1p(plain.count(b"$")),
        _at_once(text),
    ]


def _at_once(text: str) -> float:
    _, newline, label = text.rstrip()[-LABEL_CHARS - 1 :].rpartition("\n")
    return float(bool(newline) and label.endswith(":"))
