"""An answer that has begun, and the faults that can end it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from pointsman._http.transport import Response, TransportError
from pointsman._sse import EventTooLarge, Parser
from pointsman._stream import explode, first_call_only, first_calls
from pointsman.dialects.base import AnswerReader, Dialect
from pointsman.errors import (
    BadAnswer,
    PointsmanError,
    ProviderError,
    ProviderTimeout,
    ProviderUnreachable,
    StreamCut,
)
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate
from pointsman.types import Chunk, Completion

__all__ = ["Served", "fault_of"]

_JSON = msgspec.json.Decoder(dict[str, Any])


class Served:
    """An answer that has begun. `close` it, or read it to its end.

    `upstream_s` is the time spent waiting for the upstream until its head (and, for a stream, its
    first bytes) came, all tries and pauses included. `reader` reads the answer: the dialect, unless
    what was asked for is no chat.
    """

    __slots__ = (
        "_diagnose",
        "_first",
        "_lease",
        "_response",
        "attempts",
        "binding",
        "candidate",
        "dialect",
        "ignored",
        "reader",
        "single_call",
        "upstream_s",
    )

    def __init__(
        self,
        candidate: Candidate,
        binding: Binding,
        dialect: Dialect,
        response: Response,
        ignored: tuple[str, ...],
        lease: AbstractAsyncContextManager[object] | None,
        diagnose: Callable[[Candidate], Awaitable[PointsmanError | None]],
    ) -> None:
        self.candidate = candidate
        self.binding = binding
        self.dialect = dialect
        self.reader: AnswerReader = dialect
        self.ignored = ignored
        self.single_call = False
        self.attempts = 1
        self.upstream_s = 0.0
        self._response = response
        self._lease = lease
        self._diagnose = diagnose
        self._first = b""

    @property
    def status(self) -> int:
        """The upstream's status, 200–299."""
        return self._response.status

    @property
    def content_type(self) -> str:
        """The upstream's content type, in full."""
        return self._response.headers.get("content-type", "application/json")

    @property
    def is_stream(self) -> bool:
        """Whether the upstream answers with server-sent events."""
        return self.content_type.startswith("text/event-stream")

    async def read(self, limit_bytes: int) -> bytes:
        """Give the whole body, at most `limit_bytes`.

        Raises:
            BadAnswer: it is larger, or no HTTP.
            ProviderUnreachable: the connection broke.
            ProviderTimeout: it stalled.
        """
        try:
            first = self._first
            self._first = b""
            rest = await self._response.read(limit_bytes)
            return first + rest if first else rest
        except TransportError as error:
            raise await self._fault(error) from error
        finally:
            await self.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            StreamCut: the connection broke.
            ProviderTimeout: it stalled.
        """
        try:
            if self._first:
                first, self._first = self._first, b""
                yield first
            while (chunk := await self._response.next_chunk()) is not None:
                yield chunk
        except TransportError as error:
            raise await self._fault(error, StreamCut) from error
        finally:
            await self.close()

    async def pipe(self, sink: Callable[[bytes], None]) -> None:
        """Give `sink` the body as it comes, with no task between; it must be quick.

        Raises:
            StreamCut, ProviderTimeout: as `chunks`; and what `sink` raises.
        """
        try:
            if self._first:
                first, self._first = self._first, b""
                sink(first)
            await self._response.pipe(sink)
        except TransportError as error:
            raise await self._fault(error, StreamCut) from error
        finally:
            await self.close()

    def hold(self) -> None:
        """While piping: let the upstream wait until `let_go`."""
        self._response.hold()

    def let_go(self) -> None:
        """While piping: let the upstream go on."""
        self._response.let_go()

    async def json(self, limit_bytes: int) -> dict[str, Any]:
        """Give the whole body, which must be a JSON object.

        Raises:
            BadAnswer: it is not; else as `read`.
        """
        try:
            return _JSON.decode(await self.read(limit_bytes))
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._bad(f"answered what is no JSON object: {error}") from error

    async def completion(self, limit_bytes: int) -> Completion:
        """Read a whole answer into the middle form.

        Raises:
            ProviderError: as `json`, or as the dialect's `read_completion`.
        """
        target = self.binding.target(self.candidate.model)
        completion = self.reader.read_completion(await self.json(limit_bytes), target)
        return first_call_only(completion) if self.single_call else completion

    async def answer(self, limit_bytes: int) -> AsyncIterator[list[Chunk]]:
        """Read a stream into the middle form; a whole answer in its place is taken as one piece.

        What came before a fault is yielded before the fault is raised.

        Raises:
            ProviderError: as `chunks`, or as the dialect's reader; StreamCut if the end is missing.
        """
        if not self.is_stream:
            yield list(explode(await self.completion(limit_bytes)))
            return
        reader = self.reader.stream_reader(self.binding.target(self.candidate.model))
        parser = Parser()
        async for piece in self.chunks():
            chunks: list[Chunk] = []
            try:
                for event in parser.feed(piece):
                    chunks += reader.read(event)
            except EventTooLarge as error:
                yield self._wanted(chunks)
                raise self._bad(str(error)) from error
            except ProviderError:
                yield self._wanted(chunks)
                raise
            yield self._wanted(chunks)
        yield self._wanted(reader.finish())

    def _wanted(self, chunks: list[Chunk]) -> list[Chunk]:
        return first_calls(chunks) if self.single_call else chunks

    async def _fault(
        self,
        error: TransportError,
        cut: type[StreamCut] | type[ProviderUnreachable] = ProviderUnreachable,
    ) -> PointsmanError:
        known = await self._diagnose(self.candidate)
        return known or fault_of(error, self.binding.name, self.candidate.model, cut)

    def _bad(self, what: str) -> BadAnswer:
        return BadAnswer(
            f"{self.candidate.ref} {what}", provider=self.binding.name, model=self.candidate.model
        )

    async def close(self) -> None:
        """Cut what was not read to its end, and let a local model go."""
        self._response.close()
        if self._lease is not None:
            lease, self._lease = self._lease, None
            await lease.__aexit__(None, None, None)

    async def peek(self) -> None:
        """Wait for a stream's first bytes, so that a failure there can still fall over.

        Raises:
            ProviderError: the stream begins with an error, breaks or stalls.
        """
        try:
            self._first = await self._response.next_chunk() or b""
        except TransportError as error:
            raise await self._fault(error) from error
        if not self._first:
            if self.is_stream:
                raise StreamCut(
                    f"{self.candidate.ref} ended its stream before the first event",
                    provider=self.binding.name,
                    model=self.candidate.model,
                )
        elif b'"error"' in self._first[:2048] and self.is_stream:
            reader = self.dialect.stream_reader(self.binding.target(self.candidate.model))
            for event in Parser().feed(self._first):
                reader.read(event)


def fault_of(
    error: TransportError,
    provider: str,
    model: str,
    cut: type[StreamCut] | type[ProviderUnreachable] = ProviderUnreachable,
) -> ProviderError:
    """Name a fault of the network after the provider; `cut` is the kind for a broken answer."""
    kind: type[ProviderTimeout | BadAnswer | StreamCut | ProviderUnreachable]
    if error.kind == "timeout":
        kind = ProviderTimeout
    elif error.kind in ("protocol", "size"):
        kind = BadAnswer
    else:
        kind = cut
    return kind(f"{provider}: {error}", provider=provider, model=model)
