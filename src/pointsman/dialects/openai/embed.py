"""OpenAI's embeddings, both ways.

Source: the types of the official client, openai 3.54 (`types/embedding_create_params.py`,
`types/create_embedding_response.py`): base64 is little-endian 32-bit floats.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import optional, required, want_integer, want_string
from pointsman.dialects.base import Call, Target
from pointsman.dialects.openai.answer import bad
from pointsman.dialects.openai.parts import DIALECT
from pointsman.dialects.openai.usage import read_usage
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import Embed, Embeddings

__all__ = ["read_embed", "read_embeddings", "write_embed", "write_embeddings"]

_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def read_embed(body: Mapping[str, Any]) -> Embed:
    """Read a client's request.

    Raises:
        RequestError: a wrong type or value; `param` is its path.
    """
    encoding = optional(body, "encoding_format", want_string)
    if encoding not in (None, "float", "base64"):
        raise RequestError("'encoding_format' must be float or base64", param="encoding_format")
    return Embed(
        model=required(body, "model", want_string),
        inputs=_read_input(body.get("input")),
        dimensions=optional(body, "dimensions", want_integer),
        encoding="base64" if encoding == "base64" else None if encoding is None else "float",
        user=optional(body, "user", want_string),
        dialect=DIALECT,
        extra={k: v for k, v in body.items() if k not in _KNOWN and v is not None},
    )


def _read_input(value: object) -> tuple[str, ...] | tuple[tuple[int, ...], ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        if all(_is_integer(item) for item in value):
            return (tuple(value),)
        if all(isinstance(item, list) and all(map(_is_integer, item)) for item in value):
            return tuple(tuple(item) for item in value)
    raise RequestError("'input' must be a text, texts, or lists of tokens", param="input")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def write_embed(embed: Embed, target: Target) -> Call:
    """Write a request for an upstream.

    Raises:
        UnsupportedParameter: a parameter of another dialect that changes the vectors.
    """
    inputs = [each if isinstance(each, str) else list(each) for each in embed.inputs]
    body: dict[str, Any] = {"model": target.model, "input": inputs}
    if embed.dimensions is not None:
        body["dimensions"] = embed.dimensions
    if embed.encoding is not None:
        body["encoding_format"] = embed.encoding
    if embed.user is not None:
        body["user"] = embed.user
    for name, value in embed.extra.items():
        if embed.dialect not in (DIALECT, "pointsman"):
            raise UnsupportedParameter(name, target.provider)
        body[name] = value
    return Call("/embeddings", body)


def read_embeddings(body: Mapping[str, Any], target: Target) -> Embeddings:
    """Read an upstream's answer; rows are put into the order of their `index`.

    Raises:
        BadAnswer: it is no list of vectors.
    """
    rows = body.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise bad(target, "it has no 'data'")
    order = [row.get("index", number) for number, row in enumerate(rows)]
    if not all(map(_is_integer, order)) or sorted(order) != list(range(len(rows))):
        raise bad(target, "its vectors are not numbered from 0")
    vectors: list[tuple[float, ...]] = [()] * len(rows)
    for number, row in zip(order, rows, strict=True):
        vectors[number] = _read_vector(row.get("embedding"), target)
    model = body.get("model")
    return Embeddings(
        model if isinstance(model, str) else target.model, tuple(vectors), read_usage(body)
    )


def _read_vector(value: object, target: Target) -> tuple[float, ...]:
    if isinstance(value, str):
        try:
            data = base64.b64decode(value, validate=True)
        except ValueError:  # binascii.Error, or a letter outside ASCII
            raise bad(target, "a vector is no base64") from None
        if len(data) % 4:
            raise bad(target, "a vector has a part of a number")
        return struct.unpack(f"<{len(data) // 4}f", data)
    if isinstance(value, list) and all(
        isinstance(x, int | float) and not isinstance(x, bool) for x in value
    ):
        return tuple(float(x) for x in value)
    raise bad(target, "a vector is neither numbers nor base64")


def write_embeddings(embeddings: Embeddings, embed: Embed) -> dict[str, Any]:
    """Write an answer in the encoding that the client asked for."""
    usage = embeddings.usage
    tokens = usage.input_tokens if usage else 0
    return {
        "object": "list",
        "model": embeddings.model,
        "data": [
            {"object": "embedding", "index": number, "embedding": _vector(vector, embed.encoding)}
            for number, vector in enumerate(embeddings.vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _vector(vector: tuple[float, ...], encoding: str | None) -> list[float] | str:
    if encoding != "base64":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
