"""`AsyncClient` and `Client`: the gateway's refs, routes, fall-back and errors with no server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload
from uuid import uuid4

import msgspec
from msgspec import Struct

from pointsman._http.transport import Transport
from pointsman._stream import Accumulator
from pointsman.carry import Spent
from pointsman.config import Config, load_config
from pointsman.dialects.base import Call, Dialect
from pointsman.door import Caller, Choice, Door
from pointsman.errors import PointsmanError, UnsupportedParameter
from pointsman.guards import user_texts
from pointsman.listing import list_models, list_provider
from pointsman.options import ChatOptions, Messages, build_chat
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate
from pointsman.router.outcomes import feedback_of
from pointsman.router.steps import Call as Step
from pointsman.served import Served
from pointsman.types import (
    Chat,
    Chunk,
    Completion,
    Embed,
    Embeddings,
    Message,
    ModelInfo,
    ToolCall,
    Usage,
    UsageReported,
)

__all__ = ["Answer", "AsyncClient", "AsyncStream", "Client", "Stream"]

T = TypeVar("T")

SIGNALS_SEEN_S = 0.2


class Answer(Struct, frozen=True):
    """A whole answer and how it came about. `cost_usd` is None where the price is unknown.

    `guards` are those of the configuration that mark the request (`action = "flag"`). `request_id` is
    what feedback on a routed answer names.
    """

    completion: Completion
    ref: str
    route: str
    attempts: int
    cost_usd: float | None = None
    ignored: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()
    request_id: str = ""

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.completion.text

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The first choice's tool calls."""
        return self.completion.tool_calls

    @property
    def usage(self) -> Usage | None:
        """The tokens used, None if the provider did not say."""
        return self.completion.usage

    @property
    def message(self) -> Message:
        """The answer as a message, to go on the conversation with."""
        choices = self.completion.choices
        return Message("assistant", choices[0].parts if choices else ())


class AsyncStream:
    """The chunks of an answer as they come. Iterate it to its end, or close it."""

    def __init__(
        self,
        served: Served,
        choice: Choice,
        limit_bytes: int,
        guards: tuple[str, ...],
        door: Door,
        spent: tuple[Spent, ...] = (),
    ) -> None:
        self._served = served
        self._door = door
        self._spent = spent
        self._choice = choice
        self._guards = guards
        self._limit = limit_bytes
        self._accumulator = Accumulator()
        self._chunks = self._read()

    @property
    def ref(self) -> str:
        """What serves it."""
        return self._served.candidate.ref

    def __aiter__(self) -> AsyncIterator[Chunk]:
        """Iterate over the chunks; a stream is read once."""
        return self

    async def __anext__(self) -> Chunk:
        """Give the next chunk."""
        chunk = await anext(self._chunks)
        self._accumulator.feed(chunk)
        return chunk

    async def __aenter__(self) -> Self:
        """Nothing happens; leaving closes the stream."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream."""
        await self.aclose()

    async def aclose(self) -> None:
        """Cut the answer if it has not ended."""
        await self._served.close()
        self._door.note_failed(self._choice)

    def answer(self) -> Answer:
        """Give the answer as far as it was read."""
        completion = self._accumulator.completion()
        return _answer(completion, self._served, self._choice, self._guards, self._spent)

    async def _read(self) -> AsyncIterator[Chunk]:
        usage: Usage | None = None
        try:
            async for chunks in self._served.answer(self._limit):
                for chunk in chunks:
                    if isinstance(chunk, UsageReported):
                        usage = chunk.usage
                    yield chunk
        except PointsmanError as error:
            await self._door.note(self._choice, self._served.candidate, usage, error=error)
            raise
        await self._door.note(
            self._choice, self._served.candidate, usage, attempts=self._served.attempts
        )


class AsyncClient:
    """One door to every model, for asyncio. Belongs to the event loop that first uses it.

    `config` is a Config or the path of a `pointsman.toml`; without one it is found as by
    `load_config`. Close it, or use it as a context manager: it may run local models.
    """

    def __init__(
        self, config: Config | str | Path | None = None, *, transport: Transport | None = None
    ) -> None:
        loaded = config if isinstance(config, Config) else load_config(config)
        self._door = Door(loaded, transport)
        self._limit = loaded.server.max_answer_bytes

    @overload
    async def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> Answer: ...

    @overload
    async def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> AsyncStream: ...

    async def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> Answer | AsyncStream:
        """Give an answer, or its stream.

        `model` is a ref: `provider:model`, `local:name`, an alias or a route. `options` are the
        fields of `pointsman.Chat` (`tools`, `tool_choice`, `response_format`, `thinking`,
        `max_tokens`, `temperature`, …), where tools, the choice and the format may also be given
        in OpenAI's JSON form; `extra` holds parameters of the provider's own, by their wire names;
        `quality` sets a route's dial, 0 (cheapest) to 1 (best); `conversation` is an id by which a route
        knows the turns of one conversation, and `tag` a word for its rules.

        Raises:
            RequestError: the request is wrong, or the model cannot do it.
            BlockedByGuard: a guard of the configuration refuses it.
            ProviderError: the provider (or, for a route, each of them) failed.
        """
        quality = options.get("quality")
        chat = build_chat(model, messages, stream, options)
        struck: tuple[str, ...] = ()
        if self._door.guards is not None:
            strikes = await self._door.guards.check(user_texts(chat))
            struck = tuple(strike.header() for strike in strikes)
        who = Caller(uuid4().hex, options.get("conversation"), options.get("tag"))
        choice = self._door.choose(model, lambda: chat, quality, lambda: who)

        async def ask(
            step: Step | None, candidates: Sequence[Candidate], logprobs: bool, whole_stream: bool
        ) -> Served:
            return await self._open(chat, step, candidates, logprobs, whole_stream)

        spent: tuple[Spent, ...] = ()
        try:
            if choice.run is not None:
                found, choice = await self._door.carry(choice, ask, stream=stream)
                served, spent = found.served, found.spent
            else:
                served = await ask(None, choice.candidates, False, stream)
            if stream:
                return AsyncStream(served, choice, self._limit, struck, self._door, spent)
            completion = await served.completion(self._limit)
        except BaseException as error:
            status = error.status if isinstance(error, PointsmanError) else None
            self._door.note_failed(choice, status)
            raise
        if choice.ticket is not None:
            await self._door.note(
                choice, served.candidate, completion.usage, attempts=served.attempts
            )
        return _answer(completion, served, choice, struck, spent)

    async def _open(
        self,
        chat: Chat,
        step: Step | None,
        candidates: Sequence[Candidate],
        logprobs: bool,
        stream: bool,
    ) -> Served:
        """Ask candidates in order: the chat, or what a policy's step wants in its place."""
        asked = step.chat if step is not None and step.chat is not None else chat
        hidden = False

        def prepare(candidate: Candidate, binding: Binding, dialect: Dialect) -> Call:
            nonlocal hidden
            # What the caller puts into `extra` is the provider's own by intent.
            own = asked.dialect if not asked.extra else dialect.name
            each = msgspec.structs.replace(asked, model=candidate.model, dialect=own)
            hidden = logprobs and not each.logprobs and dialect.name != "anthropic"
            if hidden:
                each = msgspec.structs.replace(each, logprobs=True)
            return dialect.write_chat(each, binding.target(candidate.model))

        served = await self._door.dispatcher.open(
            candidates, prepare, stream=stream, patient=step is None
        )
        served.hide_logprobs = hidden
        return served

    async def embed(
        self, model: str, inputs: str | Sequence[str], *, dimensions: int | None = None
    ) -> Embeddings:
        """Give one vector per input, in order.

        Raises:
            UnsupportedParameter: the provider has no embeddings, or not of that size.
            ProviderError: it failed.
        """
        texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        candidates = self._door.embedders(model)

        def prepare(candidate: Candidate, binding: Binding, dialect: Dialect) -> Call:
            if not binding.row.capabilities.embeddings:
                raise UnsupportedParameter("inputs", binding.name, "it has no embeddings")
            embed = Embed(model=candidate.model, inputs=texts, dimensions=dimensions)
            return dialect.write_embed(embed, binding.target(candidate.model))

        served = await self._door.dispatcher.open(candidates, prepare, stream=False)
        target = served.binding.target(served.candidate.model)
        return served.dialect.read_embeddings(await served.json(self._limit), target)

    async def models(self, provider: str | None = None) -> list[ModelInfo]:
        """Give the models that can be named now; with `provider`, those that it lists.

        Raises:
            ProviderError: the named provider fails. Without a name, one that fails is left out.
        """
        if provider is not None:
            return await list_provider(self._door, provider)
        found, _ = await list_models(self._door, asyncio.get_running_loop().time)
        return found

    async def feedback(
        self,
        request_id: str,
        *,
        score: float | None = None,
        thumbs: Literal["up", "down"] | None = None,
        edited: float | None = None,
        succeeded: bool | None = None,
    ) -> None:
        """Say how good a routed answer was; its route learns from it.

        `request_id` is the answer's. At least one of: `score` 0 to 1, `thumbs`, `edited` (the share of
        the answer that had to be changed, 0 to 1), `succeeded` (whether the task did).

        Raises:
            RequestError: nothing is said, a number is out of range, or there is no such request.
        """
        said = feedback_of(score=score, thumbs=thumbs, edited=edited, succeeded=succeeded)
        await self._door.routing.outcomes.feedback(request_id, said)

    async def aclose(self) -> None:
        """Stop local models and close every connection."""
        await self._door.aclose()

    async def __aenter__(self) -> Self:
        """Nothing happens; leaving closes the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self.aclose()


class Stream:
    """The chunks of an answer, for code without asyncio; see `AsyncStream`."""

    def __init__(self, stream: AsyncStream, client: Client) -> None:
        self._stream = stream
        self._client = client

    @property
    def ref(self) -> str:
        """What serves it."""
        return self._stream.ref

    def __iter__(self) -> Iterator[Chunk]:
        """Iterate over the chunks; a stream is read once."""
        return self

    def __next__(self) -> Chunk:
        """Give the next chunk."""
        try:
            return self._client._run(self._stream.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Self:
        """Nothing happens; leaving closes the stream."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the stream."""
        self.close()

    def close(self) -> None:
        """Cut the answer if it has not ended."""
        self._client._run(self._stream.aclose())

    def answer(self) -> Answer:
        """Give the answer as far as it was read."""
        return self._stream.answer()


class Client:
    """One door to every model, for code without asyncio: the same calls as `AsyncClient`.

    The work is done by an event loop in a thread of its own, so it may be used from any thread.
    """

    def __init__(
        self, config: Config | str | Path | None = None, *, transport: Transport | None = None
    ) -> None:
        self._async = AsyncClient(config, transport=transport)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="pointsman-client", daemon=True
        )
        self._thread.start()

    @overload
    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> Answer: ...

    @overload
    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> Stream: ...

    def chat(
        self,
        model: str,
        messages: Messages,
        *,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> Answer | Stream:
        """Give an answer, or its stream; see `AsyncClient.chat`."""
        if stream:
            opened = self._run(self._async.chat(model, messages, stream=True, **options))
            return Stream(opened, self)
        return self._run(self._async.chat(model, messages, **options))

    def embed(
        self, model: str, inputs: str | Sequence[str], *, dimensions: int | None = None
    ) -> Embeddings:
        """Give one vector per input; see `AsyncClient.embed`."""
        return self._run(self._async.embed(model, inputs, dimensions=dimensions))

    def models(self, provider: str | None = None) -> list[ModelInfo]:
        """Give the models that can be named now; see `AsyncClient.models`."""
        return self._run(self._async.models(provider))

    def feedback(
        self,
        request_id: str,
        *,
        score: float | None = None,
        thumbs: Literal["up", "down"] | None = None,
        edited: float | None = None,
        succeeded: bool | None = None,
    ) -> None:
        """Say how good a routed answer was; see `AsyncClient.feedback`."""
        said = self._async.feedback(
            request_id, score=score, thumbs=thumbs, edited=edited, succeeded=succeeded
        )
        self._run(said)

    def close(self) -> None:
        """Stop local models, close every connection and end the thread."""
        if self._loop.is_closed():
            return
        self._run(self._async.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """Nothing happens; leaving closes the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the client."""
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        # Ctrl-C may come between any two steps of Python here, and a concurrent Future that is
        # waited for would be left with its lock held: the loop then hangs as it sets the result.
        # A SimpleQueue is C, and is either had or not.
        ended: SimpleQueue[asyncio.Task[T] | None] = SimpleQueue()
        begun: list[asyncio.Task[T]] = []

        def begin() -> None:
            begun.append(self._loop.create_task(work))
            begun[0].add_done_callback(ended.put)

        def cancel() -> None:
            if not begun:
                work.close()
                ended.put(None)
            elif not begun[0].cancel():
                ended.put(begun[0])  # It had ended, and the interrupted `get` may have lost it.

        try:
            self._loop.call_soon_threadsafe(begin)
            task = _awaited(ended)
        except BaseException:
            # The upstream call ends too; what comes next finds nothing half done.
            self._loop.call_soon_threadsafe(cancel)
            left = _awaited(ended)
            if left is not None and not left.cancelled():
                left.exception()
            raise
        assert task is not None
        return task.result()


def _awaited(queue: SimpleQueue[T]) -> T:
    # A signal may be given to any thread of the process (macOS and gVisor do so), and then nothing
    # wakes the main one, which alone runs the handler: it looks up by itself.
    while True:
        try:
            return queue.get(timeout=SIGNALS_SEEN_S)
        except Empty:
            continue


def _answer(
    completion: Completion,
    served: Served,
    choice: Choice,
    guards: tuple[str, ...],
    spent: tuple[Spent, ...] = (),
) -> Answer:
    usage = completion.usage
    cost = served.candidate.card.cost_usd(usage) if usage else None
    if cost is not None:
        cost += sum(each.cost_usd or 0.0 for each in spent)
    return Answer(
        completion=completion,
        ref=served.candidate.ref,
        route=choice.why,
        attempts=served.attempts,
        cost_usd=cost,
        ignored=served.ignored,
        guards=guards,
        request_id=choice.ticket.request_id if choice.ticket is not None else "",
    )
