"""`GET /pointsman/v1/routes`: which routes there are, how each is set, and among whom it chooses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from pointsman.door import Door
from pointsman.errors import PointsmanError
from pointsman.gateway.exchange import Exchange

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["list_routes"]


class _Route(Struct, frozen=True):
    name: str
    configured: bool
    policy: str | None = None
    dial: float | None = None
    quality: float | None = None
    spend_usd_per_day: float | None = None
    candidates: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    shadow: bool = False
    ab: str | None = None
    error: str | None = None


async def list_routes(gateway: Gateway, exchange: Exchange) -> None:
    """Give every route: `dial` is where it is set now, by whatever key sets it.

    A route that cannot be used has an `error` that says why, and no more than its name.
    """
    gateway.begin(exchange)
    door = gateway.door
    rows = [await _row(door, name) for name in door.resolver.routes()]
    await exchange.respond_json(200, {"routes": rows})


async def _row(door: Door, name: str) -> _Route:
    configured = name in door.config.routes
    try:
        plan = door.resolver.resolve(name)
        # It reads the calibration's prompts where nothing has yet.
        await asyncio.to_thread(door.routing.bench, plan)
        dial = door.routing.dial_of(plan)
    except PointsmanError as error:
        return _Route(name, configured, error=error.message)
    spec = plan.spec
    return _Route(
        name,
        configured,
        policy=plan.policy,
        dial=round(dial, 4),
        quality=spec.quality,
        spend_usd_per_day=spec.spend_usd_per_day,
        candidates=tuple(each.card.ref for each in plan.candidates),
        fallback=tuple(each.card.ref for each in plan.fallback),
        gone=plan.gone,
        shadow=spec.shadow,
        ab=spec.ab.name if spec.ab is not None else None,
    )
