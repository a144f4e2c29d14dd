"""What a router's file says of itself."""

from __future__ import annotations

from bisect import bisect_right

from msgspec import Struct

from pointsman.router.ability import Abilities
from pointsman.router.features import SURFACE

__all__ = ["Card", "Curve"]


class Curve(Struct, frozen=True):
    """From the strong model's gain in probability to the logit that the weak one will do:
    offset − slope · gain.
    """

    slope: float
    offset: float


class Card(Struct, frozen=True):
    """What a router's file says of itself.

    `rows` have the outcomes of both of the pair, `other_rows` those of other models. `curve` is the
    pair's, `any_curve` that of two models of any name. `quantiles` are 101 values of `p_weak`,
    ascending, from calibration; `surface_means` the average prompt's surface; `known` how common a
    prompt's words are on average where it counts as wholly unfamiliar and as wholly familiar.
    """

    features: int
    strong: str
    weak: str
    rows: int
    other_rows: int
    data_sha256: str
    licence: str
    created: str
    curve: Curve
    any_curve: Curve
    quantiles: tuple[float, ...]
    surface_means: tuple[float, ...]
    known: tuple[float, float]
    abilities: Abilities

    def __post_init__(self) -> None:
        if len(self.quantiles) < 2 or list(self.quantiles) != sorted(self.quantiles):
            raise ValueError("quantiles must be at least two values, ascending")
        if len(self.surface_means) != len(SURFACE):
            raise ValueError(f"surface_means must be {len(SURFACE)} values")
        if self.known[0] >= self.known[1]:
            raise ValueError("known must be two values, ascending")
        if self.strong not in self.abilities.recorded or self.weak not in self.abilities.recorded:
            raise ValueError("the pair has no recorded ability")
        sizes = {len(theta) for theta in self.abilities.recorded.values()}
        if sizes != {len(self.abilities.mean)}:
            raise ValueError("abilities must be of one size")

    def rank(self, p_weak: float) -> float:
        """Give the share of the calibration prompts below `p_weak`, interpolated."""
        quantiles = self.quantiles
        place = bisect_right(quantiles, p_weak)
        if place == 0:
            return 0.0
        if place == len(quantiles):
            return 1.0
        low, high = quantiles[place - 1], quantiles[place]
        return (place - 1 + (p_weak - low) / (high - low)) / (len(quantiles) - 1)

    def familiar(self, common: float) -> float:
        """Give how familiar a prompt is, 0 to 1, by how common its words are on average."""
        low, high = self.known
        return min(max((common - low) / (high - low), 0.0), 1.0)
