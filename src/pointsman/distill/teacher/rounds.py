"""What a round asks for: so many rows of each class that lacks them, and some near the lines that a
student gets wrong. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from pointsman.distill.teacher.budget import Budget
from pointsman.distill.teacher.generate import Pair
from pointsman.distill.teacher.label import TOKENS_BASE, TOKENS_PER_TEXT
from pointsman.distill.teacher.plan import Plan
from pointsman.types import Chat, Message, Text

__all__ = ["Portion", "compose", "label_bound_usd"]

FIRST_QUESTIONS = 8
BOUNDARY_SHARE = 0.3
MIN_KEPT_SHARE = 0.2
LABEL_PROMPT_BYTES = 1_500
TEXT_BYTES = 600


class Portion(Struct, frozen=True):
    """One question's worth of rows: of a class, or on both sides of a line between two."""

    label: str
    rows: int
    pair: Pair | None = None


def compose(
    counts: Mapping[str, int],
    per_class: float,
    pairs: Sequence[Pair],
    *,
    first: bool,
    kept_share: float,
    rows_per_question: int,
    most: int,
) -> list[Portion]:
    """Give a round's questions, those for the scarcest class first.

    The first round is a small one: a teacher that is of no use shows before much is paid.
    `kept_share` is the share of rows asked for that were kept so far.
    """
    lacking = {
        name: max(per_class - count, 0.0) / max(kept_share, MIN_KEPT_SHARE)
        for name, count in counts.items()
    }
    questions = {name: math.ceil(rows / rows_per_question) for name, rows in lacking.items()}
    if first:
        most = min(most, max(FIRST_QUESTIONS, len(counts)))
    near = min(len(pairs), int(most * BOUNDARY_SHARE)) if sum(questions.values()) > 1 else 0
    found: list[Portion] = []
    while len(found) < most - near and any(questions.values()):
        name = max(questions, key=lambda each: (questions[each], -counts[each]))
        rows = min(math.ceil(lacking[name]), rows_per_question)
        found.append(Portion(name, max(rows, 1)))
        lacking[name] -= rows
        questions[name] -= 1
    boundary = [Portion(pair.first, rows_per_question, pair) for pair in pairs[:near]]
    return [*found, *boundary]


def label_bound_usd(budget: Budget, plan: Plan, rows: int) -> float:
    """Give the most that blind labels for the rows of one question should cost."""
    classes = sum(len(each.name) + 3 * len(each.definition) for each in plan.classes)
    prompt = Text("x" * (LABEL_PROMPT_BYTES + classes + rows * TEXT_BYTES))
    chat = Chat(
        model="",
        messages=(Message("user", (prompt,)),),
        max_tokens=TOKENS_BASE + TOKENS_PER_TEXT * rows * 3,
    )
    return budget.bound_usd(chat)
