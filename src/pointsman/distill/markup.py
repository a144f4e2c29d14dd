"""HTML as text, in which everything is escaped that was not made here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["Raw", "page_text", "table", "tag"]


class Raw(str):
    """Markup that was made here and is put in as it is."""

    __slots__ = ()


def page_text(text: str) -> str:
    """Give a text of unknown origin as HTML: escaped, and its control characters made visible.

    A control character is no character of HTML, and some terminals act on it when the file is shown.
    """
    shown = "".join(
        chr(0x2400 + ord(each)) if each < " " and each not in "\n\t" else each for each in text
    )
    return escape(shown.replace("\x7f", "␡"))


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
