"""Anthropic's content blocks, both ways: those of messages and those of an answer.

Source: the types of the official client, anthropic 2.12.0 (`types/content_block_param.py`,
`types/tool_result_block_param.py`, `types/content_block.py`).
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from pointsman.dialects._shared import (
    arguments_object,
    arguments_text,
    at,
    carried,
    optional,
    required,
    seal,
    unseal,
    want_boolean,
    want_list,
    want_object,
    want_string,
)
from pointsman.dialects.anthropic.media import (
    read_document,
    read_image,
    read_search_result,
    write_file,
    write_image,
)
from pointsman.dialects.base import Target
from pointsman.errors import BadAnswer, RequestError, UnsupportedParameter
from pointsman.types import (
    Audio,
    File,
    Image,
    Part,
    Reasoning,
    Refusal,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)

__all__ = [
    "DIALECT",
    "UNSIGNED",
    "for_client",
    "from_upstream",
    "read_answer_block",
    "read_blocks",
    "write_answer_block",
    "write_block",
]

DIALECT = "anthropic"

# The fields that the middle form holds; any other is noted, so that none is lost unsaid.
_HELD = {
    "text": frozenset(("text",)),
    "image": frozenset(("source",)),
    "document": frozenset(("source", "title")),
    "search_result": frozenset(("content", "source", "title")),
    "thinking": frozenset(("thinking", "signature")),
    "redacted_thinking": frozenset(("data",)),
    "tool_use": frozenset(("id", "name", "input")),
    "tool_result": frozenset(("tool_use_id", "content", "is_error")),
}
_ASSISTANT_ONLY = frozenset(("thinking", "redacted_thinking", "tool_use"))
# What the provider ran, or keeps, itself: its results are sealed for it.
_OWN = re.compile(
    r"server_tool_use|container_upload|compaction|tool_reference|browser_state|\w+_tool_result"
)
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")


# Thinking that nobody signed carries this to a client, so that it is known when it comes back: a raw
# body with an empty signature would be refused by Anthropic.
UNSIGNED = seal(Signature("", ""))


def for_client(signature: Signature) -> str:
    """Give what an Anthropic client carries for a signature: raw if Anthropic made it, else sealed."""
    return signature.value if signature.origin == DIALECT else seal(signature)


def from_upstream(value: str, target: Target) -> Signature:
    """Give the signature that the target made."""
    return Signature(value, target.provider)


# Messages, read from a client


def read_blocks(value: object, path: str, role: str, notes: dict[str, Any]) -> list[Part]:
    """Read a message's content, a string or a list of blocks.

    What the middle form lacks goes into `notes`: hints under their bare names (`cache_control`,
    `citations`), what changes the answer under its path, for writers to refuse by that name.

    Raises:
        RequestError: a wrong type, or a block that the role cannot hold.
        UnsupportedParameter: a block that only Anthropic can read (server tools).
    """
    if isinstance(value, str):
        return [Text(value)]
    parts: list[Part] = []
    for index, item in enumerate(want_list(value, path)):
        where = at(path, index)
        block = want_object(item, where)
        kind = required(block, "type", want_string, where)
        if kind in _ASSISTANT_ONLY and role != "assistant":
            raise RequestError(f"'{where}': only an assistant's turn holds {kind}", param=where)
        if kind == "tool_result" and role != "user":
            raise RequestError(f"'{where}': only a user's turn holds tool_result", param=where)
        parts.append(_read_block(block, kind, where, notes))
    return parts


def _read_block(block: dict[str, Any], kind: str, path: str, notes: dict[str, Any]) -> Part:
    _note(block, kind, path, notes)
    match kind:
        case "text":
            return Text(required(block, "text", want_string, path))
        case "image":
            return read_image(block, path)
        case "document":
            return read_document(block, path)
        case "search_result":
            return read_search_result(block, path)
        case "thinking":
            signature = optional(block, "signature", want_string, path)
            return Reasoning(
                required(block, "thinking", want_string, path),
                unseal(signature, DIALECT) if signature else None,
            )
        case "redacted_thinking":
            data = required(block, "data", want_string, path)
            return Reasoning(redacted=unseal(data, DIALECT))
        case "tool_use":
            return ToolCall(
                required(block, "id", want_string, path),
                required(block, "name", want_string, path),
                arguments_text(required(block, "input", want_object, path)),
            )
        case "tool_result":
            return _read_tool_result(block, path, notes)
    raise _unknown(kind, path)


def _unknown(kind: str, path: str) -> RequestError:
    if _OWN.fullmatch(kind):
        return UnsupportedParameter(
            path, "another wire format", f"only an Anthropic model can read a block of '{kind}'"
        )
    return RequestError(f"'{path}.type' is unknown: '{kind}'", param=f"{path}.type")


def _note(block: dict[str, Any], kind: str, path: str, notes: dict[str, Any]) -> None:
    held = _HELD.get(kind)
    if held is None or len(block) == 1 + len(held & block.keys()):
        return
    for name, value in block.items():
        if name == "type" or name in held or value in (None, [], {}):
            continue
        if name == "cache_control" or (name == "citations" and kind == "text"):
            notes.setdefault(name, True)
        elif (name, value) not in (
            ("citations", {"enabled": False}),
            ("caller", {"type": "direct"}),
        ):
            notes[at(path, name)] = value


def _read_tool_result(block: dict[str, Any], path: str, notes: dict[str, Any]) -> ToolResult:
    content: list[Text | Image | File] = []
    value = block.get("content")
    where = at(path, "content")
    if isinstance(value, str):
        content = [Text(value)] if value else []
    elif value is not None:
        for index, item in enumerate(want_list(value, where)):
            inner = at(where, index)
            each = want_object(item, inner)
            part = _read_block(each, required(each, "type", want_string, inner), inner, notes)
            if not isinstance(part, Text | Image | File):
                raise RequestError(f"'{inner}' cannot stand in a tool's result", param=inner)
            content.append(part)
    return ToolResult(
        call_id=required(block, "tool_use_id", want_string, path),
        content=tuple(content),
        is_error=optional(block, "is_error", want_boolean, path) or False,
    )


# Messages, written for an upstream


def write_block(
    part: Part, path: str, dialect: str, target: Target, ignored: list[str]
) -> dict[str, Any] | None:
    """Write a part as a block; None where nothing is to be said.

    That is so for text with nothing but white space, which Anthropic refuses, and for thinking
    that the target did not sign (`ignored` names it). `dialect` is the one that the chat was read from.

    Raises:
        RequestError: a tool call's arguments are no object.
        UnsupportedParameter: Anthropic cannot say the part.
    """
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text} if text.strip() else None
        case Image():
            return write_image(part, path, ignored)
        case File():
            return write_file(part, path, dialect)
        case ToolCall():
            return {
                "type": "tool_use",
                "id": _tool_id(part.id),
                "name": part.name,
                "input": arguments_object(part.arguments, f"{path}.arguments"),
            }
        case ToolResult():
            return _write_tool_result(part, path, dialect, target, ignored)
        case Reasoning():
            return _write_reasoning(part, target, ignored)
        case Audio():
            raise UnsupportedParameter(path, "Anthropic", "it takes no sound")


def _write_reasoning(part: Reasoning, target: Target, ignored: list[str]) -> dict[str, Any] | None:
    data = carried(part.redacted, target, DIALECT)
    if data is not None:
        return {"type": "redacted_thinking", "data": data}
    signature = carried(part.signature, target, DIALECT)
    if signature is None:
        ignored.append("reasoning")
        return None
    return {"type": "thinking", "thinking": part.text, "signature": signature}


def _write_tool_result(
    part: ToolResult, path: str, dialect: str, target: Target, ignored: list[str]
) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": _tool_id(part.call_id)}
    content = [
        inner
        for index, each in enumerate(part.content)
        if (inner := write_block(each, f"{path}.content[{index}]", dialect, target, ignored))
    ]
    if len(content) == 1 and content[0]["type"] == "text":
        block["content"] = content[0]["text"]
    elif content:
        block["content"] = content
    if part.is_error:
        block["is_error"] = True
    return block


def _tool_id(value: str) -> str:
    """Give the id with only the characters that Anthropic takes; the same in, the same out.

    A hash keeps two ids apart that differ only in what was replaced.
    """
    if _TOOL_ID.fullmatch(value):
        return value
    digest = hashlib.blake2b(value.encode(), digest_size=6).hexdigest()
    return re.sub(r"[^a-zA-Z0-9_-]", "_", value)[:40] + "_" + digest


# An answer


def read_answer_block(value: object, path: str, target: Target) -> Part | None:
    """Read a block of an upstream's answer; None for a block of an unknown kind with no text.

    Raises:
        BadAnswer: it breaks the dialect.
    """
    if not isinstance(value, dict):
        raise _bad(target, path)
    match value.get("type"):
        case "tool_use":
            given = value.get("input")
            if not isinstance(given, dict | None):
                raise _bad(target, f"{path}.input")
            return ToolCall(
                _string(value, "id", path, target),
                _string(value, "name", path, target),
                arguments_text(given),
            )
        case "thinking":
            text = _string(value, "thinking", path, target)
            signature = value.get("signature")
            if not signature:
                return Reasoning(text) if text else None
            return Reasoning(text, from_upstream(str(signature), target))
        case "redacted_thinking":
            data = _string(value, "data", path, target)
            return Reasoning(redacted=from_upstream(data, target))
        case "text":
            text = _string(value, "text", path, target)
            return Text(text) if text else None
    other = value.get("text")
    return Text(other) if isinstance(other, str) and other else None


def _bad(target: Target, path: str) -> BadAnswer:
    return BadAnswer(
        f"the answer of {target.provider} breaks the Messages format at '{path}'",
        provider=target.provider,
        model=target.model,
    )


def _string(block: dict[str, Any], name: str, path: str, target: Target) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise _bad(target, f"{path}.{name}")
    return value


def write_answer_block(part: Part, *, cut: bool) -> dict[str, Any] | None:
    """Write a part of an answer for a client; None for an empty text.

    Thinking without a signature gets one that says so, as clients need the field. In an answer that
    was `cut` at its limit, a call whose arguments are unfinished has an empty input.

    Raises:
        UnsupportedParameter: an Anthropic answer cannot hold the part (an image, a sound).
        BadAnswer: a call's arguments are no object.
    """
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text} if text else None
        case ToolCall():
            return {
                "type": "tool_use",
                "id": part.id,
                "name": part.name,
                "input": _input(part, cut),
            }
        case Reasoning():
            if part.redacted is not None:
                return {"type": "redacted_thinking", "data": for_client(part.redacted)}
            signature = UNSIGNED if part.signature is None else for_client(part.signature)
            return {"type": "thinking", "thinking": part.text, "signature": signature}
    raise UnsupportedParameter(
        "content", "an Anthropic answer", f"the model answered with {part.__struct_config__.tag}"
    )


def _input(call: ToolCall, cut: bool) -> dict[str, Any]:
    try:
        return arguments_object(call.arguments, "arguments")
    except RequestError as error:
        if cut:
            return {}
        raise BadAnswer(
            f"the model called '{call.name}' with arguments that are no JSON object", provider=""
        ) from error
