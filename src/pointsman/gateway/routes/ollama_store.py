"""What else Ollama's clients change in the store of models: copies, removals, and uploaded blobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from pointsman.dialects._shared import required, want_string
from pointsman.errors import LocalError, PointsmanError, RequestError, UnknownModel
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.routes.ollama_target import find_local, name_in
from pointsman.gateway.wire import decode_body
from pointsman.local.blobs import BlobWriter
from pointsman.local.blobs import has_blob as store_has_blob
from pointsman.local.names import LATEST

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["copy", "delete", "has_blob", "not_here", "write_blob"]

_BLOBS = "/api/blobs/"
# Pieces of an upload come small; each write is a turn of another thread.
WRITE_BYTES = 1024 * 1024


class NotHere(PointsmanError):
    """A call of Ollama's that has nothing to do here."""

    code = "not_implemented"
    status = 501


async def copy(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/copy`: a second name for a stored model; nothing is copied."""
    body = decode_body(await exchange.body(gateway.max_body_bytes))
    gateway.begin(exchange)
    source = _need_local(gateway, required(body, "source", want_string))
    name = required(body, "destination", want_string).removesuffix(f":{LATEST}")
    local = gateway.door.local
    await _change(lambda: local.store.copy(source, name))
    if name != source and any(each.name == name for each in local.running()):
        await local.unload(name)  # It runs what the name meant before.
    await exchange.respond(200, _head(exchange), b"")


async def delete(gateway: Gateway, exchange: Exchange) -> None:
    """`DELETE /api/delete`: the model stops once nobody uses it, and its files go."""
    body = decode_body(await exchange.body(gateway.max_body_bytes))
    gateway.begin(exchange)
    name = _need_local(gateway, name_in(body))
    local = gateway.door.local
    await local.unload(name)
    await _change(lambda: local.store.remove(name))
    await exchange.respond(200, _head(exchange), b"")


async def has_blob(gateway: Gateway, exchange: Exchange) -> None:
    """`HEAD /api/blobs/:digest`: whether a file with that hash was sent."""
    found = store_has_blob(gateway.door.local.store, exchange.path.removeprefix(_BLOBS))
    await exchange.respond(200 if found else 404, _head(exchange), b"")


async def write_blob(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/blobs/:digest`: take a file in, whose hash must be that; as large as the disk takes."""
    digest, store = exchange.path.removeprefix(_BLOBS), gateway.door.local.store
    if store_has_blob(store, digest):
        await exchange.respond(200, _head(exchange), b"")
        return
    length = exchange.header(b"content-length")
    size = int(length) if length is not None and length.isdigit() else None
    writer = await asyncio.to_thread(BlobWriter, store, digest, size)
    with writer:
        waiting: list[bytes] = []
        held = 0
        async for piece in exchange.pieces():
            waiting.append(piece)
            held += len(piece)
            if held >= WRITE_BYTES:
                await asyncio.to_thread(writer.write, b"".join(waiting))
                waiting, held = [], 0
        await asyncio.to_thread(writer.write, b"".join(waiting))
        await asyncio.to_thread(writer.finish)
    await exchange.respond(201, _head(exchange), b"")


async def not_here(_gateway: Gateway, exchange: Exchange) -> None:
    """What needs Ollama's own registry, account or models.

    Raises:
        NotHere: in any case.
    """
    raise NotHere(
        f"{exchange.path} is not here: there is no registry of ours to push to, no account to sign"
        " in to, no web search, and no System One model"
    )


def _need_local(gateway: Gateway, name: str) -> str:
    found = find_local(gateway, name)
    if found is None:
        raise UnknownModel(f"model '{name[:200]}' not found", param="model")
    return found


async def _change(work: Callable[[], object]) -> None:
    """Do a change of the store; what it refuses is the request's fault, as the model is there."""
    try:
        await asyncio.to_thread(work)
    except LocalError as error:
        raise RequestError(error.message, param="model") from error


def _head(exchange: Exchange) -> Headers:
    return [(b"x-request-id", exchange.request_id.encode("latin-1"))]
