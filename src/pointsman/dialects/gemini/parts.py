"""Gemini's contents and parts, both ways.

Proto-JSON has two spellings of a field's name: clients may send `inlineData` or `inline_data`;
camel case is written.

Source: the types of the official client, google-genai 2.34 (`types.py`: Content, Part, Blob,
FunctionCall, FunctionResponse), and Google's "Thought signatures" page (read 2026-11).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.dialects._shared import (
    arguments_object,
    arguments_text,
    at,
    carried,
    optional,
    required,
    seal,
    unseal,
    want_list,
    want_object,
    want_string,
)
from pointsman.dialects.base import Target
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    Audio,
    File,
    Image,
    Message,
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
    "camel",
    "for_client",
    "plain_base64",
    "read_contents",
    "signature_in",
    "write_contents",
    "write_instruction",
]

DIALECT = "gemini"
_OWN_URIS = re.compile(
    r"gs://|https://generativelanguage\.googleapis\.com/|https://(?:www\.)?youtube\.com/|https://youtu\.be/"
)
_SNAKE = re.compile(r"_([a-z0-9])")
# Fields of a part that steer how media is looked at; they change the answer, so other dialects
# must refuse them by name.
_MEDIA_KEYS = frozenset(("videoMetadata", "mediaResolution", "mediaProcessing", "partMetadata"))
_KNOWN = frozenset(
    ("text", "thought", "thoughtSignature", "inlineData", "fileData", "functionCall",
     "functionResponse")
)  # fmt: skip
FETCH_HINT = "Gemini takes bytes only: set server.fetch_images to have images fetched"


def camel(value: object, path: str) -> dict[str, Any]:
    """Give an object with its keys in camel case (this level only).

    Raises:
        RequestError: it is no object.
    """
    body = want_object(value, path)
    if any("_" in key for key in body):
        return {_SNAKE.sub(lambda m: m[1].upper(), key): each for key, each in body.items()}
    return body


def plain_base64(text: str, path: str) -> str:
    """Give base64 in the standard alphabet with padding; clients that hold bytes send URL-safe.

    Raises:
        RequestError: it is no base64.
    """
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    plain += "=" * (-len(plain) % 4)
    try:
        binascii.a2b_base64(plain, strict_mode=True)
    except ValueError:  # binascii.Error, or a letter outside of ASCII
        raise RequestError(f"'{path}' is no base64", param=path) from None
    return plain


def signature_in(part: Mapping[str, Any], path: str) -> Signature | None:
    """Give the signature that a client's part carries, opened if it was sealed."""
    value = optional(part, "thoughtSignature", want_string, path)
    if not value:
        return None
    signature = unseal(value, DIALECT)
    if signature.value == value:
        return Signature(plain_base64(value, at(path, "thoughtSignature")), DIALECT)
    return signature


def for_client(signature: Signature, origin: str = DIALECT) -> str:
    """Give a signature for a Gemini client: as it is if Gemini made it, else sealed."""
    return signature.value if signature.origin in (DIALECT, origin) else seal(signature)


# Read from a client


class _Reading:
    """What turns tell each other: calls that wait for their result, by name, and ids given."""

    def __init__(self, notes: dict[str, Any]) -> None:
        self.notes = notes
        self.open: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.count = 0


def read_contents(
    value: object, notes: dict[str, Any], path: str = "contents"
) -> tuple[Message, ...]:
    """Read `contents`. What has no place in the middle form goes into `notes` under its path.

    Raises:
        RequestError: a wrong type, an unknown role or part.
    """
    if isinstance(value, str):
        return (Message("user", (Text(value),)),)
    items = want_list(value, path) if isinstance(value, list) else [value]
    if not items:
        raise RequestError(f"'{path}' must hold at least one content", param=path)
    reading = _Reading(notes)
    messages: list[Message] = []
    for index, item in enumerate(items):
        messages += _read_content(camel(item, at(path, index)), at(path, index), reading)
    return tuple(messages)


def _read_content(body: dict[str, Any], path: str, reading: _Reading) -> list[Message]:
    role = optional(body, "role", want_string, path) or "user"
    if role not in ("user", "model", "function", "tool"):
        raise RequestError(
            f"'{path}.role' must be user or model, not '{role}'", param=f"{path}.role"
        )
    parts: list[Part] = []
    results: list[ToolResult] = []
    where = at(path, "parts")
    for index, item in enumerate(optional(body, "parts", want_list, path) or ()):
        spot = at(where, index)
        part = _read_part(camel(item, spot), spot, reading)
        if isinstance(part, ToolResult):
            results.append(part)
        elif part is not None:
            parts.append(part)
    messages = [Message("tool", tuple(results))] if results else []
    if parts or not results:
        messages.append(Message("assistant" if role == "model" else "user", tuple(parts)))
    return messages


def _read_part(part: dict[str, Any], path: str, reading: _Reading) -> Part | None:
    for key, value in part.items():
        if key in _MEDIA_KEYS and value is not None:
            reading.notes[at(path, key)] = value
        elif key not in _KNOWN and value is not None:
            raise UnsupportedParameter(at(path, key), "a translated request")
    signature = signature_in(part, path)
    if part.get("functionCall") is not None:
        return _read_call(
            camel(part["functionCall"], at(path, "functionCall")), path, signature, reading
        )
    if part.get("functionResponse") is not None:
        where = at(path, "functionResponse")
        return _read_result(camel(part["functionResponse"], where), where, reading)
    if part.get("inlineData") is not None:
        where = at(path, "inlineData")
        return _read_blob(camel(part["inlineData"], where), where)
    if part.get("fileData") is not None:
        where = at(path, "fileData")
        return _read_file(camel(part["fileData"], where), where)
    text = optional(part, "text", want_string, path)
    if part.get("thought"):
        return Reasoning(text or "", signature)
    if text is None and signature is None:
        return None
    return Text(text or "", signature)


def _read_call(
    call: dict[str, Any], path: str, signature: Signature | None, reading: _Reading
) -> ToolCall:
    where = at(path, "functionCall")
    name = required(call, "name", want_string, where)
    args = optional(call, "args", want_object, where)
    identity = optional(call, "id", want_string, where)
    if not identity:
        # The place in the history makes an id that stays the same from turn to turn.
        identity = f"call_gemini_{reading.count}"
    reading.count += 1
    reading.open.setdefault(name, []).append(identity)
    reading.names[identity] = name
    return ToolCall(identity, name, arguments_text(args), signature)


def _read_result(response: dict[str, Any], path: str, reading: _Reading) -> ToolResult:
    name = required(response, "name", want_string, path)
    identity = optional(response, "id", want_string, path)
    waiting = reading.open.get(name, [])
    if identity and identity in waiting:
        waiting.remove(identity)
    elif not identity:
        if not waiting:
            raise RequestError(f"'{path}' answers no call of '{name}'", param=path)
        identity = waiting.pop(0)
    value = optional(response, "response", want_object, path) or {}
    content: list[Text | Image | File] = [Text(msgspec.json.encode(value).decode())]
    for index, item in enumerate(optional(response, "parts", want_list, path) or ()):
        spot = at(at(path, "parts"), index)
        inner = _read_part(camel(item, spot), spot, reading)
        if isinstance(inner, Image | File | Text):
            content.append(inner)
    is_error = set(value) == {"error"}
    return ToolResult(identity, tuple(content), name, is_error)


def _read_blob(blob: dict[str, Any], path: str) -> Part:
    data = plain_base64(required(blob, "data", want_string, path), at(path, "data"))
    media_type = required(blob, "mimeType", want_string, path)
    name = optional(blob, "displayName", want_string, path)
    if media_type.startswith("image/"):
        return Image(media_type=media_type, data=data)
    if media_type.startswith("audio/"):
        return Audio(data, media_type.removeprefix("audio/"))
    return File(name=name, media_type=media_type, data=data)


def _read_file(file: dict[str, Any], path: str) -> Part:
    uri = required(file, "fileUri", want_string, path)
    media_type = optional(file, "mimeType", want_string, path)
    if media_type is not None and media_type.startswith("image/"):
        return Image(media_type=media_type, url=uri)
    return File(
        media_type=media_type, url=uri, name=optional(file, "displayName", want_string, path)
    )


# Written for an upstream


def write_instruction(messages: tuple[Message, ...], target: Target) -> dict[str, Any] | None:
    """Give `systemInstruction` of all system messages in order; None if there are none.

    Raises:
        UnsupportedParameter: a system message that is not text.
    """
    parts: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if message.role != "system":
            continue
        for part in message.parts:
            if not isinstance(part, Text):
                raise UnsupportedParameter(
                    at("messages", index), target.provider, "a system message is text"
                )
            if part.text:
                parts.append({"text": part.text})
    return {"parts": parts} if parts else None


def write_contents(
    messages: tuple[Message, ...], target: Target, ignored: list[str]
) -> list[dict[str, Any]]:
    """Write `contents`: turns of the same role joined, results in the user's turn.

    Raises:
        UnsupportedParameter: a part that Gemini cannot say.
        RequestError: a result whose call is not in the history and has no name.
    """
    names = {p.id: p.name for m in messages for p in m.parts if isinstance(p, ToolCall)}
    contents: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        path = at("messages", index)
        parts: list[dict[str, Any]] = []
        for number, part in enumerate(message.parts):
            parts += _write_part(part, at(at(path, "content"), number), target, names, ignored)
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def _signed(body: dict[str, Any], signature: Signature | None, target: Target) -> dict[str, Any]:
    value = carried(signature, target, DIALECT)
    return body if value is None else {**body, "thoughtSignature": value}


def _write_part(
    part: Part, path: str, target: Target, names: Mapping[str, str], ignored: list[str]
) -> list[dict[str, Any]]:
    match part:
        case Text():
            signed = _signed({"text": part.text}, part.signature, target)
            return [signed] if part.text or "thoughtSignature" in signed else []
        case Refusal():
            return [{"text": part.text}]
        case Reasoning():
            signed = _signed({"text": part.text, "thought": True}, part.signature, target)
            if "thoughtSignature" in signed:
                return [signed]
            if "reasoning" not in ignored:
                ignored.append("reasoning")
            return []
        case ToolCall():
            call = {
                "id": part.id,
                "name": part.name,
                "args": arguments_object(part.arguments, path),
            }
            return [_signed({"functionCall": call}, part.signature, target)]
        case ToolResult():
            return _write_result(part, path, target, names)
        case Image():
            return [_write_image(part, path, target)]
        case Audio():
            return [{"inlineData": {"mimeType": f"audio/{part.format}", "data": part.data}}]
        case File():
            # Inline data has no name here (only Vertex AI takes one).
            if part.name is not None and part.url is None and "filename" not in ignored:
                ignored.append("filename")
            return [_write_file(part, path, target)]


def _write_result(
    result: ToolResult, path: str, target: Target, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    name = names.get(result.call_id) or result.name
    if name is None:
        raise RequestError(
            f"'{path}' answers the call '{result.call_id}', which is not in the messages before it;"
            " Gemini needs its function's name",
            param=path,
        )
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    body: dict[str, Any] = {
        "id": result.call_id,
        "name": name,
        "response": _response(text, result.is_error),
    }
    media = [part for part in result.content if not isinstance(part, Text)]
    if media:
        body["parts"] = [
            _write_image(part, path, target)
            if isinstance(part, Image)
            else _write_file(part, path, target)
            for part in media
        ]
    return [{"functionResponse": body}]


def _response(text: str, is_error: bool) -> dict[str, Any]:
    """Gemini wants an object: one goes as it is, other text under the key that Google names."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if is_error:
        known = isinstance(value, dict) and set(value) == {"error"}
        return value if known else {"error": text}
    return value if isinstance(value, dict) else {"result": text}


def _write_image(image: Image, path: str, target: Target) -> dict[str, Any]:
    if image.data is not None:
        return {"inlineData": {"mimeType": image.media_type or "image/png", "data": image.data}}
    if image.url is not None and _OWN_URIS.match(image.url):
        uri = {"fileUri": image.url}
        return {"fileData": {**uri, **({"mimeType": image.media_type} if image.media_type else {})}}
    raise UnsupportedParameter(f"{path}.url", target.provider, FETCH_HINT)


def _write_file(file: File, path: str, target: Target) -> dict[str, Any]:
    named = {"displayName": file.name} if file.name else {}
    if file.data is not None:
        media_type = file.media_type or "application/pdf"
        return {"inlineData": {"mimeType": media_type, "data": file.data}}
    if file.text is not None:
        data = base64.b64encode(file.text.encode()).decode("ascii")
        return {"inlineData": {"mimeType": file.media_type or "text/plain", "data": data}}
    if file.url is not None and _OWN_URIS.match(file.url):
        kind = {"mimeType": file.media_type} if file.media_type else {}
        return {"fileData": {"fileUri": file.url, **kind, **named}}
    field = "url" if file.url is not None else "file_id"
    raise UnsupportedParameter(f"{path}.{field}", target.provider, "send the file's data")
