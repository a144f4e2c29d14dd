"""What llama.cpp's server has of its own: infill, tokens, templates, properties.

The model's name in the body, or in the query, picks the server: a model run here, or a provider
with the quirk `llama_cpp`.

Source: tools/server/README.md of llama.cpp, b11434.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pointsman._http.transport import Request
from pointsman.dialects.base import Call, Dialect
from pointsman.errors import RequestError
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.passage import Passage
from pointsman.gateway.routes.openai import pass_on
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["apply_template", "completion", "detokenize", "infill", "props", "tokenize"]

_END = re.compile(rb'"stop"\s*:\s*true')


def _own(path: str, field: str) -> Passage:
    return Passage(
        path=path,
        field=field,
        instead="it is llama.cpp's own: name a local model, or set quirks.llama_cpp of a provider"
        " that is a llama-server",
        ends=_END,
        at_root=True,
        llama_cpp=True,
    )


_COMPLETION = _own("/completion", "prompt")
_INFILL = _own("/infill", "input_prefix")
_TOKENIZE = _own("/tokenize", "content")
_DETOKENIZE = _own("/detokenize", "tokens")
_APPLY_TEMPLATE = _own("/apply-template", "messages")
_PROPS = _own("/props", "model")


async def completion(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /completion`: llama.cpp's own form of a completion."""
    await pass_on(gateway, exchange, _COMPLETION)


async def infill(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /infill`: what stands between a prefix and a suffix."""
    await pass_on(gateway, exchange, _INFILL)


async def tokenize(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /tokenize`."""
    await pass_on(gateway, exchange, _TOKENIZE)


async def detokenize(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /detokenize`."""
    await pass_on(gateway, exchange, _DETOKENIZE)


async def apply_template(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /apply-template`: the prompt that a chat becomes."""
    await pass_on(gateway, exchange, _APPLY_TEMPLATE)


async def props(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /props?model=REF`: the properties of a model's server, which is started if need be."""
    gateway.begin(exchange)
    ref = exchange.query().get("model")
    if not ref:
        raise RequestError("'model' is missing: ask for /props?model=REF", param="model")

    def prepare(candidate: Candidate, binding: Binding, dialect: Dialect) -> Request | Call:
        _PROPS.takes(binding)
        return binding.at_root().get(_PROPS.path)

    candidates = gateway.door.resolver.resolve(ref).candidates
    served = await gateway.door.dispatcher.open(candidates, prepare, stream=False)
    answer = await served.read(gateway.config.server.max_answer_bytes)
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"x-request-id", exchange.request_id.encode("latin-1")),
        (b"x-pointsman-model", served.candidate.ref.encode("latin-1", "replace")),
    ]
    await exchange.respond(served.status, headers, answer)
