"""What is asked for: briefs by attribute combinations, and the questions that carry them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.teacher.asking import Question
from pointsman.distill.teacher.cover import covering
from pointsman.distill.teacher.plan import Brief, Plan, PlannedClass, Task
from pointsman.distill.teacher.prompts import fill
from pointsman.types import Chat, Message, ResponseFormat, Text

__all__ = ["Briefs", "Pair", "RowsQuestion", "boundary_question", "rows_question"]

# Models that think do it within the limit of their answer.
TOKENS_BASE = 3_000
TOKENS_PER_ROW = 240
MAX_EXAMPLES = 4
MAX_EXAMPLE_CHARS = 600
NONE_SHARE = 0.08
SEVERAL_SHARE = 0.35
_FACTORS = ("writers", "registers", "lengths", "forms", "noises", "dialects", "languages")
_SINGULAR = dict(
    zip(
        _FACTORS,
        ("writer", "register", "length", "form", "noise", "dialect", "language"),
        strict=True,
    )
)
_ROW = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "text": {"type": "string"}},
    "required": ["id", "text"],
    "additionalProperties": False,
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"rows": {"type": "array", "items": _ROW}},
    "required": ["rows"],
    "additionalProperties": False,
}
ROWS_FORMAT = ResponseFormat("json_schema", _SCHEMA, "rows", strict=True)


class Pair(Struct, frozen=True):
    """Two classes that a student mixes up, with texts that it got wrong."""

    first: str
    second: str
    mistakes: tuple[str, ...] = ()


class RowsQuestion(Struct, frozen=True):
    """A question for rows, and the brief of each by its id."""

    question: Question
    briefs: dict[int, Brief]


class Briefs:
    """An endless supply of briefs for each class, no combination twice in a row of passes."""

    def __init__(self, plan: Plan, task: Task, seed: int) -> None:
        self._plan = plan
        self._task = task
        self._chooser = random.Random(f"{seed}/briefs")  # noqa: S311  # a design, no secret
        self._designs: dict[str, Iterator[dict[str, str]]] = {
            each.name: covering(_factors(plan, each), f"{seed}/{each.name}")
            for each in plan.classes
        }

    def take(self, name: str, count: int) -> list[Brief]:
        """Give the next briefs of a class; for multi-label rows some name further classes, or none."""
        return [
            Brief(labels=self._labels(name), attributes=next(self._designs[name]))
            for _ in range(count)
        ]

    def _labels(self, name: str) -> tuple[str, ...]:
        if not self._task.multi:
            return (name,)
        draw = self._chooser.random()
        if draw < NONE_SHARE:
            return ()
        others = [each for each in self._plan.names if each != name]
        if draw < NONE_SHARE + SEVERAL_SHARE and others:
            return (name, self._chooser.choice(others))
        return (name,)


def _factors(plan: Plan, each: PlannedClass) -> Mapping[str, Sequence[str]]:
    factors: dict[str, Sequence[str]] = {
        "situation": (*each.situations, *(f"near the edge: {edge}" for edge in each.edge_cases))
    }
    for name in _FACTORS:
        factors[_SINGULAR[name]] = getattr(plan, name)
    return factors


def rows_question(
    briefs: Sequence[Brief], name: str, plan: Plan, task: Task, *, index: int, seed: int
) -> RowsQuestion:
    """Give the question for texts of one class, one for each brief."""
    each = plan.named(name)
    numbered = dict(enumerate(briefs, 1))
    others = "\n".join(
        f"- {other.name}: {other.definition}" for other in plan.classes if other.name != name
    )
    values = {
        "task": task.words,
        "label": name,
        "definition": each.definition,
        "others": others,
        "examples": _examples(task.examples, f"{seed}/{index}"),
        "count": str(len(numbered)),
        "briefs": _listed(numbered, with_labels=task.multi),
    }
    return RowsQuestion(_question("generate", index, fill("generate", values), numbered), numbered)


def boundary_question(
    briefs: Sequence[Brief], pair: Pair, plan: Plan, task: Task, *, index: int
) -> RowsQuestion:
    """Give the question for texts near the line between two classes."""
    numbered = dict(enumerate(briefs, 1))
    mistakes = ""
    if pair.mistakes:
        shown = "\n".join(
            msgspec.json.encode(text[:MAX_EXAMPLE_CHARS]).decode() for text in pair.mistakes
        )
        mistakes = f"Texts that it got wrong:\n{shown}"
    values = {
        "task": task.words,
        "first": pair.first,
        "first_definition": plan.named(pair.first).definition,
        "second": pair.second,
        "second_definition": plan.named(pair.second).definition,
        "mistakes": mistakes,
        "count": str(len(numbered)),
        "briefs": _listed(numbered, with_labels=True),
    }
    return RowsQuestion(_question("boundary", index, fill("boundary", values), numbered), numbered)


def _question(stage: str, index: int, prompt: str, briefs: Mapping[int, Brief]) -> Question:
    chat = Chat(
        model="",
        messages=(Message("user", (Text(prompt),)),),
        response_format=ROWS_FORMAT,
        max_tokens=TOKENS_BASE + TOKENS_PER_ROW * len(briefs),
    )
    return Question(stage=stage, index=index, chat=chat)


def _listed(briefs: Mapping[int, Brief], *, with_labels: bool) -> str:
    lines = []
    for number, brief in briefs.items():
        row: dict[str, Any] = {"id": number}
        if with_labels:
            several = len(brief.labels) != 1
            row["classes" if several else "class"] = brief.labels if several else brief.labels[0]
        lines.append(msgspec.json.encode({**row, **brief.attributes}).decode())
    return "\n".join(lines)


def _examples(examples: Sequence[str], seed: str) -> str:
    if not examples:
        return ""
    chooser = random.Random(seed)  # noqa: S311  # a sample, no secret
    shown = chooser.sample(list(examples), min(MAX_EXAMPLES, len(examples)))
    listed = "\n".join(msgspec.json.encode(text[:MAX_EXAMPLE_CHARS]).decode() for text in shown)
    return (
        "Real texts, of any class. Take over how they sound and how untidy they are, never what they"
        f" say:\n{listed}"
    )
