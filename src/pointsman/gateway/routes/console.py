"""The console: the package's static files, under a policy by which the browser takes nothing else in.

The page speaks to this gateway as any client does; nothing of the gateway's state is in the files, so
they need no key.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING

from msgspec import Struct

from pointsman.errors import RequestError
from pointsman.gateway.exchange import Exchange, Headers

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["PREFIX", "asset", "page", "wants_page"]

PREFIX = "/console/"
PAGE = "index.html"
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
# No inline script or style, and no markup made of strings: what is named by others cannot become code.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    b" img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none';"
    b" require-trusted-types-for 'script'; trusted-types 'none'"
)


class _Asset(Struct, frozen=True):
    body: bytes
    kind: bytes
    etag: str


def wants_page(accept: str | None) -> bool:
    """Whether a caller of `/` takes HTML by name, as browsers do and the APIs' clients do not."""
    kinds = (each.partition(";")[0].strip().lower() for each in (accept or "").split(","))
    return "text/html" in kinds


async def page(_gateway: Gateway, exchange: Exchange) -> None:
    """`GET /` of a browser: the console."""
    await _give(exchange, _assets()[PAGE], [(b"vary", b"accept, user-agent")])


async def asset(_gateway: Gateway, exchange: Exchange) -> None:
    """`GET /console/{name}`: a file of the console; 304 for a browser that has it.

    Raises:
        NoSuchFile: the console has none of that name.
    """
    name = exchange.path.removeprefix(PREFIX)
    found = _assets().get(name)
    if found is None or name == PAGE:
        raise NoSuchFile(f"the console has no file '{name[:100]}'", param="path")
    await _give(exchange, found, [])


class NoSuchFile(RequestError):
    """A file that the console does not have."""

    code = "path_not_found"
    status = 404


@cache
def _assets() -> dict[str, _Asset]:
    """The files by name: read once, and nothing else can be asked for."""
    found = {}
    for entry in files("pointsman").joinpath("console").iterdir():
        kind = _TYPES.get(PurePath(entry.name).suffix)
        if kind is not None:
            body = entry.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[entry.name] = _Asset(body, kind, etag)
    return found


async def _give(exchange: Exchange, asset: _Asset, headers: Headers) -> None:
    headers += [
        (b"etag", asset.etag.encode()),
        # Asked for anew each time, so that the files are those of one release.
        (b"cache-control", b"no-cache"),
        (b"content-security-policy", POLICY),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    if _has(exchange.header(b"if-none-match"), asset.etag):
        await exchange.start(304, headers)
        await exchange.end()
        return
    await exchange.respond(200, [(b"content-type", asset.kind), *headers], asset.body)


def _has(given: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names the file as it is.

    Source: RFC 9110, 13.1.2: compared weakly.
    """
    tags = [each.strip().removeprefix("W/") for each in (given or "").split(",")]
    return etag in tags or tags == ["*"]
