"""A client's request as bytes: its envelope, and the few edits that a pass-through makes.

A pass-through changes nothing but the model's name (and asks a stream for its usage), so the body
is edited in place and never re-encoded.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pointsman.errors import RequestError

__all__ = ["Envelope", "ask_usage", "decode_body", "read_envelope", "replace_model", "shaped"]


T = TypeVar("T")


class _StreamOptions(Struct):
    include_usage: bool | None = None


class Envelope(Struct):
    """What the gateway needs of a body before it knows where the request goes."""

    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_ENVELOPE = msgspec.json.Decoder(Envelope)
_ANY = msgspec.json.Decoder(dict[str, Any])
_MODEL = re.compile(rb'"model"(\s*:\s*)"(?:[^"\\]|\\.)*"')
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_VALUE = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*")')


def shaped(body: dict[str, Any], kind: type[T]) -> T:
    """Give a decoded body as the value that a path of ours takes.

    Raises:
        RequestError: a field is missing, unknown or of a wrong type.
    """
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise RequestError(str(error)) from error


def read_envelope(body: bytes) -> Envelope:
    """Read the envelope of an OpenAI or Anthropic body.

    Raises:
        RequestError: no JSON object, no model, or a wrong type; `param` is the key.
    """
    try:
        return _ENVELOPE.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the body is no JSON: {error}") from error


def decode_body(body: bytes) -> dict[str, Any]:
    """Decode a body for translation.

    Raises:
        RequestError: no JSON object.
    """
    try:
        return _ANY.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the body is no JSON: {error}") from error


def replace_model(body: bytes, model: str) -> bytes:
    """Give the body with another model, all other bytes as they were.

    Raises:
        RequestError: the key `model` stands there twice, so that readers could disagree on it.
    """
    value = msgspec.json.encode(model)
    if body.count(b'"model"') == 1:
        match = _MODEL.search(body)
        if match is not None:
            return b"".join(
                (body[: match.start()], b'"model"', match.group(1), value, body[match.end() :])
            )
    start, end = _model_span(body)
    return b"".join((body[:start], value, body[end:]))


def ask_usage(body: bytes) -> bytes:
    """Give an OpenAI body that asks a stream for its usage; it has no `stream_options` yet."""
    brace = body.index(b"{") + 1
    return b"".join((body[:brace], b'"stream_options":{"include_usage":true},', body[brace:]))


def _model_span(body: bytes) -> tuple[int, int]:
    """Find the value of the top-level key `model`, wherever else the word stands."""
    depth = 0
    found: tuple[int, int] | None = None
    position = 0
    while match := _TOKEN.search(body, position):
        position = match.end()
        token = match.group()
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        elif depth == 1 and (value := _VALUE.match(body, position)):
            position = value.end()
            if msgspec.json.decode(token) == "model":
                if found is not None:
                    raise RequestError("the key 'model' stands twice in the body", param="model")
                found = value.span(1)
    if found is None:
        raise RequestError("the body has no 'model'", param="model")
    return found


def _invalid(message: str) -> RequestError:
    if "missing required field `model`" in message:
        return RequestError("'model' is missing", param="model")
    path = re.search(r" - at `\$\.?(.*?)`$", message)
    if path is None:
        return RequestError(f"the body is no JSON object: {message}")
    param = path.group(1)
    return RequestError(f"'{param}': {message[: path.start()]}", param=param)
