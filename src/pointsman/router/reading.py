"""What a prompt asks for: the skills it leans on, how hard it is, and how long its answer will be.

The skills are: being able at all (1 for every prompt); the prompt's ease (by how much more an abler
kind of model gains on easy prompts); and two numbers that set each of the router's pair apart. The
last two are drawn to 0 where a prompt is unlike those of training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pointsman.types import PromptReading

__all__ = ["PromptReading", "read_heads"]

# The bounds of an answer's expected length, in tokens.
LEAST_TOKENS, MOST_TOKENS = 1.0, 100_000.0


def read_heads(heads: Sequence[float], familiar: float, rank: float) -> PromptReading:
    """Give the reading that a graph's heads mean; see `export`. The fifth head is not used here."""
    ease, weak, strong, log_tokens = heads[:4]
    tokens = math.exp(min(max(log_tokens, math.log(LEAST_TOKENS)), math.log(MOST_TOKENS)))
    return PromptReading(
        (1.0, ease, weak * familiar, strong * familiar), -ease, tokens, rank, familiar
    )
