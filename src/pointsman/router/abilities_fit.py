"""What a router will know of models: recorded abilities, and lines to them from scores and prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.router.ability import (
    INPUT_PARTS,
    OUTPUT_PARTS,
    Abilities,
    canonical,
    price_place,
    public_scores,
    score_place,
)
from pointsman.router.thetas import fit_line

__all__ = ["abilities_of", "blended_prices"]

# Left over after 100 outcomes or more; in logits on an average prompt.
RECORDED_SD = 0.1
LEAST_SD = 0.2


class _Priced(Struct, rename={"input": "in", "output": "out"}):
    id: str
    input: float | None = None
    output: float | None = None


class _Prices(Struct):
    models: list[_Priced]


@cache
def blended_prices() -> dict[str, float]:
    """Give prices in US dollars per million tokens, three parts input to one part output, by canonical
    name; the cheapest where several providers serve a model. Reads the package's data.
    """
    path = files("pointsman").joinpath("data/models.json")
    found: dict[str, float] = {}
    for each in msgspec.json.decode(path.read_bytes(), type=_Prices).models:
        if each.input is None or each.output is None:
            continue
        price = (INPUT_PARTS * each.input + OUTPUT_PARTS * each.output) / (
            INPUT_PARTS + OUTPUT_PARTS
        )
        name = canonical(each.id)
        found[name] = min(found.get(name, price), price)
    return found


def abilities_of(
    names: Sequence[str],
    thetas: Any,
    verbosity: Mapping[str, float],
    loadings: Any,
    date: str,
) -> Abilities:
    """Give what a router will know of models, from their fitted abilities (models, skills)."""
    recorded = {
        name: tuple(round(float(value), 3) for value in theta)
        for name, theta in zip(names, thetas, strict=True)
    }
    average = loadings.mean(0)
    scores, prices = public_scores(), blended_prices()
    places = {
        name: score_place(scores[plain].score)
        for name in names
        if (plain := canonical(name)) in scores
    }
    costs = {
        name: price_place(prices[plain]) for name in names if (plain := canonical(name)) in prices
    }
    spread = float((thetas @ average).std())
    return Abilities(
        recorded=recorded,
        verbosity=dict(verbosity),
        recorded_sd=RECORDED_SD,
        public=fit_line(places, recorded, average),
        price=fit_line(costs, recorded, average),
        mean=(round(float((thetas @ average).mean()), 3), *[0.0] * (thetas.shape[1] - 1)),
        mean_sd=round(max(spread, LEAST_SD), 3),
        date=date,
    )
