"""The prompts for the teacher, one Markdown file each, and how they are filled in.

`{{name}}` in a prompt is a blank. `PROMPTS_VERSION` rises with each change that alters what a
teacher answers; the hash of all files goes into a model's manifest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

__all__ = ["PROMPTS", "PROMPTS_VERSION", "fill", "prompts_sha256"]

PROMPTS_VERSION = "1"
PROMPTS = ("plan", "plan_repair", "generate", "boundary", "label", "label_many")
_BLANK = re.compile(r"\{\{(\w+)\}\}")


@cache
def _read(name: str) -> str:
    return files(__name__).joinpath(f"{name}.md").read_text("utf-8")


def fill(name: str, values: Mapping[str, str]) -> str:
    """Give a prompt with its blanks filled; what is filled in is not searched for blanks.

    A line that holds nothing but a blank is left out where the blank is empty.

    Raises:
        KeyError: a blank has no value.
    """
    lines = []
    for line in _read(name).strip().splitlines():
        filled = _BLANK.sub(lambda match: values[match[1]], line)
        if filled.strip() or not line.strip():
            lines.append(filled)
    return "\n".join(lines)


def prompts_sha256() -> str:
    """Give the hash over the names and texts of all prompts, in hexadecimal."""
    whole = hashlib.sha256()
    for name in PROMPTS:
        whole.update(f"{name}\0{_read(name)}\0".encode())
    return whole.hexdigest()
