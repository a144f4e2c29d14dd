"""What is verified: a model by its name, its files and where it came from."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

__all__ = ["Subject"]


class Subject(Struct, frozen=True):
    """A model that is to be verified. `paths` are the files and folders that make it up, each whole.

    A single folder's files are named by their paths within it; several paths by their last parts.
    `source` and `commit` say where it came from, where that is known.
    """

    name: str
    paths: tuple[Path, ...]
    source: str = ""
    commit: str = ""
