"""Anthropic's request, both ways: it puts the turns, the tools and the parameters together.

Source: the types of the official client, anthropic 2.12.0 (`types/message_create_params.py`).
They no longer name `temperature`, `top_p` and `top_k`, which newer models refuse and older models
and compatible servers take: these are read and written, and the upstream judges.
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
    want_number,
    want_object,
    want_string,
)
from pointsman.dialects.anthropic.blocks import DIALECT
from pointsman.dialects.anthropic.thinking import (
    read_thinking,
    write_max_tokens,
    write_thinking,
)
from pointsman.dialects.anthropic.tools import (
    read_tool_choice,
    read_tools,
    write_tool_choice,
    write_tools,
)
from pointsman.dialects.anthropic.turns import read_turns, write_turns
from pointsman.dialects.base import Call, Target
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import Chat, ResponseFormat

__all__ = ["HEADERS", "read_chat", "write_chat", "write_count"]

HEADERS = {"anthropic-version": "2023-06-01"}

_READ = frozenset(
    (
        "model", "messages", "max_tokens", "system", "stream", "tools", "tool_choice", "thinking",
        "output_config", "output_format", "metadata", "stop_sequences", "temperature", "top_p",
        "top_k",
    )
)  # fmt: skip
# Parameters of other dialects that cannot change the answer: caches, bookkeeping, billing, speed.
_HINTS = {
    "openai": frozenset(
        (
            "cache_control", "metadata", "prediction", "prompt_cache_breakpoint",
            "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
            "safety_identifier", "service_tier", "store", "stream_options",
        )
    ),
    "gemini": frozenset(("functionDeclarations", "labels", "serviceTier", "store")),
}  # fmt: skip
# Notes on blocks and tools that are hints, and have no place that the middle form remembers.
_LOST_HINTS = frozenset(("citations", "eager_input_streaming"))
_MAX_TEMPERATURE = 1.0


def read_chat(body: Mapping[str, Any], *, counting: bool = False) -> Chat:
    """Read a client's request. With `counting` it is one for a count of tokens, with no limit.

    What the middle form lacks is kept in `extra`: parameters by their names; `cache_control` as
    the top-level mark, or True where only blocks are marked; and a block's or tool's own field by
    its path (`messages[0].content[1].context`). `output_format` is the older name of
    `output_config.format`.

    Raises:
        RequestError: a wrong type or value, or no `max_tokens`.
        UnsupportedParameter: a block that only Anthropic can read.
    """
    extra = {key: value for key, value in body.items() if key not in _READ and value is not None}
    config = dict(optional(body, "output_config", want_object) or {})
    effort = optional(config, "effort", want_string, "output_config")
    form = _read_format(config, "output_config.format") or _read_format(
        {"format": body.get("output_format")}, "output_format"
    )
    rest = {key: value for key, value in config.items() if key not in ("effort", "format")}
    if rest:
        extra["output_config"] = rest
    metadata = dict(optional(body, "metadata", want_object) or {})
    metadata.pop("user_id", None)
    if metadata:
        extra["metadata"] = metadata
    choice, parallel = read_tool_choice(body)
    limit = optional if counting else required
    stop = optional(body, "stop_sequences", want_list) or []
    return Chat(
        model=required(body, "model", want_string),
        messages=read_turns(body, extra),
        dialect=DIALECT,
        stream=optional(body, "stream", want_boolean) or False,
        tools=read_tools(body, extra),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=form,
        thinking=read_thinking(body, effort, extra),
        max_tokens=limit(body, "max_tokens", want_integer),
        temperature=optional(body, "temperature", want_number),
        top_p=optional(body, "top_p", want_number),
        top_k=optional(body, "top_k", want_integer),
        stop=tuple(want_string(item, at("stop_sequences", i)) for i, item in enumerate(stop)),
        user=optional(body.get("metadata") or {}, "user_id", want_string, "metadata"),
        extra=extra,
    )


def _read_format(config: Mapping[str, Any], path: str) -> ResponseFormat | None:
    spec = config.get("format")
    if spec is None:
        return None
    spec = want_object(spec, path)
    kind = required(spec, "type", want_string, path)
    if kind != "json_schema":
        raise RequestError(f"'{path}.type' must be json_schema, not '{kind}'", param=f"{path}.type")
    return ResponseFormat("json_schema", required(spec, "schema", want_object, path))


def write_chat(chat: Chat, target: Target) -> Call:
    """Write a request for an upstream.

    `max_tokens` has a default (see `write_max_tokens`), and empty texts are left out, as Anthropic
    refuses them. What says the same as nothing (`n` of 1, penalties of 0, no log-probabilities)
    is left out too. `extra` of this dialect and of the Python client goes in by name.

    Raises:
        RequestError: a value that Anthropic's ranges exclude.
        UnsupportedParameter: Anthropic cannot say a part or a parameter of `chat`.
    """
    _refuse_unsayable(chat)
    ignored: list[str] = []
    body: dict[str, Any] = {"model": target.model, "max_tokens": 0}
    body |= _write_prompt(chat, target, ignored)
    body["max_tokens"] = write_max_tokens(chat.max_tokens, body.get("thinking"))
    if chat.temperature is not None:
        body["temperature"] = _temperature(chat.temperature)
    if chat.top_p is not None:
        body["top_p"] = chat.top_p
    if chat.top_k is not None:
        body["top_k"] = chat.top_k
    if chat.stop:
        body["stop_sequences"] = list(chat.stop)
    if chat.user is not None:
        body["metadata"] = {"user_id": chat.user}
    if chat.stream:
        body["stream"] = True
    _write_extra(chat, body, ignored)
    return Call("/messages", body, dict(HEADERS), tuple(dict.fromkeys(ignored)))


def write_count(chat: Chat, target: Target) -> Call:
    """Write a request for a count of the prompt's tokens; what only shapes the answer is left out.

    Raises:
        UnsupportedParameter: Anthropic cannot say a part of the prompt.
    """
    ignored: list[str] = []
    body = {"model": target.model, **_write_prompt(chat, target, ignored)}
    return Call("/messages/count_tokens", body, dict(HEADERS), tuple(dict.fromkeys(ignored)))


def _write_prompt(chat: Chat, target: Target, ignored: list[str]) -> dict[str, Any]:
    body = write_turns(chat, target, ignored)
    if chat.tools:
        body["tools"] = write_tools(chat.tools)
    choice = write_tool_choice(chat)
    if choice is not None:
        body["tool_choice"] = choice
    spec, effort = write_thinking(chat.thinking, chat.dialect, ignored)
    if spec is not None:
        body["thinking"] = spec
    config: dict[str, Any] = {} if effort is None else {"effort": effort}
    form = _write_format(chat)
    if form is not None:
        config["format"] = form
    if config:
        body["output_config"] = config
    return body


def _write_format(chat: Chat) -> dict[str, Any] | None:
    form = chat.response_format
    if form is None or form.kind == "text":
        return None
    if form.kind == "json_object" or form.schema is None:
        raise UnsupportedParameter(
            "response_format", "Anthropic", "use response_format json_schema with a schema"
        )
    schema = form.schema if chat.dialect == DIALECT else _closed(form.schema)
    if form.description is not None and "description" not in schema:
        schema = {**schema, "description": form.description}
    return {"type": "json_schema", "schema": schema}


def _closed(schema: Any) -> Any:
    """Close each object that lists its properties and leaves open whether there may be more.

    Anthropic requires it to be said, and takes only false; what fits the closed form fits the open.
    """
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            out[key] = {name: _closed(each) for name, each in value.items()}
        elif key in ("items", "anyOf", "allOf", "oneOf", "prefixItems"):
            out[key] = _closed(value)
        else:
            out[key] = value
    if isinstance(schema.get("properties"), dict):
        out.setdefault("additionalProperties", False)
    return out


def _temperature(value: float) -> float:
    if not 0 <= value <= _MAX_TEMPERATURE:
        raise RequestError(
            f"'temperature' must be from 0 to 1 for Anthropic, not {value}", param="temperature"
        )
    return value


def _refuse_unsayable(chat: Chat) -> None:
    said = {
        "frequency_penalty": chat.frequency_penalty,
        "presence_penalty": chat.presence_penalty,
        "logprobs": chat.logprobs,
        "top_logprobs": chat.top_logprobs,
        "logit_bias": chat.logit_bias,
        "n": None if chat.n == 1 else chat.n,
    }
    for name, value in said.items():
        if value:
            raise UnsupportedParameter(name, "Anthropic")
    for name, exact in (("seed", chat.seed), ("min_p", chat.min_p)):
        if exact is not None:
            raise UnsupportedParameter(name, "Anthropic")


def _write_extra(chat: Chat, body: dict[str, Any], ignored: list[str]) -> None:
    own = chat.dialect in (DIALECT, "pointsman")
    hints = _HINTS.get(chat.dialect, frozenset())
    for name, value in chat.extra.items():
        if value is None:
            continue
        if not own:
            if name.partition(".")[0] not in hints:
                raise UnsupportedParameter(name, "Anthropic")
            ignored.append(name)
        elif name in _LOST_HINTS:
            ignored.append(name)
        elif name == "cache_control" and value is True:
            # Only blocks were marked, and the middle form does not know which: mark the last.
            body[name] = {"type": "ephemeral"}
        elif name in ("metadata", "output_config") and isinstance(value, dict):
            body[name] = {**value, **body.get(name, {})}
        elif "[" in name:
            _write_noted(name, value, body)
        else:
            body[name] = value


def _write_noted(path: str, value: Any, body: dict[str, Any]) -> None:
    head, _, key = path.rpartition("].")
    start, _, index = head.partition("[")
    if start != "tools" or not index.isdigit() or "[" in key:
        raise UnsupportedParameter(path, "a translated request", "send it to Anthropic directly")
    body["tools"][int(index)] = {**body["tools"][int(index)], key: value}
