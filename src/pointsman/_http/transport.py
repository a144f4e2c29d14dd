"""The seam to the network: what a transport takes and gives. `h1` implements it; tests may too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from pointsman._http.origin import Origin

__all__ = ["Origin", "Request", "Response", "Timeouts", "Transport", "TransportError"]


class Timeouts(Struct, frozen=True):
    """Seconds to connect, until the answer's head, and between two pieces of its body."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 300.0


class Request(Struct, frozen=True):
    """One request. `path` is the raw target with its query; header names are lower case."""

    method: str
    origin: Origin
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def __repr__(self) -> str:
        """Leave out headers and body: they hold keys and prompts."""
        return f"Request({self.method} {self.origin.scheme}://{self.origin.host}{self.path})"


class TransportError(Exception):
    """The network failed: `connect`, `timeout`, `cut` (closed too early), `protocol` or `size`."""

    def __init__(
        self, kind: Literal["connect", "timeout", "cut", "protocol", "size"], message: str
    ) -> None:
        super().__init__(message)
        self.kind = kind


class Response(Protocol):
    """An answer whose head has come. Read it to its end or close it: an unread one is cut off."""

    @property
    def status(self) -> int:
        """The status code."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name; several of one name are joined by commas."""
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """Give the whole body. Raises TransportError: `size` over the limit, `cut`, `timeout`."""
        ...

    async def next_chunk(self) -> bytes | None:
        """Give what has come of the body, None at its end. Raises TransportError: as `read`."""
        ...

    async def pipe(self, sink: Callable[[bytes], None]) -> None:
        """Give `sink` what has come and comes of the body, until its end.

        `sink` is called from the socket's own callback, with no task between, so it must be quick.
        Raises TransportError: as `read`; and what `sink` raises.
        """
        ...

    def hold(self) -> None:
        """While piping: read no more until `let_go`, so that the server has to wait too."""
        ...

    def let_go(self) -> None:
        """While piping: read again after `hold`."""
        ...

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else cut it at once."""
        ...


class Transport(Protocol):
    """Sends requests. One per event loop."""

    async def send(self, request: Request, timeouts: Timeouts) -> Response:
        """Give the answer once its head is here. Raises TransportError."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
