"""Gemini's contents and parts as clients send them, and the signatures on parts.

Proto-JSON has two spellings of a field's name: clients may send `inlineData` or `inline_data`;
camel case is written. It also takes a lone object where a list is meant.

Source: the types of the official client, google-genai 2.34 (`types.py`: Content, Part, Blob,
FunctionCall, FunctionResponse), and Google's "Thought signatures" page (read 2026-11).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.dialects._shared import (
    arguments_text,
    at,
    optional,
    required,
    seal,
    unseal,
    want_boolean,
    want_list,
    want_object,
    want_string,
)
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    Audio,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Signature,
    Text,
    ToolCall,
    ToolResult,
)

__all__ = [
    "DIALECT",
    "REDACTED",
    "camel",
    "for_client",
    "items_of",
    "join",
    "note",
    "plain_base64",
    "read_contents",
    "read_instruction",
    "signature_in",
]

DIALECT = "gemini"
# Before the origin in a seal: what is sealed is a whole redacted thought, not the signature of one.
# No provider's name has a colon.
REDACTED = "redacted:"
_SNAKE = re.compile(r"(?<=[^_])_([a-z0-9])")
# A part is one of these, with marks on it.
_KINDS = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_MARKS = frozenset(("thought", "thoughtSignature"))
# Marks that steer how media is looked at: they change the answer, so writers refuse them by name.
_MEDIA_MARKS = frozenset(("videoMetadata", "mediaResolution", "mediaProcessing", "partMetadata"))
# Other names of a sound's format, and the one that OpenAI and Gemini share.
_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}
_ROLES = {"user": "user", "function": "user", "tool": "user", "model": "assistant"}


def camel(value: object, path: str) -> dict[str, Any]:
    """Give an object with its keys in camel case (this level only).

    Raises:
        RequestError: it is no object.
    """
    body = want_object(value, path)
    if any("_" in key for key in body):
        return {_SNAKE.sub(lambda m: m[1].upper(), key): each for key, each in body.items()}
    return body


def note(body: Mapping[str, Any], known: frozenset[str], path: str, notes: dict[str, Any]) -> None:
    """Put into `notes`, under its path, each field that is not known and says something."""
    for key, value in body.items():
        if key not in known and value not in (None, "", [], {}):
            notes[at(path, key)] = value


# Signatures


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
    """Give the signature that a client's part carries, opened if it was sealed.

    Raises:
        RequestError: it is no base64 text.
    """
    value = optional(part, "thoughtSignature", want_string, path)
    if not value:
        return None
    signature = unseal(value, DIALECT)
    if signature.value == value:  # It was not sealed.
        return Signature(plain_base64(value, at(path, "thoughtSignature")), DIALECT)
    return signature


def for_client(signature: Signature) -> str:
    """Give a signature for a Gemini client: as it is if Gemini made it, else sealed."""
    return signature.value if signature.origin == DIALECT else seal(signature)


# Contents, read from a client


def join(parts: list[Part], part: Part) -> None:
    """Append a part; it goes on with the last one where a stream could not tell them apart."""
    last = parts[-1] if parts else None
    if isinstance(part, Text) and isinstance(last, Text) and last.signature is None:
        parts[-1] = Text(last.text + part.text, part.signature)
    elif (
        isinstance(part, Reasoning)
        and isinstance(last, Reasoning)
        and not (last.signature or last.redacted or part.redacted)
    ):
        parts[-1] = Reasoning(last.text + part.text, part.signature)
    else:
        parts.append(part)


class _Reading:
    """What turns tell each other: calls that wait for their result, by name, and ids given."""

    def __init__(self, notes: dict[str, Any]) -> None:
        self.notes = notes
        self.waiting: dict[str, list[str]] = {}
        self.ids: set[str] = set()
        self.minted: set[str] = set()
        self.count = 0

    def identity(self, given: str | None) -> str:
        """The call's own id; else one made of its place, the same whenever the history returns."""
        identity = given or f"call_gemini_{self.count}"
        while not given and identity in self.ids:
            self.count += 1
            identity = f"call_gemini_{self.count}"
        self.count += 1
        self.ids.add(identity)
        if not given:
            self.minted.add(identity)
        return identity

    def answered(self, name: str, given: str | None) -> str | None:
        """The id of the call that a result answers; None where no call waits.

        Some clients keep the ids of results and not those of calls, so an id that no call has
        belongs to the first that waits without one.
        """
        waiting = self.waiting.get(name, [])
        if given and given not in self.ids:
            found = next((each for each in waiting if each in self.minted), given)
        else:
            found = given or (waiting[0] if waiting else "")
        if found in waiting:
            waiting.remove(found)
        return found or None


def items_of(value: object, path: str) -> list[tuple[object, str]]:
    """Give a list's items with their paths, or a lone object with its own.

    Raises:
        RequestError: it is neither.
    """
    if isinstance(value, dict):
        return [(value, path)]
    return [(item, at(path, index)) for index, item in enumerate(want_list(value, path))]


def read_contents(
    value: object, notes: dict[str, Any], path: str = "contents"
) -> tuple[Message, ...]:
    """Read `contents`. What has no place in the middle form goes into `notes` under its path.

    Contents of the model in a row are one turn, and their texts and thoughts go on where the last
    ended: the official client keeps a streamed answer as one content per event.

    Raises:
        RequestError: a wrong type, an unknown role or part, or nothing at all.
        UnsupportedParameter: a part that only Gemini can read.
    """
    if isinstance(value, str):
        return (Message("user", (Text(value),)),)
    reading = _Reading(notes)
    messages: list[Message] = []
    for item, where in items_of(value, path):
        for message in _read_content(camel(item, where), where, reading):
            last = messages[-1] if messages else None
            if last is None or last.role != "assistant" or message.role != "assistant":
                messages.append(message)
                continue
            parts = list(last.parts)
            for part in message.parts:
                join(parts, part)
            messages[-1] = Message("assistant", tuple(parts))
    if not messages:
        raise RequestError(f"'{path}' must hold at least one part", param=path)
    return tuple(messages)


def read_instruction(value: object, notes: dict[str, Any]) -> tuple[Text, ...]:
    """Read `systemInstruction`, a content of text whose role says nothing, or a string.

    Raises:
        RequestError: a wrong type, or a part that is not text.
    """
    path = "systemInstruction"
    if isinstance(value, str):
        return (Text(value),)
    reading = _Reading(notes)
    texts: list[Text] = []
    where = at(path, "parts")
    parts = camel(value, path).get("parts")
    for item, spot in items_of([] if parts is None else parts, where):
        part = _read_part(camel(item, spot), spot, reading)
        if part is not None and not isinstance(part, Text):
            raise RequestError(f"'{spot}' must be text", param=spot)
        if part is not None and part.text:
            texts.append(part)
    return tuple(texts)


def _read_content(body: dict[str, Any], path: str, reading: _Reading) -> list[Message]:
    given = optional(body, "role", want_string, path) or "user"
    if given not in _ROLES:
        raise RequestError(
            f"'{path}.role' must be user or model, not '{given}'", param=f"{path}.role"
        )
    by_model = given == "model"
    parts: list[Part] = []
    results: list[ToolResult] = []
    where = at(path, "parts")
    for item, spot in items_of([] if body.get("parts") is None else body["parts"], where):
        part = _read_part(camel(item, spot), spot, reading)
        if isinstance(part, ToolResult):
            results.append(part)
        elif isinstance(part, ToolCall | Reasoning) and not by_model:
            raise RequestError(f"'{spot}': only a turn of the model holds this", param=spot)
        elif by_model and isinstance(part, Text) and not part.text and part.signature is None:
            continue  # The last event of a stream holds an empty text.
        elif by_model and part is not None:
            join(parts, part)
        elif part is not None:
            parts.append(part)
    messages = [Message("tool", tuple(results))] if results else []
    if parts:
        messages.append(Message("assistant" if by_model else "user", tuple(parts)))
    return messages


def _read_part(part: dict[str, Any], path: str, reading: _Reading) -> Part | None:
    kinds = [key for key in _KINDS if part.get(key) is not None]
    if len(kinds) > 1:
        raise RequestError(
            f"'{path}' must be one of {' and '.join(kinds)}, not both", param=at(path, kinds[1])
        )
    for key, value in part.items():
        if value is None or key in _MARKS or key in _KINDS:
            continue
        if key not in _MEDIA_MARKS:
            raise UnsupportedParameter(at(path, key), "a translated request")
        reading.notes[at(path, key)] = value
    signature = signature_in(part, path)
    thought = optional(part, "thought", want_boolean, path)
    kind = kinds[0] if kinds else "text"
    where = at(path, kind)
    if kind == "functionCall":
        return _read_call(camel(part[kind], where), where, signature, reading)
    if kind == "functionResponse":
        return _read_result(camel(part[kind], where), where, reading)
    if kind == "inlineData":
        return _read_blob(camel(part[kind], where), where, reading)
    if kind == "fileData":
        return _read_file(camel(part[kind], where), where, reading)
    text = optional(part, "text", want_string, path)
    if thought and signature is not None and signature.origin.startswith(REDACTED):
        origin = signature.origin.removeprefix(REDACTED)
        return Reasoning(redacted=Signature(signature.value, origin))
    if thought:
        return Reasoning(text or "", signature)
    if text is None and signature is None:
        return None
    return Text(text or "", signature)


def _read_call(
    call: dict[str, Any], path: str, signature: Signature | None, reading: _Reading
) -> ToolCall:
    note(call, frozenset(("id", "name", "args")), path, reading.notes)
    name = required(call, "name", want_string, path)
    args = optional(call, "args", want_object, path)
    identity = reading.identity(optional(call, "id", want_string, path))
    reading.waiting.setdefault(name, []).append(identity)
    return ToolCall(identity, name, arguments_text(args), signature)


def _read_result(response: dict[str, Any], path: str, reading: _Reading) -> ToolResult:
    note(response, frozenset(("id", "name", "response", "parts")), path, reading.notes)
    name = required(response, "name", want_string, path)
    identity = reading.answered(name, optional(response, "id", want_string, path))
    if identity is None:
        raise RequestError(f"'{path}' answers no call of '{name}'", param=path)
    value = optional(response, "response", want_object, path) or {}
    content: list[Text | Image | File] = [Text(msgspec.json.encode(value).decode())]
    parts = response.get("parts")
    for item, spot in items_of([] if parts is None else parts, at(path, "parts")):
        part = _read_part(camel(item, spot), spot, reading)
        if part is not None and not isinstance(part, Image | File | Text):
            raise RequestError(f"'{spot}' cannot stand in a function's response", param=spot)
        if part is not None:
            content.append(part)
    return ToolResult(identity, tuple(content), name, is_error=set(value) == {"error"})


def _read_blob(blob: dict[str, Any], path: str, reading: _Reading) -> Part:
    note(blob, frozenset(("data", "mimeType", "displayName")), path, reading.notes)
    data = plain_base64(required(blob, "data", want_string, path), at(path, "data"))
    media_type = required(blob, "mimeType", want_string, path).lower()
    name = optional(blob, "displayName", want_string, path)
    if media_type.startswith("image/"):
        return Image(media_type=media_type, data=data)
    if media_type.startswith("audio/"):
        kind = media_type.removeprefix("audio/")
        return Audio(data, _FORMATS.get(kind, kind))
    return File(name=name, media_type=media_type, data=data)


def _read_file(file: dict[str, Any], path: str, reading: _Reading) -> Part:
    note(file, frozenset(("fileUri", "mimeType", "displayName")), path, reading.notes)
    uri = required(file, "fileUri", want_string, path)
    media_type = optional(file, "mimeType", want_string, path)
    name = optional(file, "displayName", want_string, path)
    if media_type is not None and media_type.startswith("image/"):
        return Image(media_type=media_type, url=uri)
    return File(media_type=media_type, url=uri, name=name)
