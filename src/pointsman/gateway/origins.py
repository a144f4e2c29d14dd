"""Which web pages may use the gateway: those of this machine, and those that the configuration lists.

A browser sends a page's origin along with what the page asks for. Without this rule any page on the
web could drive a gateway on loopback: load and delete models, and spend its owner's keys.

Source: Fetch standard, "HTTP CORS protocol" (read 2026-11); RFC 6761, 6.3 (`localhost.`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from pointsman.errors import RequestError
from pointsman.gateway.exchange import Exchange, Headers

__all__ = ["OriginRefused", "Origins"]

_ORIGIN = re.compile(r"([a-z][a-z0-9+.\-]*)://(?:\[([0-9a-f:.]+)\]|([^/:\[\]]*))(?::\d{1,5})?")
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_METHODS = b"GET, HEAD, POST, DELETE, OPTIONS"
PREFLIGHT_S = 86_400


class OriginRefused(RequestError):
    """A web page of another origin asks for a change."""

    code = "origin_refused"
    status = 403


class Origins:
    """The origins that are let in; `*` lists all, and `scheme://*` all of a scheme."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(each.rstrip("/").lower() for each in listed)

    def allow(self, origin: str) -> bool:
        """Whether pages of this origin may use the gateway."""
        origin = origin.lower()
        if origin in self._listed or "*" in self._listed:
            return True
        match = _ORIGIN.fullmatch(origin)
        if match is None:
            return False
        scheme, host = match[1], match[2] or match[3]
        if f"{scheme}://*" in self._listed:
            return True
        return scheme in ("http", "https") and _is_loopback(host)

    def check(self, exchange: Exchange, origin: str) -> None:
        """Let a request in that names its origin; what answers it then tells the browser so.

        Raises:
            OriginRefused: it would change something, or cost something, and is not let in.
        """
        if self.allow(origin):
            exchange.more_headers = _shared(origin)
        elif exchange.method not in _SAFE:
            raise OriginRefused(
                f"a web page of '{origin[:200]}' may not use this gateway; list it in"
                " server.allowed_origins if that is meant"
            )

    async def preflight(self, exchange: Exchange, origin: str) -> None:
        """Answer a browser's question whether a page may ask.

        Raises:
            OriginRefused: it may not.
        """
        if not self.allow(origin):
            raise OriginRefused(
                f"a web page of '{origin[:200]}' may not use this gateway; list it in"
                " server.allowed_origins if that is meant"
            )
        exchange.more_headers = _shared(origin)
        asked = exchange.header(b"access-control-request-headers") or "content-type"
        headers: Headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", asked.encode("latin-1")),
            (b"access-control-max-age", b"%d" % PREFLIGHT_S),
        ]
        if exchange.header(b"access-control-request-private-network") == "true":
            headers.append((b"access-control-allow-private-network", b"true"))
        await exchange.start(204, headers)
        await exchange.end()


def _shared(origin: str) -> Headers:
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    ]


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
