"""Anthropic's surface: messages and the count of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pointsman.dialects.anthropic import ANTHROPIC
from pointsman.dialects.gemini import GEMINI
from pointsman.gateway.exchange import Exchange
from pointsman.gateway.relay import Asked
from pointsman.gateway.wire import decode_body, read_envelope, replace_model
from pointsman.types import Chat, Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["count_tokens", "estimate_tokens", "messages"]

# The dialect's own headers: they change what the body means, so they go along with it.
_HEADERS = ("anthropic-version", "anthropic-beta")
_VERSION = "2023-06-01"
BYTES_PER_TOKEN = 3.6
TOKENS_PER_MESSAGE = 4


def _own_headers(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    found = []
    for name in _HEADERS:
        value = exchange.header(name.encode())
        if value is None and name == "anthropic-version":
            value = _VERSION
        if value is not None:
            found.append((name, value))
    return tuple(found)


async def messages(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1/messages`."""
    body = await exchange.body(gateway.max_body_bytes)
    started_s = gateway.begin(exchange)
    envelope = read_envelope(body)
    query = exchange.scope["query_string"].decode("latin-1")
    path = f"/messages?{query}" if query else "/messages"
    asked = Asked(
        ANTHROPIC,
        body,
        envelope.model,
        stream=bool(envelope.stream),
        path=lambda _model: path,
        headers=_own_headers(exchange),
    )
    await gateway.relay.answer(exchange, asked, started_s)


async def count_tokens(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /v1/messages/count_tokens`: the provider's own count where it has one.

    Anthropic and Gemini count; for others the answer is an estimate, and the header
    `x-pointsman-estimate` says so.
    """
    body = await exchange.body(gateway.max_body_bytes)
    gateway.begin(exchange)
    envelope = read_envelope(body)

    def chat() -> Chat:
        return ANTHROPIC.read_count(decode_body(body))

    candidate = gateway.door.choose(envelope.model, chat).candidates[0]
    dispatcher = gateway.door.dispatcher
    dialect = "openai" if candidate.local else dispatcher.binding(candidate.provider).dialect
    if dialect == "openai":
        answer = ANTHROPIC.write_token_count(estimate_tokens(chat()))
        await exchange.respond_json(200, answer, [(b"x-pointsman-estimate", b"true")])
        return
    binding = dispatcher.binding(candidate.provider)
    if dialect == "anthropic":
        request = binding.post(
            "/messages/count_tokens", replace_model(body, candidate.model), _own_headers(exchange)
        )
        counted = await dispatcher.fetch_json(binding, request, candidate.model)
        await exchange.respond_json(200, counted)
        return
    asked = msgspec.structs.replace(chat(), model=candidate.model)
    call = GEMINI.write_count(asked, binding.target(candidate.model))
    counted = await dispatcher.fetch_json(binding, binding.call(call), candidate.model)
    await exchange.respond_json(200, ANTHROPIC.write_token_count(GEMINI.read_count(counted)))


def estimate_tokens(chat: Chat) -> int:
    """Estimate a prompt's tokens from its UTF-8 bytes: 3.6 bytes a token, 4 tokens a message.

    Source: byte-pair vocabularies of 100–200 thousand entries take 3.3 to 4.2 bytes of English a
    token; the lower part of that span is taken so that a limit is hit early rather than late.
    """
    size = 0
    for message in chat.messages:
        for part in message.parts:
            if isinstance(part, Text):
                size += len(part.text.encode())
            elif isinstance(part, ToolCall):
                size += len(part.arguments.encode()) + len(part.name)
            elif isinstance(part, ToolResult):
                size += sum(len(p.text.encode()) for p in part.content if isinstance(p, Text))
    if chat.tools:
        size += len(msgspec.json.encode(chat.tools))
    return round(size / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(chat.messages)
