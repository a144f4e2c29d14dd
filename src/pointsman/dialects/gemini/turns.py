"""Gemini's `systemInstruction` and `contents`, written for an upstream.

Source: the types of the official client, google-genai 2.34 (`types.py`: Content, Part, Blob,
FunctionResponse), and Google's "Thought signatures" page (read 2026-11).
"""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from pointsman.dialects._shared import arguments_object, at, carried
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.parts import DIALECT
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

__all__ = ["unsigned_mark", "write_contents", "write_instruction"]

FETCH_HINT = "Gemini takes bytes only: set server.fetch_images to have images fetched"
# Addresses that Gemini itself opens.
_OWN_URIS = re.compile(
    r"gs://|https://generativelanguage\.googleapis\.com/|https://(?:www\.)?youtube\.com/|https://youtu\.be/"
)
# From version 3 on, Gemini refuses a call of the running turn that has no signature. Google gives
# this value for calls that can have none, as another provider made them.
UNSIGNED = "skip_thought_signature_validator"
_SIGNS_CALLS = re.compile(r"gemini-(?:[3-9]|[1-9]\d)(?!\d)|gemini-[a-z-]+-latest")


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
    """Write `contents`: turns of the same role joined, results in the user's turn. What is left
    out because it changes no answer is named in `ignored`.

    Raises:
        UnsupportedParameter: a part that Gemini cannot say.
        RequestError: nothing is left to send, a result whose call is not in the history and has
            no name, or a call's arguments are no object.
    """
    writing = _Writing(target, ignored)
    contents: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if message.name is not None:
            ignored.append("messages.name")
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        path = at(at("messages", index), "content")
        parts = [
            body
            for number, part in enumerate(message.parts)
            if (body := writing.part(part, at(path, number))) is not None
        ]
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise RequestError(
            "'messages' must hold at least one message with text, for Gemini", param="messages"
        )
    mark = unsigned_mark(target)
    if mark is not None:
        _mark_calls(contents, mark)
    return contents


def unsigned_mark(target: Target) -> str | None:
    """Give what stands for the signature of a call that another provider made; None where the
    model wants none.

    Source: Google's "Thought signatures" page, FAQ (read 2026-11).
    """
    return UNSIGNED if _SIGNS_CALLS.search(target.model) else None


def _mark_calls(contents: list[dict[str, Any]], mark: str) -> None:
    """Mark each step of the running turn whose first call has no signature. Earlier turns are not
    checked, and the mark costs quality: they stay as they are.
    """
    begun = False
    for content in reversed(contents):
        if content["role"] == "model":
            first = next((part for part in content["parts"] if "functionCall" in part), None)
            if first is not None:
                first.setdefault("thoughtSignature", mark)
            if begun:
                return
            continue
        # Words begin a turn; whether they do so beside results is not said, so one step more.
        results = ["functionResponse" in part for part in content["parts"]]
        begun = not all(results)
        if not any(results):
            return


class _Writing:
    """Writes parts in order: a result needs the name of the call before it."""

    def __init__(self, target: Target, ignored: list[str]) -> None:
        self._target = target
        self._ignored = ignored
        self._names: dict[str, str] = {}

    def part(self, part: Part, path: str) -> dict[str, Any] | None:
        """The part; None where nothing is to be said."""
        match part:
            case Text():
                signed = self._signed({"text": part.text}, part.signature)
                return signed if part.text or "thoughtSignature" in signed else None
            case Refusal():
                return {"text": part.text} if part.text else None
            case Reasoning():
                signed = self._signed({"text": part.text, "thought": True}, part.signature)
                if "thoughtSignature" in signed:
                    return signed
                self._ignored.append("reasoning")
                return None
            case ToolCall():
                self._names[part.id] = part.name
                args = arguments_object(part.arguments, at(path, "arguments"))
                call = {"id": part.id, "name": part.name, "args": args}
                return self._signed({"functionCall": call}, part.signature)
            case ToolResult():
                return self._result(part, path)
            case Image():
                return self._image(part, path)
            case Audio():
                return {"inlineData": {"mimeType": f"audio/{part.format}", "data": part.data}}
            case File():
                return self._file(part, path)

    def _signed(self, body: dict[str, Any], signature: Signature | None) -> dict[str, Any]:
        value = carried(signature, self._target, DIALECT)
        return body if value is None else {**body, "thoughtSignature": value}

    def _result(self, result: ToolResult, path: str) -> dict[str, Any]:
        name = result.name or self._names.get(result.call_id)
        if name is None:
            raise RequestError(
                f"'{path}' answers the call '{result.call_id}', which is not in the messages before"
                " it; Gemini needs its function's name",
                param=path,
            )
        text = "\n".join(part.text for part in result.content if isinstance(part, Text))
        body: dict[str, Any] = {
            "id": result.call_id,
            "name": name,
            "response": _response(text, result.is_error),
        }
        media = [
            self._image(part, path) if isinstance(part, Image) else self._file(part, path)
            for part in result.content
            if not isinstance(part, Text)
        ]
        if media:
            body["parts"] = media
        return {"functionResponse": body}

    def _image(self, image: Image, path: str) -> dict[str, Any]:
        if image.detail not in (None, "auto"):
            self._ignored.append("detail")
        if image.data is not None:
            return {"inlineData": {"mimeType": image.media_type or "image/png", "data": image.data}}
        if image.url is not None and _OWN_URIS.match(image.url):
            kind = {"mimeType": image.media_type} if image.media_type else {}
            return {"fileData": {"fileUri": image.url, **kind}}
        raise UnsupportedParameter(f"{path}.url", self._target.provider, FETCH_HINT)

    def _file(self, file: File, path: str) -> dict[str, Any]:
        if file.name is not None and file.url is None:
            # Inline data has no name here (only Vertex AI takes one).
            self._ignored.append("filename")
        if file.data is not None:
            media_type = file.media_type or "application/pdf"
            return {"inlineData": {"mimeType": media_type, "data": file.data}}
        if file.text is not None:
            data = base64.b64encode(file.text.encode()).decode("ascii")
            return {"inlineData": {"mimeType": file.media_type or "text/plain", "data": data}}
        if file.url is not None and _OWN_URIS.match(file.url):
            kind = {"mimeType": file.media_type} if file.media_type else {}
            named = {"displayName": file.name} if file.name else {}
            return {"fileData": {"fileUri": file.url, **kind, **named}}
        field = "url" if file.url is not None else "file_id"
        raise UnsupportedParameter(f"{path}.{field}", self._target.provider, "send the file's data")


def _response(text: str, is_error: bool) -> dict[str, Any]:
    """Gemini wants an object: one goes as it is, other text under a key."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if is_error:
        known = isinstance(value, dict) and set(value) == {"error"}
        return value if known else {"error": text}
    return value if isinstance(value, dict) else {"result": text}
