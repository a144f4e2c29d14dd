"""Makes a small value that fits a JSON schema, the same one every time. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["example", "quoted"]

MAX_DEPTH = 12
# Below this depth what a schema leaves free is left out, so that a recursive one ends.
FULL_DEPTH = 4
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
_QUOTED = re.compile(
    r"""(?<!\w)(?:'([^'\n]+)'|"([^"\n]+)"|“([^”\n]+)”|‘([^’\n]+)’|«([^»\n]+)»|「([^」\n]+)」)(?!\w)"""
)


def example(schema: Mapping[str, Any], hint: str = "") -> Any:
    """Give a value for the schema, with the numbers and the quoted words of `hint` in its fields.

    Knows types (Gemini's upper-case ones too), properties, items, prefixItems, enum, const,
    default, anyOf, oneOf, allOf, `$ref` within the schema, formats, and bounds of numbers, strings
    and arrays; not patterns.

    >>> example({"type": "object", "properties": {"n": {"type": "integer"}}}, "Take 3.")
    {'n': 3}
    """
    return _Maker(schema, hint).value(schema, "value", 0)


def quoted(text: str) -> list[str]:
    """Give the words of a text that stand in quotation marks, in order."""
    return [next(filter(None, groups)) for groups in _QUOTED.findall(text)]


class _Maker:
    """Holds what is left of the hint."""

    def __init__(self, root: Mapping[str, Any], hint: str) -> None:
        self._root = root
        self._numbers = [float(number) for number in _NUMBER.findall(hint)]
        self._words = quoted(hint)

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
            return None
        schema = self._flat(schema)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        if schema.get("enum"):
            return schema["enum"][0]
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                kinds = [each for each in schema[key] if each != {"type": "null"}]
                if len(kinds) < len(schema[key]) and depth >= FULL_DEPTH:
                    return None
                chosen = (kinds or schema[key])[0]
                return self.value({**_without(schema, key), **self._flat(chosen)}, name, depth + 1)
        return self._typed(_kind(schema), schema, name, depth)

    def _typed(self, kind: str, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer":
                return self._integer(schema)
            case "number":
                return self._number(schema)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._string(schema, name)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = schema.get("required", ())
        return {
            key: self.value(each, key, depth + 1)
            for key, each in properties.items()
            if key in required or depth < FULL_DEPTH
        }

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        first = list(schema.get("prefixItems") or ())
        least = int(schema.get("minItems", 0))
        free = 1 if depth < FULL_DEPTH and "items" in schema and not first else 0
        count = min(max(least, free, len(first)), int(schema.get("maxItems", 1_000)))
        item = schema.get("items", {"type": "string"})
        kinds = first + [item] * max(count - len(first), 0)
        return [self.value(kind, name, depth + 1) for kind in kinds[:count]]

    def _integer(self, schema: Mapping[str, Any]) -> int:
        value = int(self._next())
        least, most = schema.get("minimum"), schema.get("maximum")
        over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        lows: list[int] = [math.ceil(least)] if least is not None else []
        lows += [math.floor(over) + 1] if over is not None else []
        highs: list[int] = [math.floor(most)] if most is not None else []
        highs += [math.ceil(under) - 1] if under is not None else []
        value = min(max([value, *lows]), *highs) if highs else max([value, *lows])
        step = int(schema.get("multipleOf", 1)) or 1
        up = -(-value // step) * step
        return up - step if highs and up > min(highs) else up

    def _number(self, schema: Mapping[str, Any]) -> float:
        value = self._next()
        low = _most([schema.get("minimum"), schema.get("exclusiveMinimum")], max)
        high = _most([schema.get("maximum"), schema.get("exclusiveMaximum")], min)
        if (
            (low is not None and value < low)
            or (high is not None and value > high)
            or value in (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))
        ):
            if low is not None and high is not None:
                value = (low + high) / 2
            else:
                value = low + 1 if low is not None else (high or 0.0) - 1
        step = float(schema.get("multipleOf", 0))
        if step:
            up = math.ceil(value / step) * step
            value = up - step if high is not None and up > high else up
        return float(value)

    def _next(self) -> float:
        return self._numbers.pop(0) if self._numbers else 1.0

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        form = _FORMATS.get(str(schema.get("format")))
        if form is not None:
            return form
        text = self._words.pop(0) if self._words else f"example {name}"
        text = text.ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema.get("maxLength", len(text)))]

    def _flat(self, schema: Any) -> dict[str, Any]:
        """The schema with its `$ref` and `allOf` merged in."""
        flat = dict(schema) if isinstance(schema, Mapping) else {}
        for _ in range(MAX_DEPTH):
            if "$ref" in flat:
                target = self._resolved(flat["$ref"])
                flat = {**target, **_without(flat, "$ref")}
            elif "allOf" in flat:
                flat = self._merged(flat)
            else:
                break
        return flat

    def _merged(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        merged = _without(schema, "allOf")
        for each in schema["allOf"]:
            part = self._flat(each)
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", ()), *part.get("required", ())]
            merged = {**merged, **part}
            if properties:
                merged |= {"properties": properties, "required": required}
        return merged

    def _resolved(self, ref: Any) -> dict[str, Any]:
        node: Any = self._root
        for part in filter(None, str(ref).removeprefix("#").split("/")):
            name = part.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, Mapping) else None
        return dict(node) if isinstance(node, Mapping) else {}


def _most(bounds: list[float | None], choose: Callable[[list[float]], float]) -> float | None:
    given = [bound for bound in bounds if bound is not None]
    return choose(given) if given else None


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    return str(kind).lower()


def _without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}
