"""Anthropic's `tools` and `tool_choice`, both ways.

Source: the types of the official client, anthropic 2.12.0 (`types/tool_param.py`,
`types/tool_union_param.py`, `types/tool_choice_param.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import (
    at,
    optional,
    required,
    want_boolean,
    want_list,
    want_object,
    want_string,
)
from pointsman.dialects.anthropic.blocks import DIALECT
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import Chat, HostedTool, Tool, ToolChoice

__all__ = ["read_tool_choice", "read_tools", "write_tool_choice", "write_tools"]

_HELD = frozenset(("type", "name", "description", "input_schema", "strict"))
_HINTS = frozenset(("cache_control", "eager_input_streaming"))
_DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("defer_loading", False),
    ("allowed_callers", ["direct"]),
    ("input_examples", []),
)


def read_tools(body: Mapping[str, Any], notes: dict[str, Any]) -> tuple[Tool | HostedTool, ...]:
    """Read the tools; one with a versioned type is the provider's own.

    A custom tool's fields that the middle form lacks go into `notes`: hints under their bare
    names, the others under their path (`tools[0].input_examples`).

    Raises:
        RequestError: a wrong type or value.
    """
    tools: list[Tool | HostedTool] = []
    for index, item in enumerate(optional(body, "tools", want_list) or ()):
        path = at("tools", index)
        spec = want_object(item, path)
        if optional(spec, "type", want_string, path) not in (None, "custom"):
            tools.append(HostedTool(DIALECT, spec))
            continue
        tools.append(
            Tool(
                name=required(spec, "name", want_string, path),
                description=optional(spec, "description", want_string, path),
                parameters=required(spec, "input_schema", want_object, path),
                strict=optional(spec, "strict", want_boolean, path),
            )
        )
        for name, value in spec.items():
            if name in _HELD or value is None or (name, value) in _DEFAULTS:
                continue
            if name in _HINTS:
                notes.setdefault(name, True)
            else:
                notes[at(path, name)] = value
    return tuple(tools)


def read_tool_choice(body: Mapping[str, Any]) -> tuple[ToolChoice | None, bool | None]:
    """Give the choice, and whether calls may be parallel (None where it is left open).

    Raises:
        RequestError: a wrong type or value.
    """
    spec = optional(body, "tool_choice", want_object)
    if spec is None:
        return None, None
    kind = required(spec, "type", want_string, "tool_choice")
    alone = optional(spec, "disable_parallel_tool_use", want_boolean, "tool_choice")
    parallel = False if alone else None
    if kind == "auto":
        return ToolChoice("auto"), parallel
    if kind == "none":
        return ToolChoice("none"), parallel
    if kind == "any":
        return ToolChoice("required"), parallel
    if kind == "tool":
        name = required(spec, "name", want_string, "tool_choice")
        return ToolChoice("required", (name,)), parallel
    raise RequestError(
        f"'tool_choice.type' must be auto, any, tool or none, not '{kind}'",
        param="tool_choice.type",
    )


def write_tools(tools: tuple[Tool | HostedTool, ...]) -> list[dict[str, Any]]:
    """Write the tools.

    Raises:
        UnsupportedParameter: a tool that another provider runs.
    """
    out = []
    for index, tool in enumerate(tools):
        if isinstance(tool, HostedTool):
            if tool.dialect != DIALECT:
                kind = tool.spec.get("type") or next(iter(tool.spec), "of another provider")
                raise UnsupportedParameter(
                    at("tools", index), "Anthropic", f"the tool '{kind}' runs elsewhere"
                )
            out.append(tool.spec)
            continue
        schema = dict(tool.parameters or {})
        if "type" not in schema:
            schema = {"type": "object", **schema}
        spec: dict[str, Any] = {"name": tool.name, "input_schema": schema}
        if tool.description is not None:
            spec["description"] = tool.description
        if tool.strict:
            spec["strict"] = True
        out.append(spec)
    return out


def write_tool_choice(chat: Chat) -> dict[str, Any] | None:
    """Write the choice and `parallel_tool_calls`; None where nothing is to be said.

    Without tools there is none to choose, and Anthropic refuses the field.

    Raises:
        RequestError: a call is required, and there are no tools.
        UnsupportedParameter: the choice is between some of the tools.
    """
    choice = chat.tool_choice
    if not chat.tools:
        if choice is not None and choice.mode == "required":
            raise RequestError("'tool_choice' asks for a call without tools", param="tool_choice")
        return None
    mode = choice.mode if choice is not None else "auto"
    if mode == "none":
        return {"type": "none"}
    names = choice.names if choice is not None else ()
    if len(names) == 1 and mode == "required":
        spec: dict[str, Any] = {"type": "tool", "name": names[0]}
    else:
        known = {tool.name if isinstance(tool, Tool) else "" for tool in chat.tools}
        if names and known - set(names):
            raise UnsupportedParameter(
                "tool_choice", "Anthropic", "it takes one tool or all: send only those allowed"
            )
        spec = {"type": "any" if mode == "required" else "auto"}
    if chat.parallel_tool_calls is False:
        spec["disable_parallel_tool_use"] = True
    elif choice is None:
        return None
    return spec
