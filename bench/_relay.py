"""A relay that copies bytes between two sockets and reads none of them: the floor of the method.

python bench/_relay.py CONFIG PORT
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import cast


class Side(asyncio.Protocol):
    """One socket of a pair; what comes in here goes out there."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        for data in self.early:
            transport.write(data)
        self.early.clear()

    def data_received(self, data: bytes) -> None:
        other = self.other
        if other is None:
            return
        if other.transport is None:
            other.early.append(data)
        else:
            other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class ClientSide(Side):
    """The socket of a client; opens its counterpart."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__()
        self._upstream_port = upstream_port
        self._task: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.other = upstream = Side()
        upstream.other = self
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(
            loop.create_connection(lambda: upstream, "127.0.0.1", self._upstream_port)
        )


async def serve(upstream_port: int, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: ClientSide(upstream_port), "127.0.0.1", port, backlog=1024
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    import uvloop

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    upstream_port = json.loads(Path(sys.argv[1]).read_text("utf-8"))["upstream_port"]
    uvloop.run(serve(upstream_port, int(sys.argv[2])))


if __name__ == "__main__":
    main()
