"""OpenAI's surface: chat completions, embeddings, and what is only passed on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from pointsman._http.transport import Request
from pointsman.dialects import get_dialect
from pointsman.dialects.base import Call, Dialect
from pointsman.dialects.openai import read_embed, write_embeddings
from pointsman.errors import UnsupportedParameter
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.meter import usage_of
from pointsman.gateway.passage import ErrorEvents, Passage, as_chat
from pointsman.gateway.relay import Asked
from pointsman.gateway.wire import decode_body, read_envelope, replace_model
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["chat_completions", "completions", "embeddings", "pass_on", "rerank", "responses"]

_JSON = msgspec.json.Encoder()
# A quote before the word cannot stand inside a JSON string without its backslash, so a model's text
# can't pretend to be the end.
_COMPLETIONS = Passage(
    path="/completions",
    field="prompt",
    instead="only providers of OpenAI's wire format take it: use /v1/chat/completions",
    ends=re.compile(rb'(?:^|\n)data: ?\[DONE\]|"finish_reason"\s*:\s*"'),
    asks_usage=True,
)
_RESPONSES = Passage(
    path="/responses",
    field="input",
    instead="only providers of OpenAI's wire format take it: use /v1/chat/completions",
    ends=re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"'),
    usage="responses",
    writer=lambda chat: ErrorEvents(),
)
_RERANK = Passage(
    path="/rerank",
    field="documents",
    instead="only providers of OpenAI's wire format, and local models, can rank",
    ends=_COMPLETIONS.ends,
)


def _chat_path(_model: str) -> str:
    return "/chat/completions"


async def chat_completions(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1/chat/completions`."""
    body = await exchange.body(gateway.max_body_bytes)
    started_s = gateway.begin(exchange)
    envelope = read_envelope(body)
    asked = Asked(
        get_dialect("openai"),
        body,
        envelope.model,
        stream=bool(envelope.stream),
        path=_chat_path,
        stream_options=envelope.stream_options is not None,
    )
    await gateway.relay.answer(exchange, asked, started_s)


async def embeddings(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1/embeddings`."""
    body = await exchange.body(gateway.max_body_bytes)
    gateway.begin(exchange)
    ref = read_envelope(body).model
    embed = read_embed(decode_body(body))

    def prepare(candidate: Candidate, binding: Binding, dialect: Dialect) -> Request | Call:
        if not binding.row.capabilities.embeddings:
            raise UnsupportedParameter("input", binding.name, "it has no embeddings")
        if dialect.name == "openai":
            return binding.post("/embeddings", replace_model(body, candidate.model))
        asked = msgspec.structs.replace(embed, model=candidate.model)
        return dialect.write_embed(asked, binding.target(candidate.model))

    candidates = gateway.door.embedders(ref)
    served = await gateway.door.dispatcher.open(candidates, prepare, stream=False)
    limit = gateway.config.server.max_answer_bytes
    if served.dialect.name == "openai":
        answer = await served.read(limit)
        usage = usage_of("openai", answer)
    else:
        target = served.binding.target(served.candidate.model)
        vectors = served.dialect.read_embeddings(await served.json(limit), target)
        usage = vectors.usage
        answer = _JSON.encode(write_embeddings(vectors, embed))
    gateway.meter.served(served.candidate.card, usage)
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"x-request-id", exchange.request_id.encode("latin-1")),
        (b"x-pointsman-model", served.candidate.ref.encode("latin-1", "replace")),
        (b"x-pointsman-attempts", b"%d" % served.attempts),
    ]
    await exchange.respond(served.status, headers, answer)


async def pass_on(gateway: Gateway, exchange: Exchange, passage: Passage) -> None:
    """Pass a request on to what its `model` names, and the answer back as it comes."""
    body = await exchange.body(gateway.max_body_bytes)
    started_s = gateway.begin(exchange)
    envelope = read_envelope(body)
    asked = Asked(
        get_dialect("openai"),
        body,
        envelope.model,
        stream=bool(envelope.stream),
        path=_chat_path,
        stream_options=envelope.stream_options is not None,
        mend=as_chat,
        writer=passage.writer,
        passage=passage,
    )
    await gateway.relay.answer(exchange, asked, started_s)


async def completions(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1/completions`."""
    await pass_on(gateway, exchange, _COMPLETIONS)


async def responses(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1/responses`."""
    await pass_on(gateway, exchange, _RESPONSES)


async def rerank(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1/rerank`, and `/rerank`."""
    await pass_on(gateway, exchange, _RERANK)
