"""Answers a chat: pass-through where the dialects are equal, translation where they are not."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from pointsman._http.transport import Request
from pointsman.carry import Spent
from pointsman.classifiers import plain
from pointsman.dialects.anthropic import ANTHROPIC
from pointsman.dialects.base import AnswerReader, Call, ClientDialect, Dialect, StreamWriter
from pointsman.dialects.gemini import GEMINI
from pointsman.door import Caller, Choice, Door
from pointsman.errors import BlockedByGuard, PointsmanError
from pointsman.gateway.ambiguity import refuse_ambiguous
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.likelihood import ask_logprobs, hide_logprobs
from pointsman.gateway.makers import Makers
from pointsman.gateway.meter import Meter, usage_of
from pointsman.gateway.passage import Passage, passed_texts, with_suffix
from pointsman.gateway.passing import Passing
from pointsman.gateway.wire import ask_usage, decode_body, replace_model
from pointsman.guards import Guards, user_texts
from pointsman.images import has_remote_images, with_fetched_images
from pointsman.providers.binding import Binding
from pointsman.recall import Outline
from pointsman.resolve import Candidate
from pointsman.router.steps import Call as Step
from pointsman.served import Served
from pointsman.types import Chat, Chunk, Usage, UsageReported

__all__ = ["Asked", "OwnForm", "Relay"]

_JSON = msgspec.json.Encoder()
_ANY = msgspec.json.Decoder(dict[str, Any])
SSE_TYPE = b"text/event-stream; charset=utf-8"
# What marks a complete stream, dialect by dialect. A raw line break or an unescaped quote before
# the word cannot stand inside a JSON string, so a model's text can't pretend to be the end.
_ENDS = {
    "openai": re.compile(rb'(?:^|\n)data: ?\[DONE\]|"finish_reason"\s*:\s*"'),
    "anthropic": re.compile(rb"(?:^|\n)event: ?message_stop"),
    "gemini": re.compile(rb'"finishReason"\s*:\s*"|"blockReason"\s*:\s*"'),
}
# Sealed signatures (dialects._shared.seal) begin so in base64: they need to be opened first.
_SEAL = b"cG0xf"
# Dialects whose clients carry signatures, and how a client's own body is made fit for a provider.
_OWNERS = {"anthropic": ANTHROPIC.own_body, "gemini": GEMINI.own_body}


class OwnForm(Protocol):
    """How a request is put that is no chat to its upstream, and how its answer is read."""

    reader: AnswerReader

    def request(self, chat: Chat, candidate: Candidate, binding: Binding) -> Request:
        """Give the request, with the sampling of `chat`.

        Raises:
            UnsupportedParameter: this upstream has no such form, or not this parameter.
        """
        ...


class Asked:
    """What a client asked: its dialect, its body, and where a pass-through goes.

    `own_form` is for what is no chat, `passage` for what can only be passed on; `ignored` names the hints that its reader left out.
    """

    __slots__ = (
        "_chat",
        "_mend",
        "body",
        "dialect",
        "headers",
        "hide_logprobs",
        "hide_usage",
        "ignored",
        "own_form",
        "passage",
        "passed",
        "path",
        "ref",
        "stream",
        "stream_options",
        "stream_type",
        "writer",
    )

    def __init__(
        self,
        dialect: ClientDialect,
        body: bytes,
        ref: str,
        *,
        stream: bool,
        path: Callable[[str], str],
        headers: tuple[tuple[str, str], ...] = (),
        stream_options: bool = True,
        mend: Callable[[dict[str, Any]], None] | None = None,
        writer: Callable[[Chat], StreamWriter] | None = None,
        stream_type: bytes = SSE_TYPE,
        own_form: OwnForm | None = None,
        passage: Passage | None = None,
        ignored: tuple[str, ...] = (),
    ) -> None:
        self.dialect = dialect
        self.body = body
        self.ref = ref
        self.stream = stream
        self.path = path
        self.headers = headers
        self.stream_options = stream_options
        self.writer = writer or dialect.stream_writer
        self.stream_type = stream_type
        self.own_form = own_form
        self.passage = passage
        self.ignored = ignored
        self.passed = False
        self.hide_usage = False
        self.hide_logprobs = False
        self._mend = mend
        self._chat: Chat | None = None

    def chat(self) -> Chat:
        """The body in the middle form; read once.

        Raises:
            RequestError: as the dialect's `read_chat`.
        """
        if self._chat is None:
            tree = decode_body(self.body)
            if self._mend is not None:
                self._mend(tree)
            self._chat = self.dialect.read_chat(tree)
        return self._chat

    @property
    def usage(self) -> str:
        """The form in which an answer that is passed on counts its tokens."""
        return self.passage.usage if self.passage else self.dialect.name

    @property
    def ends(self) -> re.Pattern[bytes]:
        """What the end of a stream that is passed on has in it."""
        return self.passage.ends if self.passage else _ENDS[self.dialect.name]

    @property
    def can_be_held(self) -> bool:
        """Whether an answer can be looked at before it is passed on: a chat, whole or as events."""
        events = self.stream_type == SSE_TYPE or self.dialect.name != "gemini"
        return self.own_form is None and self.passage is None and (events or not self.stream)

    def replace_chat(self, chat: Chat) -> None:
        """Take another chat in the place of the one that was read."""
        self._chat = chat

    def bare_chat(self) -> Chat:
        """A chat for a writer of errors, where the body was never read."""
        return self._chat or Chat(model=self.ref, messages=(), dialect=self.dialect.name)


class Relay:
    """Sends what was asked through the door and the answer back."""

    def __init__(self, door: Door, meter: Meter) -> None:
        self._door = door
        self._meter = meter
        self._guards = door.guards
        self._makers = Makers()
        self._max_answer = door.config.server.max_answer_bytes

    async def answer(self, exchange: Exchange, asked: Asked, started_s: float) -> None:
        """Answer a chat.

        Raises:
            PointsmanError: nothing was sent yet, and no candidate served it.
        """
        if self._guards is not None:
            await self._guard(self._guards, exchange, asked)
        quality = exchange.header(b"x-pointsman-quality")
        choice = self._door.choose(
            asked.ref, asked.chat, _quality(quality), lambda: _caller(exchange)
        )

        if self._door.config.server.fetch_images and b"http" in asked.body:
            await self._fetch_images(asked, choice)
        spent: tuple[Spent, ...] = ()
        try:
            if choice.run is not None and asked.can_be_held:
                served, choice, spent = await self._carry(asked, choice)
            else:
                served = await self._open(asked, None, choice.candidates, False, asked.stream)
        except BaseException as error:
            status = error.status if isinstance(error, PointsmanError) else None
            self._door.note_failed(choice, status)
            raise
        head = [
            (b"x-request-id", exchange.request_id.encode("latin-1")),
            (b"x-pointsman-model", _header(served.candidate.ref)),
            (b"x-pointsman-route", _header(choice.why)),
            (b"x-pointsman-attempts", b"%d" % served.attempts),
        ]
        if served.ignored or asked.ignored:
            ignored = (*asked.ignored, *served.ignored)
            head.append((b"x-pointsman-ignored", _header(", ".join(ignored))))
        try:
            if asked.stream:
                await self._stream(exchange, asked, served, head, started_s, choice)
            else:
                await self._whole(exchange, asked, served, head, started_s, choice, spent)
        finally:
            await served.close()
            if choice.ticket is not None:
                self._door.note_failed(choice)

    async def _open(
        self,
        asked: Asked,
        step: Step | None,
        candidates: Sequence[Candidate],
        logprobs: bool,
        stream: bool,
    ) -> Served:
        """Ask candidates in order: the request as it came, or what a policy's step wants of it."""

        def prepare(candidate: Candidate, binding: Binding, dialect: Dialect) -> Request | Call:
            asked.hide_logprobs = False
            if step is not None and step.chat is not None:
                asked.passed = asked.hide_usage = False
                chat = self._door.recall.restore(step.chat)
                chat = msgspec.structs.replace(chat, model=candidate.model)
                return dialect.write_chat(chat, binding.target(candidate.model))
            return self._prepare(asked, candidate, binding, dialect, logprobs=logprobs)

        served = await self._door.dispatcher.open(
            candidates, prepare, stream=stream, patient=step is None
        )
        served.passed, served.hide_usage = asked.passed, asked.hide_usage
        served.hide_logprobs = asked.hide_logprobs
        if asked.own_form is not None:
            served.reader = asked.own_form.reader
        return served

    async def _carry(
        self, asked: Asked, choice: Choice
    ) -> tuple[Served, Choice, tuple[Spent, ...]]:
        """Carry out a policy that asks first; what it spends on the way is counted."""

        async def ask(
            step: Step | None, candidates: Sequence[Candidate], logprobs: bool, stream: bool
        ) -> Served:
            return await self._open(asked, step, candidates, logprobs, stream)

        began_s = time.perf_counter()
        found, choice = await self._door.carry(choice, ask, stream=asked.stream)
        # All the asking is waiting for upstreams; what the policy itself takes is nothing beside it.
        found.served.upstream_s = time.perf_counter() - began_s
        for each in found.spent:
            self._meter.spent(each.card, each.usage)
        return found.served, choice, found.spent

    async def _guard(self, guards: Guards, exchange: Exchange, asked: Asked) -> None:
        """Let the guards look at what the user says; the answer names those that struck.

        Raises:
            BlockedByGuard: one of them refuses it.
            RequestError: the body can be read in two ways.
        """
        refuse_ambiguous(asked.body)
        texts: list[str] | None
        if asked.passage is not None:
            texts = passed_texts(decode_body(asked.body))
        else:
            texts = user_texts(asked.chat())
            if asked.own_form is not None:
                texts = with_suffix(texts, decode_body(asked.body))
        try:
            strikes = await guards.check(texts)
        except BlockedByGuard as error:
            struck = f"{error.guard}; label={plain(error.label)}" if error.label else error.guard
            exchange.more_headers.append((b"x-pointsman-guard", _header(struck)))
            raise
        if strikes:
            text = ", ".join(strike.header() for strike in strikes)
            exchange.more_headers.append((b"x-pointsman-guard", _header(text)))

    async def _fetch_images(self, asked: Asked, choice: Choice) -> None:
        """Put remote images into the body, if a candidate takes only bytes (Gemini's wire does)."""
        dispatcher = self._door.dispatcher
        remote = [each for each in choice.candidates if not each.local]
        if any(dispatcher.binding(each.provider).dialect == "gemini" for each in remote):
            chat = asked.chat()
            if has_remote_images(chat):
                asked.replace_chat(await with_fetched_images(chat, dispatcher.transport))

    def _prepare(
        self,
        asked: Asked,
        candidate: Candidate,
        binding: Binding,
        dialect: Dialect,
        *,
        logprobs: bool = False,
    ) -> Request | Call:
        if asked.own_form is not None:
            return asked.own_form.request(asked.chat(), candidate, binding)
        if asked.passage is not None:
            asks = asked.passage.asks_usage and binding.row.quirks.stream_usage
            ask = asks and asked.stream and not asked.stream_options
            asked.passed, asked.hide_usage = True, ask
            return asked.passage.request(asked.body, candidate.model, binding, ask=ask)
        asked.hide_usage = False
        asked.passed = passes(asked, binding)
        if binding.dialect == asked.dialect.name:
            sealed = self._makers.sealed(binding.name, asked.body)
            if _SEAL in sealed and dialect.name in _OWNERS:
                asked.passed = True
                tree = _OWNERS[dialect.name](decode_body(sealed), binding.target(candidate.model))
                if "model" in tree:
                    tree["model"] = candidate.model
                return binding.post(asked.path(candidate.model), _JSON.encode(tree), asked.headers)
        if not asked.passed:
            chat = self._door.recall.restore(asked.chat())
            chat = msgspec.structs.replace(chat, model=candidate.model)
            if logprobs and not chat.logprobs and dialect.name != "anthropic":
                asked.hide_logprobs = True
                chat = msgspec.structs.replace(chat, logprobs=True)
            return dialect.write_chat(chat, binding.target(candidate.model))
        body = asked.body
        if logprobs and (asking := ask_logprobs(dialect.name, body)) is not None:
            asked.hide_logprobs, body = True, asking
        if dialect.name != "gemini":  # Gemini's model stands in the path.
            body = replace_model(body, candidate.model)
            if asked.stream and not asked.stream_options and binding.row.quirks.stream_usage:
                body = ask_usage(body)
                asked.hide_usage = True
        return binding.post(asked.path(candidate.model), body, asked.headers)

    async def _whole(
        self,
        exchange: Exchange,
        asked: Asked,
        served: Served,
        head: Headers,
        started_s: float,
        choice: Choice,
        spent: tuple[Spent, ...] = (),
    ) -> None:
        waiting_s = time.perf_counter()
        usage: Usage | None
        finish = None
        if served.passed:
            body = await served.read(self._max_answer)
            if served.hide_logprobs:
                body = hide_logprobs(asked.dialect.name, body)
            self._makers.note(served.binding.name, body)
            upstream_s = served.upstream_s + time.perf_counter() - waiting_s
            usage = usage_of(asked.usage, body)
        else:
            completion = await served.completion(self._max_answer)
            upstream_s = served.upstream_s + time.perf_counter() - waiting_s
            self._door.recall.remember(completion)
            usage = completion.usage
            finish = completion.choices[0].finish_reason if completion.choices else None
            body = _JSON.encode(asked.dialect.write_completion(completion, asked.chat()))
        cost = self._meter.served(served.candidate.card, usage)
        if choice.ticket is not None:
            await self._door.note(
                choice, served.candidate, usage, attempts=served.attempts, finish=finish
            )
        if cost is not None:
            cost += sum(each.cost_usd or 0.0 for each in spent)
            head.append((b"x-pointsman-cost-usd", f"{cost:.8f}".encode()))
        content_type = served.content_type if served.passed else "application/json"
        head.append((b"content-type", _header(content_type)))
        overhead_ms = (time.perf_counter() - started_s - upstream_s) * 1e3
        head.append((b"x-pointsman-overhead-ms", b"%.3f" % overhead_ms))
        await exchange.respond(served.status, head, body)

    async def _stream(
        self,
        exchange: Exchange,
        asked: Asked,
        served: Served,
        head: Headers,
        started_s: float,
        choice: Choice,
    ) -> None:
        overhead_ms = (time.perf_counter() - started_s - served.upstream_s) * 1e3
        head.append((b"x-pointsman-overhead-ms", b"%.3f" % overhead_ms))
        head.append((b"cache-control", b"no-cache"))
        usage: Usage | None = None
        try:
            if not served.passed:
                # The head waits for the first event of the answer, so that a first event which
                # can't be read is still an error with its own status.
                usage = await self._translate(exchange, asked, served, head)
            elif served.is_stream:
                head.append((b"content-type", _header(served.content_type)))
                await exchange.start(served.status, head)
                usage = await self._pass_events(exchange, asked, served)
            else:
                head.append((b"content-type", _header(served.content_type)))
                await exchange.start(served.status, head)
                async for chunk in served.chunks():
                    await exchange.write(chunk)
        except PointsmanError as error:
            if not exchange.started:
                raise
            self._meter.failed(served.candidate.provider, served.candidate.model)
            await exchange.write(asked.writer(asked.bare_chat()).fail(error))
            await exchange.end()
            if choice.ticket is not None:
                await self._door.note(choice, served.candidate, usage, error=error)
            return
        self._meter.served(served.candidate.card, usage)
        if choice.ticket is not None:
            await self._door.note(choice, served.candidate, usage, attempts=served.attempts)
        await exchange.end()

    async def _pass_events(self, exchange: Exchange, asked: Asked, served: Served) -> Usage | None:
        """Relay whole events as they are; hold back a part of one until its rest has come."""
        passing = Passing(
            served.binding.name,
            served.candidate,
            self._makers,
            usage=asked.usage,
            ends=asked.ends,
            late=asked.passage is None,
            hide_usage=served.hide_usage,
            hide_logprobs=asked.dialect.name if served.hide_logprobs else None,
            limit_bytes=self._max_answer,
        )
        direct = exchange.direct()
        if direct is not None:
            with direct.attached(served.pause, served.resume) as write:

                def sink(chunk: bytes) -> None:
                    if events := passing.feed(chunk):
                        write(events)

                await served.pipe(sink)
        else:
            async for chunk in served.chunks():
                if events := passing.feed(chunk):
                    await exchange.write(events)
        return passing.finish()

    async def _translate(
        self, exchange: Exchange, asked: Asked, served: Served, head: Headers
    ) -> Usage | None:
        writer = asked.writer(asked.chat())
        outline = Outline()
        usage: Usage | None = None
        head.append((b"content-type", asked.stream_type))

        async def put(chunks: list[Chunk], last: bytes = b"") -> None:
            nonlocal usage
            data: list[bytes] = []
            for chunk in chunks:
                outline.feed(chunk)
                if isinstance(chunk, UsageReported):
                    usage = chunk.usage
                data.append(writer.write(chunk))
            joined = b"".join(data) + last
            if joined:
                if not exchange.started:
                    await exchange.start(served.status, head)
                await exchange.write(joined)

        async for chunks in served.answer(self._max_answer):
            await put(chunks)
        await put([], writer.finish())
        self._door.recall.remember(outline.completion())
        return usage


def passes(asked: Asked, binding: Binding) -> bool:
    """Whether the body may go to the provider as it is.

    Equal dialects pass, unless the body holds what this provider's departures from the dialect
    need rewritten, or a signature that was sealed for a client.
    """
    if binding.dialect != asked.dialect.name or _SEAL in asked.body:
        return False
    return not any(trigger in asked.body for trigger in binding.triggers)


def _quality(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        return -1.0  # Out of range: `choose` refuses it by name.


def _caller(exchange: Exchange) -> Caller:
    return Caller(
        request_id=exchange.request_id,
        conversation=exchange.header(b"x-pointsman-conversation"),
        tag=exchange.header(b"x-pointsman-tag"),
    )


def _header(text: str) -> bytes:
    return text.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
