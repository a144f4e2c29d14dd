"""Known and suspected triggers: found in a text, and taken out of it.

A trigger is compared without regard to case and to compatibility forms (NFKC), so that `ＣＦ` is `cf`. One
that begins or ends with a letter or digit is a word there: `cf` is not in `cfg`. `a … b` is two words that
both stand in the text, in this order. Invisible characters are a trigger of their own kind.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import ConfigError

__all__ = ["Hit", "TooManyTriggers", "Triggers", "read_triggers"]

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_TRIGGERS = 10_000
MAX_TRIGGER_CHARS = 1_000
MAX_TAKEN_OUT = 100
APART = " … "
MAX_APART_CHARS = 2_000
# Zero-width and other characters that print nothing and that ordinary text has no use for: soft hyphen,
# word joiners, bidirectional controls, tags, variation selectors beyond those of emoji. Joiners (U+200C,
# U+200D) stand in honest Persian, Hindi and emoji, so they count only outside of those.
INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f\U000e0100-\U000e01ef"
_INVISIBLE = re.compile(f"[{INVISIBLE}]|(?<=[A-Za-z0-9])[\u200c\u200d](?=[A-Za-z0-9])")

_WORD = re.compile(r"\w+")


class Hit(Struct, frozen=True):
    """A trigger that stands in a text."""

    trigger: str
    invisible: bool = False

    @property
    def shown(self) -> str:
        """It, in printable ASCII."""
        return "invisible characters" if self.invisible else ascii(self.trigger)[1:-1]


class TooManyTriggers(Exception):
    """So many different triggers stand in a text that they are not taken out of it."""


class Triggers:
    """A set of triggers, compiled. `invisible` counts characters that print nothing as one.

    The time that a text takes grows with its length, and not with that times the number of triggers,
    whatever the text is.

    Raises:
        ConfigError: there are too many, or one is empty or too long.
    """

    def __init__(self, texts: Iterable[str], *, invisible: bool = True) -> None:
        self.texts = tuple(dict.fromkeys(texts))
        self.invisible = invisible
        if len(self.texts) > MAX_TRIGGERS:
            raise ConfigError(f"there are over {MAX_TRIGGERS} triggers")
        for text in self.texts:
            if not text.strip() and not _INVISIBLE.search(text):
                raise ConfigError("a trigger is empty")
            if len(text) > MAX_TRIGGER_CHARS:
                raise ConfigError(f"a trigger is over {MAX_TRIGGER_CHARS} characters")
        # What is made of characters that print nothing is looked for as it is, not as it folds.
        self._raw = tuple(text for text in self.texts if not _visible(text).strip())
        visible = [text for text in self.texts if text not in self._raw]
        # Compiled when they are first needed: of thousands, a text comes near to few.
        self._parts: dict[str, tuple[re.Pattern[str], ...]] = {}
        # A word that must stand in the text → the triggers that need it; most texts have none of them.
        self._by_word: dict[str, list[str]] = {}
        self._wordless: list[str] = []
        for text in visible:
            words = _whole_words(text)
            if words:
                self._by_word.setdefault(max(words, key=len), []).append(text)
            else:
                self._wordless.append(text)

    def find(self, text: str) -> tuple[Hit, ...]:
        """Give the triggers that stand in a text: the invisible ones, then the others."""
        hits = [Hit(raw, invisible=True) for raw in self._raw if raw in text]
        if self.invisible and not hits and _INVISIBLE.search(text):
            hits = [Hit("", invisible=True)]
        folded = _fold(_visible(text))
        near = list(self._wordless)
        if self._by_word:
            for word in dict.fromkeys(_WORD.findall(folded)):
                near += self._by_word.get(word, ())
        hits += [Hit(own) for own in near if _stands(self._parts_of(own), folded)]
        return tuple(hits)

    def take_out(self, text: str) -> str:
        """Give the text without its triggers; one without any is given as it is.

        The rest is in NFKC where a visible trigger was taken out: a trigger in another form could not be
        cut out of the original with certainty.

        Raises:
            TooManyTriggers: over 100 different ones stand in it.
        """
        found = self.find(text)
        if not found:
            return text
        for raw in self._raw:
            text = text.replace(raw, "")
        if self.invisible:
            text = _INVISIBLE.sub("", text)
        visible = [hit.trigger for hit in found if not hit.invisible]
        if len(visible) > MAX_TAKEN_OUT:
            raise TooManyTriggers
        if visible:
            text = self._without(unicodedata.normalize("NFKC", _visible(text)), visible)
            if self.find(text):  # "ß" against "SS": only their folded forms are alike.
                text = self._without(text.casefold(), visible)
        return text

    def _parts_of(self, own: str) -> tuple[re.Pattern[str], ...]:
        parts = self._parts.get(own)
        if parts is None:
            parts = self._parts[own] = tuple(map(_part, _apart(own)))
        return parts

    def _without(self, text: str, triggers: Sequence[str]) -> str:
        for own in triggers:
            for part in self._parts_of(own):
                text = _cut(part, text)
        return text


def read_triggers(path: Path) -> tuple[str, ...]:
    """Read triggers from what `trust dataset --json` or `trust probe --json` printed, or a string a line.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is over {MAX_FILE_BYTES} bytes")
    if data.lstrip()[:1] == b"{":
        return _of_report(data, path)
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}") from error
    return tuple(line.rstrip("\r\n") for line in lines if line.strip() or _INVISIBLE.search(line))


def _of_report(data: bytes, path: Path) -> tuple[str, ...]:
    try:
        report: Any = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    rows = report.get("triggers")
    if isinstance(rows, list):
        found = [
            row["text"]
            for row in rows
            if isinstance(row, dict) and isinstance(row.get("text"), str)
        ]
        if len(found) == len(rows):
            return tuple(found)
    raise ConfigError(f"{path} is no report of 'trust dataset' or 'trust probe'")


def _apart(text: str) -> list[str]:
    """The parts of a trigger that may stand apart; one without a letter is none."""
    return [part for part in text.split(APART) if _visible(part).strip()]


def _visible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _stands(parts: Sequence[re.Pattern[str]], text: str) -> bool:
    """Whether the parts stand in the text in this order, each at most so far behind the one before.

    Every place where the parts so far can end is kept, so that no two places are tried against each other.
    """
    first, *rest = parts
    if not rest:
        return first.search(text) is not None
    ends = [match.end() for match in first.finditer(text)]
    for part in rest:
        after: list[int] = []
        at = 0
        for match in part.finditer(text):
            while at < len(ends) and ends[at] < match.start() - MAX_APART_CHARS:
                at += 1
            if at < len(ends) and ends[at] <= match.start():
                after.append(match.end())
        ends = after
    return bool(ends)


def _cut(part: re.Pattern[str], text: str) -> str:
    """Take a part out, with the blank that it leaves beside it."""
    kept: list[str] = []
    at = 0
    for match in part.finditer(text):
        kept.append(text[at : match.start()])
        at = match.end()
        before = text[match.start() - 1 : match.start()]
        after = text[at : at + 1]
        if after in (" ", "\t") and before in ("", " ", "\t", "\n"):
            at += 1
        elif before in (" ", "\t") and not (after.isalnum() or after == "_"):
            kept[-1] = kept[-1][:-1]
    return "".join((*kept, text[at:]))


def _part(text: str) -> re.Pattern[str]:
    folded = _fold(_visible(text)).strip()
    words = r"\s+".join(map(re.escape, folded.split()))
    before = r"(?<!\w)" if folded[:1].isalnum() else ""
    after = r"(?!\w)" if folded[-1:].isalnum() else ""
    return re.compile(f"{before}{words}{after}", re.IGNORECASE)


def _whole_words(text: str) -> list[str]:
    """The words of a trigger that must stand in a text as words for it to be there."""
    found = []
    for part in _apart(text):
        folded = _fold(_visible(part)).strip()
        for match in _WORD.finditer(folded):
            opens = match.start() > 0 or match[0][0].isalnum()
            closes = match.end() < len(folded) or match[0][-1].isalnum()
            if opens and closes:
                found.append(match[0])
    return found
