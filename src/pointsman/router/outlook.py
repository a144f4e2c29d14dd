"""What a candidate promises on a prompt: the probability of a good answer, its length and its cost.

A multidimensional item-response model: the logit of a good answer is theta·loadings − difficulty.
What is not known of the model or the prompt widens its spread and pulls the probability to a half.
"""

from __future__ import annotations

import math
from operator import mul
from typing import Protocol

from msgspec import Struct

from pointsman.types import Ability, ModelCard, PromptReading, Usage

__all__ = ["Outlook", "Request", "outlook", "probability", "success_logit"]

# How far, in logits, prompts unlike all of training lie from what is said of them.
UNFAMILIAR_SD = 1.0
# A tool call of nothing costs something.
LEAST_ANSWER_TOKENS = 1.0


class Request(Protocol):
    """What must be known of a request, in tokens; `answer_tokens` is the most that it may get."""

    @property
    def prompt_tokens(self) -> int:
        """The prompt's length."""
        ...

    @property
    def answer_tokens(self) -> int:
        """The answer's limit."""
        ...


class Outlook(Struct, frozen=True):
    """What a candidate promises. `p_success` is calibrated; `logit` is the middle, `sd` its spread.

    `cost_usd` is that of the prompt and of `answer_tokens`; None where a price is unknown.
    """

    ref: str
    p_success: float
    logit: float
    sd: float
    answer_tokens: float
    cost_usd: float | None


def outlook(reading: PromptReading, ability: Ability, card: ModelCard, facts: Request) -> Outlook:
    """Give what a candidate promises on a prompt, with nothing yet known of this user's traffic."""
    logit = success_logit(reading, ability)
    sd = math.hypot(ability.sd, UNFAMILIAR_SD * (1 - reading.familiar))
    tokens = max(
        min(reading.answer_tokens * ability.verbosity, float(facts.answer_tokens)),
        LEAST_ANSWER_TOKENS,
    )
    cost = 0.0 if card.local else card.cost_usd(Usage(facts.prompt_tokens, round(tokens)))
    return Outlook(card.ref, probability(logit, sd), logit, sd, tokens, cost)


def success_logit(reading: PromptReading, ability: Ability) -> float:
    """Give theta·loadings − difficulty."""
    told: float = sum(map(mul, ability.theta, reading.loadings))
    return told - reading.difficulty


def probability(logit: float, sd: float) -> float:
    """Give the mean of the logistic curve over a normal spread around `logit`.

    Source: MacKay, "The evidence framework applied to classification networks", Neural Computation
    4 (1992), 5: the variance shrinks the logit by 1 / √(1 + π·sd²/8).
    """
    x = logit / math.sqrt(1 + math.pi * sd * sd / 8)
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    small = math.exp(x)
    return small / (1 + small)
