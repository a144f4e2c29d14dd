"""Gemini's surface: the model and the verb stand in the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pointsman._http.transport import Request
from pointsman.dialects.base import Call, Dialect
from pointsman.dialects.gemini import GEMINI
from pointsman.dialects.gemini.request import model_path
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.gateway.exchange import Exchange
from pointsman.gateway.relay import SSE_TYPE, Asked
from pointsman.gateway.routes.anthropic import estimate_tokens
from pointsman.gateway.wire import decode_body
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["models_verb"]

# Both spellings of a field's name are proto-JSON.
_COUNTED = ("generateContentRequest", "generate_content_request")


async def models_verb(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1beta/models/{model}:{verb}`, and the same under `/v1`."""
    ref, colon, verb = exchange.path.partition("/models/")[2].rpartition(":")
    if not colon or not ref:
        raise RequestError("the path is /v1beta/models/{model}:{verb}")
    body = await exchange.body(gateway.max_body_bytes)
    if verb in ("generateContent", "streamGenerateContent"):
        await _generate(gateway, exchange, ref, verb, body)
    elif verb == "countTokens":
        await _count(gateway, exchange, ref, body)
    elif verb in ("embedContent", "batchEmbedContents"):
        await _embed(gateway, exchange, ref, verb, body)
    else:
        raise RequestError(f"no such verb: '{verb}'")


async def _generate(gateway: Gateway, exchange: Exchange, ref: str, verb: str, body: bytes) -> None:
    started_s = gateway.begin(exchange)
    stream = verb == "streamGenerateContent"
    sse = exchange.query().get("alt") == "sse"
    suffix = f":{verb}?alt=sse" if stream and sse else f":{verb}"

    def mend(tree: dict[str, Any]) -> None:
        tree["model"] = ref
        tree["stream"] = stream

    asked = Asked(
        GEMINI,
        body,
        ref,
        stream=stream,
        path=lambda model: f"{model_path(model)}{suffix}",
        mend=mend,
        writer=GEMINI.stream_writer if sse or not stream else GEMINI.array_stream_writer,
        stream_type=SSE_TYPE if sse else b"application/json; charset=utf-8",
    )
    decode_body(body)  # What is no JSON is refused here, before anybody is asked.
    await gateway.relay.answer(exchange, asked, started_s)


async def _count(gateway: Gateway, exchange: Exchange, ref: str, body: bytes) -> None:
    gateway.begin(exchange)
    tree = decode_body(body)
    key = next((k for k in _COUNTED if k in tree), None)
    inner = tree if key is None else tree[key]
    if not isinstance(inner, dict):
        raise RequestError(f"'{key}' must be an object", param=key)
    chat = GEMINI.read_chat({**inner, "model": ref, "stream": False})
    candidate = gateway.door.choose(ref, lambda: chat).candidates[0]
    dispatcher = gateway.door.dispatcher
    if candidate.local or dispatcher.binding(candidate.provider).dialect != "gemini":
        answer = GEMINI.write_token_count(estimate_tokens(chat))
        await exchange.respond_json(200, answer, [(b"x-pointsman-estimate", b"true")])
        return
    binding = dispatcher.binding(candidate.provider)
    owned = GEMINI.own_body(inner, binding.target(candidate.model))
    if key is not None:
        owned = {key: {**owned, "model": f"models/{candidate.model}"}}
    path = f"{model_path(candidate.model)}:countTokens"
    request = binding.post(path, msgspec.json.encode(owned))
    counted = await dispatcher.fetch_json(binding, request, candidate.model)
    await exchange.respond_json(200, counted)


async def _embed(gateway: Gateway, exchange: Exchange, ref: str, verb: str, body: bytes) -> None:
    gateway.begin(exchange)
    embed = GEMINI.read_embed({**decode_body(body), "model": ref})

    def prepare(candidate: Candidate, binding: Binding, dialect: Dialect) -> Request | Call:
        if not binding.row.capabilities.embeddings:
            raise UnsupportedParameter("content", binding.name, "it has no embeddings")
        if dialect.name == "gemini":
            renamed = _renamed(body, f"models/{candidate.model}")
            return binding.post(f"{model_path(candidate.model)}:{verb}", renamed)
        asked = msgspec.structs.replace(embed, model=candidate.model)
        return dialect.write_embed(asked, binding.target(candidate.model))

    candidates = gateway.door.embedders(ref)
    served = await gateway.door.dispatcher.open(candidates, prepare, stream=False)
    answer = await served.json(gateway.config.server.max_answer_bytes)
    if served.dialect.name == "gemini":
        value = answer
        usage = None
    else:
        target = served.binding.target(served.candidate.model)
        vectors = served.dialect.read_embeddings(answer, target)
        usage = vectors.usage
        value = GEMINI.write_embeddings(vectors, batch=verb == "batchEmbedContents")
    gateway.meter.served(served.candidate.card, usage)
    await exchange.respond_json(served.status, value)


def _renamed(body: bytes, model: str) -> bytes:
    """The parts of a batch each name the model; they must agree with the path."""
    tree = decode_body(body)
    if "model" in tree:
        tree["model"] = model
    for index, each in enumerate(tree.get("requests", ())):
        if not isinstance(each, dict):
            raise RequestError(f"'requests[{index}]' must be an object", param=f"requests[{index}]")
        each["model"] = model
    return msgspec.json.encode(tree)
