"""Gemini's request, both ways.

Source: the types of the official client, google-genai 2.34 (`types.py`: GenerateContentConfig and
`models.py`: `_GenerateContentParameters_to_mldev`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

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
from pointsman.dialects.base import Call, Target
from pointsman.dialects.gemini.parts import DIALECT, camel, read_contents, read_instruction
from pointsman.dialects.gemini.tools import (
    json_schema,
    read_tool_choice,
    read_tools,
    write_tool_choice,
    write_tools,
)
from pointsman.dialects.gemini.turns import write_contents, write_instruction
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import Chat, Message, ResponseFormat, Thinking

__all__ = ["model_path", "read_chat", "write_chat", "write_count"]

_TOP = frozenset(
    ("model", "stream", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
)
_CONFIG = frozenset(
    ("maxOutputTokens", "temperature", "topP", "topK", "stopSequences", "candidateCount", "seed",
     "presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "responseMimeType",
     "responseJsonSchema", "responseSchema", "thinkingConfig")
)  # fmt: skip
# Parameters of other dialects that steer caches, billing or traces: no answer changes without them.
_HINTS = frozenset(
    ("cache_control", "citations", "eager_input_streaming", "metadata", "prompt_cache_key",
     "prompt_cache_retention", "prompt_cache_options", "prompt_cache_breakpoint",
     "safety_identifier", "service_tier", "store", "stream_options.include_obfuscation")
)  # fmt: skip
# Reasoning words that Gemini lacks, and the nearest one it has.
_LEVELS = {"none": None, "minimal": "minimal", "low": "low", "medium": "medium", "high": "high",
           "xhigh": "high", "max": "high"}  # fmt: skip


# Read from a client


def read_chat(body: Mapping[str, Any]) -> Chat:
    """Read a request; the caller has put `model` and `stream` into it.

    Parameters without a field of their own are kept in `Chat.extra`: those of `generationConfig`
    as `generationConfig.NAME`, others by name.

    Raises:
        RequestError: a wrong type or value; `param` is its path.
    """
    top = camel(dict(body), "")
    extra = {key: value for key, value in top.items() if key not in _TOP and value is not None}
    config = camel(top.get("generationConfig") or {}, "generationConfig")
    for key, value in config.items():
        if key not in _CONFIG and value is not None:
            extra[at("generationConfig", key)] = value
    path = "generationConfig"
    if top.get("contents") is None:
        raise RequestError("'contents' is required", param="contents")
    messages = read_contents(top["contents"], extra)
    if top.get("systemInstruction") is not None:
        texts = read_instruction(top["systemInstruction"], extra)
        messages = (*((Message("system", texts),) if texts else ()), *messages)
    return Chat(
        model=required(top, "model", want_string),
        messages=messages,
        dialect=DIALECT,
        stream=optional(top, "stream", want_boolean) or False,
        tools=read_tools(top["tools"]) if top.get("tools") is not None else (),
        tool_choice=read_tool_choice(top["toolConfig"], extra)
        if top.get("toolConfig") is not None
        else None,
        response_format=_read_format(config),
        thinking=_read_thinking(config, extra),
        max_tokens=optional(config, "maxOutputTokens", want_integer, path),
        temperature=optional(config, "temperature", want_number, path),
        top_p=optional(config, "topP", want_number, path),
        top_k=optional(config, "topK", want_integer, path),
        frequency_penalty=optional(config, "frequencyPenalty", want_number, path),
        presence_penalty=optional(config, "presencePenalty", want_number, path),
        seed=optional(config, "seed", want_integer, path),
        stop=_read_stop(config),
        n=optional(config, "candidateCount", want_integer, path),
        logprobs=optional(config, "responseLogprobs", want_boolean, path),
        top_logprobs=optional(config, "logprobs", want_integer, path),
        extra=extra,
    )


def _read_stop(config: Mapping[str, Any]) -> tuple[str, ...]:
    path = "generationConfig.stopSequences"
    values = optional(config, "stopSequences", want_list, "generationConfig") or ()
    return tuple(want_string(value, at(path, i)) for i, value in enumerate(values))


def _read_format(config: Mapping[str, Any]) -> ResponseFormat | None:
    path = "generationConfig"
    kind = optional(config, "responseMimeType", want_string, path)
    schema = optional(config, "responseJsonSchema", want_object, path)
    if schema is None:
        schema = json_schema(optional(config, "responseSchema", want_object, path))
    if schema is not None:
        return ResponseFormat("json_schema", schema=schema)
    if kind == "application/json":
        return ResponseFormat("json_object")
    if kind in (None, "text/plain"):
        return None
    raise RequestError(
        "'generationConfig.responseMimeType' must be text/plain or application/json",
        param="generationConfig.responseMimeType",
    )


def _read_thinking(config: Mapping[str, Any], extra: dict[str, Any]) -> Thinking | None:
    if config.get("thinkingConfig") is None:
        return None
    path = "generationConfig.thinkingConfig"
    thinking = camel(config["thinkingConfig"], path)
    for key, value in thinking.items():
        if key not in ("thinkingBudget", "thinkingLevel", "includeThoughts") and value is not None:
            extra[at(path, key)] = value
    budget = optional(thinking, "thinkingBudget", want_integer, path)
    level = optional(thinking, "thinkingLevel", want_string, path)
    return Thinking(
        enabled=False if budget == 0 else None,
        effort=level.lower() if level and level != "THINKING_LEVEL_UNSPECIFIED" else None,
        budget_tokens=budget,
        show=optional(thinking, "includeThoughts", want_boolean, path),
    )


# Written for an upstream


def model_path(model: str) -> str:
    """Give a model's path; a name may come with its collection (`models/x`, `tunedModels/x`)."""
    collection, slash, name = model.partition("/")
    if slash and collection in ("models", "tunedModels"):
        return f"/{collection}/{quote(name, safe='')}"
    return f"/models/{quote(model, safe='')}"


def write_chat(chat: Chat, target: Target) -> Call:
    """Write a request.

    Raises:
        UnsupportedParameter: Gemini cannot say a part or a parameter of the chat.
        RequestError: a tool's result whose function is not known.
    """
    ignored: list[str] = []
    body = _prompt(chat, target, ignored)
    config = _write_config(chat, target, ignored)
    for name, value in chat.extra.items():
        if chat.dialect != DIALECT:
            if name not in _HINTS:
                raise UnsupportedParameter(name, target.provider)
            ignored.append(name)
            continue
        _put_back(name, value, body, config, target)
    if config:
        body["generationConfig"] = config
    verb = ":streamGenerateContent?alt=sse" if chat.stream else ":generateContent"
    return Call(model_path(target.model) + verb, body, ignored=tuple(ignored))


def write_count(chat: Chat, target: Target) -> Call:
    """Write a request for a count of the prompt's tokens.

    Raises:
        UnsupportedParameter: Gemini cannot say a part of the prompt.
    """
    inner = {"model": f"models/{target.model}", **_prompt(chat, target, [])}
    return Call(f"{model_path(target.model)}:countTokens", {"generateContentRequest": inner})


def _prompt(chat: Chat, target: Target, ignored: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"contents": write_contents(chat.messages, target, ignored)}
    instruction = write_instruction(chat.messages, target)
    if instruction is not None:
        body["systemInstruction"] = instruction
    if chat.tools:
        body["tools"] = write_tools(chat.tools, target)
    if chat.tool_choice is not None:
        body["toolConfig"] = write_tool_choice(chat.tool_choice)
    return body


def _put_back(
    name: str, value: Any, body: dict[str, Any], config: dict[str, Any], target: Target
) -> None:
    """Put a parameter of Gemini's own back where it was read."""
    head, _, rest = name.partition(".")
    if "[" in head:
        raise UnsupportedParameter(name, target.provider, "it cannot be kept in a translation")
    if not rest:
        body[name] = value
    elif head == "generationConfig":
        first, _, last = rest.partition(".")
        if last:
            config.setdefault(first, {})[last] = value
        else:
            config[rest] = value
    elif head == "toolConfig":
        first, _, last = rest.partition(".")
        place = body.setdefault("toolConfig", {})
        if last:
            place.setdefault(first, {})[last] = value
        else:
            place[first] = value
    else:
        raise UnsupportedParameter(name, target.provider)


def _write_config(chat: Chat, target: Target, ignored: list[str]) -> dict[str, Any]:
    for name, value in (("min_p", chat.min_p), ("logit_bias", chat.logit_bias)):
        if value is not None:
            raise UnsupportedParameter(name, target.provider)
    if chat.parallel_tool_calls is False:
        raise UnsupportedParameter("parallel_tool_calls", target.provider)
    if chat.user is not None:
        ignored.append("user")
    config: dict[str, Any] = {}
    fields: tuple[tuple[str, Any], ...] = (
        ("maxOutputTokens", chat.max_tokens),
        ("temperature", chat.temperature),
        ("topP", chat.top_p),
        ("topK", chat.top_k),
        ("frequencyPenalty", chat.frequency_penalty),
        ("presencePenalty", chat.presence_penalty),
        ("seed", chat.seed),
        ("stopSequences", list(chat.stop) or None),
        ("candidateCount", chat.n),
        ("responseLogprobs", chat.logprobs),
        ("logprobs", chat.top_logprobs),
    )
    for name, value in fields:
        if value is not None:
            config[name] = value
    form = chat.response_format
    if form is not None and form.kind != "text":
        config["responseMimeType"] = "application/json"
        if form.schema is not None:
            config["responseJsonSchema"] = form.schema
    if chat.thinking is not None and (thinking := _write_thinking(chat.thinking)):
        config["thinkingConfig"] = thinking
    return config


def _write_thinking(thinking: Thinking) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if thinking.enabled is False or thinking.effort == "none":
        config["thinkingBudget"] = 0
    elif thinking.budget_tokens is not None:
        config["thinkingBudget"] = thinking.budget_tokens
    elif thinking.effort is not None:
        level = _LEVELS.get(thinking.effort)
        if level is None:
            raise RequestError(
                f"the effort '{thinking.effort}' is none of {', '.join(_LEVELS)}",
                param="reasoning_effort",
            )
        config["thinkingLevel"] = level
    elif thinking.enabled:
        config["thinkingBudget"] = -1
    if thinking.show is not None:
        config["includeThoughts"] = thinking.show
    return config
