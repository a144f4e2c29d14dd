"""A row of a fine-tuning set: what is asked, and what is to be answered."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Row"]


class Row(Struct, frozen=True, array_like=True):
    """A prompt in its segments (instruction and input, or turns), and the answer, None if there is none.

    `index` counts the rows of the file from 0; `line` is where it stands, from 1. `name` is the
    row's own id, if it has one.
    """

    index: int
    line: int
    segments: tuple[str, ...]
    response: str | None
    name: str | None = None
