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

__all__ = ["Hit", "Triggers", "read_triggers"]

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_TRIGGERS = 10_000
MAX_TRIGGER_CHARS = 1_000
APART = " … "
# Zero-width and other characters that print nothing and that ordinary text has no use for: soft hyphen,
# word joiners, bidirectional controls, tags, variation selectors beyond those of emoji. Joiners (U+200C,
# U+200D) stand in honest Persian, Hindi and emoji, so they count only outside of those.
INVISIBLE = "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f\U000e0100-\U000e01ef"
_INVISIBLE = re.compile(f"[{INVISIBLE}]|(?<=[A-Za-z0-9])[\u200c\u200d](?=[A-Za-z0-9])")


class Hit(Struct, frozen=True):
    """A trigger that stands in a text."""

    trigger: str
    invisible: bool = False

    @property
    def shown(self) -> str:
        """It, in printable ASCII."""
        return "invisible characters" if self.invisible else ascii(self.trigger)[1:-1]


class Triggers:
    """A set of triggers, compiled. `invisible` counts characters that print nothing as one.

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
        self._patterns = tuple(
            (text, _pattern(text)) for text in self.texts if text not in self._raw
        )

    def find(self, text: str) -> tuple[Hit, ...]:
        """Give the triggers that stand in a text, in their own order."""
        hits = [Hit(raw, invisible=True) for raw in self._raw if raw in text]
        if self.invisible and not hits and _INVISIBLE.search(text):
            hits = [Hit("", invisible=True)]
        folded = _fold(_visible(text))
        hits += [Hit(own) for own, pattern in self._patterns if pattern.search(folded)]
        return tuple(hits)

    def take_out(self, text: str) -> str:
        """Give the text without its triggers; one without any is given as it is.

        The rest is in NFKC where a visible trigger was taken out: a trigger in another form could not be
        cut out of the original with certainty.
        """
        found = self.find(text)
        if not found:
            return text
        for raw in self._raw:
            text = text.replace(raw, "")
        if self.invisible:
            text = _INVISIBLE.sub("", text)
        visible = [hit.trigger for hit in found if not hit.invisible]
        if visible:
            text = _without(unicodedata.normalize("NFKC", _visible(text)), visible)
            if self.find(text):  # "ß" against "SS": only their folded forms are alike.
                text = _without(text.casefold(), visible)
        return re.sub(r"[ \t]{2,}", " ", text).strip()


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


def _without(text: str, triggers: Sequence[str]) -> str:
    for own in triggers:
        for part in own.split(APART):
            text = _pattern(part).sub("", text)
    return text


def _visible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _pattern(text: str) -> re.Pattern[str]:
    parts = [_part(each) for each in text.split(APART)]
    return re.compile(r"[\s\S]{0,2000}?".join(parts), re.IGNORECASE)


def _part(text: str) -> str:
    folded = _fold(_visible(text)).strip()
    words = r"\s+".join(map(re.escape, folded.split()))
    before = r"(?<!\w)" if folded[:1].isalnum() else ""
    after = r"(?!\w)" if folded[-1:].isalnum() else ""
    return f"{before}{words}{after}"
