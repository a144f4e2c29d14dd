"""The gateway's own socket."""

from __future__ import annotations

import asyncio
import socket

from pointsman.config import parse_config
from pointsman.gateway.server import _listen
from pointsman.testing import FakeProvider


async def delays(listener):
    """Whether the system may hold back what is written to a connection of this socket's."""
    found = asyncio.get_running_loop().create_future()

    def connected(_, writer):
        client = writer.get_extra_info("socket")
        found.set_result(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0)
        writer.close()

    async with await asyncio.start_server(connected, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        answer = await found
        writer.close()
        await writer.wait_closed()
    return answer


async def test_what_the_gateway_writes_goes_out_at_once():
    config = parse_config("")
    config.server.port = 0
    assert not await delays(_listen(config))


async def test_what_the_fake_provider_writes_goes_out_at_once():
    assert not await delays(FakeProvider()._listen())
