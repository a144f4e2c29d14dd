"""HTML as text, in which everything is escaped that was not made here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["Raw", "page_text", "table", "tag"]

# Embeddings, overrides and isolates of the bidirectional algorithm.
TURNS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


class Raw(str):
    """Markup that was made here and is put in as it is."""

    __slots__ = ()


def page_text(text: str) -> str:
    """Give a text of unknown origin as HTML: escaped, and what cannot be seen in it made visible.

    A control character is no character of HTML, and a terminal that shows the file may act on it; a
    mark that turns the direction makes a text read otherwise than it is.
    """
    return escape("".join(map(_visible, text)))


def _visible(letter: str) -> str:
    if letter < " " and letter not in "\n\t":
        return chr(0x2400 + ord(letter))
    if letter in TURNS or "\x7f" <= letter < "\xa0":
        return f"⟨U+{ord(letter):04X}⟩"
    return letter


def tag(name: str, *parts: str, kind: str = "") -> Raw:
    """Give an element with its parts, those that are not `Raw` escaped; `kind` is its class."""
    inner = "".join(part if isinstance(part, Raw) else page_text(part) for part in parts)
    return Raw(f"<{name}{_kind(kind)}>{inner}</{name}>")


def table(
    heads: Sequence[str] | None,
    rows: Sequence[Sequence[str]],
    kinds: Sequence[str] = (),
) -> Raw:
    """Give a table that scrolls by itself; `kinds` are the classes of its columns.

    A head that begins with # is of a column of numbers.

    A text is set apart from what is around it, so that one written from right to left, or with marks
    that turn the direction, moves nothing else.
    """
    columns = [head.startswith("#") for head in heads or ()]
    number = [*columns, *[False] * (max(map(len, rows), default=0) - len(columns))]
    found = []
    if heads:
        cells = [
            tag("th", head.lstrip("#"), kind=_column(column, number, kinds))
            for column, head in enumerate(heads)
        ]
        found.append(tag("tr", *cells))
    for row in rows:
        cells = []
        for column, value in enumerate(row):
            inner = (
                value
                if isinstance(value, Raw)
                else Raw(f'<bdi dir="auto">{page_text(value)}</bdi>')
            )
            cells.append(tag("td", inner, kind=_column(column, number, kinds)))
        found.append(tag("tr", *cells))
    return Raw(f'<div class="scroll"><table>{"".join(found)}</table></div>')


def _column(column: int, number: Sequence[bool], kinds: Sequence[str]) -> str:
    if number[column]:
        return "number"
    return kinds[column] if column < len(kinds) else ""


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
