"""Holds what the gateway sends upstream to the providers' own rules.

The fake provider answers whatever it is sent, so a request that the real one would refuse has to be
found here: every field must be one that the provider's official client knows, with the right type,
and the turns must be in the order that the provider's documentation asks for.

Sources: openai 3.54 `types/chat/completion_create_params.py`, anthropic 2.12
`types/message_create_params.py`, google-genai 2.34 `types.py`; for the order of turns Anthropic's
"Handle tool calls", OpenAI's "Function calling" and Google's "Function calling" guides (2026-11).
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import anthropic.types
import openai.types.chat
from google.genai import types as google
from pydantic import BaseModel, ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

from pointsman.testing import Recorded

__all__ = ["broken_rules"]


def broken_rules(request: Recorded) -> list[str]:
    """What the provider would refuse the request for; empty if it would take it."""
    if request.method != "POST" or not isinstance(request.body, dict):
        return []
    path = request.path.partition("?")[0]
    if path.endswith("/chat/completions"):
        return [*_untyped(_openai_type(), _without_thoughts(request.body)), *_openai(request.body)]
    if path.endswith("/messages"):
        typed = {name: value for name, value in request.body.items() if name not in _OLDER}
        return [*_untyped(_anthropic_type(), typed), *_anthropic(request)]
    if path.endswith(("enerateContent", "countTokens")):
        inner = request.body.get("generateContentRequest", request.body)
        return [*_google_fields(inner), *_gemini(inner)]
    return []


# The client's types no longer name these, which newer models refuse and older ones take.
_OLDER = ("temperature", "top_p", "top_k")

# Types


def _forbid_extra(package: str) -> None:
    """Make the parameter types of a client refuse fields that they do not have."""
    for name, module in list(sys.modules.items()):
        if name.startswith(package):
            for kind in vars(module).values():
                if isinstance(kind, type) and is_typeddict(kind):
                    kind.__pydantic_config__ = ConfigDict(
                        extra="forbid", arbitrary_types_allowed=True
                    )


@cache
def _openai_type() -> TypeAdapter[Any]:
    _forbid_extra("openai.types.")
    return TypeAdapter(openai.types.chat.CompletionCreateParams)


@cache
def _anthropic_type() -> TypeAdapter[Any]:
    _forbid_extra("anthropic.types.")
    return TypeAdapter(anthropic.types.MessageCreateParams)


def _untyped(adapter: TypeAdapter[Any], body: Mapping[str, Any]) -> Iterator[str]:
    try:
        _exhaust(adapter.validate_python(body))
    except ValueError as error:
        yield str(error)


def _exhaust(value: Any) -> None:
    """Walk the whole value: pydantic checks the members of an Iterable only when they are taken."""
    if isinstance(value, Mapping):
        for each in value.values():
            _exhaust(each)
    elif not isinstance(value, str | bytes | BaseModel) and hasattr(value, "__iter__"):
        for each in value:
            _exhaust(each)


_GOOGLE = {
    "contents": list[google.Content],
    "systemInstruction": google.Content,
    "tools": list[google.Tool],
    "toolConfig": google.ToolConfig,
    "safetySettings": list[google.SafetySetting],
    "generationConfig": google.GenerationConfig,
    "cachedContent": str,
    "labels": dict[str, str],
    "model": str,
}


def _google_fields(body: Mapping[str, Any]) -> Iterator[str]:
    for name, value in body.items():
        if name not in _GOOGLE:
            yield f"Gemini has no field '{name}'"
            continue
        try:
            TypeAdapter(_GOOGLE[name]).validate_python(value)
        except ValueError as error:
            yield f"{name}: {error}"


def _without_thoughts(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body less the thoughts that go back to a compatible server which showed them so."""
    messages = [
        {key: value for key, value in message.items() if key != "reasoning_content"}
        for message in body["messages"]
    ]
    return {**body, "messages": messages}


# The order of turns


def _openai(body: Mapping[str, Any]) -> Iterator[str]:
    waiting: list[str] = []
    for index, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                yield f"messages[{index}] answers a call that the turn before did not make"
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            yield f"messages[{index}] comes before the results of {waiting}"
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
        if len(set(waiting)) != len(waiting):
            yield f"messages[{index}] uses an id twice"
        if message["role"] == "user" and not message["content"]:
            yield f"messages[{index}] is empty"
    if waiting:
        yield f"the results of {waiting} are missing"
    if body.get("tool_choice") is not None and not body.get("tools"):
        yield "tool_choice without tools"
    if "parallel_tool_calls" in body and not body.get("tools"):
        yield "parallel_tool_calls without tools"
    if body.get("stream_options") and not body.get("stream"):
        yield "stream_options without stream"


def _anthropic(request: Recorded) -> Iterator[str]:
    body = request.body
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", request.headers.get("anthropic-version", "")):
        yield "no anthropic-version"
    turns = body["messages"]
    if not turns or turns[0]["role"] != "user":
        yield "the first turn is not the user's"
    waiting: set[str] = set()
    for index, turn in enumerate(turns):
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            yield f"messages[{index}] is empty"
        results = [b for b in blocks if b["type"] == "tool_result"]
        if blocks[: len(results)] != results:
            yield f"messages[{index}]: results do not come first"
        if {b["tool_use_id"] for b in results} != waiting or len(results) != len(waiting):
            yield f"messages[{index}]: the results are not those of the calls before"
        if results and turn["role"] != "user":
            yield f"messages[{index}]: results in a turn of the assistant's"
        waiting = {b["id"] for b in blocks if b["type"] == "tool_use"}
        for block in blocks:
            if block["type"] == "text" and not block["text"].strip():
                yield f"messages[{index}] has an empty text block"
    if waiting:
        yield f"the results of {waiting} are missing"
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled" and thinking["budget_tokens"] >= body["max_tokens"]:
        yield "thinking.budget_tokens must be below max_tokens"
    if body.get("tool_choice") and not body.get("tools"):
        yield "tool_choice without tools"


def _gemini(body: Mapping[str, Any]) -> Iterator[str]:
    called: list[str] = []
    for index, content in enumerate(body.get("contents", ())):
        if content.get("role") not in ("user", "model"):
            yield f"contents[{index}] has the role {content.get('role')}"
        parts = content.get("parts")
        if not parts:
            yield f"contents[{index}] has no parts"
            continue
        if {} in parts:
            yield f"contents[{index}] has an empty part"
        results = [p["functionResponse"]["name"] for p in parts if "functionResponse" in p]
        if sorted(results) != sorted(called):
            yield f"contents[{index}] answers {results} where {called} were called"
        called = [p["functionCall"]["name"] for p in parts if "functionCall" in p]
        for part in parts:
            yield from _bad_bytes(part, index)
    if called:
        yield f"the results of {called} are missing"


def _bad_bytes(part: Mapping[str, Any], index: int) -> Iterator[str]:
    for value in (part.get("thoughtSignature"), (part.get("inlineData") or {}).get("data")):
        try:
            # Google takes both alphabets, and its own client sends the URL-safe one.
            plain = (value or "").replace("-", "+").replace("_", "/")
            base64.b64decode(plain, validate=True)
        except binascii.Error:
            yield f"contents[{index}] has bytes that are no base64"
