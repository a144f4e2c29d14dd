"""Answers of many lines of JSON, or of the last one alone, as Ollama's clients may have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from pointsman.errors import PointsmanError
from pointsman.gateway.exchange import Exchange, Headers

__all__ = ["respond_lines"]

_JSON = msgspec.json.Encoder()


async def respond_lines(
    exchange: Exchange, lines: AsyncIterator[dict[str, Any]], *, stream: bool
) -> None:
    """Answer with each of the lines as it comes, or with the last one.

    The head of a stream waits for the first line, so that what fails before it has its own status;
    a later failure is a line of its own, and the last.

    Raises:
        PointsmanError: what `lines` raised, if nothing was sent yet.
    """
    if not stream:
        last: dict[str, Any] = {}
        async for line in lines:
            last = line
        await exchange.respond_json(200, last)
        return
    try:
        async for line in lines:
            if not exchange.started:
                await exchange.start(200, _head(exchange))
            await exchange.write(_JSON.encode(line) + b"\n")
    except PointsmanError as error:
        if not exchange.started:
            raise
        await exchange.write(_JSON.encode({"error": error.message}) + b"\n")
    await exchange.end()


def _head(exchange: Exchange) -> Headers:
    return [
        (b"content-type", b"application/x-ndjson"),
        (b"cache-control", b"no-cache"),
        (b"x-request-id", exchange.request_id.encode("latin-1")),
    ]
