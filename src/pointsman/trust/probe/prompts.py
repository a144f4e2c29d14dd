"""The prompts and words that a probe asks with: those that come with Pointsman, or the user's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import msgspec
from msgspec import Struct

from pointsman.errors import TrustError
from pointsman.trust.probe.measure import Probes

__all__ = ["read_prompts", "read_words"]

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_PROMPTS = 400
MAX_PROMPT_CHARS = 2000
PROMPTS = "data/trust/probe_prompts.json"
WORDS = "data/trust/probe_words.txt"


class _Prompts(Struct):
    neutral: list[str]
    safety: list[str]


def read_prompts(path: Path | None = None) -> Probes:
    """Give the prompts of a file, or without one those that come with Pointsman.

    Raises:
        TrustError: no JSON of that form, a prompt over 2,000 characters, or more than 400 of a kind.
    """
    try:
        found = msgspec.json.decode(_bytes(path, PROMPTS), type=_Prompts)
    except msgspec.DecodeError as error:
        raise TrustError(
            f"{path}: {error}; a file of prompts is {{'neutral': [...], 'safety': [...]}}"
        ) from error
    kinds = [tuple(dict.fromkeys(each)) for each in (found.neutral, found.safety)]
    for prompts in kinds:
        if len(prompts) > MAX_PROMPTS or any(len(text) > MAX_PROMPT_CHARS for text in prompts):
            raise TrustError(
                f"{path}: at most {MAX_PROMPTS} prompts of a kind, each of at most"
                f" {MAX_PROMPT_CHARS} characters"
            )
    return Probes(*kinds)


def read_words(path: Path | None = None) -> list[str]:
    """Give the strings of a word list, one a line, or those that come with Pointsman.

    Raises:
        TrustError: it cannot be read, or is no UTF-8.
    """
    try:
        text = _bytes(path, WORDS).decode("utf-8")
    except UnicodeDecodeError as error:
        raise TrustError(f"{path}: a word list is UTF-8 text: {error}") from error
    return [line for line in text.splitlines() if line.strip()]


def _bytes(path: Path | None, shipped: str) -> bytes:
    if path is None:
        return files("pointsman").joinpath(shipped).read_bytes()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TrustError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise TrustError(f"{path} is over {MAX_FILE_BYTES} bytes")
    return data
