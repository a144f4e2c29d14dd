"""OpenAI's surface: chat completions and embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pointsman._http.transport import Request
from pointsman.dialects import get_dialect
from pointsman.dialects.base import Call, Dialect
from pointsman.dialects.openai import read_embed, write_embeddings
from pointsman.errors import UnsupportedParameter
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.meter import usage_of
from pointsman.gateway.relay import Asked
from pointsman.gateway.wire import decode_body, read_envelope, replace_model
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["chat_completions", "embeddings"]

_JSON = msgspec.json.Encoder()


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

    choice = gateway.door.resolver.resolve(ref)
    served = await gateway.door.dispatcher.open(choice.candidates, prepare, stream=False)
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
