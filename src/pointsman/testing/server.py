"""The fake provider itself: a server on one loopback port, in a thread or on the running loop."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from types import TracebackType
from typing import Self

from pointsman.testing.assistant import PREFIX, answer_to
from pointsman.testing.batches import Batches
from pointsman.testing.connection import Connection, Incoming
from pointsman.testing.paths import plain_answer, record
from pointsman.testing.play import play, send_json
from pointsman.testing.script import Recorded, Reply, Script

__all__ = ["FakeProvider"]


class FakeProvider:
    """A provider that answers by script, in OpenAI's, Anthropic's and Gemini's wire formats.

    `script` is a sequence of replies, used in order, or a function of the request; without one the
    scripted assistant answers. When a sequence is at its end its last reply is used again, or with
    `loop` it begins anew. Lists of models, embeddings and counts of tokens are answered without the
    script. Batches (OpenAI's and Anthropic's) are answered by the script, request for request, and end
    when their state has been asked for `batch_polls` times. Use it as a context manager, plain (it runs in a thread of its own) or `async`.

    `url` is the root: the base URL of OpenAI's client is `url + "/v1"`, of Anthropic's and Google's
    `url`; for a provider of this project `url + "/v1"`, and `url + "/v1beta"` for Gemini.
    `requests` are those that came, in order; `batches` those that were handed in.

    Raises:
        OSError: on entry, if the port is taken.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        port: int = 0,
        loop: bool = False,
        batch_polls: int = 1,
    ) -> None:
        self.requests: list[Recorded] = []
        self.url = ""
        self.batches = Batches(batch_polls)
        self._script: Script = answer_to if script is None else script
        self._port = port
        self._cycle = loop
        self._used = 0
        self._number = 0
        self._error: Exception | None = None
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def play(self, script: Script | None, *, loop: bool = False) -> None:
        """Use another script from now on; None is the assistant again."""
        self._script, self._cycle, self._used = script or answer_to, loop, 0

    def __enter__(self) -> Self:
        """Start in a thread of its own."""
        listener = self._listen()
        loop = self._loop = asyncio.new_event_loop()
        up = threading.Event()

        def run() -> None:
            loop.run_until_complete(self._start(listener))
            up.set()
            loop.run_forever()
            loop.run_until_complete(self._stop())
            loop.close()

        self._thread = threading.Thread(target=run, name="fake-provider", daemon=True)
        self._thread.start()
        up.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; an exception of the script's is raised here if there is no other."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._raise_own(error)

    async def __aenter__(self) -> Self:
        """Start on the running loop."""
        await self._start(self._listen())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; an exception of the script's is raised here if there is no other."""
        await self._stop()
        self._raise_own(error)

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=512)
        # The connections inherit it: each event of a stream goes out when it is written.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return listener

    async def _start(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._serve, self._connections), sock=listener
        )

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        tasks = [connection.end() for connection in list(self._connections)]
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        # One more turn, in which the transports close their sockets.
        await asyncio.sleep(0)

    def _raise_own(self, other: BaseException | None) -> None:
        if self._error is not None and other is None:
            raise self._error

    async def _serve(self, line: Connection, incoming: Incoming) -> bool:
        """Answer one request; gives whether the connection goes on."""
        request, where = record(*incoming)
        request.received_s = time.time()
        self.requests.append(request)
        self._number += 1
        number = self._number
        try:
            faulty = self._script is answer_to and request.model.startswith(PREFIX)
            if (answer := self.batches.answer(request, self._reply)) is not None:
                send_json(line, request, *answer, number)
                return _keeps_alive(request)
            if where.verb != "chat" and not faulty:
                status, body = plain_answer(request, where)
                send_json(line, request, status, body, number)
                return _keeps_alive(request)
            alive = await play(line, request, self._reply(request), number)
            return alive and _keeps_alive(request)
        finally:
            request.finished_s = time.time()
            request.cancelled = line.client_left

    def _reply(self, request: Recorded) -> Reply:
        index, self._used = self._used, self._used + 1
        if callable(self._script):
            try:
                return self._script(request)
            except Exception as error:
                # The script is the user's: it is told where the user can see it.
                self._error = self._error or error
                raise ConnectionAbortedError("the script failed") from error
        if not self._script:
            raise ConnectionAbortedError("the script is empty")
        length = len(self._script)
        return self._script[index % length if self._cycle else min(index, length - 1)]


def _keeps_alive(request: Recorded) -> bool:
    return request.headers.get("connection", "").lower() != "close"
