"""Asks a server for a file, or a part of it, over HTTP; redirects keep credentials where they are.

Source: RFC 9110, sections 13 (If-Range), 14 (ranges) and 15.4 (redirection).
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from msgspec import Struct

from pointsman.errors import LocalError

__all__ = ["Answer", "Fault", "Refused", "host_of", "is_loopback", "open_url"]

TIMEOUT_S = 30.0
# What the system has received and we have not read is lost when we are killed.
WINDOW_BYTES = 2 * 1024 * 1024
MAX_FAULT_BYTES = 4096
MAX_WAIT_S = 30.0
USER_AGENT = "pointsman"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_LENGTH = re.compile(r"\d{1,18}")


class Fault(Exception):
    """What went wrong and may go right next time. `wait_s` is what the server asks for."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class Refused(LocalError):
    """A server said no, and would again. `body` is the beginning of what it said."""

    def __init__(self, message: str, http_status: int, body: bytes, headers: Mapping[str, str]):
        super().__init__(message)
        self.http_status = http_status
        self.body = body
        self.headers = headers


class Answer(Struct, frozen=True):
    """An open answer. `first` is the place in the file where its body begins.

    `size_bytes` is of the whole file, None where the server does not say. `validator` names the
    file's version (a strong entity tag, else the time of change).
    """

    body: http.client.HTTPResponse
    partial: bool
    first: int
    size_bytes: int | None
    validator: str | None


def host_of(url: str) -> str:
    """The host of a URL, for messages: a path or a query may hold a secret."""
    return urlsplit(url).hostname or "?"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    return host_of(url) in LOOPBACK


def open_url(
    url: str,
    headers: Mapping[str, str],
    *,
    span: tuple[int, int] | None = None,
    if_range: str | None = None,
) -> Answer:
    """Send a GET; `span` asks for the bytes from the first up to, without, the second.

    Proxies are those of the environment. `headers` go to the URL's own host only, not to one that
    it redirects to.

    Raises:
        Fault: no connection, or 408, 429 or 5xx.
        Refused: any other status that is an error; 416 among them.
        LocalError: a certificate that does not hold, or a redirect to where none may lead.
    """
    request = Request(url, headers={"User-Agent": USER_AGENT, **headers})  # noqa: S310  # checked below
    _check_scheme(url, url)
    plain = {"Accept-Encoding": "identity"}
    if span is not None:
        plain["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        if if_range is not None:
            plain["If-Range"] = if_range
    for name, value in plain.items():
        request.add_unredirected_header(name, value)
    opener = _opener(_Redirects(url, plain))
    try:
        body = opener.open(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        with error:
            raise _status_fault(url, error) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _broken(url, error) from error
    return _answer(body)


def _answer(body: http.client.HTTPResponse) -> Answer:
    coding = body.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        body.close()
        raise Fault(f"it sent the file in the coding '{coding[:40]}', which was not asked for")
    length = body.headers.get("Content-Length", "")
    size = int(length) if _LENGTH.fullmatch(length) else None
    first, partial = 0, body.status == 206
    if partial:
        match = _RANGE.fullmatch(body.headers.get("Content-Range", ""))
        if match is None:
            body.close()
            raise Fault("it sent a part of the file and did not say which")
        first, size = int(match[1]), int(match[3])
    etag = body.headers.get("ETag")
    validator = etag if etag and not etag.startswith("W/") else body.headers.get("Last-Modified")
    return Answer(body, partial, first, size, validator)


def _status_fault(url: str, error: HTTPError) -> Exception:
    host, said = host_of(url), error.headers
    if error.code in (408, 429) or error.code >= 500:
        wait = said.get("Retry-After", "")
        return Fault(
            f"status {error.code}", min(float(wait), MAX_WAIT_S) if wait.isdecimal() else 0.0
        )
    try:
        body = error.read(MAX_FAULT_BYTES)
    except (OSError, http.client.HTTPException):
        body = b""
    why = {
        401: "status 401: it wants credentials, or others than it got",
        403: "status 403: it does not let you have the file",
        404: "status 404: it has no such file; check the ref",
        410: "status 410: the file is gone",
    }.get(error.code, f"status {error.code}")
    if error.code < 400:
        why += ": the redirect leads to where none is followed"
    return Refused(f"{host} refused: {why}", error.code, body, dict(said.items()))


def _broken(url: str, error: Exception) -> Exception:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return LocalError(
            f"{host_of(url)}: its certificate does not hold ({reason.verify_message}); if your"
            " network has an authority of its own, name its file in SSL_CERT_FILE"
        )
    if isinstance(reason, LocalError):
        return reason
    return Fault(str(reason) or type(reason).__name__)


def _check_scheme(url: str, first: str) -> None:
    """Let https pass, and http on this machine, which nothing elsewhere may redirect to."""
    scheme = urlsplit(url).scheme
    if scheme == "https" or (scheme == "http" and is_loopback(url) and is_loopback(first)):
        return
    raise LocalError(
        f"{host_of(first)}: {'a redirect to ' if url != first else ''}{scheme}://{host_of(url)} is"
        " not followed; only https is, and http on this machine"
    )


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
    )


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, at most ten; a header that the caller gave stays with its host."""

    def __init__(self, url: str, plain: Mapping[str, str]) -> None:
        self._url = url
        self._plain = plain

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        target = urljoin(req.full_url, newurl)
        _check_scheme(target, self._url)
        # Compared with the host before, not with the first: one that was left gets no key again.
        kept = req.headers if _origin(target) == _origin(req.full_url) else {}
        new = Request(  # noqa: S310  # checked above
            target, headers={**kept, "User-Agent": USER_AGENT}, origin_req_host=req.origin_req_host
        )
        for name, value in self._plain.items():
            new.add_unredirected_header(name, value)
        return new


class _Proxies(ProxyHandler):
    """The environment's proxies, but for this machine, which none of them can reach."""

    def proxy_open(self, req: Request, proxy: str, type: str) -> Any:
        return None if is_loopback(req.full_url) else super().proxy_open(req, proxy, type)


def _narrow(connection: http.client.HTTPConnection) -> None:
    if hasattr(socket, "TCP_WINDOW_CLAMP"):
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, WINDOW_BYTES)


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _narrow(self)


class _TlsConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _narrow(self)


class _Http(HTTPHandler):
    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(HTTPSHandler):
    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_TlsConnection, req, context=ssl.create_default_context())


def _opener(redirects: _Redirects) -> OpenerDirector:
    return build_opener(_Proxies(), _Http(), _Https(), redirects)
