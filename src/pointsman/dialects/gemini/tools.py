"""Gemini's tools, the choice among them, and the schema of an answer, both ways.

Source: the types of the official client, google-genai 2.34 (`types.py`: Tool,
FunctionDeclaration, FunctionCallingConfig, Schema).
"""

from __future__ import annotations

from typing import Any

from pointsman.dialects._shared import at, optional, required, want_list, want_object, want_string
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.parts import DIALECT, camel
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import HostedTool, Tool, ToolChoice

__all__ = ["json_schema", "read_tool_choice", "read_tools", "write_tool_choice", "write_tools"]

MAX_DEPTH = 64
_MODES = {"AUTO": "auto", "ANY": "required", "VALIDATED": "auto", "NONE": "none"}
_SCHEMA_NAMES = {
    "any_of": "anyOf", "min_items": "minItems", "max_items": "maxItems",
    "min_length": "minLength", "max_length": "maxLength", "min_properties": "minProperties",
    "max_properties": "maxProperties", "additional_properties": "additionalProperties",
    "prefix_items": "prefixItems", "defs": "$defs", "ref": "$ref",
}  # fmt: skip
_COUNTS = frozenset(
    ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
)
_DROPPED = frozenset(("propertyOrdering", "property_ordering"))  # an order of keys says nothing


def json_schema(schema: Any, depth: int = 0) -> Any:
    """Give JSON Schema for Gemini's OpenAPI-like one: types in lower case, `nullable` as a type.

    Raises:
        RequestError: it is nested over 64 levels.
    """
    if depth > MAX_DEPTH:
        raise RequestError(f"a schema is nested over {MAX_DEPTH} levels")
    if isinstance(schema, list):
        return [json_schema(each, depth + 1) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out: dict[str, Any] = {}
    for key, value in schema.items():
        name = str(_SCHEMA_NAMES.get(key, key))
        if key in _DROPPED or key == "nullable":
            continue
        if name in ("properties", "$defs") and isinstance(value, dict):
            out[name] = {each: json_schema(inner, depth + 1) for each, inner in value.items()}
        elif name in ("enum", "const", "default", "example", "required"):
            out[name] = value
        elif name == "type" and isinstance(value, str):
            out[name] = value.lower()
        elif name in _COUNTS and isinstance(value, str) and value.isdecimal():
            out[name] = int(value)  # proto-JSON writes 64-bit integers as text
        else:
            out[name] = json_schema(value, depth + 1)
    if schema.get("nullable") is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


def read_tools(value: object) -> tuple[Tool | HostedTool, ...]:
    """Read `tools`.

    Raises:
        RequestError: a wrong type.
    """
    tools: list[Tool | HostedTool] = []
    items = value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        path = at("tools", index)
        tool = camel(item, path)
        declared = optional(tool, "functionDeclarations", want_list, path)
        for number, each in enumerate(declared or ()):
            spot = at(at(path, "functionDeclarations"), number)
            tools.append(_read_declaration(camel(each, spot), spot))
        rest = {k: v for k, v in tool.items() if k != "functionDeclarations" and v is not None}
        if rest:
            tools.append(HostedTool(DIALECT, rest))
    return tuple(tools)


def _read_declaration(body: dict[str, Any], path: str) -> Tool:
    schema = optional(body, "parametersJsonSchema", want_object, path)
    if schema is None:
        schema = json_schema(optional(body, "parameters", want_object, path))
    return Tool(
        name=required(body, "name", want_string, path),
        description=optional(body, "description", want_string, path),
        parameters=schema,
    )


def write_tools(tools: tuple[Tool | HostedTool, ...], target: Target) -> list[dict[str, Any]]:
    """Write `tools`: one entry for all functions, then the hosted ones.

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
        body: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            body["description"] = tool.description
        if tool.parameters is not None:
            body["parametersJsonSchema"] = tool.parameters
        functions.append(body)
    return ([{"functionDeclarations": functions}] if functions else []) + hosted


def read_tool_choice(value: object, notes: dict[str, Any]) -> ToolChoice | None:
    """Read `toolConfig`; what is not of function calling goes into `notes`.

    Raises:
        RequestError: a wrong type or an unknown mode.
    """
    config = camel(value, "toolConfig")
    for key, each in config.items():
        if key != "functionCallingConfig" and each is not None:
            notes[at("toolConfig", key)] = each
    if config.get("functionCallingConfig") is None:
        return None
    path = "toolConfig.functionCallingConfig"
    calling = camel(config["functionCallingConfig"], path)
    for key, each in calling.items():
        if key not in ("mode", "allowedFunctionNames") and each is not None:
            notes[at(path, key)] = each
    mode = optional(calling, "mode", want_string, path) or "AUTO"
    if mode == "MODE_UNSPECIFIED":
        return None
    if mode not in _MODES:
        raise RequestError(
            f"'{path}.mode' must be one of {', '.join(_MODES)}", param=f"{path}.mode"
        )
    names = optional(calling, "allowedFunctionNames", want_list, path) or ()
    where = at(path, "allowedFunctionNames")
    allowed = tuple(want_string(name, at(where, i)) for i, name in enumerate(names))
    if mode == "ANY":
        return ToolChoice("required", allowed)
    return ToolChoice("none" if mode == "NONE" else "auto")


def write_tool_choice(choice: ToolChoice) -> dict[str, Any]:
    """Write `toolConfig`."""
    mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]
    calling: dict[str, Any] = {"mode": mode}
    if choice.mode == "required" and choice.names:
        calling["allowedFunctionNames"] = list(choice.names)
    return {"functionCallingConfig": calling}
