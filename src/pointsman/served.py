"""An answer that has begun, and the faults that can end it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from pointsman._http.transport import Response, TransportError
from pointsman._sse import EventTooLarge, Parser
from pointsman._stream import Accumulator, explode, first_call_only, first_calls
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
from pointsman.types import (
    Chunk,
    Completion,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)

__all__ = ["Served", "fault_of"]

_JSON = msgspec.json.Decoder(dict[str, Any])


class Served:
    """An answer that has begun. `close` it, or read it to its end.

    `upstream_s` is the time spent waiting for the upstream until its head (and, for a stream, its
    first bytes) came, all tries and pauses included. `reader` reads the answer: the dialect, unless
    what was asked for is no chat. `passed` says that the answer goes to the client as it is, and
    `hide_usage` and `hide_logprobs` that it holds what the client did not ask for.
    """

    __slots__ = (
        "_diagnose",
        "_first",
        "_lease",
        "_pending",
        "_response",
        "_whole",
        "attempts",
        "binding",
        "candidate",
        "dialect",
        "hide_logprobs",
        "hide_usage",
        "ignored",
        "passed",
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
        self._whole = False
        self._pending: asyncio.Task[bytes | None] | None = None
        self.passed = False
        self.hide_usage = False
        self.hide_logprobs = False

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
            if self._whole:
                return first
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
            while (chunk := await self._next()) is not None:
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
            if self._pending is not None and (chunk := await self._next()) is not None:
                sink(chunk)
            await self._response.pipe(sink)
        except TransportError as error:
            raise await self._fault(error, StreamCut) from error
        finally:
            await self.close()

    def pause(self) -> None:
        """While piping: let the upstream wait until `resume`."""
        self._response.hold()

    def resume(self) -> None:
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
        if self.hide_logprobs:
            completion = _without_logprobs(completion)
        return first_call_only(completion) if self.single_call else completion

    async def keep(self, limit_bytes: int) -> Completion:
        """Read the whole answer, and keep it: it can still be read or passed on, once.

        The connection and a local model are let go.

        Raises:
            ProviderError: as `completion`.
        """
        body = await self.read(limit_bytes)
        self._first, self._whole = body, True
        try:
            tree = _JSON.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._bad(f"answered what is no JSON object: {error}") from error
        return self.reader.read_completion(tree, self.binding.target(self.candidate.model))

    async def hold(self, tokens: int, wait_s: float, limit_bytes: int) -> tuple[Completion, bool]:
        """Give a stream's first part, and whether it is all of it; the stream can still be read.

        Ends after so many pieces of text, or `wait_s` seconds after the first of them or of thought.

        Raises:
            ProviderError: as `answer`, if the stream fails in that part.
        """
        if not self.is_stream:
            return await self.keep(limit_bytes), True
        reader = self.reader.stream_reader(self.binding.target(self.candidate.model))
        parser, grown = Parser(), Accumulator()
        pieces: list[bytes] = []
        size = count = 0
        ended = begun = False
        deadline: float | None = None
        clock = asyncio.get_running_loop().time
        piece: bytes | None = self._first
        try:
            while piece is not None:
                pieces.append(piece)
                size += len(piece)
                for event in parser.feed(piece):
                    for chunk in reader.read(event):
                        grown.feed(chunk)
                        count += _weight(chunk)
                        begun = begun or bool(count) or isinstance(chunk, ReasoningDelta)
                        ended = ended or isinstance(chunk, Finished)
                if ended or count >= tokens or size > limit_bytes:
                    break
                if begun and deadline is None:
                    deadline = clock() + wait_s
                left = None if deadline is None else deadline - clock()
                if not await self._came(left):
                    break
                piece = await self._next()
            else:
                for chunk in reader.finish():
                    grown.feed(chunk)
                ended = True
        except TransportError as error:
            raise await self._fault(error, StreamCut) from error
        except EventTooLarge as error:
            raise self._bad(str(error)) from error
        self._first = b"".join(pieces)
        return grown.completion(), ended

    async def _came(self, left_s: float | None) -> bool:
        """Whether the next piece comes in time; one that does not is still awaited by whoever reads on."""
        if self._pending is None:
            self._pending = asyncio.ensure_future(self._response.next_chunk())
        done, _ = await asyncio.wait({self._pending}, timeout=left_s)
        return bool(done)

    async def _next(self) -> bytes | None:
        pending, self._pending = self._pending, None
        return await (pending if pending is not None else self._response.next_chunk())

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
        if self.hide_logprobs:
            chunks = [
                msgspec.structs.replace(chunk, logprobs=None)
                if isinstance(chunk, TextDelta) and chunk.logprobs is not None
                else chunk
                for chunk in chunks
            ]
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
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.cancel()
            # It may have failed already: nobody wants to know any more.
            await asyncio.gather(pending, return_exceptions=True)
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


def _weight(chunk: Chunk) -> int:
    """How many tokens a chunk is, about: most upstreams send one at a time."""
    if isinstance(chunk, TextDelta):
        return len(chunk.logprobs) if chunk.logprobs else int(bool(chunk.text))
    return int(isinstance(chunk, ToolCallDelta) and bool(chunk.arguments))


def _without_logprobs(completion: Completion) -> Completion:
    choices = tuple(msgspec.structs.replace(choice, logprobs=None) for choice in completion.choices)
    return msgspec.structs.replace(completion, choices=choices)


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
