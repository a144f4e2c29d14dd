"""Makes a small value that fits a JSON schema, the same one every time. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["example"]

MAX_DEPTH = 12
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "a@example.com",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Mapping[str, Any], hint: str = "") -> Any:
    """Give a value for the schema; numbers and words that stand in `hint` are used for its fields.

    Knows types, properties, items, enum, const, anyOf/oneOf/allOf, local `$ref`, bounds of numbers,
    strings and arrays, and formats; not patterns.
    """
    numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", hint)]
    return _value(schema, schema, numbers, "value", 0)


def _value(
    schema: Any, root: Mapping[str, Any], numbers: list[float], name: str, depth: int
) -> Any:
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _value(_resolved(schema["$ref"], root), root, numbers, name, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            kinds = [each for each in schema[key] if each != {"type": "null"}]
            return _value((kinds or schema[key])[0], root, numbers, name, depth + 1)
    if schema.get("allOf"):
        merged = {k: v for each in schema["allOf"] for k, v in _flat(each, root).items()}
        return _value({**merged, **_without(schema, "allOf")}, root, numbers, name, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        kind = next((each for each in kind if each != "null"), "null")
    return _typed(str(kind).lower(), schema, root, numbers, name, depth)


def _typed(
    kind: str,
    schema: Mapping[str, Any],
    root: Mapping[str, Any],
    numbers: list[float],
    name: str,
    depth: int,
) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            return {
                key: _value(each, root, numbers, key, depth + 1)
                for key, each in properties.items()
                if key in schema.get("required", properties) or depth < 2
            }
        case "array":
            count = max(int(schema.get("minItems", 1)), 1)
            item = schema.get("items", {"type": "string"})
            return [_value(item, root, numbers, name, depth + 1) for _ in range(count)]
        case "integer":
            return int(_number(schema, numbers))
        case "number":
            return _number(schema, numbers)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            text = _FORMATS.get(str(schema.get("format")), f"example {name}")
            text = text.ljust(int(schema.get("minLength", 0)), ".")
            return text[: int(schema.get("maxLength", len(text)))]


def _number(schema: Mapping[str, Any], numbers: list[float]) -> float:
    value = numbers.pop(0) if numbers else float(schema.get("minimum", 1))
    least, most = schema.get("minimum", value), schema.get("maximum", value)
    return float(min(max(value, least), most))


def _resolved(ref: Any, root: Mapping[str, Any]) -> Any:
    node: Any = root
    for part in str(ref).removeprefix("#/").split("/"):
        node = (
            node.get(part.replace("~1", "/").replace("~0", "~"))
            if isinstance(node, Mapping)
            else None
        )
    return node


def _flat(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    while isinstance(schema, Mapping) and "$ref" in schema:
        schema = _resolved(schema["$ref"], root)
    return schema if isinstance(schema, Mapping) else {}


def _without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in schema.items() if k != key}
