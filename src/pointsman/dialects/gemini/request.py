"""Gemini's request, both ways.

Source: the types of the official client, google-genai 2.34 (`types.py`: GenerateContentConfig and
`models.py`: `_GenerateContentParameters_to_mldev`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pointsman.dialects._shared import (
    RESULT_SCHEMA,
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
from pointsman.dialects.gemini.parts import DIALECT, camel, note, read_contents, read_instruction
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

__all__ = ["model_name", "model_path", "read_chat", "write_chat", "write_count"]

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
     "prompt_cache_retention", "prompt_cache_options", "prompt_cache_breakpoint", "prediction",
     "safety_identifier", "service_tier", "store", "stream_options.include_obfuscation")
)  # fmt: skip
# The callers' words for an effort, and the nearest that Gemini has.
_LEVELS = {"none": "", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH",
           "xhigh": "HIGH", "max": "HIGH"}  # fmt: skip


# Read from a client


def read_chat(body: Mapping[str, Any]) -> Chat:
    """Read a request; the caller has put `model` and `stream` into it.

    Parameters without a field of their own are kept in `Chat.extra`: those of `generationConfig`
    as `generationConfig.NAME`, others by name.

    Raises:
        RequestError: a wrong type or value; `param` is its path.
    """
    top = camel(dict(body), "")
    extra: dict[str, Any] = {}
    note(top, _TOP, "", extra)
    path = "generationConfig"
    config = {} if top.get(path) is None else camel(top[path], path)
    note(config, _CONFIG, path, extra)
    if extra.get(f"{path}.responseModalities") in (["TEXT"], ["text"]):
        del extra[f"{path}.responseModalities"]  # It is what every chat model gives.
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
        tools=read_tools(top["tools"], extra) if top.get("tools") is not None else (),
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
    if kind not in (None, "", "text/plain", "application/json"):
        raise UnsupportedParameter(
            "generationConfig.responseMimeType",
            "a translated request",
            "it must be text/plain or application/json",
        )
    schema = optional(config, "responseJsonSchema", want_object, path)
    if schema is None:
        schema = optional(config, "responseSchema", want_object, path)
        schema = None if schema is None else json_schema(schema, at(path, "responseSchema"))
    if schema is not None:
        return ResponseFormat("json_schema", schema=schema)
    return ResponseFormat("json_object") if kind == "application/json" else None


def _read_thinking(config: Mapping[str, Any], extra: dict[str, Any]) -> Thinking | None:
    if config.get("thinkingConfig") is None:
        return None
    path = "generationConfig.thinkingConfig"
    thinking = camel(config["thinkingConfig"], path)
    note(thinking, frozenset(("thinkingBudget", "thinkingLevel", "includeThoughts")), path, extra)
    budget = optional(thinking, "thinkingBudget", want_integer, path)
    level = optional(thinking, "thinkingLevel", want_string, path)
    return Thinking(
        enabled=False if budget == 0 else None,
        effort=level.lower() if level and level != "THINKING_LEVEL_UNSPECIFIED" else None,
        budget_tokens=budget,
        show=optional(thinking, "includeThoughts", want_boolean, path),
    )


# Written for an upstream


def model_name(model: str) -> str:
    """Give a model's full name, which may come with its collection (`models/x`, `tunedModels/x`)."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def model_path(model: str) -> str:
    """Give a model's path; nothing in the name can leave its place in it."""
    collection, _, name = model_name(model).partition("/")
    return f"/{collection}/{quote(name, safe='')}"


def write_chat(chat: Chat, target: Target) -> Call:
    """Write a request. `extra` of this dialect and of the Python client goes back in by name.

    Raises:
        UnsupportedParameter: Gemini cannot say a part or a parameter of the chat.
        RequestError: a tool's result whose function is not known, or nothing to send.
    """
    ignored: list[str] = []
    body = _prompt(chat, target, ignored)
    config = _write_config(chat, target, ignored)
    for name, value in chat.extra.items():
        if name == RESULT_SCHEMA:
            ignored.append(name)
        elif chat.dialect in (DIALECT, "pointsman"):
            _put_back(name, value, body, config, target)
        elif name in _HINTS:
            ignored.append(name)
        else:
            raise UnsupportedParameter(name, target.provider)
    if config:
        body["generationConfig"] = config
    verb = ":streamGenerateContent?alt=sse" if chat.stream else ":generateContent"
    return Call(
        model_path(target.model) + verb,
        body,
        ignored=tuple(dict.fromkeys(ignored)),
        # Gemini has no word for it; what it calls beyond the first is left out of the answer.
        single_call=chat.parallel_tool_calls is False,
    )


def write_count(chat: Chat, target: Target) -> Call:
    """Write a request for a count of the prompt's tokens; what only shapes the answer is left out.

    Raises:
        UnsupportedParameter: Gemini cannot say a part of the prompt.
        RequestError: a tool's result whose function is not known, or nothing to count.
    """
    ignored: list[str] = []
    inner = {"model": model_name(target.model), **_prompt(chat, target, ignored)}
    return Call(
        f"{model_path(target.model)}:countTokens",
        {"generateContentRequest": inner},
        ignored=tuple(dict.fromkeys(ignored)),
    )


def _prompt(chat: Chat, target: Target, ignored: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {"contents": write_contents(chat.messages, target, ignored)}
    instruction = write_instruction(chat.messages, target)
    if instruction is not None:
        body["systemInstruction"] = instruction
    if chat.tools:
        body["tools"] = write_tools(chat.tools, target, ignored)
    choice = write_tool_choice(chat)
    if choice is not None:
        body["toolConfig"] = choice
    return body


def _put_back(
    name: str, value: Any, body: dict[str, Any], config: dict[str, Any], target: Target
) -> None:
    """Put a parameter of Gemini's own back where it was read."""
    if "[" in name:
        raise UnsupportedParameter(name, target.provider, "it cannot be kept in a translation")
    head, *keys = name.split(".")
    if head == "generationConfig":
        place = config
    elif head == "toolConfig":
        place = body.setdefault("toolConfig", {})
    else:
        body[name] = value
        return
    if not keys:
        place.update(camel(value, name))
        return
    for key in keys[:-1]:
        place = want_object(place.setdefault(key, {}), name)
    place[keys[-1]] = value


def _write_config(chat: Chat, target: Target, ignored: list[str]) -> dict[str, Any]:
    for name, value in (("min_p", chat.min_p), ("logit_bias", chat.logit_bias)):
        if value is not None:
            raise UnsupportedParameter(name, target.provider)
    if chat.user is not None:
        ignored.append("user")
    fields: dict[str, Any] = {
        "maxOutputTokens": chat.max_tokens,
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "topK": chat.top_k,
        # Models that know no penalties refuse even those that say nothing.
        "frequencyPenalty": chat.frequency_penalty or None,
        "presencePenalty": chat.presence_penalty or None,
        "seed": chat.seed,
        "stopSequences": list(chat.stop) or None,
        "candidateCount": chat.n,
        "responseLogprobs": chat.logprobs,
        "logprobs": chat.top_logprobs,
    }
    config = {name: value for name, value in fields.items() if value is not None}
    form = chat.response_format
    if form is not None and form.kind != "text":
        config["responseMimeType"] = "application/json"
        if form.schema is not None:
            schema = form.schema
            if form.description is not None and "description" not in schema:
                schema = {**schema, "description": form.description}
            config["responseJsonSchema"] = schema
    thinking = _write_thinking(chat, ignored)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _write_thinking(chat: Chat, ignored: list[str]) -> dict[str, Any]:
    """A budget goes before an effort: Gemini refuses the two together."""
    thinking = chat.thinking
    if thinking is None:
        return {}
    config: dict[str, Any] = {}
    effort = thinking.effort
    if effort is not None and effort not in _LEVELS:
        raise RequestError(
            f"the effort '{effort}' is unknown to Gemini: it takes {', '.join(_LEVELS)}",
            param="effort",
        )
    if thinking.enabled is False or effort == "none":
        config["thinkingBudget"] = 0
    elif thinking.budget_tokens is not None:
        config["thinkingBudget"] = thinking.budget_tokens
        if effort is not None:
            ignored.append("thinking.effort")
    elif effort is not None:
        config["thinkingLevel"] = _LEVELS[effort]
    elif thinking.enabled:
        config["thinkingBudget"] = -1
    show = thinking.show
    if show is None and thinking.enabled and chat.dialect == "anthropic":
        show = True  # Its clients that turn thinking on are shown it unless they decline.
    if show is not None:
        config["includeThoughts"] = show
    return config
