"""Anthropic's `system` and `messages`, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from pointsman.dialects._shared import (
    at,
    carried,
    required,
    unseal,
    want_list,
    want_object,
    want_string,
)
from pointsman.dialects.anthropic.blocks import DIALECT, read_blocks, write_block
from pointsman.dialects.base import Target
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import Chat, Message, Part, Text, ToolCall, ToolResult

__all__ = ["own_turns", "read_turns", "write_turns"]


def read_turns(body: Mapping[str, Any], notes: dict[str, Any]) -> tuple[Message, ...]:
    """Read `system` and `messages`. Tool results leave the user's turn for one of the role `tool`,
    before the rest of it, and get their function's name from the call they answer.

    Raises:
        RequestError: a wrong type or value.
        UnsupportedParameter: a block that only Anthropic can read.
    """
    out: list[Message] = []
    system = body.get("system")
    if system is not None:
        texts = _texts(read_blocks(system, "system", "system", notes), "system")
        if texts:
            out.append(Message("system", texts))
    items = required(body, "messages", want_list)
    if not items:
        raise RequestError("'messages' must hold at least one message", param="messages")
    names: dict[str, str] = {}
    for index, item in enumerate(items):
        path = at("messages", index)
        message = want_object(item, path)
        role = required(message, "role", want_string, path)
        where = at(path, "content")
        if role not in ("user", "assistant", "system"):
            raise RequestError(
                f"'{path}.role' must be user, assistant or system, not '{role}'",
                param=f"{path}.role",
            )
        if "content" not in message:
            raise RequestError(f"'{where}' is required", param=where)
        parts = read_blocks(message["content"], where, role, notes)
        if not parts and not (role == "assistant" and index == len(items) - 1):
            raise RequestError(f"'{where}' must not be empty", param=where)
        out += _messages(role, parts, where, names)
    return tuple(out)


def _texts(parts: Sequence[Part], path: str) -> tuple[Text, ...]:
    texts = tuple(part for part in parts if isinstance(part, Text))
    if len(texts) != len(parts):
        raise RequestError(f"'{path}' holds text only", param=path)
    return texts


def _messages(role: str, parts: list[Part], path: str, names: dict[str, str]) -> list[Message]:
    if not parts:
        return []
    if role == "assistant":
        names.update((part.id, part.name) for part in parts if isinstance(part, ToolCall))
        return [Message("assistant", tuple(parts))]
    if role == "system":
        return [Message("system", _texts(parts, path))]
    results = tuple(
        msgspec.structs.replace(part, name=names.get(part.call_id))
        for part in parts
        if isinstance(part, ToolResult)
    )
    rest = tuple(part for part in parts if not isinstance(part, ToolResult))
    out = [Message("tool", results)] if results else []
    return [*out, Message("user", rest)] if rest else out


class _Turn(Struct):
    role: str
    results: list[dict[str, Any]] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)

    def body(self) -> dict[str, Any]:
        return {"role": self.role, "content": _plain([*self.results, *self.blocks])}


def _plain(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Give a lone text as a string, which every compatible server takes."""
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        text: str = blocks[0]["text"]
        return text
    return blocks


def write_turns(chat: Chat, target: Target, ignored: list[str]) -> dict[str, Any]:
    """Write `system` and `messages`; turns of one role in a row become one, tool results first.

    System messages are put together in `system`, in order. In the midst of the conversation only
    some models take them (`role 'system' is not supported on this model` is the others' answer),
    so one stays in its place only where the client wrote it there in this very dialect.

    Raises:
        RequestError: nothing is left to send, or a tool call's arguments are no object.
        UnsupportedParameter: Anthropic cannot say a part.
    """
    system: list[dict[str, Any]] = []
    turns: list[_Turn] = []
    for index, message in enumerate(chat.messages):
        path = at("messages", index)
        if message.name is not None:
            ignored.append("messages.name")
        blocks = _write_parts(message, path, chat.dialect, target, ignored)
        if message.role == "system":
            if any(block["type"] != "text" for block in blocks):
                raise UnsupportedParameter(path, "Anthropic", "a system message holds text only")
            if not turns or chat.dialect != DIALECT:
                system += blocks
                continue
        role = "user" if message.role == "tool" else message.role
        if not blocks:
            continue
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role))
        for block in blocks:
            is_result = block["type"] == "tool_result"
            (turns[-1].results if is_result else turns[-1].blocks).append(block)
    if not turns:
        raise RequestError(
            "'messages' must hold at least one message with text, for Anthropic", param="messages"
        )
    out: dict[str, Any] = {"system": _plain(system)} if system else {}
    out["messages"] = [turn.body() for turn in turns]
    return out


def _write_parts(
    message: Message, path: str, dialect: str, target: Target, ignored: list[str]
) -> list[dict[str, Any]]:
    return [
        block
        for index, part in enumerate(message.parts)
        if (block := write_block(part, f"{path}.content[{index}]", dialect, target, ignored))
    ]


def own_turns(body: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Give an Anthropic body with only the thinking that the target made, unsealed.

    All else (cache marks, server tools, citations) is as it was. For a body that goes on to a
    provider of this dialect, though it holds thinking which another provider signed.
    """
    items = body.get("messages")
    if not isinstance(items, list):
        return dict(body)
    messages = []
    for item in items:
        content = item.get("content") if isinstance(item, dict) else None
        if not isinstance(content, list):
            messages.append(item)
            continue
        kept = [own for block in content if (own := _own_block(block, target)) is not None]
        if kept or not content:
            messages.append({**item, "content": kept})
    return {**body, "messages": messages}


def _own_block(block: Any, target: Target) -> Any:
    kind = block.get("type") if isinstance(block, dict) else None
    name = {"thinking": "signature", "redacted_thinking": "data"}.get(str(kind))
    if name is None:
        return block
    value = block.get(name)
    if not isinstance(value, str) or not value:
        return None
    raw = carried(unseal(value, DIALECT), target, DIALECT)
    return None if raw is None else {**block, name: raw}
