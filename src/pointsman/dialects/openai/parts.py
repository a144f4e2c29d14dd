"""OpenAI's content parts and tool calls, both ways.

Source: the types of the official client, openai 3.54 (`types/chat/chat_completion_content_part_param.py`
and its neighbours); `extra_content.google.thought_signature` by Google's "OpenAI compatibility" page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from pointsman.dialects._shared import (
    arguments_text,
    at,
    carried,
    data_url,
    optional,
    parse_data_url,
    required,
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
    Part,
    Refusal,
    Signature,
    Text,
    ToolCall,
)

__all__ = [
    "DIALECT",
    "note_unknown",
    "read_content",
    "read_tool_call",
    "signature_of",
    "tool_id",
    "write_part",
    "write_tool_call",
]

DIALECT = "openai"

# Marks that steer a cache or a trace: no answer changes without them.
_PART_HINTS = frozenset({"prompt_cache_breakpoint", "cache_control"})
_DETAILS = ("auto", "low", "high", "original")
_SCHEMES = ("http://", "https://", "gs://")


def note_unknown(
    body: Mapping[str, Any], known: frozenset[str], path: str, notes: dict[str, Any]
) -> None:
    """Put what has no place in the middle form into `notes`, for writers to refuse or report.

    Hints go under their bare names, all else under its path. Fields that are null or empty say
    nothing: clients send an answer's message back with all its unset fields.
    """
    for key, value in body.items():
        if key not in known and value not in (None, [], {}, ""):
            notes[key if key in _PART_HINTS else at(path, key)] = value


def signature_of(body: Mapping[str, Any], default_origin: str) -> Signature | None:
    """Give the signature in `extra_content.google.thought_signature`; None if there is none."""
    extra = body.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    value = google.get("thought_signature") if isinstance(google, dict) else None
    return unseal(value, default_origin) if isinstance(value, str) and value else None


# Read from a client


def read_content(
    value: object, path: str, kinds: frozenset[str], notes: dict[str, Any]
) -> list[Part]:
    """Read a message's content: null, a string, or a list of parts of the `kinds` given.

    Raises:
        RequestError: a wrong type, or a part that the message cannot hold.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [Text(value)] if value else []
    if not isinstance(value, list):
        raise RequestError(f"'{path}' must be a string or a list of parts", param=path)
    parts: list[Part] = []
    for index, item in enumerate(want_list(value, path)):
        where = at(path, index)
        if isinstance(item, str):
            parts.append(Text(item))
            continue
        part = want_object(item, where)
        kind = required(part, "type", want_string, where)
        if kind not in kinds:
            allowed = ", ".join(sorted(kinds))
            raise RequestError(
                f"'{where}.type' is '{kind}'; this message takes {allowed}", param=f"{where}.type"
            )
        parts.append(_READERS[kind](part, where, notes))
    return parts


def _read_text(part: dict[str, Any], path: str, notes: dict[str, Any]) -> Part:
    note_unknown(part, frozenset({"type", "text", "annotations"}), path, notes)
    return Text(required(part, "text", want_string, path))


def _read_refusal(part: dict[str, Any], path: str, notes: dict[str, Any]) -> Part:
    note_unknown(part, frozenset({"type", "refusal"}), path, notes)
    return Refusal(required(part, "refusal", want_string, path))


def _read_image(part: dict[str, Any], path: str, notes: dict[str, Any]) -> Part:
    note_unknown(part, frozenset({"type", "image_url"}), path, notes)
    where = at(path, "image_url")
    value = part.get("image_url")
    image = (
        {"url": value} if isinstance(value, str) else required(part, "image_url", want_object, path)
    )
    note_unknown(image, frozenset({"url", "detail"}), where, notes)
    url = required(image, "url", want_string, where)
    detail = optional(image, "detail", want_string, where)
    if detail is not None and detail not in _DETAILS:
        raise RequestError(
            f"'{where}.detail' must be one of {', '.join(_DETAILS)}", param=f"{where}.detail"
        )
    level = cast('Literal["auto", "low", "high", "original"] | None', detail)
    data = parse_data_url(url, at(where, "url"))
    if data is not None:
        return Image(media_type=data[0] or "image/png", data=data[1], detail=level)
    if not url.startswith(_SCHEMES):
        raise RequestError(f"'{where}.url' must be an http(s) or data URL", param=f"{where}.url")
    return Image(url=url, detail=level)


def _read_audio(part: dict[str, Any], path: str, notes: dict[str, Any]) -> Part:
    note_unknown(part, frozenset({"type", "input_audio"}), path, notes)
    where = at(path, "input_audio")
    audio = required(part, "input_audio", want_object, path)
    note_unknown(audio, frozenset({"data", "format"}), where, notes)
    return Audio(
        required(audio, "data", want_string, where), required(audio, "format", want_string, where)
    )


def _read_file(part: dict[str, Any], path: str, notes: dict[str, Any]) -> Part:
    note_unknown(part, frozenset({"type", "file"}), path, notes)
    where = at(path, "file")
    file = required(part, "file", want_object, path)
    note_unknown(file, frozenset({"file_data", "file_id", "filename"}), where, notes)
    name = optional(file, "filename", want_string, where)
    file_id = optional(file, "file_id", want_string, where)
    if file_id is not None:
        return File(name=name, file_id=file_id)
    text = required(file, "file_data", want_string, where)
    data = parse_data_url(text, at(where, "file_data"))
    if data is not None:
        return File(name=name, media_type=data[0] or None, data=data[1])
    if text.startswith(("http://", "https://")):
        return File(name=name, url=text)
    raise RequestError(f"'{where}.file_data' must be a base64 data URL", param=f"{where}.file_data")


_READERS = {
    "text": _read_text,
    "refusal": _read_refusal,
    "image_url": _read_image,
    "input_audio": _read_audio,
    "file": _read_file,
}


def read_tool_call(value: object, path: str, notes: dict[str, Any]) -> ToolCall:
    """Read a call of an assistant's message.

    Raises:
        RequestError: a wrong type.
        UnsupportedParameter: a call of a `custom` tool, whose input is no JSON.
    """
    call = want_object(value, path)
    kind = optional(call, "type", want_string, path) or "function"
    if kind != "function":
        raise UnsupportedParameter(at(path, "type"), "a translated request", f"it is '{kind}'")
    note_unknown(call, frozenset({"id", "type", "function", "index", "extra_content"}), path, notes)
    where = at(path, "function")
    function = required(call, "function", want_object, path)
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        text = arguments_text(arguments)
    else:
        text = optional(function, "arguments", want_string, where) or ""
    return ToolCall(
        id=required(call, "id", want_string, path),
        name=required(function, "name", want_string, where),
        arguments=text if text.strip() else "{}",
        signature=signature_of(call, DIALECT),
    )


# Written for an upstream


def write_part(part: Part, path: str, chat_dialect: str, target: Target) -> dict[str, Any]:
    """Write a part of a user's message.

    Raises:
        UnsupportedParameter: OpenAI has no such part.
    """
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return _write_image(part, path, target)
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    if isinstance(part, File):
        return {"type": "file", "file": _write_file(part, path, chat_dialect, target)}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    raise UnsupportedParameter(path, target.provider, "this part cannot stand in such a message")


def _write_image(image: Image, path: str, target: Target) -> dict[str, Any]:
    if image.data is not None:
        url = data_url(image.media_type or "image/png", image.data)
    elif image.url is not None and image.url.startswith(("http://", "https://")):
        url = image.url
    else:
        raise UnsupportedParameter(
            f"{path}.image_url", target.provider, "an image must be http(s) or base64"
        )
    body = {"url": url}
    if image.detail is not None:
        body["detail"] = image.detail
    return {"type": "image_url", "image_url": body}


def _write_file(file: File, path: str, chat_dialect: str, target: Target) -> dict[str, Any]:
    if file.file_id is not None:
        if chat_dialect in (DIALECT, "pointsman"):
            named = {} if file.name is None else {"filename": file.name}
            return {"file_id": file.file_id, **named}
        raise UnsupportedParameter(
            f"{path}.file_id", target.provider, "another provider holds that file; send its data"
        )
    if file.data is not None:
        media_type = file.media_type or "application/pdf"
        # OpenAI refuses data without a name.
        return {"file_data": data_url(media_type, file.data), "filename": file.name or "file"}
    if file.url is not None and chat_dialect == DIALECT:
        named = {} if file.name is None else {"filename": file.name}
        return {"file_data": file.url, **named}
    field = "url" if file.url is not None else "text"
    raise UnsupportedParameter(
        f"{path}.file.{field}", target.provider, "a file must be base64 or a file id"
    )


_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MISTRAL_ID = re.compile(r"[A-Za-z0-9]{9}")


def tool_id(call_id: str, target: Target) -> str:
    """Give a tool call's id in the form that the target takes; always the same for the same id.

    Mistral takes nine letters or digits only: an id that fits stays, any other is hashed, so that
    a call and its result still meet (62^9 values: no collision in a conversation).

    Source: Mistral's own error, "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9".
    """
    if target.quirks.tool_id_pattern != "mistral" or _MISTRAL_ID.fullmatch(call_id):
        return call_id
    number = int.from_bytes(hashlib.blake2b(call_id.encode(), digest_size=8).digest(), "big")
    letters = []
    for _ in range(9):
        number, digit = divmod(number, 62)
        letters.append(_BASE62[digit])
    return "".join(letters)


def write_tool_call(call: ToolCall, target: Target) -> dict[str, Any]:
    """Write a call of an assistant's message; its signature only for the provider that made it."""
    body: dict[str, Any] = {
        "id": tool_id(call.id, target),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    value = carried(call.signature, target, DIALECT)
    if value is not None:
        body["extra_content"] = {"google": {"thought_signature": value}}
    return body
