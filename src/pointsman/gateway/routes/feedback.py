"""`POST /pointsman/v1/routes/feedback`: what somebody says of an answer that a route chose a model for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from pointsman.gateway.exchange import Exchange
from pointsman.gateway.wire import decode_body, shaped
from pointsman.router.outcomes import feedback_of

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["feedback"]

MAX_BODY_BYTES = 64 * 1024


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    request_id: str
    score: float | None = None
    thumbs: Literal["up", "down"] | None = None
    edited: float | None = None
    succeeded: bool | None = None


async def feedback(gateway: Gateway, exchange: Exchange) -> None:
    """Keep feedback, learn from it, and say on whose answer it was.

    404 for a request that no route had or whose outcome is no longer kept.
    """
    body = decode_body(await exchange.body(min(MAX_BODY_BYTES, gateway.max_body_bytes)))
    said = shaped(body, _Said)
    value = feedback_of(
        score=said.score, thumbs=said.thumbs, edited=said.edited, succeeded=said.succeeded
    )
    outcome = await gateway.door.routing.outcomes.feedback(said.request_id, value)
    await exchange.respond_json(
        200, {"request_id": outcome.request_id, "route": outcome.route, "model": outcome.ref}
    )
