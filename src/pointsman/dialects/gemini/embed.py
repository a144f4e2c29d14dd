"""Gemini's embeddings, both ways.

Source: the types of the official client, google-genai 2.34 (`types.py`: EmbedContentConfig,
`models.py`: `_EmbedContentParametersPrivate_to_mldev`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pointsman.dialects._shared import at, optional, required, want_integer, want_list, want_string
from pointsman.dialects.base import Call, Target
from pointsman.dialects.gemini.answer import bad
from pointsman.dialects.gemini.parts import DIALECT, camel, note, read_contents
from pointsman.dialects.gemini.request import model_name, model_path
from pointsman.errors import BadAnswer, RequestError, UnsupportedParameter
from pointsman.types import Embed, Embeddings, Text

__all__ = ["read_embed", "read_embeddings", "write_embed", "write_embeddings"]

_KNOWN = frozenset(("model", "content", "requests", "outputDimensionality"))


def read_embed(body: Mapping[str, Any]) -> Embed:
    """Read a client's `embedContent` or `batchEmbedContents`; the caller has put `model` into it.

    Raises:
        RequestError: a wrong type, no text, or a batch whose parts differ in their parameters.
    """
    top = camel(dict(body), "")
    model = required(top, "model", want_string)
    if top.get("requests") is None:
        text, extra, size = _read_one(top, "")
        return Embed(model=model, inputs=(text,), dimensions=size, dialect=DIALECT, extra=extra)
    items = required(top, "requests", want_list)
    read = [
        _read_one(camel(item, at("requests", index)), at("requests", index))
        for index, item in enumerate(items)
    ]
    if not read:
        raise RequestError("'requests' is empty", param="requests")
    if any(each[1:] != read[0][1:] for each in read):
        raise RequestError(
            "'requests' differ in their parameters; send them apart", param="requests"
        )
    return Embed(
        model=model,
        inputs=tuple(each[0] for each in read),
        dimensions=read[0][2],
        dialect=DIALECT,
        extra=read[0][1],
    )


def _read_one(body: dict[str, Any], path: str) -> tuple[str, dict[str, Any], int | None]:
    where = at(path, "content")
    if body.get("content") is None:
        raise RequestError(f"'{where}' is required", param=where)
    extra: dict[str, Any] = {}
    parts = [p for m in read_contents(body["content"], extra, where) for p in m.parts]
    if not all(isinstance(part, Text) for part in parts):
        raise RequestError(f"'{where}' must be text", param=where)
    text = "".join(part.text for part in parts if isinstance(part, Text))
    note(body, _KNOWN, "", extra)
    return text, extra, optional(body, "outputDimensionality", want_integer, path)


def write_embed(embed: Embed, target: Target) -> Call:
    """Write a request for an upstream.

    Raises:
        UnsupportedParameter: token lists, or a parameter of another dialect.
    """
    for name in embed.extra:
        if "." in name or embed.dialect not in (DIALECT, "pointsman"):
            raise UnsupportedParameter(name, target.provider)
    requests = []
    for text in embed.inputs:
        if not isinstance(text, str):
            raise UnsupportedParameter("input", target.provider, "Gemini embeds texts, not tokens")
        each: dict[str, Any] = {
            "model": model_name(target.model),
            "content": {"parts": [{"text": text}]},
            **embed.extra,
        }
        if embed.dimensions is not None:
            each["outputDimensionality"] = embed.dimensions
        requests.append(each)
    ignored = ("user",) if embed.user is not None else ()
    path = f"{model_path(target.model)}:batchEmbedContents"
    return Call(path, {"requests": requests}, ignored=ignored)


def read_embeddings(body: Mapping[str, Any], target: Target) -> Embeddings:
    """Read an upstream's answer.

    Raises:
        BadAnswer: it is no list of vectors.
    """
    rows = body.get("embeddings")
    if not isinstance(rows, list):
        raise bad(target, "it has no 'embeddings'")
    vectors = []
    for row in rows:
        values = row.get("values") if isinstance(row, Mapping) else None
        try:
            vectors.append(msgspec.convert(values, tuple[float, ...]))
        except (msgspec.ValidationError, OverflowError):
            raise bad(target, "a vector is no list of numbers") from None
    return Embeddings(target.model, tuple(vectors))


def write_embeddings(embeddings: Embeddings, batch: bool) -> dict[str, Any]:
    """Write an answer for a client's `batchEmbedContents` or `embedContent`.

    Raises:
        BadAnswer: there is no vector to give.
    """
    rows = [{"values": list(vector)} for vector in embeddings.vectors]
    if batch:
        return {"embeddings": rows}
    if not rows:
        raise BadAnswer(f"no vector came from {embeddings.model}", provider="")
    return {"embedding": rows[0]}
