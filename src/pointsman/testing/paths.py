"""Which dialect and which endpoint a request is for, told from its path and headers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from pointsman.testing import anthropic_wire, gemini_wire, openai_wire
from pointsman.testing.script import Recorded
from pointsman.testing.tokens import Facts, tokens_of

__all__ = ["Address", "address_of", "facts_of", "plain_answer", "record"]

MODELS = ("fake-1", "fake-embedding")
_WIRES: dict[str, Any] = {
    "openai": openai_wire,
    "anthropic": anthropic_wire,
    "gemini": gemini_wire,
}


class Address(Struct, frozen=True):
    """Where a request goes. `verb` is `chat`, `embed`, `batch_embed`, `count`, `models`, or ""."""

    dialect: str
    verb: str
    model: str = ""
    stream: bool = False


def address_of(
    method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any]
) -> Address:
    """Read the address of a request."""
    bare = path.partition("?")[0]
    model, stream = str(body.get("model", "")), body.get("stream") is True
    head, _, verb = bare.rpartition(":")
    if method == "POST" and "/models/" in head:
        name = unquote(head.rpartition("/models/")[2])
        verbs = {
            "generateContent": "chat",
            "streamGenerateContent": "chat",
            "embedContent": "embed",
            "batchEmbedContents": "batch_embed",
            "countTokens": "count",
        }
        return Address("gemini", verbs.get(verb, ""), name, verb == "streamGenerateContent")
    if method == "POST":
        for end, dialect, verb in (
            ("/messages", "anthropic", "chat"),
            ("/messages/count_tokens", "anthropic", "count"),
            ("/chat/completions", "openai", "chat"),
            ("/embeddings", "openai", "embed"),
        ):
            if bare.endswith(end):
                return Address(dialect, verb, model, stream)
    dialect = _dialect(bare, headers)
    if method == "GET" and (bare.endswith("/models") or "/models/" in bare):
        return Address(dialect, "models", unquote(bare.partition("/models")[2].lstrip("/")))
    return Address(dialect, "")


def _dialect(path: str, headers: Mapping[str, str]) -> str:
    if path.startswith("/v1beta/") or "x-goog-api-key" in headers:
        return "gemini"
    return "anthropic" if "anthropic-version" in headers else "openai"


def record(
    method: str, path: str, headers: Mapping[str, str], raw: bytes
) -> tuple[Recorded, Address]:
    """Give the request as it is remembered, and its address."""
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = None
    where = address_of(method, path, headers, body if isinstance(body, dict) else {})
    return (
        Recorded(method, path, headers, body, raw, where.dialect, where.stream, where.model),
        where,
    )


def facts_of(request: Recorded, number: int) -> Facts:
    """Give what a wire has to know of the request."""
    body = request.body if isinstance(request.body, dict) else {}
    options = body.get("stream_options")
    config = body.get("generationConfig")
    wanted = body.get("n") if request.dialect == "openai" else None
    if isinstance(config, dict):
        wanted = config.get("candidateCount")
    return Facts(
        model=request.model,
        number=number,
        prompt_tokens=tokens_of(request.raw.decode("utf-8", "replace")),
        choices=wanted if isinstance(wanted, int) and 0 < wanted <= 128 else 1,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def plain_answer(request: Recorded, where: Address) -> tuple[int, Any]:
    """Give the status and body where no script is asked: lists, embeddings, counts, wrong paths."""
    body = request.body if isinstance(request.body, dict) else {}
    facts = facts_of(request, 1)
    wire = _WIRES[where.dialect]
    if where.verb == "models":
        if not where.model:
            return 200, wire.models(MODELS)
        if where.model in MODELS:
            return 200, wire.model(where.model)
        return 404, wire.error(404, f"no such model: {where.model}")
    if where.verb == "count":
        return 200, wire.token_count(facts.prompt_tokens)
    if where.verb == "batch_embed":
        return 200, gemini_wire.embeddings(body)
    if where.verb == "embed":
        gemini = where.dialect == "gemini"
        return 200, gemini_wire.embedding(body) if gemini else openai_wire.embeddings(body, facts)
    return 404, wire.error(404, f"no such path: {request.method} {request.path.partition('?')[0]}")
