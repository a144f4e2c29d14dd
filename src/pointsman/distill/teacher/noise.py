"""Realistic untidiness: typing errors, casing, marks, emoji, a text cut short. Pure, by seed."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable

__all__ = ["noisy"]

_NEIGHBOURS = {
    "a": "sqz", "b": "vgn", "c": "xdv", "d": "sfe", "e": "wrd", "f": "dgr", "g": "fht", "h": "gjy",
    "i": "uok", "j": "hku", "k": "jli", "l": "kop", "m": "nj", "n": "bmh", "o": "ipl", "p": "ol",
    "q": "wa", "r": "etf", "s": "adw", "t": "ryg", "u": "yij", "v": "cbf", "w": "qes", "x": "zcs",
    "y": "tuh", "z": "xas",
}  # fmt: skip
_EMOJI = ("🙏", "😡", "😀", "🤔", "👍", "😭", "❤️", "!!", "🙄", "😅")
MIN_WORDS_TO_CUT = 8
MAX_ERRORS = 6
_MARKS = re.compile(r"[.,;:!?'\"…。、！？]+")


def noisy(text: str, seed: int | str) -> str:
    """Give the text made untidy in one or two ways; the same one for the same seed.

    What it means stays: a text is cut at its end only, and keeps two thirds of its words.
    """
    chooser = random.Random(f"{seed}/{zlib.crc32(text.encode('utf-8', 'surrogatepass'))}")  # noqa: S311
    for change in chooser.sample(_CHANGES, chooser.choice((1, 1, 2))):
        text = change(text, chooser)
    return text


def _typos(text: str, chooser: random.Random) -> str:
    spots = [at for at, char in enumerate(text) if char.lower() in _NEIGHBOURS]
    count = min(max(len(spots) // 25, 1), MAX_ERRORS, len(spots))
    chars = list(text)
    for at in sorted(chooser.sample(spots, count), reverse=True):
        char = chars[at]
        kind = chooser.randrange(4)
        if kind == 0:
            chars[at] = chooser.choice(_NEIGHBOURS[char.lower()])
        elif kind == 1:
            del chars[at]
        elif kind == 2:
            chars.insert(at, char)
        elif at + 1 < len(chars):
            chars[at], chars[at + 1] = chars[at + 1], char
    return "".join(chars) if "".join(chars).strip() else text


def _casing(text: str, chooser: random.Random) -> str:
    kind = chooser.randrange(6)
    if kind == 0:
        return text.upper()
    return text.lower() if kind < 5 else text.title()


def _marks(text: str, chooser: random.Random) -> str:
    bare = _MARKS.sub("", text)
    return bare if bare.strip() else text


def _emoji(text: str, chooser: random.Random) -> str:
    return f"{text.rstrip()} {chooser.choice(_EMOJI) * chooser.choice((1, 1, 2))}"


def _cut(text: str, chooser: random.Random) -> str:
    words = text.split()
    if len(words) < MIN_WORDS_TO_CUT:
        return text
    return " ".join(words[: chooser.randint(2 * len(words) // 3, len(words) - 1)])


def _spaces(text: str, chooser: random.Random) -> str:
    gaps = [at for at, char in enumerate(text) if char == " "]
    if not gaps:
        return text
    at = chooser.choice(gaps)
    return text[:at] + chooser.choice(("", "  ", "\n")) + text[at + 1 :]


_CHANGES: list[Callable[[str, random.Random], str]] = [
    _typos, _typos, _casing, _marks, _emoji, _cut, _spaces,
]  # fmt: skip
