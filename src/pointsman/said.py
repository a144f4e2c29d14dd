"""What a request says, piece by piece: who says it, in which turn, and where it stands.

A guard that looks for triggers reads these, and what it changes goes back to the same places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from pointsman.types import Chat, File, Part, Role, Text, ToolResult

__all__ = ["Place", "Said", "Scope", "chat_said", "in_scope", "with_texts"]

# Keys and numbers that lead to a text, from the root of a body, or of a chat's messages.
Place: TypeAlias = tuple[str | int, ...]
Scope: TypeAlias = Literal["last", "user", "all"]


class Said(Struct, frozen=True):
    """A piece of text. Pieces with the same `turn` follow one another with nobody in between.

    A turn in which nothing is said has one piece with an empty text, since it parts what stands around it.
    """

    role: Role
    turn: int
    text: str
    place: Place


def in_scope(pieces: Sequence[Said], scope: Scope) -> list[Said]:
    """Give the pieces that a guard of this scope reads: of the last user turn, of all of them, or all."""
    if scope == "all":
        return list(pieces)
    mine = [piece for piece in pieces if piece.role == "user"]
    if scope == "user" or not mine:
        return mine
    last = max(piece.turn for piece in mine)
    return [piece for piece in mine if piece.turn == last]


def chat_said(chat: Chat) -> list[Said]:
    """Give what is said in a chat: texts, documents that are text, and what tools gave back.

    Thoughts and calls that the model itself made are left out.
    """
    pieces: list[Said] = []
    turn, before = 0, None
    for at, message in enumerate(chat.messages):
        turn += message.role != before
        before = message.role
        found = [
            Said(message.role, turn, text, (at, *place))
            for number, part in enumerate(message.parts)
            for place, text in _texts(number, part)
        ]
        pieces += found or [Said(message.role, turn, "", (at,))]
    return pieces


def with_texts(chat: Chat, texts: Mapping[Place, str]) -> Chat:
    """Give the chat with other texts at some of the places that `chat_said` names."""
    messages = list(chat.messages)
    for place, text in texts.items():
        at, number = int(place[0]), int(place[1])
        parts = list(messages[at].parts)
        part = parts[number]
        if isinstance(part, ToolResult):
            inner = int(place[2])
            content = list(part.content)
            content[inner] = msgspec.structs.replace(content[inner], text=text)
            parts[number] = msgspec.structs.replace(part, content=tuple(content))
        else:
            parts[number] = msgspec.structs.replace(part, text=text)
        messages[at] = msgspec.structs.replace(messages[at], parts=tuple(parts))
    return msgspec.structs.replace(chat, messages=tuple(messages))


def _texts(number: int, part: Part) -> Iterator[tuple[Place, str]]:
    if isinstance(part, Text | File):
        if part.text:
            yield (number,), part.text
    elif isinstance(part, ToolResult):
        for inner, each in enumerate(part.content):
            if isinstance(each, Text | File) and each.text:
                yield (number, inner), each.text
