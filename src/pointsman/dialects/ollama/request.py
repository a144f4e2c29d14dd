"""Ollama's requests for an answer: `/api/chat`, `/api/generate`, and those for embeddings.

Source: ollama/ollama, docs/api.md and api/types.go, read 2026-11; the types of the official client,
ollama 0.6.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import (
    at,
    optional,
    required,
    want_boolean,
    want_integer,
    want_list,
    want_object,
    want_string,
)
from pointsman.dialects.ollama.options import Options, read_options
from pointsman.dialects.ollama.turns import read_images, read_messages, read_tools
from pointsman.errors import RequestError
from pointsman.types import Chat, Embed, Message, ResponseFormat, Text, Thinking

__all__ = ["DIALECT", "ignored_in", "read_chat", "read_embed", "read_generate", "read_stream"]

DIALECT = "ollama"
MAX_TOP_LOGPROBS = 20
_EFFORTS = ("low", "medium", "high", "max")
# What the gateway itself reads, or what both forms have.
_COMMON = frozenset(
    ("format", "keep_alive", "logprobs", "model", "options", "shift", "stream", "think",
     "top_logprobs", "truncate")
)  # fmt: skip
_CHAT = _COMMON | {"messages", "tools"}
_GENERATE = _COMMON | {"context", "images", "prompt", "raw", "suffix", "system", "template"}
_EMBED = frozenset(("dimensions", "input", "keep_alive", "model", "options", "prompt", "truncate"))


def read_stream(body: Mapping[str, Any]) -> bool:
    """Whether the answer is to be streamed: it is unless the request says no.

    Raises:
        RequestError: it is no boolean.
    """
    return optional(body, "stream", want_boolean) is not False


def ignored_in(body: Mapping[str, Any], options: Options) -> tuple[str, ...]:
    """Name the hints of a request that are not followed: a prompt is never cut short here, and a
    model runs as the configuration says.
    """
    ours = [name for name in ("shift", "truncate") if body.get(name) is True]
    return (*options.ignored, *ours)


def read_chat(body: Mapping[str, Any], *, local: bool = False) -> Chat:
    """Read a chat. With `local` it is llama.cpp that answers, which must be told of no limit.

    Raises:
        RequestError: a wrong type or value; `param` is its path.
    """
    extra = {key: value for key, value in body.items() if key not in _CHAT and value is not None}
    messages = read_messages(body.get("messages") or [], extra)
    return _chat(body, messages, extra, local, tools=read_tools(body))


def read_generate(body: Mapping[str, Any], *, local: bool = False) -> Chat:
    """Read a prompt, as a chat of one turn.

    Raises:
        RequestError: a wrong type or value, or what is not done here: a template in Go's form, and
            the context of an earlier answer as tokens.
    """
    if optional(body, "template", want_string):
        raise RequestError(
            "'template' is in Go's form, which is not run here: leave it out to have the model's own"
            " one, or send the finished prompt with 'raw'",
            param="template",
        )
    if optional(body, "context", want_list):
        raise RequestError(
            "'context' is not taken: send the earlier turns to /api/chat", param="context"
        )
    extra = {
        key: value for key, value in body.items() if key not in _GENERATE and value is not None
    }
    system = optional(body, "system", want_string)
    prompt = optional(body, "prompt", want_string) or ""
    images = read_images(body.get("images"), "images")
    messages = [Message("system", (Text(system),))] if system else []
    messages.append(Message("user", (Text(prompt), *images)))
    return _chat(body, tuple(messages), extra, local)


def _chat(
    body: Mapping[str, Any],
    messages: tuple[Message, ...],
    extra: dict[str, Any],
    local: bool,
    **more: Any,
) -> Chat:
    options = read_options(optional(body, "options", want_object))
    extra |= options.engine
    if local and options.unlimited:
        extra["n_predict"] = -1  # Else the model's own limit would hold.
    top = optional(body, "top_logprobs", want_integer)
    if top is not None and not 0 <= top <= MAX_TOP_LOGPROBS:
        raise RequestError("top_logprobs must be between 0 and 20", param="top_logprobs")
    logprobs = optional(body, "logprobs", want_boolean) or None
    return Chat(
        model=required(body, "model", want_string),
        messages=messages,
        dialect=DIALECT,
        stream=read_stream(body),
        response_format=_read_format(body.get("format")),
        thinking=_read_think(body.get("think")),
        logprobs=logprobs,
        top_logprobs=(top or None) if logprobs else None,
        extra=extra,
        **options.fields,
        **more,
    )


def _read_format(value: object) -> ResponseFormat | None:
    if value is None or value == "":
        return None
    if value == "json":
        return ResponseFormat("json_object")
    if isinstance(value, dict):
        return ResponseFormat("json_schema", schema=value)
    raise RequestError("'format' must be \"json\" or a JSON schema", param="format")


def _read_think(value: object) -> Thinking | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return Thinking(enabled=value)
    if value in _EFFORTS:
        return Thinking(effort=str(value))
    raise RequestError(
        f"'think' must be true, false, {', '.join(_EFFORTS[:-1])} or {_EFFORTS[-1]}", param="think"
    )


def read_embed(body: Mapping[str, Any]) -> Embed:
    """Read a request for embeddings: `input` (a text or texts), or the older `prompt`.

    There may be no text at all: that only loads the model.

    Raises:
        RequestError: a wrong type or value.
    """
    for name, value in body.items():
        if name not in _EMBED and value is not None:
            raise RequestError(f"no such parameter '{name}'", param=name)
    value = body.get("input", body.get("prompt"))
    inputs: tuple[str, ...]
    if value is None or value == "":
        inputs = ()
    elif isinstance(value, str):
        inputs = (value,)
    else:
        inputs = tuple(
            want_string(each, at("input", number))
            for number, each in enumerate(want_list(value, "input"))
        )
    dimensions = optional(body, "dimensions", want_integer)
    if dimensions is not None and dimensions < 0:
        raise RequestError("'dimensions' must be at least 0", param="dimensions")
    return Embed(
        model=required(body, "model", want_string),
        inputs=inputs,
        dimensions=dimensions or None,
        dialect=DIALECT,
    )
