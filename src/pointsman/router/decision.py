"""A decision: who is asked, what each candidate promises, and why."""

from __future__ import annotations

from msgspec import Struct

from pointsman.router.ability import blended_usd_per_mtok
from pointsman.types import ModelCard, PromptReading

__all__ = ["INFINITE", "Decision", "View", "price_of"]

INFINITE = float("inf")


class View(Struct, frozen=True):
    """What is thought of a candidate that can serve the request.

    `p_success` is from all signals together, `logit` the prompt's alone, `shift` what the run and
    earlier outcomes add to it. `cost_usd` is expected, and less where the candidate's cache of this
    conversation is warm (`warm_usd` is what that saves); `priced` is false where a price is unknown and
    the dearest was taken. `utility` is in units of success: p − cost / worth of a success.
    """

    ref: str
    p_success: float
    logit: float
    sd: float
    shift: float
    cost_usd: float
    warm_usd: float
    priced: bool
    utility: float


class Decision(Struct, frozen=True):
    """A choice with its reasons.

    `order` are the refs to ask, the chosen one first and then the fall-backs. `views` are of all fit
    candidates, in that order; empty without a classifier. `fit` are their cards. `per_usd` is what a
    dollar weighs, in successes: 0 at the best, infinite at the cheapest. `share` is the probability with
    which an exploring policy takes the chosen one.
    """

    chosen: str
    order: tuple[str, ...]
    dial: float
    reasons: tuple[str, ...]
    reading: PromptReading | None = None
    views: tuple[View, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    fit: tuple[ModelCard, ...] = ()
    per_usd: float | None = None
    share: float = 1.0

    @property
    def prices(self) -> tuple[tuple[str, float | None], ...]:
        """The blended price of each fit candidate, the cheapest first; None is unknown."""
        return tuple(
            (card.ref, None if (price := price_of(card)) == INFINITE else max(price, 0.0))
            for card in sorted(self.fit, key=price_of)
        )

    def header(self) -> str:
        """Give the decision in short, in ASCII; it holds nothing of the prompt."""
        fields = [f"choice={self.chosen}"]
        if self.views:
            fields.append(f"p={self.views[0].p_success:.2f}")
            fields.append(f"cost={self.views[0].cost_usd:.6f}")
        fields += [f"dial={self.dial:.3g}", f'why="{"; ".join(self.reasons)}"']
        if len(self.order) > 1:
            fields.append(f"next={self.order[1]}")
            if len(self.views) > 1:
                fields.append(f"next_p={self.views[1].p_success:.2f}")
                fields.append(f"next_cost={self.views[1].cost_usd:.6f}")
        line = "; ".join(fields).encode("ascii", "replace").decode()
        return line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)


def price_of(card: ModelCard) -> float:
    """US dollars per million tokens, three parts input to one part output; below 0 for a local model,
    infinite if unknown."""
    if card.local:
        return -1.0  # Before a remote model that is free as well.
    price = blended_usd_per_mtok(card)
    return INFINITE if price is None else price
