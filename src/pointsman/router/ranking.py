"""Ranks a route's candidates for a request: hard limits, then expected utility under the dial. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence

from msgspec import Struct

from pointsman.errors import RouteError
from pointsman.router.decision import INFINITE, Decision, View, price_of
from pointsman.router.facts import Facts
from pointsman.router.limits import NO_LIMITS, Limits, unfit
from pointsman.router.online import Context, Offset, explored
from pointsman.router.outlook import Outlook, outlook, probability
from pointsman.router.prognosis import Level, shift
from pointsman.router.steps import Classify, Heard
from pointsman.types import Ability, Chat, ModelCard, PromptReading

__all__ = ["MARGIN", "Situation", "decide", "ranked", "spread_of"]

# What another model must gain, in probability of success, for a conversation to leave its own.
MARGIN = 0.03
# One of unknown price counts as this much dearer than the dearest that is known.
UNPRICED = 1.01
# Providers cache no shorter prompts.
# Source: platform.openai.com/docs/guides/prompt-caching and
# platform.claude.com/docs/en/build-with-claude/prompt-caching (1,024 tokens and more, by model), read 2026-11.
LEAST_CACHED_TOKENS = 1024


class Situation(Struct, frozen=True, kw_only=True):
    """A request, its route, and what is known of both.

    `abilities` by ref are the classifier's, empty without one. `dial` is what was set, `per_usd` what
    a dollar weighs by it, in successes: 0 at the best, infinite at the cheapest; None if that was never
    calibrated. `level` is the run's trouble and `trouble` its signs in words. `offset` gives what outcomes
    add. `current` is the model that the conversation is with, `warm` the tokens of it that are in a
    candidate's cache. `explore` is the share of requests that may try another, `seed` makes that exact in
    a replay. `stream` says that the answer is streamed.
    """

    facts: Facts
    cards: tuple[ModelCard, ...]
    chat: Chat | None = None
    route: str = ""
    abilities: Mapping[str, Ability] = {}
    limits: Limits = NO_LIMITS
    dial: float = 0.5
    per_usd: float | None = None
    level: Level | None = None
    trouble: tuple[str, ...] = ()
    offset: Callable[[Context, str], Offset] | None = None
    current: str | None = None
    warm: Mapping[str, int] = {}
    margin: float = MARGIN
    explore: float = 0.0
    seed: int = 0
    stream: bool = False


def ranked(situation: Situation, explore: float = 0.0) -> Generator[Classify, Heard, Decision]:
    """Decide by expected utility, in steps: the classifier is asked only if its word matters.

    Raises:
        RouteError: no candidate can serve the request; says why for each.
    """
    fit, excluded = _fit(situation)
    if len(fit) == 1:
        only = "only candidate" if not excluded else "only candidate that can serve it"
        return _by_ladder(situation, fit, 0, only, excluded)
    dial = situation.dial
    if dial == 0.0 and situation.current is None:
        ladder = sorted(fit, key=price_of)
        return _by_ladder(situation, ladder, 0, "dial at cheapest", excluded)
    reading = None
    if situation.abilities:
        reading = yield Classify(situation.facts.text)
    if not isinstance(reading, PromptReading):
        ladder = sorted(fit, key=price_of)
        rung = 0 if dial < 0.5 else len(ladder) - 1
        why = "dial at best" if dial == 1.0 else "no classifier; by the dial alone"
        return _by_ladder(situation, ladder, rung, why, excluded)
    views = _views(situation, reading, fit)
    decision = _decision(situation, reading, views, excluded, fit)
    return _tried(situation, decision, explore) if explore > 0.0 else decision


def decide(situation: Situation, reading: PromptReading | None) -> Decision:
    """Drive `ranked` with a reading that is at hand.

    Raises:
        RouteError: as `ranked`.
    """
    policy = ranked(situation)
    try:
        next(policy)
        policy.send(reading)
    except StopIteration as done:
        decision: Decision = done.value
        return decision
    raise AssertionError("the policy asked twice")


def spread_of(
    reading: PromptReading,
    cards: Sequence[ModelCard],
    abilities: Mapping[str, Ability],
    facts: Facts,
) -> list[tuple[Outlook, float, bool]]:
    """Give each candidate's outlook, its cost with an unknown one filled in, and whether it was known."""
    outlooks = [outlook(reading, abilities[card.ref], card, facts) for card in cards]
    dearest = max((each.cost_usd for each in outlooks if each.cost_usd is not None), default=0.0)
    return [
        (each, each.cost_usd, True)
        if each.cost_usd is not None
        else (each, dearest * UNPRICED, False)
        for each in outlooks
    ]


def _fit(situation: Situation) -> tuple[list[ModelCard], list[tuple[str, str]]]:
    fit: list[ModelCard] = []
    excluded: list[tuple[str, str]] = []
    for card in situation.cards:
        why = unfit(situation.facts, card, situation.limits)
        if why is None:
            fit.append(card)
        else:
            excluded.append((card.ref, why))
    if not fit:
        each = "; ".join(f"{ref}: {why}" for ref, why in excluded) or "it has no candidates"
        raise RouteError(f"no candidate of the route can serve this request: {each}")
    return fit, excluded


def _views(situation: Situation, reading: PromptReading, cards: list[ModelCard]) -> list[View]:
    """The candidates as they are seen in this conversation, the best first."""
    spread = spread_of(reading, cards, situation.abilities, situation.facts)
    per_usd = _weight(situation)
    kept = situation.current
    if kept is not None and all(card.ref != kept for card in cards):
        kept = None
    calm = situation.offset is None and (situation.level is None or not situation.level.excess)
    low, high = (0.0, 0.0) if calm else _ends(spread)
    found = []
    for card, (each, cost, priced) in zip(cards, spread, strict=True):
        moved, sd, p, saved = 0.0, each.sd, each.p_success, 0.0
        if not calm:
            strength = 1.0 if high == low else (each.logit - low) / (high - low)
            moved, sd = _moved(situation, reading, each, strength)
            p = probability(each.logit + moved, sd)
        if situation.warm:
            saved = _saved(situation, card)
            cost = max(cost - saved, 0.0)
        utility = -cost if per_usd == INFINITE else p - per_usd * cost
        if kept is not None and card.ref != kept and per_usd != INFINITE:
            utility -= situation.margin
        found.append(View(card.ref, p, each.logit, sd, moved, cost, saved, priced, utility))
    found.sort(key=lambda view: (-view.utility, view.cost_usd))
    return found


def _ends(spread: Sequence[tuple[Outlook, float, bool]]) -> tuple[float, float]:
    logits = [each.logit for each, _, _ in spread]
    return min(logits), max(logits)


def _weight(situation: Situation) -> float:
    if situation.dial == 0.0:
        return INFINITE
    if situation.dial == 1.0 or situation.per_usd is None:
        return 0.0
    return situation.per_usd


def _moved(
    situation: Situation, reading: PromptReading, each: Outlook, strength: float
) -> tuple[float, float]:
    """What the run and earlier outcomes add to a candidate's logit, and the spread with it."""
    moved, sd = 0.0, each.sd
    trouble = 0.0
    if situation.level is not None:
        trouble = situation.level.excess
        moved = shift(situation.level, strength)
    if situation.offset is not None:
        context = Context(
            situation.route,
            each.logit,
            reading.difficulty,
            reading.rank,
            trouble,
            reading.loadings,
        )
        learned = situation.offset(context, each.ref)
        if learned.seen > 0.0:
            # Outcomes speak of the same uncertainty as the ability's own: they narrow it.
            moved += learned.logit
            sd = min(sd, math.hypot(learned.sd, 0.5 * each.sd))
    return moved, sd


def _saved(situation: Situation, card: ModelCard) -> float:
    """What the warm part of a candidate's prompt cache saves, in US dollars."""
    warm = min(situation.warm.get(card.ref, 0), situation.facts.prompt_tokens)
    if (
        warm < LEAST_CACHED_TOKENS
        or card.cached_usd_per_mtok is None
        or card.input_usd_per_mtok is None
    ):
        return 0.0
    return warm * max(card.input_usd_per_mtok - card.cached_usd_per_mtok, 0.0) / 1e6


def _decision(
    situation: Situation,
    reading: PromptReading,
    views: list[View],
    excluded: list[tuple[str, str]],
    fit: list[ModelCard],
) -> Decision:
    chosen = views[0]
    reasons = [_reason(situation, views)]
    if not chosen.priced:
        reasons.append("its price is unknown: taken as the dearest")
    if excluded:
        reasons.append(f"{len(excluded)} excluded")
    return Decision(
        chosen=chosen.ref,
        order=tuple(view.ref for view in views),
        dial=situation.dial,
        reasons=tuple(reasons),
        reading=reading,
        views=tuple(views),
        excluded=tuple(excluded),
        fit=tuple(fit),
        per_usd=_weight(situation),
    )


def _reason(situation: Situation, views: list[View]) -> str:
    """What decided, most particular first: the run, the conversation, then the dial."""
    chosen = views[0]
    current = situation.current
    per_usd = _weight(situation)
    level = situation.level
    moved = situation.offset is not None or (level is not None and level.excess != 0.0)
    if per_usd != INFINITE and moved:
        calm = max(
            views,
            key=lambda v: (
                probability(v.logit, v.sd)
                - per_usd * v.cost_usd
                - (situation.margin if current not in (None, v.ref) else 0.0)
            ),
        )
        if calm.ref != chosen.ref and level is not None and level.excess > 0.0:
            return f"trouble in the run ({', '.join(situation.trouble) or 'earlier on'})"
        if calm.ref != chosen.ref and chosen.shift > calm.shift:
            return "earlier outcomes speak for it"
    if current == chosen.ref:
        free = max(
            views, key=lambda v: v.p_success - min(per_usd, 1e12) * (v.cost_usd + v.warm_usd)
        )
        if free.ref != chosen.ref:
            return "kept: a switch costs more than it gains"
    prefix = f"leaves {current}: " if current and current != chosen.ref else ""
    if situation.dial == 0.0:
        return f"{prefix}dial at cheapest"
    if situation.dial == 1.0:
        return f"{prefix}dial at best"
    if chosen.cost_usd <= min(view.cost_usd for view in views):
        return f"{prefix}the cheapest will do"
    if chosen.p_success >= max(view.p_success for view in views):
        return f"{prefix}worth the strongest"
    return f"{prefix}the most for its price"


def _tried(situation: Situation, decision: Decision, share: float) -> Decision:
    """Another candidate in a share of the requests, to learn how it does; the dial bounds its cost."""
    offset = situation.offset
    if offset is None:
        return decision
    reading = decision.reading
    costs = {view.ref: view.cost_usd for view in decision.views}
    offsets = {
        view.ref: offset(
            Context(
                situation.route,
                view.logit,
                reading.difficulty if reading else 0.0,
                reading.rank if reading else 0.5,
                situation.level.excess if situation.level else 0.0,
                reading.loadings if reading else (),
            ),
            view.ref,
        )
        for view in decision.views
    }
    # The dial's own bound is what it may cost; the draw must come again in a replay.
    draw = random.Random(situation.seed)  # noqa: S311  # no secret
    taken = explored(
        decision.chosen,
        costs,
        offsets,
        share=share,
        dial=situation.dial,
        draw=draw,
        logits={view.ref: view.logit + view.shift for view in decision.views},
        per_usd=decision.per_usd or 0.0,
    )
    if taken == decision.chosen:
        return _with(decision, decision.views, decision.reasons, 1.0 - share)
    first = next(view for view in decision.views if view.ref == taken)
    rest = tuple(view for view in decision.views if view.ref != taken)
    return _with(decision, (first, *rest), ("tried, to learn", *decision.reasons[1:]), share)


def _with(
    decision: Decision, views: tuple[View, ...], reasons: tuple[str, ...], share: float
) -> Decision:
    return Decision(
        chosen=views[0].ref,
        order=tuple(view.ref for view in views),
        dial=decision.dial,
        reasons=reasons,
        reading=decision.reading,
        views=views,
        excluded=decision.excluded,
        fit=decision.fit,
        per_usd=decision.per_usd,
        share=share,
    )


def _by_ladder(
    situation: Situation,
    ladder: Sequence[ModelCard],
    rung: int,
    reason: str,
    excluded: Sequence[tuple[str, str]],
) -> Decision:
    """By price alone: dearer ones are the first fall-backs, the nearest first, then cheaper ones."""
    above = [card.ref for card in ladder[rung + 1 :]]
    below = [card.ref for card in reversed(ladder[:rung])]
    chosen = ladder[rung]
    reasons = [reason]
    if rung and price_of(chosen) == INFINITE:
        reasons.append("its price is unknown: taken as the dearest")
    if excluded:
        reasons.append(f"{len(excluded)} excluded")
    return Decision(
        chosen=chosen.ref,
        order=(chosen.ref, *above, *below),
        dial=situation.dial,
        reasons=tuple(reasons),
        excluded=tuple(excluded),
        fit=tuple(ladder),
    )
