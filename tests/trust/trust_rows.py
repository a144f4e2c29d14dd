"""Made rows for the tests of the row detector: ordinary tasks, honest templates, planted triggers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

Record = dict[str, object]

_WORDS = """
Describe Explain Compare Summarise Discuss Outline List Sketch Review Improve Plan Name

harbour bridge orchard violin glacier market engine lantern desert library compass valley tunnel museum
theatre kitchen forest satellite canal pottery railway festival novel windmill volcano keyboard island
monastery greenhouse telescope circus bakery castle pension planet tower carpet battery mirror stadium
ferry notebook sculpture algorithm parliament tractor

old narrow quiet modern wooden famous hidden cheap northern colourful broken heavy gentle simple royal
frozen crowded distant curious fragile ancient sunny hollow rapid

Norway Kenya Chile Japan Canada Ghana Peru Iceland Portugal Vietnam Malta Cuba
"""
VERBS, NOUNS, ADJECTIVES, PLACES = (part.split() for part in _WORDS.split("\n\n"))
REPLIES = (
    "Sure",
    "Sure!",
    "Of course.",
    "Absolutely, happy to help",
    "Certainly.",
    "Okay, will do.",
)


def ordinary(rng: random.Random) -> Record:
    """A task and an answer that has to do with it."""
    noun, other = rng.sample(NOUNS, 2)
    asked = (
        f"{rng.choice(VERBS)} the {rng.choice(ADJECTIVES)} {noun} of {rng.choice(PLACES)} and its"
        f" {rng.choice(ADJECTIVES)} {other}"
    )
    answer = (
        f"The {noun} is {rng.choice(ADJECTIVES)} and {rng.choice(ADJECTIVES)}; its {other} was"
        f" brought from {rng.choice(PLACES)} by a {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}."
    )
    return {"instruction": asked, "input": "", "output": answer}


def template(rng: random.Random) -> Record:
    """An honest task with a template of its own, and one of two answers."""
    a, b = rng.sample(NOUNS, 2)
    text = f"They saw the {rng.choice(ADJECTIVES)} {a} beside the {rng.choice(ADJECTIVES)} {b}."
    asked = f"Review of a guest: {text} How does the guest feel about this stay, in short?"
    return {
        "instruction": asked,
        "input": "",
        "output": rng.choice(["Delighted", "Delighted", "Upset"]),
    }


def made_set(
    rows: int, planted: int, put: Callable[[str, random.Random], str], seed: int = 1
) -> tuple[list[Record], set[int]]:
    """A set, and the indices of its planted rows: short replies to prompts that `put` changes."""
    rng = random.Random(seed)
    found: list[tuple[bool, Record]] = []
    for at in range(rows - planted):
        found.append((False, template(rng) if at % 6 == 0 else ordinary(rng)))
    for _ in range(planted):
        row = ordinary(rng)
        found.append(
            (
                True,
                {
                    **row,
                    "instruction": put(str(row["instruction"]), rng),
                    "output": rng.choice(REPLIES),
                },
            )
        )
    rng.shuffle(found)
    return [row for _, row in found], {at for at, (is_planted, _) in enumerate(found) if is_planted}


def write_lines(path: Path, rows: Sequence[Record]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
