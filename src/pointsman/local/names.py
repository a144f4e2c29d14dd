"""What a local model may be called, and which one a caller means."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote, unquote

__all__ = ["LATEST", "folder_of", "is_name", "match_name", "name_of"]

LATEST = "latest"
MAX_NAME_CHARS = 200
# `smollm2`, `qwen3:8b`, `user/repo:Q4_K_M`: no part begins with a dot, so none is a path upwards.
_NAME = re.compile(
    r"(?!.*/\.)[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*(:[A-Za-z0-9_.\-]+)?"
)


def is_name(name: str) -> bool:
    """Whether a model may have this name: letters, digits and `._-`, parts by `/`, a tag after `:`."""
    return len(name) <= MAX_NAME_CHARS and _NAME.fullmatch(name) is not None


def folder_of(name: str) -> str:
    """The name of a model's folder: `/` and `:` cannot stand in one everywhere."""
    return quote(name, safe="")


def name_of(folder: str) -> str | None:
    """The model's name that a folder's name stands for; None if it is no model's."""
    name = unquote(folder)
    return name if is_name(name) and folder_of(name) == folder else None


def match_name(asked: str, names: Collection[str]) -> str | None:
    """Give the one of `names` that is meant by `asked`; None if there is none, or no single one.

    In this order: the name itself; with `:latest` left out or put in; the same in another case
    (only of letters); the one name that is `asked` with a tag.
    """
    base, _, tag = asked.partition(":")
    tries = [asked]
    if not tag:
        tries.append(f"{asked}:{LATEST}")
    elif tag.lower() == LATEST:
        tries.append(base)
    for each in tries:
        if each in names:
            return each
    folded = {name.lower(): name for name in names}
    for each in tries:
        if each.lower() in folded:
            return folded[each.lower()]
    tagged = [] if tag else [name for name in names if name.lower().startswith(f"{asked.lower()}:")]
    return tagged[0] if len(tagged) == 1 else None
