"""How able a model is: from recorded outcomes, else from public scores, else from its price."""

from __future__ import annotations

import math

from msgspec import Struct

from pointsman.types import Ability, Classifier, ModelCard

__all__ = ["Abilities", "Ability", "PriceLine", "ability_of", "blended_usd_per_mtok"]

# Prompts are longer than answers, most of the time.
INPUT_PARTS, OUTPUT_PARTS = 3.0, 1.0
# Below this a price says nothing more; a model that is free counts as this dear.
LEAST_USD_PER_MTOK = 0.02


class PriceLine(Struct, frozen=True):
    """Ability by price: theta = intercept + slope · ln(US dollars per million tokens), with its error
    `sd` in logits.
    """

    intercept: tuple[float, ...]
    slope: tuple[float, ...]
    sd: float

    def theta(self, price_usd_per_mtok: float) -> tuple[float, ...]:
        """Give the ability that models of a price have on average."""
        at = math.log(max(price_usd_per_mtok, LEAST_USD_PER_MTOK))
        return tuple(a + b * at for a, b in zip(self.intercept, self.slope, strict=True))


class Abilities(Struct, frozen=True):
    """What a router knows of models. `mean` and `mean_sd` stand for one of which nothing is known;
    `recorded_sd` (logits) is how unsure a recorded ability is.
    """

    recorded: dict[str, tuple[float, ...]]
    recorded_sd: float
    price: PriceLine
    mean: tuple[float, ...]
    mean_sd: float
    date: str = ""

    def of(self, model: str, price_usd_per_mtok: float | None = None) -> Ability:
        """Give a model's ability, from the best that is known of it."""
        theta = self.recorded.get(model)
        if theta is not None:
            return Ability(theta, self.recorded_sd, "recorded outcomes", self.date)
        if price_usd_per_mtok is not None:
            return Ability(self.price.theta(price_usd_per_mtok), self.price.sd, "its price")
        return Ability(self.mean, self.mean_sd, "nothing known")


def ability_of(card: ModelCard, classifier: Classifier) -> Ability:
    """Give the ability of a route's candidate as a classifier knows it."""
    return classifier.ability(card.model, None if card.local else blended_usd_per_mtok(card))


def blended_usd_per_mtok(card: ModelCard) -> float | None:
    """Give a model's price in US dollars per million tokens, three parts input to one output."""
    if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return None
    parts = INPUT_PARTS + OUTPUT_PARTS
    return (INPUT_PARTS * card.input_usd_per_mtok + OUTPUT_PARTS * card.output_usd_per_mtok) / parts
