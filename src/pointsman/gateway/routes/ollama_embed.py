"""Ollama's embeddings, of local models and of any provider that has them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pointsman._http.transport import Request
from pointsman.dialects._shared import optional, want_object
from pointsman.dialects.base import Call, Dialect
from pointsman.dialects.ollama.answer import Stopwatch
from pointsman.dialects.ollama.durations import read_keep_alive
from pointsman.dialects.ollama.options import read_options
from pointsman.dialects.ollama.request import ignored_in, read_embed
from pointsman.errors import UnsupportedParameter
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.routes.ollama_target import find_target, load, name_in
from pointsman.gateway.wire import decode_body
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate
from pointsman.types import Embed, Embeddings

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["embed", "embeddings"]

_JSON = msgspec.json.Encoder()


async def embed(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/embed`: vectors of length 1, of as many dimensions as asked for."""
    watch = Stopwatch(time.time_ns)
    asked, found, headers = await _vectors(gateway, exchange, watch)
    vectors = [] if found is None else [_unit(v, asked.dimensions) for v in found.vectors]
    usage = None if found is None else found.usage
    answer: dict[str, Any] = {"model": asked.model, "embeddings": vectors, **watch.total()}
    if usage is not None:
        answer["prompt_eval_count"] = usage.input_tokens
    await exchange.respond_json(200, answer, headers)


async def embeddings(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/embeddings`: the older form, one vector for one prompt."""
    _, found, headers = await _vectors(gateway, exchange, Stopwatch(time.time_ns))
    vector = [] if found is None else found.vectors[0]
    await exchange.respond_json(200, {"embedding": vector}, headers)


async def _vectors(
    gateway: Gateway, exchange: Exchange, watch: Stopwatch
) -> tuple[Embed, Embeddings | None, Headers]:
    """Give what was asked, and its vectors; None where there is no text, which only loads."""
    body = decode_body(await exchange.body(gateway.max_body_bytes))
    gateway.begin(exchange)
    name = name_in(body)
    target = find_target(gateway, name)
    options = read_options(optional(body, "options", want_object))
    asked = read_embed({"model": name, **{k: v for k, v in body.items() if k != "name"}})
    ignored = [*ignored_in(body, options), *(f"options.{each}" for each in options.fields)]
    ignored += [f"options.{each}" for each in options.engine]
    if options.num_ctx is not None:
        ignored.append("options.num_ctx")
    if target.local is not None:
        await load(gateway, target.local, body, options.num_ctx, watch)
    elif read_keep_alive(body.get("keep_alive")) is not None:
        ignored.append("keep_alive")
    headers: Headers = []
    if ignored:
        headers.append((b"x-pointsman-ignored", ", ".join(ignored).encode("latin-1", "replace")))
    if not asked.inputs:
        return asked, None, headers
    found, more = await _fetched(gateway, target.ref, asked)
    return asked, found, [*headers, *more]


async def _fetched(gateway: Gateway, ref: str, asked: Embed) -> tuple[Embeddings, Headers]:
    def prepare(candidate: Candidate, binding: Binding, dialect: Dialect) -> Request | Call:
        if not binding.row.capabilities.embeddings:
            raise UnsupportedParameter("input", binding.name, "it has no embeddings")
        # A local model has all of its dimensions, of which as many are taken as are asked for.
        dimensions = None if candidate.local else asked.dimensions
        written = msgspec.structs.replace(asked, model=candidate.model, dimensions=dimensions)
        return dialect.write_embed(written, binding.target(candidate.model))

    candidates = gateway.door.embedders(ref)
    served = await gateway.door.dispatcher.open(candidates, prepare, stream=False)
    target = served.binding.target(served.candidate.model)
    answer = await served.json(gateway.config.server.max_answer_bytes)
    found = served.dialect.read_embeddings(answer, target)
    gateway.meter.served(served.candidate.card, found.usage)
    headers: Headers = [
        (b"x-pointsman-model", served.candidate.ref.encode("latin-1", "replace")),
        (b"x-pointsman-attempts", b"%d" % served.attempts),
    ]
    return found, headers


def _unit(vector: Sequence[float], dimensions: int | None) -> list[float]:
    """Cut a vector to its first dimensions, and give it the length 1."""
    kept = vector[:dimensions] if dimensions else vector
    length = math.sqrt(math.fsum(x * x for x in kept))
    return [x / length for x in kept] if length > 0 else list(kept)
