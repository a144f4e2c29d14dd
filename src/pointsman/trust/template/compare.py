"""Compares chat templates with the base model's, as a difference that a person can read."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence

from pointsman.trust.formats.context import Scan, Template
from pointsman.trust.rules.templates import TEMPLATE_DIFFERS

__all__ = ["compare_templates", "difference", "template_sha256"]

MAX_SHOWN_LINES = 200
MAX_LINES = 20_000
_TAG = re.compile(r"(\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\})", re.S)


def template_sha256(text: str) -> str:
    """Give the hash of a template's text as UTF-8; lone surrogates count as they are escaped."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def difference(base: str, text: str) -> list[str]:
    """Give the lines of a unified difference; none where they differ in white space alone.

    A template that is one long line is cut at its tags first, so that a change shows as a line.
    """
    lines = list(difflib.unified_diff(_lines(base), _lines(text), "base", "this", lineterm="", n=2))
    if len(lines) > MAX_SHOWN_LINES:
        more = len(lines) - MAX_SHOWN_LINES
        lines = [*lines[:MAX_SHOWN_LINES], f"… {more} more lines"]
    return [line if line.isprintable() else ascii(line)[1:-1] for line in lines]


def _lines(text: str) -> list[str]:
    pieces = [piece for line in text.splitlines() for piece in _TAG.split(line)]
    return [" ".join(piece.split()) for piece in pieces if piece.strip()][:MAX_LINES]


def compare_templates(found: Sequence[Template], base: Iterable[Template], scan: Scan) -> None:
    """Report each template that differs from the base's of its name, or from any of the base's."""
    by_name = {each.name: each for each in base}
    if not found:
        scan.cannot_check("chat template", "there is none here to compare with the base's")
    for template in found:
        against = by_name.get(template.name) or next(iter(by_name.values()))
        if any(not difference(each.text, template.text) for each in by_name.values()):
            continue
        lines = difference(against.text, template.text)
        added = sum(1 for line in lines if line.startswith("+") and not line.startswith("+++"))
        gone = sum(1 for line in lines if line.startswith("-") and not line.startswith("---"))
        text = "\n".join(lines)
        scan.add(
            TEMPLATE_DIFFERS,
            template.path,
            f"It differs from the base's ({added} lines more, {gone} fewer):\n{text}",
        )
