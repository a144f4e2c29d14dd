"""OpenAI's messages, both ways.

What OpenAI's form lacks is written so:

- `is_error` of a tool's result: its text begins with `Error: `, since the model must know.
- Images and files in a tool's result: in a user message right after the tool messages of that
  turn, each after a line that names the call, since a tool message holds text only.
- Thinking: sent back only to the provider that it came from, under the field that it came in
  (DeepSeek and others refuse a tool's result without it); or, between two OpenAI forms, as the
  client sent it. Signed thinking of other providers has no place here and is left out.
"""

from __future__ import annotations

from typing import Any

from pointsman.dialects._shared import (
    at,
    carried,
    optional,
    required,
    want_list,
    want_object,
    want_string,
)
from pointsman.dialects.base import Target
from pointsman.dialects.openai.parts import (
    DIALECT,
    note_unknown,
    read_content,
    read_tool_call,
    signature_of,
    tool_id,
    write_part,
    write_tool_call,
)
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    Chat,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)

__all__ = ["REASONING_FIELDS", "read_messages", "write_messages"]

# The names that compatible servers give to thinking, the more usual one first.
REASONING_FIELDS = ("reasoning_content", "reasoning")

_TEXT = frozenset({"text"})
_IMAGES = frozenset({"image_url"})
_USER = frozenset({"text", "image_url", "input_audio", "file"})
_ASSISTANT = frozenset({"text", "refusal"})
_TOOL = frozenset({"text", "image_url", "file"})
_PLAIN_KEYS = frozenset({"role", "content", "name"})
# An answer's own facts, which clients send back with it: no model reads them.
_ECHOED = frozenset({"annotations", "reasoning_details", "provider_specific_fields"})
_ASSISTANT_KEYS = (
    _PLAIN_KEYS
    | _ECHOED
    | {"tool_calls", "refusal", "function_call", "extra_content", "images", *REASONING_FIELDS}
)
_TOOL_KEYS = frozenset({"role", "content", "tool_call_id", "name"})


# Read from a client


class _Reading:
    """What one message tells the next: the names of calls, and the last call without an id."""

    def __init__(self, notes: dict[str, Any]) -> None:
        self.notes = notes
        self.names: dict[str, str] = {}
        self.legacy_id: str | None = None


def read_messages(value: object, notes: dict[str, Any]) -> tuple[Message, ...]:
    """Read `messages`; results of one turn's calls become one message.

    Raises:
        RequestError: a wrong type or an unknown role.
    """
    messages: list[Message] = []
    reading = _Reading(notes)
    for index, item in enumerate(want_list(value, "messages")):
        path = at("messages", index)
        message = _read_message(want_object(item, path), path, index, reading)
        last = messages[-1] if messages else None
        if message.role == "tool" and last is not None and last.role == "tool":
            messages[-1] = Message("tool", last.parts + message.parts)
        else:
            messages.append(message)
    if not messages:
        raise RequestError("'messages' must hold at least one message", param="messages")
    return tuple(messages)


def _read_message(body: dict[str, Any], path: str, index: int, reading: _Reading) -> Message:
    role = required(body, "role", want_string, path)
    name = optional(body, "name", want_string, path)
    content_path = at(path, "content")
    if role in ("system", "developer", "user"):
        note_unknown(body, _PLAIN_KEYS, path, reading.notes)
        if body.get("content") is None:
            raise RequestError(f"'{content_path}' is required", param=content_path)
        kinds = _USER if role == "user" else _TEXT
        parts = read_content(body["content"], content_path, kinds, reading.notes)
        return Message("user" if role == "user" else "system", tuple(parts), name)
    if role == "assistant":
        parts = _read_assistant(body, path, index, reading)
        return Message("assistant", tuple(parts), name)
    if role in ("tool", "function"):
        return Message("tool", (_read_result(body, role, path, reading),))
    raise RequestError(
        f"'{path}.role' is '{role}'; it must be system, developer, user, assistant or tool",
        param=f"{path}.role",
    )


def _read_assistant(body: dict[str, Any], path: str, index: int, reading: _Reading) -> list[Part]:
    note_unknown(body, _ASSISTANT_KEYS, path, reading.notes)
    parts: list[Part] = []
    for field in REASONING_FIELDS:
        text = optional(body, field, want_string, path)
        if text:
            parts.append(Reasoning(text))
            break
    content = read_content(body.get("content"), at(path, "content"), _ASSISTANT, reading.notes)
    signature = signature_of(body, DIALECT)
    if signature is not None and content and isinstance(content[-1], Text):
        content[-1] = Text(content[-1].text, signature)
    parts += content
    refusal = optional(body, "refusal", want_string, path)
    if refusal:
        parts.append(Refusal(refusal))
    images = optional(body, "images", want_list, path)
    parts += read_content(images, at(path, "images"), _IMAGES, reading.notes)
    for number, item in enumerate(optional(body, "tool_calls", want_list, path) or ()):
        call = read_tool_call(item, at(at(path, "tool_calls"), number), reading.notes)
        reading.names[call.id] = call.name
        parts.append(call)
    legacy = optional(body, "function_call", want_object, path)
    if legacy is not None:
        # The old form has no ids; the message's place makes one that no other turn has.
        reading.legacy_id = f"call_function_{index}"
        call = read_tool_call(
            {"id": reading.legacy_id, "function": legacy}, at(path, "function_call"), reading.notes
        )
        reading.names[call.id] = call.name
        parts.append(call)
    return parts


def _read_result(body: dict[str, Any], role: str, path: str, reading: _Reading) -> ToolResult:
    note_unknown(body, _TOOL_KEYS, path, reading.notes)
    name = optional(body, "name", want_string, path)
    if role == "function":
        if reading.legacy_id is None:
            raise RequestError(
                f"'{path}' answers a function that no message before it calls", param=path
            )
        call_id = reading.legacy_id
    else:
        call_id = required(body, "tool_call_id", want_string, path)
    content = read_content(body.get("content"), at(path, "content"), _TOOL, reading.notes)
    return ToolResult(
        call_id=call_id,
        content=tuple(part for part in content if isinstance(part, Text | Image | File)),
        name=reading.names.get(call_id, name),
    )


# Written for an upstream


class _Writing:
    def __init__(self, chat: Chat, target: Target, ignored: list[str]) -> None:
        self.dialect = chat.dialect
        self.target = target
        self.ignored = ignored
        self.messages: list[dict[str, Any]] = []
        self.media: list[dict[str, Any]] = []

    def flush_media(self) -> None:
        if self.media:
            self.messages.append({"role": "user", "content": self.media})
            self.media = []


def write_messages(chat: Chat, target: Target, ignored: list[str]) -> list[dict[str, Any]]:
    """Write `messages`; what is left out though it was a hint is named in `ignored`.

    Raises:
        UnsupportedParameter: a part that OpenAI's form cannot say.
    """
    writing = _Writing(chat, target, ignored)
    for index, message in enumerate(chat.messages):
        path = at("messages", index)
        if message.role == "tool":
            _write_results(message, path, writing)
            continue
        writing.flush_media()
        if message.role == "assistant":
            body = _write_assistant(message, path, writing)
        else:
            body = {"role": message.role, "content": _content(message.parts, path, writing)}
        if message.name is not None:
            body["name"] = message.name
        writing.messages.append(body)
    writing.flush_media()
    return writing.messages


def _content(parts: tuple[Part, ...], path: str, writing: _Writing) -> str | list[dict[str, Any]]:
    texts = [part.text for part in parts if isinstance(part, Text)]
    if len(texts) == len(parts) and (len(texts) < 2 or writing.target.quirks.string_content):
        return "\n".join(texts)
    where = at(path, "content")
    if writing.target.quirks.string_content:
        raise UnsupportedParameter(where, writing.target.provider, "it takes text only")
    return [
        write_part(part, at(where, index), writing.dialect, writing.target)
        for index, part in enumerate(parts)
    ]


def _write_assistant(message: Message, path: str, writing: _Writing) -> dict[str, Any]:
    target = writing.target
    said: list[Part] = []
    refusals: list[str] = []
    calls: list[dict[str, Any]] = []
    body: dict[str, Any] = {"role": "assistant", "content": None}
    for index, part in enumerate(message.parts):
        if isinstance(part, Text):
            said.append(part)
            value = carried(part.signature, target, DIALECT)
            if value is not None:
                body["extra_content"] = {"google": {"thought_signature": value}}
        elif isinstance(part, Refusal):
            refusals.append(part.text)
        elif isinstance(part, ToolCall):
            calls.append(write_tool_call(part, target))
        elif isinstance(part, Reasoning):
            _write_reasoning(part, body, writing)
        else:
            where = at(at(path, "content"), index)
            raise UnsupportedParameter(where, target.provider, "an assistant's turn is text")
    if said:
        body["content"] = _content(tuple(said), path, writing)
    elif not calls and not refusals:
        body["content"] = ""
    if refusals:
        body["refusal"] = "".join(refusals)
    if calls:
        body["tool_calls"] = calls
    return body


def _write_reasoning(part: Reasoning, body: dict[str, Any], writing: _Writing) -> None:
    # llama.cpp's templates say themselves which thoughts of earlier turns the model sees.
    free = writing.dialect == DIALECT or writing.target.quirks.llama_cpp
    if part.signature is None and part.redacted is None and free:
        field: str | None = REASONING_FIELDS[0]
    else:
        field = carried(part.signature, writing.target, DIALECT)
    if field in REASONING_FIELDS:
        body[field] = body.get(field, "") + part.text
    elif "reasoning" not in writing.ignored:
        writing.ignored.append("reasoning")


_NO_TEXT = "The result is in the next user message."


def _write_results(message: Message, path: str, writing: _Writing) -> None:
    for index, part in enumerate(message.parts):
        where = at(at(path, "content"), index)
        if not isinstance(part, ToolResult):
            raise UnsupportedParameter(where, writing.target.provider, "it is no tool's result")
        call_id = tool_id(part.call_id, writing.target)
        media = [each for each in part.content if not isinstance(each, Text)]
        texts = tuple(each for each in part.content if isinstance(each, Text))
        if media:
            if writing.target.quirks.string_content:
                raise UnsupportedParameter(where, writing.target.provider, "it takes text only")
            writing.media.append({"type": "text", "text": f"Result of the tool call {call_id}:"})
            writing.media += [
                write_part(each, where, writing.dialect, writing.target) for each in media
            ]
            texts = texts or (Text(_NO_TEXT),)
        if part.is_error:
            first, rest = (texts[0], texts[1:]) if texts else (Text(""), ())
            texts = (Text(f"Error: {first.text}"), *rest)
        content = _content(texts, where, writing)
        writing.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
