"""Gemini's tools, the choice among them, and the schema of an answer, both ways.

Source: the types of the official client, google-genai 2.34 (`types.py`: Tool,
FunctionDeclaration, FunctionCallingConfig, Schema).
"""

from __future__ import annotations

from typing import Any

from pointsman.dialects._shared import (
    RESULT_SCHEMA,
    at,
    optional,
    required,
    want_list,
    want_object,
    want_string,
)
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.parts import DIALECT, camel, items_of, note
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import Chat, HostedTool, Tool, ToolChoice

__all__ = ["json_schema", "read_tool_choice", "read_tools", "write_tool_choice", "write_tools"]

MAX_DEPTH = 64
_MODES = ("AUTO", "ANY", "VALIDATED", "NONE")
_SCHEMA_NAMES = {
    "any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems",
    "min_length": "minLength", "max_length": "maxLength", "min_properties": "minProperties",
    "max_properties": "maxProperties", "additional_properties": "additionalProperties",
    "prefix_items": "prefixItems", "defs": "$defs", "ref": "$ref",
}  # fmt: skip
_COUNTS = frozenset(
    ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
)
# An order of keys says nothing in JSON; `nullable` becomes a type.
_DROPPED = frozenset(("propertyOrdering", "property_ordering", "nullable"))
_RESULTS = ("response", "responseJsonSchema")
_DECLARED = frozenset(("name", "description", "parameters", "parametersJsonSchema", *_RESULTS))


# Schemas


def json_schema(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Give JSON Schema for Gemini's OpenAPI-like one: types in lower case, `nullable` as a type.

    Raises:
        RequestError: it is nested over 64 levels.
    """
    return _converted(schema, path, 0)


def _any(value: Any, path: str, depth: int) -> Any:
    if isinstance(value, list):
        if depth > MAX_DEPTH:
            raise _too_deep(path)
        return [_any(each, path, depth + 1) for each in value]
    return _converted(value, path, depth) if isinstance(value, dict) else value


def _too_deep(path: str) -> RequestError:
    return RequestError(f"'{path}' is nested over {MAX_DEPTH} levels", param=path)


def _converted(schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise _too_deep(path)
    out: dict[str, Any] = {}
    for key, value in schema.items():
        name = _SCHEMA_NAMES.get(key, key)
        if key in _DROPPED or value is None:
            continue
        if name in ("properties", "$defs") and isinstance(value, dict):
            out[name] = {each: _any(inner, path, depth + 1) for each, inner in value.items()}
        elif name in ("enum", "const", "default", "example", "required"):
            out[name] = value
        elif name == "type":
            kind = _lower(value)
            if kind != "type_unspecified":
                out[name] = kind
        elif name in _COUNTS and isinstance(value, str) and value.isdecimal() and len(value) < 20:
            out[name] = int(value)  # proto-JSON writes 64-bit integers as text
        else:
            out[name] = _any(value, path, depth + 1)
    return _nullable(out) if schema.get("nullable") is True else out


def _lower(kind: Any) -> Any:
    if isinstance(kind, list):
        return [each.lower() if isinstance(each, str) else each for each in kind]
    return kind.lower() if isinstance(kind, str) else kind


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


# Tools


def read_tools(value: object, notes: dict[str, Any]) -> tuple[Tool | HostedTool, ...]:
    """Read `tools`. What a declaration says beside the middle form goes into `notes`.

    Raises:
        RequestError: a wrong type.
    """
    tools: list[Tool | HostedTool] = []
    for item, path in items_of(value, "tools"):
        tool = camel(item, path)
        declared = tool.get("functionDeclarations")
        where = at(path, "functionDeclarations")
        for each, spot in items_of([] if declared is None else declared, where):
            tools.append(_read_declaration(camel(each, spot), spot, notes))
        rest = {k: v for k, v in tool.items() if k != "functionDeclarations" and v is not None}
        if rest:
            tools.append(HostedTool(DIALECT, rest))
    return tuple(tools)


def _read_declaration(body: dict[str, Any], path: str, notes: dict[str, Any]) -> Tool:
    note(body, _DECLARED, path, notes)
    if any(body.get(name) for name in _RESULTS):
        notes[RESULT_SCHEMA] = True
    schema = optional(body, "parametersJsonSchema", want_object, path)
    if schema is None:
        schema = optional(body, "parameters", want_object, path)
        schema = None if schema is None else json_schema(schema, at(path, "parameters"))
    return Tool(
        name=required(body, "name", want_string, path),
        description=optional(body, "description", want_string, path),
        parameters=schema,
    )


def write_tools(
    tools: tuple[Tool | HostedTool, ...], target: Target, ignored: list[str]
) -> list[dict[str, Any]]:
    """Write `tools`: one entry for all functions, then the hosted ones. Gemini has no `strict`.

    Raises:
        UnsupportedParameter: a tool that another provider runs.
    """
    functions: list[dict[str, Any]] = []
    hosted: list[dict[str, Any]] = []
    for index, tool in enumerate(tools):
        if isinstance(tool, HostedTool):
            if tool.dialect != DIALECT:
                hint = f"only {tool.dialect} can run it"
                raise UnsupportedParameter(at("tools", index), target.provider, hint)
            hosted.append(tool.spec)
            continue
        if tool.strict:
            ignored.append("tools.strict")
        body: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            body["description"] = tool.description
        if tool.parameters is not None:
            body["parametersJsonSchema"] = tool.parameters
        functions.append(body)
    return ([{"functionDeclarations": functions}] if functions else []) + hosted


# The choice among them


def read_tool_choice(value: object, notes: dict[str, Any]) -> ToolChoice | None:
    """Read `toolConfig`; what the middle form lacks goes into `notes`. VALIDATED, which only
    promises that arguments fit their schema, is `auto`.

    Raises:
        RequestError: a wrong type or an unknown mode.
    """
    config = camel(value, "toolConfig")
    note(config, frozenset(("functionCallingConfig",)), "toolConfig", notes)
    if config.get("functionCallingConfig") is None:
        return None
    path = "toolConfig.functionCallingConfig"
    calling = camel(config["functionCallingConfig"], path)
    note(calling, frozenset(("mode", "allowedFunctionNames")), path, notes)
    mode = (optional(calling, "mode", want_string, path) or "AUTO").upper()
    if mode == "MODE_UNSPECIFIED":
        return None
    if mode not in _MODES:
        raise RequestError(
            f"'{path}.mode' must be one of {', '.join(_MODES)}", param=f"{path}.mode"
        )
    where = at(path, "allowedFunctionNames")
    names = tuple(
        want_string(name, at(where, i))
        for i, name in enumerate(optional(calling, "allowedFunctionNames", want_list, path) or ())
    )
    if mode == "ANY":
        return ToolChoice("required", names)
    if mode == "NONE":
        return ToolChoice("none")
    if names:
        # A limit on a free choice: only this dialect can say it.
        notes[at(path, "mode")] = mode
        notes[where] = list(names)
    return ToolChoice("auto")


def write_tool_choice(chat: Chat) -> dict[str, Any] | None:
    """Write `toolConfig`; None where nothing is to be said. Without functions there is nothing to
    choose, and Gemini refuses the field.

    Raises:
        RequestError: a call is required, and there are no functions.
    """
    choice = chat.tool_choice
    if choice is None:
        return None
    if not any(isinstance(tool, Tool) for tool in chat.tools):
        if choice.mode == "required":
            raise RequestError("'tool_choice' asks for a call without tools", param="tool_choice")
        return None
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
    calling: dict[str, Any] = {"mode": mode}
    if choice.mode == "required" and choice.names:
        calling["allowedFunctionNames"] = list(choice.names)
    return {"functionCallingConfig": calling}
