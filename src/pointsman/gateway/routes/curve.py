"""`GET /pointsman/v1/routes/NAME/curve`: quality against cost, the last week's traffic, the A/B."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pointsman.curves import WEEK_S, report_of
from pointsman.errors import RequestError, UnknownModel
from pointsman.gateway.exchange import Exchange

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["PREFIX", "curve"]

PREFIX = "/pointsman/v1/routes/"
MAX_LEVELS = 101


async def curve(gateway: Gateway, exchange: Exchange) -> None:
    """Give a route's curve; `?levels=` says how many settings of the dial, 21 by default.

    Each level has the expected quality with its 95 % band, the share of the strongest candidate's
    quality that it keeps, the mean cost with its band, and who would answer; `week` what each would
    have done to the traffic of the last seven days.
    """
    name = exchange.path.removeprefix(PREFIX).removesuffix("/curve")
    door = gateway.door
    if not exchange.path.endswith("/curve") or name not in door.resolver.routes():
        known = ", ".join(door.resolver.routes())
        raise UnknownModel(f"no route '{name[:100]}'; there are {known}", param="path")
    levels = _levels(exchange.query().get("levels"))
    gateway.begin(exchange)
    plan = door.resolver.resolve(name)
    outcomes, since_s = door.routing.outcomes, time.time() - WEEK_S
    if outcomes.path is None:
        recorded = outcomes.rewarded(name, since_s)
    else:
        recorded = await asyncio.to_thread(outcomes.rewarded, name, since_s)
    bench = await asyncio.to_thread(door.routing.bench, plan)
    dial = door.routing.dial_of(plan)
    report = await asyncio.to_thread(report_of, plan, bench, recorded, dial, levels)
    await exchange.respond_json(200, report)


def _levels(text: str | None) -> tuple[float, ...]:
    count = int(text) if text and text.isascii() and text.isdigit() else 21
    if not 2 <= count <= MAX_LEVELS:
        raise RequestError(f"levels is a number from 2 to {MAX_LEVELS}", param="levels")
    return tuple(round(step / (count - 1), 4) for step in range(count))
