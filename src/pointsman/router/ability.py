"""How able a model is: from recorded outcomes, else from public scores, else from its price."""

from __future__ import annotations

import math
import re
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from pointsman.types import Ability, Classifier, ModelCard

__all__ = [
    "Abilities",
    "Ability",
    "Line",
    "PublicScore",
    "ability_of",
    "blended_usd_per_mtok",
    "canonical",
    "price_place",
    "public_scores",
    "score_place",
]

SHIPPED = "data/router/abilities.json"
# Prompts are longer than answers, most of the time.
INPUT_PARTS, OUTPUT_PARTS = 3.0, 1.0
# Below this a price says nothing more; a model that is free counts as this dear.
LEAST_USD_PER_MTOK = 0.02

# What sets one serving of a model apart from another, and says nothing of how able it is.
_DATE = re.compile(r"-(?:20\d{2}-\d{2}-\d{2}|20\d{6})(?=-|$)")
_SERVING = re.compile(r"-(?:instruct|chat|it|hf|fp8|bf16|awq|gptq|int4|int8|latest|preview)(?=-|$)")
# Bedrock's `-v1:0`, a tag after a colon, an edition after an @.
_TAIL = re.compile(r"(?:-v\d+:\d+|:.*|@.*)$")


class Line(Struct, frozen=True):
    """Ability by one number: theta = intercept + slope · place, with its error `sd` in logits, found
    on models that were left out. `places` are the least and the greatest that it was fitted on.
    """

    intercept: tuple[float, ...]
    slope: tuple[float, ...]
    sd: float
    places: tuple[float, float]

    def theta(self, place: float) -> tuple[float, ...]:
        """Give the ability at a place."""
        return tuple(a + b * place for a, b in zip(self.intercept, self.slope, strict=True))


class PublicScore(Struct, frozen=True):
    """A public benchmark's score of a model, 0 to 1; `url` is where it stands, `date` its edition."""

    model: str
    benchmark: str
    score: float
    date: str
    url: str


class _Shipped(Struct):
    scores: list[PublicScore]


class Abilities(Struct, frozen=True):
    """What a router knows of models, by name. `mean` and `mean_sd` stand for one of which nothing is
    known; `recorded_sd` (logits) is how unsure a recorded ability is; `verbosity` is the length of a
    model's answers, 1 for the average.
    """

    recorded: dict[str, tuple[float, ...]]
    verbosity: dict[str, float]
    recorded_sd: float
    public: Line | None
    price: Line | None
    mean: tuple[float, ...]
    mean_sd: float
    date: str = ""

    def of(self, model: str, price_usd_per_mtok: float | None = None) -> Ability:
        """Give a model's ability, from the best that is known of it."""
        wordy = self.verbosity.get(model, 1.0)
        theta = self.recorded.get(model)
        if theta is not None:
            return Ability(theta, self.recorded_sd, "recorded outcomes", self.date, wordy)
        plain = canonical(model)
        for name in sorted(self.recorded, reverse=True):
            if canonical(name) == plain:
                theta, wordy = self.recorded[name], self.verbosity.get(name, 1.0)
                return Ability(theta, self.recorded_sd, "recorded outcomes", self.date, wordy)
        score = public_scores().get(plain)
        if score is not None and self.public is not None:
            theta = self.public.theta(score_place(score.score))
            return Ability(theta, self.public.sd, f"public scores: {score.benchmark}", score.date)
        if price_usd_per_mtok is not None and self.price is not None:
            theta = self.price.theta(price_place(price_usd_per_mtok))
            return Ability(theta, self.price.sd, "its price")
        return Ability(self.mean, self.mean_sd, "nothing known")


def ability_of(card: ModelCard, classifier: Classifier) -> Ability:
    """Give the ability of a route's candidate as a classifier knows it."""
    return classifier.ability(card.model, None if card.local else blended_usd_per_mtok(card))


def blended_usd_per_mtok(card: ModelCard) -> float | None:
    """Give a model's price in US dollars per million tokens, three parts input to one part output."""
    if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return None
    parts = INPUT_PARTS + OUTPUT_PARTS
    return (INPUT_PARTS * card.input_usd_per_mtok + OUTPUT_PARTS * card.output_usd_per_mtok) / parts


def canonical(model: str) -> str:
    """Give a model's name without its owner, its date and how it is served; not for display."""
    name = _TAIL.sub("", model.lower().rpartition("/")[2])
    name = name.replace(".", "-").replace("_", "-").replace(" ", "-")
    name = name.removeprefix("anthropic-").removeprefix("meta-")
    name = _SERVING.sub("", _SERVING.sub("", _DATE.sub("", name)))
    # Only there does it name a way of serving; gpt-4-turbo is another model than gpt-4.
    return name.removesuffix("-turbo") if name.startswith("llama") else name


def price_place(price_usd_per_mtok: float) -> float:
    """Give where a price lies on a `Line`: its natural logarithm."""
    return math.log(max(price_usd_per_mtok, LEAST_USD_PER_MTOK))


def score_place(score: float) -> float:
    """Give where a public score lies on a `Line`: its logit."""
    score = min(max(score, 0.01), 0.99)
    return math.log(score / (1 - score))


@cache
def public_scores() -> dict[str, PublicScore]:
    """Give the public scores that come with Pointsman, by canonical name. Reads the package's data."""
    path = files("pointsman").joinpath(SHIPPED)
    shipped = msgspec.json.decode(path.read_bytes(), type=_Shipped)
    return {canonical(each.model): each for each in shipped.scores}
