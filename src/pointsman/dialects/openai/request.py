"""OpenAI's chat request, both ways.

Source: the types of the official client, openai 3.54 (`types/chat/completion_create_params.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from pointsman.dialects.openai.llama_cpp import PARAMETERS, write_thinking
from pointsman.dialects.openai.parts import DIALECT
from pointsman.dialects.openai.turns import read_messages, write_messages
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import (
    Chat,
    HostedTool,
    ResponseFormat,
    Thinking,
    Tool,
    ToolChoice,
)

__all__ = ["read_chat", "split_extra", "write_chat"]

# Parameters of other dialects that steer caches, billing or traces: no answer changes without them.
_HINTS = frozenset(
    {
        "cache_control",
        "citations",
        "eager_input_streaming",
        "inference_geo",
        "labels",
        "metadata",
        "service_tier",
        "serviceTier",
        "store",
    }
)
# Those that only marks on parts and tools bring, and that OpenAI's form has no place for.
_MARKS = frozenset({"cache_control", "citations", "prompt_cache_breakpoint", RESULT_SCHEMA})

# Read from a client


def read_chat(body: Mapping[str, Any]) -> Chat:
    """Read a request; parameters without a field of their own are kept in `Chat.extra`.

    Raises:
        RequestError: a wrong type or value; `param` is its path.
    """
    extra = {key: value for key, value in body.items() if key not in _KNOWN and value is not None}
    if extra.get("modalities") == ["text"]:
        del extra["modalities"]
    messages = read_messages(required(body, "messages", want_list), extra)
    stream_options = optional(body, "stream_options", want_object) or {}
    for key, value in stream_options.items():
        if key != "include_usage" and value is not None:
            extra[at("stream_options", key)] = value
    max_tokens = optional(body, "max_completion_tokens", _at_least_one)
    if max_tokens is None:
        max_tokens = optional(body, "max_tokens", _at_least_one)
    effort = optional(body, "reasoning_effort", want_string)
    return Chat(
        model=required(body, "model", want_string),
        messages=messages,
        dialect=DIALECT,
        stream=optional(body, "stream", want_boolean) or False,
        include_usage=optional(stream_options, "include_usage", want_boolean, "stream_options")
        or False,
        tools=_read_tools(body),
        tool_choice=_read_tool_choice(body, extra),
        parallel_tool_calls=optional(body, "parallel_tool_calls", want_boolean),
        response_format=_read_response_format(body),
        thinking=None if effort is None else Thinking(effort=effort),
        max_tokens=max_tokens,
        temperature=optional(body, "temperature", want_number),
        top_p=optional(body, "top_p", want_number),
        top_k=optional(body, "top_k", want_integer),
        min_p=optional(body, "min_p", want_number),
        frequency_penalty=optional(body, "frequency_penalty", want_number),
        presence_penalty=optional(body, "presence_penalty", want_number),
        seed=optional(body, "seed", want_integer),
        stop=_read_stop(body),
        n=optional(body, "n", _at_least_one),
        logprobs=optional(body, "logprobs", want_boolean),
        top_logprobs=optional(body, "top_logprobs", want_integer),
        logit_bias=_read_logit_bias(body),
        user=optional(body, "user", want_string),
        extra=extra,
    )


def _at_least_one(value: object, path: str) -> int:
    number = want_integer(value, path)
    if number < 1:
        raise RequestError(f"'{path}' must be at least 1, not {number}", param=path)
    return number


def _read_stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("stop")
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise RequestError("'stop' must be a string or a list of strings", param="stop")
    return tuple(want_string(item, at("stop", index)) for index, item in enumerate(value))


def _read_logit_bias(body: Mapping[str, Any]) -> dict[str, float] | None:
    value = optional(body, "logit_bias", want_object)
    if value is None:
        return None
    return {key: want_number(bias, at("logit_bias", key)) for key, bias in value.items()}


def _read_function(function: dict[str, Any], path: str) -> Tool:
    return Tool(
        name=required(function, "name", want_string, path),
        description=optional(function, "description", want_string, path),
        parameters=optional(function, "parameters", want_object, path),
        strict=optional(function, "strict", want_boolean, path),
    )


def _read_tools(body: Mapping[str, Any]) -> tuple[Tool | HostedTool, ...]:
    tools: list[Tool | HostedTool] = []
    for index, item in enumerate(optional(body, "tools", want_list) or ()):
        path = at("tools", index)
        tool = want_object(item, path)
        if required(tool, "type", want_string, path) == "function":
            function = required(tool, "function", want_object, path)
            tools.append(_read_function(function, at(path, "function")))
        else:
            # Custom tools and what a provider runs itself: only this dialect can say them.
            tools.append(HostedTool(DIALECT, tool))
    for index, item in enumerate(optional(body, "functions", want_list) or ()):
        path = at("functions", index)
        tools.append(_read_function(want_object(item, path), path))
    return tuple(tools)


_MODES = {
    "auto": ToolChoice("auto"),
    "none": ToolChoice("none"),
    "required": ToolChoice("required"),
    "any": ToolChoice("required"),  # Mistral's word, which its clients use.
}


def _read_tool_choice(body: Mapping[str, Any], extra: dict[str, Any]) -> ToolChoice | None:
    value = body.get("tool_choice")
    if value is None:
        return _read_function_choice(body)
    if isinstance(value, str):
        if value not in _MODES:
            raise RequestError(
                f"'tool_choice' must be none, auto, required or an object, not '{value}'",
                param="tool_choice",
            )
        return _MODES[value]
    choice = want_object(value, "tool_choice")
    kind = required(choice, "type", want_string, "tool_choice")
    if kind == "function":
        function = required(choice, "function", want_object, "tool_choice")
        name = required(function, "name", want_string, "tool_choice.function")
        return ToolChoice("required", (name,))
    if kind == "allowed_tools":
        names = _allowed_names(choice)
        if names is not None:
            return ToolChoice("required", names)
    # A choice among custom tools, or one that limits `auto`: only this dialect can say it.
    extra["tool_choice"] = choice
    return None


def _allowed_names(choice: dict[str, Any]) -> tuple[str, ...] | None:
    path = "tool_choice.allowed_tools"
    allowed = required(choice, "allowed_tools", want_object, "tool_choice")
    mode = required(allowed, "mode", want_string, path)
    if mode not in ("auto", "required"):
        raise RequestError(f"'{path}.mode' must be auto or required", param=f"{path}.mode")
    names: list[str] = []
    for index, item in enumerate(required(allowed, "tools", want_list, path)):
        where = at(at(path, "tools"), index)
        tool = want_object(item, where)
        if tool.get("type") != "function":
            return None
        function = required(tool, "function", want_object, where)
        names.append(required(function, "name", want_string, at(where, "function")))
    return tuple(names) if mode == "required" and names else None


def _read_function_choice(body: Mapping[str, Any]) -> ToolChoice | None:
    value = body.get("function_call")
    if value is None:
        return None
    if isinstance(value, dict):
        return ToolChoice("required", (required(value, "name", want_string, "function_call"),))
    if value in ("auto", "none"):
        return _MODES[value]
    raise RequestError("'function_call' must be none, auto or an object", param="function_call")


def _read_response_format(body: Mapping[str, Any]) -> ResponseFormat | None:
    form = optional(body, "response_format", want_object)
    if form is None:
        return None
    kind = required(form, "type", want_string, "response_format")
    if kind == "text":
        return ResponseFormat("text")
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        raise RequestError(
            f"'response_format.type' must be text, json_object or json_schema, not '{kind}'",
            param="response_format.type",
        )
    path = "response_format.json_schema"
    schema = required(form, "json_schema", want_object, "response_format")
    return ResponseFormat(
        "json_schema",
        schema=optional(schema, "schema", want_object, path),
        name=optional(schema, "name", want_string, path),
        description=optional(schema, "description", want_string, path),
        strict=optional(schema, "strict", want_boolean, path),
    )


# Written for an upstream


def write_chat(chat: Chat, target: Target) -> Call:
    """Write a request.

    Raises:
        UnsupportedParameter: OpenAI's form cannot say a part or a parameter of the chat.
    """
    quirks = target.quirks
    ignored: list[str] = []
    body: dict[str, Any] = {
        "model": target.model,
        "messages": write_messages(chat, target, ignored),
    }
    if chat.stream:
        body["stream"] = True
        if quirks.stream_usage:
            # The usage is asked for in any case: it is metered, and shown only on request.
            body["stream_options"] = {"include_usage": True}
    tools = [_write_tool(tool, at("tools", i), target) for i, tool in enumerate(chat.tools)]
    if tools:
        body["tools"] = tools
    if chat.tool_choice is not None:
        body["tool_choice"] = _write_tool_choice(chat.tool_choice, quirks.required_word)
    if chat.response_format is not None:
        body["response_format"] = _write_response_format(chat.response_format)
    if chat.thinking is not None and quirks.llama_cpp:
        write_thinking(chat.thinking, body)
    elif chat.thinking is not None:
        effort = _write_effort(chat.thinking, ignored)
        if effort is not None:
            body["reasoning_effort"] = effort
    for name, value in (
        ("parallel_tool_calls", chat.parallel_tool_calls),
        (quirks.max_tokens_field, chat.max_tokens),
        ("temperature", chat.temperature),
        ("top_p", chat.top_p),
        ("frequency_penalty", chat.frequency_penalty),
        ("presence_penalty", chat.presence_penalty),
        (quirks.seed_field, chat.seed),
        ("stop", list(chat.stop) or None),
        ("n", chat.n),
        ("logprobs", chat.logprobs),
        ("top_logprobs", chat.top_logprobs),
        ("logit_bias", chat.logit_bias),
        ("user", chat.user),
    ):
        if value is not None:
            body[name] = value
    for name, value in (("top_k", chat.top_k), ("min_p", chat.min_p)):
        if value is not None:
            # OpenAI has neither; many compatible servers do, and a client of theirs names them.
            if chat.dialect != DIALECT and not quirks.llama_cpp:
                raise UnsupportedParameter(name, target.provider)
            body[name] = value
    for name, value in split_extra(chat.dialect, chat.extra, target, ignored).items():
        parent, _, child = name.partition(".")
        if child and parent == "stream_options":
            if "stream_options" in body:
                body["stream_options"][child] = value
        elif name == "chat_template_kwargs" and name in body and isinstance(value, dict):
            body[name] = {**body[name], **value}
        else:
            body[name] = value
    return Call("/chat/completions", body, ignored=tuple(ignored))


def split_extra(
    dialect: str, extra: Mapping[str, Any], target: Target, ignored: list[str]
) -> dict[str, Any]:
    """Give the parameters that OpenAI's form says by the same name; note the hints in `ignored`.

    Raises:
        UnsupportedParameter: a parameter of another dialect, or a field inside a message that the
            middle form has no place for.
    """
    kept: dict[str, Any] = {}
    for name, value in extra.items():
        if name in _MARKS or (name in _HINTS and dialect != DIALECT):
            ignored.append(name)
        elif (dialect == DIALECT and not name.startswith("messages[")) or (
            target.quirks.llama_cpp and name in PARAMETERS
        ):
            kept[name] = value
        else:
            raise UnsupportedParameter(name, target.provider)
    return kept


def _write_tool(tool: Tool | HostedTool, path: str, target: Target) -> dict[str, Any]:
    if isinstance(tool, HostedTool):
        if tool.dialect != DIALECT:
            raise UnsupportedParameter(path, target.provider, f"only {tool.dialect} can run it")
        return tool.spec
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _write_tool_choice(choice: ToolChoice, required_word: str) -> str | dict[str, Any]:
    if choice.mode == "required" and len(choice.names) == 1:
        return _named(choice.names[0])
    if choice.names and choice.mode != "none":
        tools = [_named(name) for name in choice.names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}
    return required_word if choice.mode == "required" else choice.mode


def _write_response_format(form: ResponseFormat) -> dict[str, Any]:
    if form.kind != "json_schema":
        return {"type": form.kind}
    # OpenAI requires a name; other dialects have none.
    schema: dict[str, Any] = {"name": form.name or "response"}
    if form.description is not None:
        schema["description"] = form.description
    if form.schema is not None:
        schema["schema"] = form.schema
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}


# Least budget in tokens → effort. Source: LiteLLM, `map_openai_params` (thinking →
# reasoning_effort), read 2026-11; but "low" where it says "minimal", which newer models refuse.
_EFFORTS = ((10_000, "high"), (5_000, "medium"), (1, "low"))


def _write_effort(thinking: Thinking, ignored: list[str]) -> str | None:
    """Give the word for the effort; what no word can say exactly is named in `ignored`."""
    if thinking.show:
        ignored.append("thinking.show")
    if thinking.enabled is False or thinking.budget_tokens == 0:
        return "none"
    if thinking.budget_tokens is not None:
        ignored.append("thinking.budget_tokens")
    if thinking.effort is not None:
        return thinking.effort
    if thinking.budget_tokens is not None:
        return next((word for least, word in _EFFORTS if thinking.budget_tokens >= least), None)
    if thinking.enabled:
        ignored.append("thinking.enabled")
    return None


def _known() -> frozenset[str]:
    names = set(Chat.__struct_fields__) - {"dialect", "thinking", "extra", "include_usage"}
    return frozenset(
        names
        | {
            "function_call",
            "functions",
            "max_completion_tokens",
            "reasoning_effort",
            "stream_options",
        }
    )


_KNOWN: frozenset[str] = _known()
