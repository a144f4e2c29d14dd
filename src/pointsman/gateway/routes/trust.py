"""Pointsman's own paths for trust: how local models stand, verify, quarantine, release."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from pointsman import __version__
from pointsman.errors import LocalError
from pointsman.gateway.exchange import Exchange
from pointsman.local.admission import Admission
from pointsman.local.store import ModelStore
from pointsman.local.verification import check_model, set_aside
from pointsman.quarantine import remote_name
from pointsman.trust.dates import written
from pointsman.trust.gate import Standing
from pointsman.trust.state import Quarantine

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["quarantine", "release", "standings", "verify"]


class _Named(Struct, forbid_unknown_fields=True):
    name: str


class _Quarantine(Struct, forbid_unknown_fields=True):
    name: str
    reason: str = "set aside by hand"


class _Row(Struct, frozen=True):
    name: str
    state: str
    why: str
    source: str
    sha256: str | None


async def standings(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /pointsman/v1/trust`: the mode, how each local model and each canary stands and why, and what is in quarantine."""
    gateway.begin(exchange)
    local = gateway.door.local
    rows = await asyncio.to_thread(_rows, local.store, local.admission)
    canaries = gateway.canaries
    views = [] if canaries is None else await asyncio.to_thread(canaries.views)
    aside = await asyncio.to_thread(local.admission.gate.state.quarantined)
    answer = {
        "mode": gateway.config.trust.mode,
        "models": rows,
        "canaries": views,
        "quarantine": [{"name": n, "reason": e.reason, "at": e.at} for n, e in aside.items()],
    }
    await exchange.respond_json(200, answer)


async def verify(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/trust/verify` with `{name}`: scans the model's files, and keeps the verdict."""
    name = await gateway.asked(exchange, _Named)
    local = gateway.door.local
    state = local.admission.gate.state

    def check() -> dict[str, object]:
        model = local.store.get(name.name)
        report = check_model(model, local.store, state, {"pointsman": __version__})
        standing = local.admission.standing(model)
        return {"name": model.name, **msgspec.structs.asdict(report), "standing": standing}

    await exchange.respond_json(200, await asyncio.to_thread(check))


async def quarantine(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/trust/quarantine` with `{name, reason?}`: it is refused from now on, and unloaded."""
    asked = await gateway.asked(exchange, _Quarantine)
    local = gateway.door.local
    now = written(datetime.now(UTC))
    state = local.admission.gate.state
    try:
        full = await asyncio.to_thread(set_aside, asked.name, asked.reason, now, local.store, state)
        unloaded = await local.unload(full)
    except LocalError:
        remote = remote_name(asked.name, gateway.config)
        if remote is None:
            raise
        full, unloaded = remote, False
        await asyncio.to_thread(state.set_aside, remote, Quarantine(asked.reason, now))
    _look_again(gateway)
    await exchange.respond_json(200, {"name": full, "reason": asked.reason, "unloaded": unloaded})


async def release(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/trust/release` with `{name}`: `released` is false if it was not in quarantine."""
    asked = await gateway.asked(exchange, _Named)
    state = gateway.door.local.admission.gate.state
    name = asked.name.removeprefix("local:")
    released = await asyncio.to_thread(state.release, name)
    remote = None if released else remote_name(name, gateway.config)
    if remote is not None:
        name, released = remote, await asyncio.to_thread(state.release, remote)
    _look_again(gateway)
    await exchange.respond_json(200, {"name": name, "released": released})


def _look_again(gateway: Gateway) -> None:
    if gateway.door.dispatcher.quarantine is not None:
        gateway.door.dispatcher.quarantine.changed()


def _rows(store: ModelStore, admission: Admission) -> list[_Row]:
    found = []
    for name in store.names():
        try:
            model = store.get(name)
            standing = admission.standing(model)
            found.append(_Row(name, standing.state, standing.why, model.source, model.sha256))
        except LocalError as error:
            standing = Standing("unchecked", error.message)
            found.append(_Row(name, standing.state, standing.why, "", None))
    return found
