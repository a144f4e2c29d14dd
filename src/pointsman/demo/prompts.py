"""The demo's prompts: real rows of public benchmarks, from easy to hard, with their licences."""

from __future__ import annotations

from importlib.resources import files

import msgspec
from msgspec import Struct

__all__ = ["Prompt", "load_prompts"]


class Prompt(Struct, frozen=True):
    """One prompt. `difficulty` is the share of recorded models that got it wrong, 0 to 1."""

    id: str
    prompt: str
    benchmark: str
    licence: str
    origin: str
    difficulty: float


def load_prompts() -> list[Prompt]:
    """Give the shipped prompts, the easiest first. Reads the package's data."""
    lines = files("pointsman").joinpath("data/demo/prompts.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Prompt) for line in lines]
