"""What a body says, in any client's wire format, and the same body with some of its texts changed.

One reader for all formats: the fields that hold words have different names in them, and none of these
means something else in another. A text is put into the body in place, so that all else stays byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pointsman.said import Place, Said
from pointsman.types import Role

__all__ = ["body_said", "splice"]

MAX_DEPTH = 24
# Before all else: what the developer says.
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
_TURNS = ("messages", "contents")
# What a user says where there are no turns; Responses' `input` may have them.
_PLAIN = ("prompt", "input", "query", "content", "input_prefix", "suffix", "input_suffix")
# Documents to be ranked, and files around a gap: what comes from elsewhere, like a tool's result.
_GIVEN = ("documents", "input_extra")
_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "assistant": "assistant", "model": "assistant",
    "tool": "tool", "function": "tool",
}  # fmt: skip
_RESULTS = ("functionResponse", "function_response")
# No words: the format's own, what is encoded, and calls and thoughts of the model itself.
_NO_TEXTS = frozenset(
    ("arguments", "cache_control", "call_id", "citations", "data", "detail", "encrypted_content",
     "fileData", "file_data", "file_id", "format", "functionCall", "function_call", "id", "image_url",
     "images", "inlineData", "inline_data", "input_audio", "media_type", "mimeType", "mime_type",
     "multimodal_data", "name", "reasoning", "reasoning_content", "role", "signature", "status",
     "thinking", "thoughtSignature", "thought_signature", "tool_call_id", "tool_calls", "tool_use_id",
     "type", "url", "uri")
)  # fmt: skip
_CALLS = frozenset(
    ("tool_use", "server_tool_use", "function_call", "custom_tool_call", "reasoning")
)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],]')
_COLON = re.compile(rb"\s*:")


def body_said(tree: Mapping[str, Any]) -> list[Said] | None:
    """Give what a body says, system prompt first; None where some of it is token ids.

    Raises:
        ValueError: it is nested deeper than any format is.
    """
    pieces: list[Said] = []
    if any(_has_tokens(tree.get(name)) for name in ("prompt", "input", "content", "query")):
        return None
    for name in _SYSTEM:
        pieces += (Said("system", 0, t, p) for p, t, _ in _texts(tree.get(name), (name,), 0))
    for name in _TURNS:
        value = tree.get(name)
        if isinstance(value, list):
            pieces += _turns(value, (name,))
    for name in _PLAIN:
        value = tree.get(name)
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            pieces += _turns(value, (name,))
        elif value:
            turn = max((piece.turn for piece in pieces if piece.role == "user"), default=1)
            pieces += _plain(value, (name,), turn)
    for at, each in enumerate(_listed(tree.get("requests"))):  # Gemini's batch of texts to embed.
        if isinstance(each, dict):
            pieces += _plain(each.get("content"), ("requests", at, "content"), 1)
    last = max((piece.turn for piece in pieces), default=0) + 1
    for name in _GIVEN:
        pieces += (Said("tool", last, t, p) for p, t, _ in _texts(tree.get(name), (name,), 0))
    return pieces


def splice(body: bytes, texts: Mapping[Place, str]) -> bytes:
    """Give the body with other texts at some places; all other bytes stay.

    The body is valid JSON in which no key stands twice.
    """
    out: list[bytes] = []
    at = 0
    for place, start, end in _strings(body):
        if place in texts:
            out += [body[at:start], msgspec.json.encode(texts[place])]
            at = end
    return b"".join((*out, body[at:]))


def _turns(messages: list[Any], root: Place) -> Iterator[Said]:
    turn, before = 0, ""
    for at, message in enumerate(messages):
        place = (*root, at)
        named = message.get("role") if isinstance(message, dict) else None
        role = _role_of(message, named)
        found = list(_texts(message, place, 0, given=role == "tool"))
        if not found:
            found = [(place, "", role == "tool")]
        for where, text, given in found:
            own: Role = "tool" if given else role
            turn += own != before
            before = own
            yield Said(own, turn, text, where)


def _role_of(message: Any, named: Any) -> Role:
    if isinstance(named, str):
        return _ROLES.get(named, "user")
    kind = message.get("type") if isinstance(message, dict) else None
    if isinstance(kind, str):
        if kind.endswith("_output"):
            return "tool"
        if kind in _CALLS or kind.endswith("_call"):
            return "assistant"
    return "user"


def _plain(value: Any, root: Place, turn: int) -> Iterator[Said]:
    for where, text, given in _texts(value, root, 0):
        yield Said("tool" if given else "user", turn, text, where)


def _texts(
    value: Any, place: Place, depth: int, *, given: bool = False
) -> Iterator[tuple[Place, str, bool]]:
    """All texts in a value, with their places, and whether a tool gave them."""
    if isinstance(value, str):
        if value:
            yield place, value, given
        return
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested over {MAX_DEPTH} deep at {'.'.join(map(str, place))[:200]}")
    if isinstance(value, list):
        for at, each in enumerate(value):
            yield from _texts(each, (*place, at), depth + 1, given=given)
    elif isinstance(value, dict):
        kind = value.get("type")
        if kind in _CALLS:
            return
        given = given or (isinstance(kind, str) and kind.endswith(("tool_result", "_output")))
        # A document of Anthropic's may be text, under the name that else holds encoded bytes.
        is_text = kind == "text" and "media_type" in value
        for key, each in value.items():
            if key in _RESULTS and isinstance(each, dict):
                for name in ("response", "parts"):
                    inner = each.get(name)
                    yield from _any(inner, (*place, key, name), depth + 1, given=True)
            elif key == "variables":  # Of a prompt that is kept at OpenAI's.
                yield from _any(each, (*place, key), depth + 1, given=given)
            elif key not in _NO_TEXTS or (is_text and key == "data"):
                yield from _texts(each, (*place, key), depth + 1, given=given)


def _any(value: Any, place: Place, depth: int, *, given: bool) -> Iterator[tuple[Place, str, bool]]:
    """All texts in a value whose keys are somebody's own, such as what a tool gave in Gemini's form."""
    if isinstance(value, str):
        if value:
            yield place, value, given
    elif isinstance(value, list | dict):
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested over {MAX_DEPTH} deep in a tool's result")
        pairs = enumerate(value) if isinstance(value, list) else value.items()
        for key, each in pairs:
            yield from _any(each, (*place, key), depth + 1, given=given)


def _has_tokens(value: Any) -> bool:
    if isinstance(value, list):
        return any(type(each) is int or _has_tokens(each) for each in value)
    return False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _strings(body: bytes) -> Iterator[tuple[Place, int, int]]:
    """The place and the span of each string that is a value."""
    path: list[str | int] = []
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token == b"{":
            path.append("")
        elif token == b"[":
            path.append(0)
        elif token in (b"}", b"]"):
            path.pop()
        elif token == b",":
            if isinstance(path[-1], int):
                path[-1] += 1
        elif path and isinstance(path[-1], str) and _COLON.match(body, match.end()):
            path[-1] = msgspec.json.decode(token)
        else:
            yield tuple(path), match.start(), match.end()
