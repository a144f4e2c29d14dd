"""The hard limits of a request and its route: who cannot serve it, or may not, whatever the dial."""

from __future__ import annotations

from msgspec import Struct

from pointsman.router.facts import Facts
from pointsman.types import ModelCard

__all__ = ["NO_LIMITS", "Limits", "forbidden", "most_usd", "unfit"]


class Limits(Struct, frozen=True):
    """What a route, its budget and the caller's key allow. Costs in US dollars.

    `left_usd` is what is left of the day's budget. `residency` are the regions a candidate may be in;
    a model run here is in the region `local`. `allowed` are the refs that the caller may use, None
    for all.
    """

    max_cost_usd: float | None = None
    left_usd: float | None = None
    residency: tuple[str, ...] = ()
    verified_only: bool = False
    allowed: frozenset[str] | None = None


NO_LIMITS = Limits()


def unfit(facts: Facts, card: ModelCard, limits: Limits = NO_LIMITS) -> str | None:
    """Give why a candidate is out; None if it may be asked."""
    need = facts.prompt_tokens + facts.answer_tokens
    if card.context_tokens is not None and need > card.context_tokens:
        return f"about {need} tokens of {card.context_tokens}"
    if facts.vision and not card.vision:
        return "no vision"
    if facts.tools and not card.tools:
        return "no tools"
    if facts.json_schema and not card.json_schema:
        return "no JSON schema"
    return forbidden(facts, card, limits)


def forbidden(facts: Facts, card: ModelCard, limits: Limits) -> str | None:
    """Give why the route or the caller's key does not let a candidate be asked; None if they do."""
    if limits is NO_LIMITS:
        return None
    if limits.allowed is not None and card.ref not in limits.allowed:
        return "not among the models of this key"
    if limits.residency and (card.region or "unknown") not in limits.residency:
        return f"region {card.region or 'unknown'}"
    if limits.verified_only and not card.verified:
        return "not verified"
    if limits.max_cost_usd is None and limits.left_usd is None:
        return None
    most = most_usd(facts, card)
    if most is None:
        return "no known price, and there is a cap"
    if limits.max_cost_usd is not None and most > limits.max_cost_usd:
        return f"up to ${most:.6f} of ${limits.max_cost_usd:g}"
    if limits.left_usd is not None and most > limits.left_usd:
        return f"up to ${most:.6f} of ${max(limits.left_usd, 0.0):.6f} left today"
    return None


def most_usd(facts: Facts, card: ModelCard) -> float | None:
    """Give the most that a request may cost: its whole prompt uncached, and all the answer it may get."""
    if card.local:
        return 0.0
    if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return None
    return (
        facts.prompt_tokens * card.input_usd_per_mtok
        + facts.answer_tokens * card.output_usd_per_mtok
    ) / 1e6
