"""The gateway that runs on this machine, as the verbs find it and talk to it."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import Origin, Request, Timeouts, TransportError
from pointsman.config import Config
from pointsman.errors import LocalError
from pointsman.local.listed import Listed

__all__ = ["GatewayLink", "find_gateway"]

# Somebody waits for a list: what does not answer in this time is not there.
PROBE = Timeouts(connect_s=1.0, first_byte_s=3.0, idle_s=3.0)
# The requests on a model may have to end.
PATIENT = Timeouts(connect_s=1.0, first_byte_s=3600.0, idle_s=60.0)
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MODELS = "/pointsman/v1/models"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104  # not listened on

T = TypeVar("T")


class _Rows(msgspec.Struct):
    models: list[Listed]


class _Unloaded(msgspec.Struct):
    unloaded: bool


class _Health(msgspec.Struct):
    status: str
    version: str


class GatewayLink:
    """A gateway that answers. `rows` are its models as they were when it was found."""

    def __init__(self, origin: Origin, key: str | None) -> None:
        self.rows: list[Listed] = []
        self._origin = origin
        self._key = key

    @property
    def url(self) -> str:
        """Its root."""
        host = self._origin.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._origin.port}"

    def row(self, name: str, path: str) -> Listed | None:
        """Its row of a model of this machine; None if it has another one of that name, or none."""
        return next((row for row in self.rows if (row.name, row.path) == (name, path)), None)

    def refresh(self) -> None:
        """Ask for the models anew.

        Raises:
            LocalError: it refuses, or answers no more.
        """
        self.rows = self._ask("GET", MODELS, None, PROBE, _Rows).models

    def unload(self, name: str) -> bool:
        """Stop a model, once its requests are answered; False if it does not run.

        Raises:
            LocalError: it knows no such model, or as `refresh`.
        """
        return self._ask("POST", f"{MODELS}/unload", {"name": name}, PATIENT, _Unloaded).unloaded

    def is_pointsman(self) -> bool:
        """Whether what answers there is a gateway of Pointsman's; the key is not shown to it."""
        try:
            status, body = asyncio.run(self._send(Request("GET", self._origin, "/healthz"), PROBE))
            health = msgspec.json.decode(body, type=_Health)
        except (TransportError, msgspec.DecodeError):
            return False
        return status == 200 and health.status == "ok"

    def _ask(self, method: str, path: str, body: Any, timeouts: Timeouts, kind: type[T]) -> T:
        headers = [("content-type", "application/json")]
        if self._key is not None:
            headers.append(("authorization", f"Bearer {self._key}"))
        data = b"" if body is None else msgspec.json.encode(body)
        request = Request(method, self._origin, quote(path, safe="/"), tuple(headers), data)
        try:
            status, answer = asyncio.run(self._send(request, timeouts))
        except TransportError as error:
            raise LocalError(f"the gateway at {self.url} answers no more: {error}") from error
        if status != 200:
            raise LocalError(f"the gateway at {self.url} says: {_message(answer, status)}")
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise LocalError(
                f"the gateway at {self.url} is of another version of Pointsman: {error}"
            ) from error

    async def _send(self, request: Request, timeouts: Timeouts) -> tuple[int, bytes]:
        transport = H1Transport()
        try:
            response = await transport.send(request, timeouts)
            return response.status, await response.read(MAX_ANSWER_BYTES)
        finally:
            await transport.aclose()


def find_gateway(config: Config) -> GatewayLink | None:
    """Give the gateway that runs where the configuration says; None if none answers there.

    Raises:
        LocalError: one answers, but refuses the key or is of another version.
    """
    host, port = config.server.host, config.server.port
    if port == 0:
        return None
    origin = Origin("http", _EVERYWHERE.get(host, host), port)
    link = GatewayLink(origin, config.secret(config.server.admin_key_env))
    if not link.is_pointsman():
        return None
    link.refresh()
    return link


def _message(answer: bytes, status: int) -> str:
    try:
        return str(msgspec.json.decode(answer)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {status}"
