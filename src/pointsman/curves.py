"""A route's curve: quality against cost at each setting of the dial, and what it would have meant for the
traffic of the last week; beside it how its A/B stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from pointsman.calibration import LEAST_TRAFFIC, Bench, traffic_rows
from pointsman.resolve import Plan
from pointsman.router.dial import LEVELS, Curve, Option, Scale, best, curve_of, scale_of
from pointsman.router.experiment import Arm, Verdict, verdict_of
from pointsman.router.outcomes import Outcome

__all__ = ["WEEK_S", "Report", "Week", "WeekLevel", "report_of", "traffic_scale"]

WEEK_S = 7 * 86_400.0


class WeekLevel(Struct, frozen=True):
    """What a setting would have done to the week: its expected quality and its cost."""

    dial: float
    quality: float
    cost_usd: float


class Week(Struct, frozen=True):
    """The last seven days of a route. `weighed` are the requests in which all candidates were, and
    `levels` are about those; `cost_usd` is what all of them cost, as far as it is known.
    """

    requests: int
    weighed: int
    cost_usd: float
    levels: tuple[WeekLevel, ...]


class Report(Struct, frozen=True):
    """A route's curve. `calibrated_on` says in words what stands behind it; `dial` is where the route is
    set now, by whatever key sets it. `curve` is None where there is no router.
    """

    route: str
    policy: str
    dial: float
    calibrated_on: str
    curve: Curve | None
    week: Week
    ab: Verdict | None = None
    unknown: tuple[str, ...] = ()


def report_of(
    plan: Plan,
    bench: Bench,
    outcomes: Sequence[tuple[Outcome, float | None]],
    dial: float,
    levels: Sequence[float] = LEVELS,
) -> Report:
    """Give a route's report from its outcomes of the week, each with its reward if somebody gave one.

    Raises:
        MissingExtra: NumPy is not installed.
    """
    refs = [card.ref for card in bench.cards]
    rows = traffic_rows((outcome for outcome, _ in outcomes), refs)
    scale = bench.scale
    curve = None
    source = bench.source
    if len(rows) >= LEAST_TRAFFIC:
        scale, source = scale_of(rows), f"{len(rows)} requests of the last week"
        curve = curve_of(rows, scale, levels)
    elif scale is not None:
        curve = curve_of(bench.rows, scale, levels)
    week = Week(
        requests=len(outcomes),
        weighed=len(rows),
        cost_usd=round(sum(outcome.cost_usd or 0.0 for outcome, _ in outcomes), 9),
        levels=_on_traffic(rows, scale, levels),
    )
    spec = plan.spec
    return Report(
        route=plan.route or "",
        policy=plan.policy,
        dial=round(dial, 4),
        calibrated_on=source,
        curve=curve,
        week=week,
        ab=_compared(spec.ab.name, outcomes) if spec.ab is not None else None,
        unknown=tuple(c.ref for c in bench.cards if not c.local and c.input_usd_per_mtok is None),
    )


def traffic_scale(bench: Bench, outcomes: Sequence[Outcome]) -> Scale | None:
    """Give the scale on a route's own traffic; None while there is too little of it."""
    rows = traffic_rows(outcomes, [card.ref for card in bench.cards])
    return scale_of(rows) if len(rows) >= LEAST_TRAFFIC else None


def _on_traffic(
    rows: Sequence[Sequence[Option]], scale: Scale | None, levels: Sequence[float]
) -> tuple[WeekLevel, ...]:
    if scale is None or not rows:
        return ()
    found = []
    for dial in levels:
        weight = scale.at_dial(dial)
        taken = [best(row, weight) for row in rows]
        quality = sum(each.p_success for each in taken) / len(taken)
        cost = sum(each.cost_usd for each in taken)
        found.append(WeekLevel(dial, round(quality, 6), round(cost, 9)))
    return tuple(found)


def _compared(name: str, outcomes: Sequence[tuple[Outcome, float | None]]) -> Verdict:
    arms = []
    for side in ("control", "variant"):
        own = [(o, reward) for o, reward in outcomes if o.variant == f"{name}:{side}"]
        rewards = [reward for _, reward in own if reward is not None]
        cost = sum(o.cost_usd or 0.0 for o, _ in own)
        arms.append(Arm(side, len(rewards), sum(rewards), len(own), round(cost, 9)))
    return verdict_of(*arms)
