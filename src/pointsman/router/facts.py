"""What a route must know of a request, read from its chat in one pass. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct

from pointsman.types import (
    Audio,
    Chat,
    File,
    HostedTool,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

__all__ = ["BYTES_PER_TOKEN", "DEFAULT_ANSWER_TOKENS", "Facts", "facts_of"]

_Leaf: TypeAlias = Text | Refusal | Image | Audio | File | ToolCall | Reasoning

# Bytes of UTF-8 a token, taken low so that a prompt's length is over- rather than underestimated.
BYTES_PER_TOKEN = 3.0
MEDIA_TOKENS = 1000
DEFAULT_ANSWER_TOKENS = 1024
# A last message below this length is read with up to so many earlier ones.
SHORT_CHARS, EARLIER_MESSAGES = 40, 2


class Facts(Struct, frozen=True):
    """What a route must know of a request. Tokens are estimates.

    `text` is the last user message, with up to two earlier ones before it where it is too short to
    say what it is about ("continue").
    """

    text: str
    prompt_tokens: int
    answer_tokens: int
    vision: bool = False
    tools: bool = False
    json_schema: bool = False


def facts_of(chat: Chat) -> Facts:
    """Read from a chat what a route must know."""
    size = sum(_tool_bytes(tool) for tool in chat.tools)
    media = 0
    vision = False
    asked: list[str] = []
    for message in chat.messages:
        own: list[str] = []
        for part in _flat(message.parts):
            if isinstance(part, Image | Audio | File):
                media += 1
                vision = vision or isinstance(part, Image)
                part_text = part.text or "" if isinstance(part, File) else ""
            elif isinstance(part, ToolCall):
                part_text = part.arguments
            else:
                part_text = part.text
            size += len(part_text.encode("utf-8", "replace"))
            if isinstance(part, Text):
                own.append(part_text)
        if message.role == "user" and own:
            asked.append("\n".join(own))
    return Facts(
        text=_in_context(asked),
        prompt_tokens=round(size / BYTES_PER_TOKEN) + media * MEDIA_TOKENS,
        answer_tokens=chat.max_tokens or DEFAULT_ANSWER_TOKENS,
        vision=vision,
        tools=bool(chat.tools),
        json_schema=chat.response_format is not None and chat.response_format.kind == "json_schema",
    )


def _flat(parts: Sequence[Part]) -> Iterator[_Leaf]:
    """The parts, with a tool's result replaced by what it holds."""
    for part in parts:
        if isinstance(part, ToolResult):
            yield from part.content
        else:
            yield part


def _tool_bytes(tool: Tool | HostedTool) -> int:
    if isinstance(tool, HostedTool):
        return len(msgspec.json.encode(tool.spec))
    about = tool.description or ""
    return (
        len(tool.name)
        + len(about.encode("utf-8", "replace"))
        + len(msgspec.json.encode(tool.parameters))
    )


def _in_context(asked: Sequence[str]) -> str:
    if not asked:
        return ""
    texts = [asked[-1]]
    for earlier in reversed(asked[-1 - EARLIER_MESSAGES : -1]):
        if sum(map(len, texts)) >= SHORT_CHARS:
            break
        texts.insert(0, earlier)
    return "\n".join(texts)
