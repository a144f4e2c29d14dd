"""Characters made alike: what the classifier reads of UTF-8 bytes, as tables that sit in its file.

Lower case, and one form for what looks or means the same: full-width and ASCII, curly and straight
quotes, every kind of white space. Letters keep their accents. The tables are data of the model, so
a file trained here reads text the same way under every Unicode version.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from msgspec import Struct

__all__ = ["BLOCK", "SINGLE", "SPACE", "WORD", "Tables", "tables"]

# Characters are looked up in blocks; a block with nothing to fold shares the empty row.
BLOCK = 64
# Those of plane 0, and a last one, with nothing to fold, for all planes above.
BLOCKS = 1025
# Classes of a character: a space, part of a word, a word by itself (marks, ideographs, emoji).
SPACE, WORD, SINGLE = 0, 1, 2

_FOLDED = (
    (0x0000, 0x0600),
    (0x10A0, 0x1100),
    (0x1E00, 0x2070),
    (0x20A0, 0x2140),
    (0x2190, 0x2200),
    (0x2C00, 0x2C80),
    (0x3000, 0x3040),
    (0xA640, 0xA780),
    (0xFE00, 0xFE80),
    (0xFEC0, 0x10000),
)
# Blocks whose characters are words by themselves: symbols, ideographs and kana, all from plane 1 up.
_SINGLE_BLOCKS = (
    (0x0080, 0x00C0),
    (0x2000, 0x2C00),
    (0x2E80, 0xA000),
    (0xE000, 0xFB00),
    (0xFE00, 0xFE80),
    (0xFF00, 0xFF40),
    (0xFFC0, 0x10040),
)
_PUNCTUATION = {
    "Pd": "-", "Ps": "(", "Pe": ")", "Pi": '"', "Pf": '"', "Pc": "_",
}  # fmt: skip
_ALIKE = {
    "‘": "'", "’": "'", "‚": "'", "‛": "'", "ʼ": "'", "′": "'", "`": "'", "´": "'",
    "…": ".", "。": ".", "،": ",", "、": ",", "؟": "?", "؛": ";", "।": ".",
}  # fmt: skip


class Tables(Struct, frozen=True):
    """Arrays of numpy.

    `lead` (256,) bool: a byte that starts a character; `more` (256,) uint8: how many follow it.
    `steps` (4, 4) int32: for each of these numbers, the weights of the character's first byte and
    the next three in its code point; `base` (4,) int32 what is added.
    `rows` (1025,) uint8: the row of a block of 64 code points in `targets`, (rows x 64,) uint16,
    where 0 stands for itself. `classes` (128 + 1025,) uint8: the class of a folded code, first of
    those below 128, then of each block.
    """

    lead: Any
    more: Any
    steps: Any
    base: Any
    rows: Any
    targets: Any
    classes: Any


@cache
def tables() -> Tables:
    """Give the tables; computed once."""
    import numpy as np

    first = np.arange(256)
    lead = (first < 0x80) | (first >= 0xC0)
    size = np.zeros(256, np.uint8)
    for low, bytes_more in ((0xC0, 1), (0xE0, 2), (0xF0, 3)):
        size[low:] = bytes_more
    steps = np.array([(1, 0, 0, 0), (64, 1, 0, 0), (4096, 64, 1, 0), (262144, 4096, 64, 1)])
    markers = np.array(
        [(0, 0, 0, 0), (0xC0, 0x80, 0, 0), (0xE0, 0x80, 0x80, 0), (0xF0, 0x80, 0x80, 0x80)]
    )
    base = -(steps * markers).sum(axis=1)
    rows, targets = _folds()
    return Tables(
        lead, size, steps.astype(np.int32), base.astype(np.int32), rows, targets, _classes()
    )


def _folds() -> tuple[Any, Any]:
    import numpy as np

    rows = np.zeros(BLOCKS, np.uint8)
    found = [np.zeros(BLOCK, np.uint16)]
    for low, high in _FOLDED:
        for start in range(low, high, BLOCK):
            block = np.array([_target(code) for code in range(start, start + BLOCK)], np.uint16)
            if block.any():
                rows[start // BLOCK] = len(found)
                found.append(block)
    return rows, np.concatenate(found)


def _classes() -> Any:
    import numpy as np

    found = np.full(128 + BLOCKS, WORD, np.uint8)
    for code in range(128):
        char = chr(code)
        found[code] = WORD if char.isalnum() or char == "'" else SINGLE
    found[0] = found[ord(" ")] = SPACE
    for low, high in _SINGLE_BLOCKS:
        found[128 + low // BLOCK : 128 + high // BLOCK] = SINGLE
    return found


def _target(code: int) -> int:
    """The code that stands for `code`, or 0 where it stands for itself."""
    char = chr(code)
    kind = unicodedata.category(char)
    if char.isspace() or kind in ("Cc", "Cf") or 0xFE00 <= code < 0xFE10:
        plain = " "
    elif char in _ALIKE:
        plain = _ALIKE[char]
    elif code >= 0x80 and kind in _PUNCTUATION:
        plain = _PUNCTUATION[kind]
    else:
        # Full-width forms and ligatures have a plain form of one character; accents stay.
        wide = unicodedata.normalize("NFKC", char) if code >= 0xFE00 else char
        plain = wide.lower() if len(wide.lower()) == 1 else char
    return ord(plain) if plain != char and ord(plain) < 0x10000 else 0
