"""Runs the gateway: on its own for `serve`, in a thread for tests and the demo."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

from pointsman.config import Config
from pointsman.errors import ConfigError
from pointsman.gateway.app import Gateway, create_app
from pointsman.gateway.direct import DirectProtocol

__all__ = ["Running", "running", "serve"]

BACKLOG = 2048
TICK_S = 1.0


class Running:
    """A gateway that runs in a thread; `url` is its root."""

    def __init__(self, url: str, gateway: Gateway) -> None:
        self.url = url
        self.gateway = gateway


class _Server(uvicorn.Server):
    """Uvicorn's server that says when it listens, and is told when to end instead of looking.

    Uvicorn looks ten times a second, which at 120 tokens a second costs each one a tenth of its
    way through here. `should_exit` may be set by a signal or from another thread.
    """

    _told: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @property
    def should_exit(self) -> bool:
        """Whether it is to end."""
        return self._exits

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._exits = value
        if value and self._told is not None:
            loop, event = self._told
            loop.call_soon_threadsafe(event.set)

    async def main_loop(self) -> None:
        """Run until told to end; the date that answers carry is set once a second."""
        event = asyncio.Event()
        self._told = asyncio.get_running_loop(), event
        try:
            while not await self.on_tick(0):
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await event.wait()
        finally:
            self._told = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def serve(config: Config, on_ready: Callable[[str], None]) -> None:
    """Serve until told to stop (SIGINT, SIGTERM); `on_ready` gets the URL once it listens.

    Raises:
        ConfigError: the address is taken or not this machine's, or the config forbids it.
    """
    gateway = create_app(config)
    listener = _listen(config)
    url = _url(listener)
    server = _Server(_uvicorn(gateway), lambda: on_ready(url))
    server.run([listener])


@contextmanager
def running(config: Config) -> Iterator[Running]:
    """Serve in a thread of this process while the block runs.

    Raises:
        ConfigError: as `serve`.
    """
    gateway = create_app(config)
    listener = _listen(config)
    up = threading.Event()
    server = _Server(_uvicorn(gateway), up.set)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve([listener])), name="pointsman-gateway", daemon=True
    )
    thread.start()
    try:
        if not up.wait(30):
            raise ConfigError("the gateway did not start in 30 s")
        yield Running(_url(listener), gateway)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


def _uvicorn(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        http=DirectProtocol,
        loop="auto",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        date_header=True,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )


def _listen(config: Config) -> socket.socket:
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, since asyncio turns Nagle's delay off only where a socket says that it is: an
    # answer's head and body are two writes, and the second would wait 40 ms for the client's ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error}; choose another with --host and --port"
        ) from error
    listener.listen(BACKLOG)
    listener.set_inheritable(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
