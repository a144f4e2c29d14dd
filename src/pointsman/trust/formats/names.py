"""Names of files and of members of archives: what leads outside, and what looks like another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from pointsman.trust.formats.context import Scan
from pointsman.trust.rules.archives import ARCHIVE_ESCAPE

__all__ = ["check_member_name", "confusable", "escapes", "hidden_letters", "same_but_for_form"]

_DRIVE = re.compile(r"^[A-Za-z]:")
_SCRIPTS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_WORD = re.compile(r"[^\W\d_]{2,}")


def escapes(name: str) -> bool:
    """Whether a name, joined to a folder, would lead out of it on any common system."""
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or bool(_DRIVE.match(name)) or ".." in parts or "\0" in name


def check_member_name(name: str, path: str, scan: Scan) -> None:
    """Note a member of an archive whose name leads outside."""
    if escapes(name):
        scan.add(
            ARCHIVE_ESCAPE, path, f"The member {name[:200]!r} would be written outside the folder."
        )


def hidden_letters(text: str) -> list[tuple[int, str]]:
    """Give (index, name) of each letter that can't be seen or that turns the direction of text."""
    found = []
    for index, letter in enumerate(text):
        if ord(letter) < 0x20 or ord(letter) == 0x7F:
            if letter not in "\t\n\r":
                found.append((index, f"U+{ord(letter):04X}"))
        elif ord(letter) > 0x7F and _is_unseen(letter, text[index - 1 : index]):
            found.append((index, unicodedata.name(letter, f"U+{ord(letter):04X}")))
    return found


def _is_unseen(letter: str, before: str) -> bool:
    code = ord(letter)
    if 0xFE00 <= code <= 0xFE0F:
        # One after a sign chooses its form; more of them in a row spell bytes.
        return not before or 0xFE00 <= ord(before) <= 0xFE0F or before.isalpha()
    if 0xE0000 <= code <= 0xE0FFF:
        # Tags and the further selectors, with all that is not yet given out between them.
        return True
    return unicodedata.category(letter) in _UNSEEN or letter in _BLANKS


# Format characters (zero width, direction, tags), private use, lone surrogates, controls.
_UNSEEN = {"Cf", "Co", "Cs", "Cc"}
_BLANKS = "\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5"


def confusable(name: str) -> str | None:
    """Say why a name may not be what it looks like; None where there is no reason."""
    unseen = hidden_letters(name)
    if unseen:
        return f"holds {unseen[0][1]}, which can't be seen"
    if name.isascii():
        return None
    for word in _WORD.findall(name):
        scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in word}
        mixed = sorted(scripts & set(_SCRIPTS))
        if len(mixed) > 1:
            return f"mixes letters that are {' and '.join(mixed).lower()}"
    return None


def same_but_for_form(names: Iterable[str]) -> list[tuple[str, str]]:
    """Give pairs of names that a file system without case, or with one Unicode form, takes as one."""
    seen: dict[str, str] = {}
    pairs = []
    for name in names:
        key = unicodedata.normalize("NFKC", name).casefold()
        if key in seen and seen[key] != name:
            pairs.append((seen[key], name))
        seen.setdefault(key, name)
    return pairs
