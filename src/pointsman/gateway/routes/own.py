"""What is Pointsman's own: health, counters, the list of models, and why a route chose."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from pointsman import __version__
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.meter import guard_series
from pointsman.gateway.wire import decode_body, shaped
from pointsman.listing import list_models as list_all
from pointsman.router.explain import explain as explained
from pointsman.types import Chat, Message, ModelInfo, Text

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["explain", "health", "list_models", "metrics", "ready", "root", "show_model"]


async def health(_gateway: Gateway, exchange: Exchange) -> None:
    """`GET /healthz`: the process answers."""
    await exchange.respond_json(200, {"status": "ok", "version": __version__})


async def ready(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /readyz`: it takes requests."""
    status = 200 if gateway.ready else 503
    await exchange.respond_json(status, {"status": "ready" if gateway.ready else "starting"})


async def metrics(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /metrics`: the counters, for Prometheus."""
    headers: Headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
    guards = gateway.door.guards
    text = gateway.meter.exposition() + guard_series({} if guards is None else guards.counts)
    await exchange.respond(200, headers, text.encode())


async def root(_gateway: Gateway, exchange: Exchange) -> None:
    """`GET /`: what this is."""
    await exchange.respond_json(
        200,
        {
            "name": "pointsman",
            "version": __version__,
            "openai": "/v1",
            "anthropic": "/v1/messages",
            "gemini": "/v1beta",
        },
    )


async def list_models(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /v1/models` and `/v1beta/models`, in the caller's form.

    Providers that do not answer in a few seconds are left out, and the header
    `x-pointsman-incomplete` names them.
    """
    gateway.begin(exchange)
    found, missing = await list_all(gateway.door, asyncio.get_running_loop().time)
    headers: Headers = []
    if missing:
        headers.append((b"x-pointsman-incomplete", ", ".join(missing).encode("latin-1", "replace")))
    dialect = exchange.dialect()
    rows = [_ROWS[dialect](model) for model in found]
    await exchange.respond_json(200, _LISTS[dialect](rows), headers)


async def show_model(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /v1/models/{ref}` and `/v1beta/models/{ref}`: 404 for what resolves to nothing."""
    ref = exchange.path.partition("/models/")[2]
    plan = gateway.door.resolver.resolve(ref)
    first = plan.candidates[0]
    provider = "pointsman" if plan.route else first.provider
    model = ModelInfo(ref, provider, ref, None, first.card.context_tokens)
    await exchange.respond_json(200, _ROWS[exchange.dialect()](model))


async def explain(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /pointsman/v1/routes/explain` with `{prompt, model?, quality?}`: the decision."""
    body = decode_body(await exchange.body(gateway.max_body_bytes))
    asked = shaped(body, _Explain)
    plan = gateway.door.resolver.resolve(asked.model)
    chat = Chat(model=asked.model, messages=(Message("user", (Text(asked.prompt),)),))
    decision = gateway.door.decide(plan, chat, asked.quality)
    router = gateway.door.classifier(plan.spec.router)
    await exchange.respond_json(200, explained(decision, router, asked.prompt))


class _Explain(msgspec.Struct):
    prompt: str
    model: str = "auto"
    quality: float | None = None


def _openai_row(model: ModelInfo) -> dict[str, Any]:
    return {
        "id": model.ref,
        "object": "model",
        "created": model.created or 0,
        "owned_by": model.provider,
    }


def _openai_list(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": rows}


def _anthropic_row(model: ModelInfo) -> dict[str, Any]:
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(model.created or 0))
    return {
        "type": "model",
        "id": model.ref,
        "display_name": model.ref,
        "created_at": date,
        # Which are deprecated is not known here; the client's type requires the field.
        "lifecycle": "active",
    }


def _anthropic_list(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {}
    return {"data": rows, "has_more": False, **ends}


def _gemini_row(model: ModelInfo) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": f"models/{model.ref}",
        "displayName": model.ref,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
    if model.context_tokens is not None:
        row["inputTokenLimit"] = model.context_tokens
    return row


def _gemini_list(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"models": rows}


# Dialect → how it writes a model, and a list of them.
_ROWS = {"openai": _openai_row, "anthropic": _anthropic_row, "gemini": _gemini_row}
_LISTS = {"openai": _openai_list, "anthropic": _anthropic_list, "gemini": _gemini_list}
