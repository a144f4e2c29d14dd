"""Ollama's messages and tools, as a client sends them.

Its tool calls have ids only in newer clients, and its results may name the tool alone: a result
answers the first call, not answered yet, of that id, else of that name, else the first one.

Source: ollama/ollama, api/types.go (Message, ToolCall, Tool), read 2026-11; the types of the
official client, ollama 0.6.3.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import (
    arguments_object,
    arguments_text,
    at,
    optional,
    required,
    want_list,
    want_object,
    want_string,
)
from pointsman.errors import RequestError
from pointsman.types import Image, Message, Part, Reasoning, Text, Tool, ToolCall, ToolResult

__all__ = ["read_images", "read_messages", "read_tools"]

_ROLES = ("system", "user", "assistant", "tool")
_KEYS = frozenset(
    ("content", "images", "name", "role", "thinking", "tool_call_id", "tool_calls", "tool_name")
)
# How the files begin that a model may see → their media type.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


class _Calls:
    """The calls of the last assistant's turn that have no result yet."""

    def __init__(self) -> None:
        self.open: list[ToolCall] = []

    def answered(self, call_id: str | None, name: str | None) -> ToolCall | None:
        """Take the call that a result answers; None if there is none."""
        found = next((call for call in self.open if call_id and call.id == call_id), None)
        if found is None and name:
            found = next((call for call in self.open if call.name == name), None)
        if found is None and not name:
            found = self.open[0] if self.open else None
        if found is not None:
            self.open.remove(found)
        return found


def read_messages(value: object, extra: dict[str, Any]) -> tuple[Message, ...]:
    """Read `messages`; the results of one turn's calls become one message.

    Raises:
        RequestError: a wrong type, an unknown role, or a result that answers no call.
    """
    messages: list[Message] = []
    calls = _Calls()
    for index, item in enumerate(want_list(value, "messages")):
        path = at("messages", index)
        body = want_object(item, path)
        for key, given in body.items():
            if key not in _KEYS and given is not None:
                extra[at(path, key)] = given
        message = _read_message(body, path, index, calls)
        last = messages[-1] if messages else None
        if message.role == "tool" and last is not None and last.role == "tool":
            messages[-1] = Message("tool", last.parts + message.parts)
        else:
            messages.append(message)
    return tuple(messages)


def _read_message(body: dict[str, Any], path: str, index: int, calls: _Calls) -> Message:
    role = required(body, "role", want_string, path).lower()
    text = optional(body, "content", want_string, path) or ""
    if role not in _ROLES:
        raise RequestError(
            f"'{path}.role' is '{role}'; it must be system, user, assistant or tool",
            param=f"{path}.role",
        )
    if role == "tool":
        return Message("tool", (_read_result(body, text, path, calls),))
    images = read_images(body.get("images"), at(path, "images"))
    if role == "assistant":
        if images:
            raise RequestError(f"'{path}.images': an assistant's turn has none", param=path)
        return Message("assistant", _read_answer(body, text, path, index, calls))
    if role == "system":
        if images:
            raise RequestError(f"'{path}.images': a system prompt has none", param=path)
        return Message("system", (Text(text),))
    return Message("user", (Text(text), *images) if text or not images else images)


def _read_answer(
    body: dict[str, Any], text: str, path: str, index: int, calls: _Calls
) -> tuple[Part, ...]:
    parts: list[Part] = []
    thinking = optional(body, "thinking", want_string, path)
    if thinking:
        parts.append(Reasoning(thinking))
    if text:
        parts.append(Text(text))
    calls.open = []
    for number, item in enumerate(optional(body, "tool_calls", want_list, path) or ()):
        where = at(at(path, "tool_calls"), number)
        call = want_object(item, where)
        function = required(call, "function", want_object, where)
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            arguments = arguments_object(arguments, at(where, "function.arguments"))
        elif arguments is not None:
            want_object(arguments, at(where, "function.arguments"))
        calls.open.append(
            ToolCall(
                # Without one, the place makes an id that no other turn has.
                optional(call, "id", want_string, where) or f"call_{index}_{number}",
                required(function, "name", want_string, at(where, "function")),
                arguments_text(arguments),
            )
        )
    return (*parts, *calls.open) or (Text(""),)


def _read_result(body: dict[str, Any], text: str, path: str, calls: _Calls) -> ToolResult:
    name = optional(body, "tool_name", want_string, path) or optional(
        body, "name", want_string, path
    )
    call = calls.answered(optional(body, "tool_call_id", want_string, path), name)
    if call is None:
        said = f" of '{name}'" if name else ""
        raise RequestError(
            f"'{path}' is a result{said}, and the assistant's turn before it has no such call that"
            " is not answered yet: send its 'tool_calls' along",
            param=path,
        )
    return ToolResult(call.id, (Text(text),), call.name)


def read_images(value: object, path: str) -> tuple[Image, ...]:
    """Read `images`: standard base64 each, with or without the head of a data URL.

    Raises:
        RequestError: no base64, or a file of another kind than PNG, JPEG, WebP, GIF and BMP.
    """
    if value is None:
        return ()
    found = []
    for number, item in enumerate(want_list(value, path)):
        where = at(path, number)
        text = want_string(item, where)
        if text[:5] == "data:":
            text = text.partition(",")[2]
        try:
            head = base64.b64decode(text[:64], validate=True)
            binascii.a2b_base64(text, strict_mode=True)
        except ValueError:  # binascii.Error, or a letter outside ASCII
            raise RequestError(
                f"'{where}' must be base64 of the image's bytes", param=where
            ) from None
        found.append(Image(_media_type(head, where), text))
    return tuple(found)


def _media_type(head: bytes, path: str) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    for beginning, media_type in _BEGINNINGS:
        if head.startswith(beginning):
            return media_type
    raise RequestError(f"'{path}' is neither PNG, JPEG, WebP, GIF nor BMP", param=path)


def read_tools(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Read `tools`, all of them functions.

    Raises:
        RequestError: a wrong type, or a tool that is no function.
    """
    found = []
    for index, item in enumerate(optional(body, "tools", want_list) or ()):
        path = at("tools", index)
        tool = want_object(item, path)
        kind = optional(tool, "type", want_string, path)
        if kind not in (None, "", "function"):
            raise RequestError(f"'{path}.type' must be function, not '{kind}'", param=path)
        function, where = required(tool, "function", want_object, path), at(path, "function")
        found.append(
            Tool(
                required(function, "name", want_string, where),
                optional(function, "description", want_string, where),
                optional(function, "parameters", want_object, where),
            )
        )
    return tuple(found)
