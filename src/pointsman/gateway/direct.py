"""A way past ASGI for a stream's bytes: from the upstream's socket to the client's, in one callback.

ASGI has each piece of an answer awaited, which is a future and a step of a task for every token. Our
own server offers in the scope's extensions to write to the connection at once. Where it is missing,
as in any other ASGI server, the answer goes the common way.

Source: uvicorn 0.35 to 0.54, `protocols/http/httptools_impl.py`; RFC 9112, section 7.1 (chunks).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["EXTENSION", "Direct", "DirectProtocol"]

EXTENSION = "pointsman.direct"
# What of a cycle is used here and is no public name: where one is missing, nothing is offered.
_NEEDED = ("chunked_encoding", "disconnected", "response_started", "response_complete")

# The heads of chunks as long as one token's event is.
_HEADS = tuple(b"%x\r\n" % size for size in range(1024))


class Direct:
    """Writes pieces of one answer's body, once its head is out."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: DirectProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    @property
    def is_open(self) -> bool:
        """Whether the head is out, and a body in chunks follows that nobody ended."""
        cycle = self._cycle
        return bool(
            cycle.response_started
            and cycle.chunked_encoding
            and not cycle.response_complete
            and self._protocol.cycle is cycle
            and cycle.scope["method"] != "HEAD"
        )

    @contextmanager
    def attached(
        self, hold: Callable[[], None], let_go: Callable[[], None]
    ) -> Iterator[Callable[[bytes], None]]:
        """Give a function that writes a piece of the body, which must not be empty.

        `hold` is called when the client does not keep up: 64 KiB or more wait for it. `let_go` is
        called when most of that is out. What is written after the client has left goes nowhere.
        """
        protocol, cycle = self._protocol, self._cycle
        write_bytes = protocol.transport.write

        def write(body: bytes) -> None:
            if not cycle.disconnected:
                size = len(body)
                head = _HEADS[size] if size < len(_HEADS) else b"%x\r\n" % size
                write_bytes(b"".join((head, body, b"\r\n")))

        protocol.hold, protocol.let_go = hold, let_go
        try:
            if protocol.flow.write_paused:
                hold()
            yield write
        finally:
            protocol.hold = protocol.let_go = None


class DirectProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol that offers a `Direct` to each request."""

    hold: Callable[[], None] | None = None
    let_go: Callable[[], None] | None = None

    def on_headers_complete(self) -> None:
        """Start the request; its task has not run yet when this returns."""
        super().on_headers_complete()
        if all(hasattr(self.cycle, name) for name in _NEEDED):
            self.scope["extensions"] = {EXTENSION: {"direct": Direct(self, self.cycle)}}

    def pause_writing(self) -> None:
        """Stop whoever writes."""
        super().pause_writing()
        if self.hold is not None:
            self.hold()

    def resume_writing(self) -> None:
        """Let whoever writes go on."""
        super().resume_writing()
        if self.let_go is not None:
            self.let_go()
