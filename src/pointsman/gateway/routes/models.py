"""Pointsman's own paths for local models: which there are and run, load, unload, pull, remove."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pointsman.errors import PointsmanError, RequestError
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.local.listed import Listed, list_rows
from pointsman.local.store import LocalModel

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["PREFIX", "list_local", "load", "pull", "remove", "unload"]

PREFIX = "/pointsman/v1/models/"
_LINE = msgspec.json.Encoder()


class _Load(Struct, forbid_unknown_fields=True):
    name: str
    keep_alive_s: float | None = None


class _Unload(Struct, forbid_unknown_fields=True):
    name: str


class _Pull(Struct, forbid_unknown_fields=True):
    ref: str
    name: str | None = None


async def list_local(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /pointsman/v1/models`: the models on this machine, and which of them run."""
    local = gateway.door.local
    models = await asyncio.to_thread(local.store.list)
    await exchange.respond_json(200, {"models": list_rows(models, local.running())})


async def load(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/models/load` with `{name, keep_alive_s?}`: answers once it is ready.

    With `keep_alive_s` it is unloaded so many seconds after its last request; below 0 it stays.
    """
    asked = await gateway.asked(exchange, _Load)
    name = await _found(gateway, asked.name)
    await gateway.door.local.load(name, asked.keep_alive_s)
    await exchange.respond_json(200, {"model": await _row(gateway, name)})


async def unload(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/models/unload` with `{name}`: answers once its process has ended.

    `unloaded` is false if it did not run. Requests that are being answered are waited for.
    """
    name = await _found(gateway, (await gateway.asked(exchange, _Unload)).name)
    unloaded = await gateway.door.local.unload(name)
    await exchange.respond_json(200, {"name": name, "unloaded": unloaded})


async def remove(gateway: Gateway, exchange: Exchange) -> None:
    """`DELETE /pointsman/v1/models/{name}`: unloads it, and deletes what is ours of its files.

    `bytes` is what was freed, `kept` the files that were left where they lie.
    """
    gateway.begin(exchange)
    store = gateway.door.local.store
    name = await _found(gateway, exchange.path.removeprefix(PREFIX))
    if store.is_configured(name):
        raise RequestError(f"'{name}' is a file of yours, named in the configuration", param="name")
    await gateway.door.local.unload(name)
    removed = await asyncio.to_thread(store.remove, name)
    body = {"name": name, "bytes": removed.bytes, "kept": removed.kept}
    await exchange.respond_json(200, body)


async def pull(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/models/pull` with `{ref, name?}`: its steps as lines of JSON.

    The last line is `{"status": "success", "model": …}` or `{"error": …}`. A client that hangs up
    ends the pull; another one goes on where it stopped.
    """
    asked = await gateway.asked(exchange, _Pull)
    headers: Headers = [
        (b"content-type", b"application/x-ndjson"),
        (b"x-request-id", exchange.request_id.encode("latin-1")),
        (b"cache-control", b"no-cache"),
    ]
    async with aclosing(gateway.pulls.steps(asked.ref, asked.name)) as steps:
        try:
            async for each in steps:
                line: Any = each
                if isinstance(each, LocalModel):
                    line = {"status": "success", "model": await _row(gateway, each.name)}
                if not exchange.started:
                    await exchange.start(200, headers)
                await exchange.write(_LINE.encode(line) + b"\n")
        except PointsmanError as error:
            if not exchange.started:
                raise
            detail = {"code": error.code, "message": error.message, "param": error.param}
            await exchange.write(_LINE.encode({"error": detail}) + b"\n")
    await exchange.end()


async def _found(gateway: Gateway, asked: str) -> str:
    """Give a model's full name; `local:` before it may stand there, as in a ref."""
    return await asyncio.to_thread(gateway.door.local.store.find, asked.removeprefix("local:"))


async def _row(gateway: Gateway, name: str) -> Listed:
    local = gateway.door.local
    model = await asyncio.to_thread(local.store.get, name)
    return list_rows([model], [each for each in local.running() if each.name == name])[0]
