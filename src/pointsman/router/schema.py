"""Whether a value fits a JSON schema, as far as a checker of answers needs it.

What is checked: `type`, `enum`, `const`, `required`, `properties`, `additionalProperties: false`,
`items`, `anyOf`, `oneOf`, `allOf`, and `$ref` within the schema. Anything else is taken for fulfilled: the
answer is judged, not refused.

Source: JSON Schema, draft 2020-12, Core and Validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["fits"]

MAX_DEPTH = 32
# A schema and an answer come from outside: no combination of the two may take long.
MAX_CHECKS = 20_000

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


class _TooMuch(Exception):
    """More was to be checked than is sensible."""


class _Check:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.left = MAX_CHECKS

    def fits(self, value: Any, schema: Any, depth: int) -> bool:
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise _TooMuch
        if not isinstance(schema, dict):
            return schema is not False
        if isinstance(ref := schema.get("$ref"), str):
            return self.fits(value, self._resolve(ref), depth + 1)
        if "const" in schema and value != schema["const"]:
            return False
        if isinstance(enum := schema.get("enum"), list) and value not in enum:
            return False
        kinds = schema.get("type")
        if kinds is not None and not _is_kind(value, kinds):
            return False
        return (
            self._combined(value, schema, depth)
            and (not isinstance(value, dict) or self._object(value, schema, depth))
            and (not isinstance(value, list) or self._array(value, schema, depth))
        )

    def _combined(self, value: Any, schema: Mapping[str, Any], depth: int) -> bool:
        for word in ("anyOf", "oneOf"):
            options = schema.get(word)
            if isinstance(options, list) and not any(
                self.fits(value, option, depth + 1) for option in options
            ):
                return False
        every = schema.get("allOf")
        return not isinstance(every, list) or all(self.fits(value, o, depth + 1) for o in every)

    def _object(self, value: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> bool:
        required = schema.get("required")
        # A schema is a caller's: what is no name is required of nothing.
        if isinstance(required, list) and any(
            isinstance(key, str) and key not in value for key in required
        ):
            return False
        properties = schema.get("properties")
        known: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
        rest = schema.get("additionalProperties", True)
        return all(
            self.fits(inner, known.get(key, rest), depth + 1) for key, inner in value.items()
        )

    def _array(self, value: Sequence[Any], schema: Mapping[str, Any], depth: int) -> bool:
        items = schema.get("items")
        return items is None or all(self.fits(each, items, depth + 1) for each in value)

    def _resolve(self, ref: str) -> Any:
        if not ref.startswith("#"):
            return True
        found: Any = self.root
        for part in ref[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                return True
            found = found[key]
        return found


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a decoded JSON value fits; one that takes too long to check is taken to fit."""
    try:
        return _Check(schema).fits(value, schema, 0)
    except _TooMuch:
        return True


def _is_kind(value: Any, kinds: Any) -> bool:
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind in ("number", "integer"):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and (kind == "number" or isinstance(value, int) or value.is_integer()):
                return True
        elif not isinstance(kind, str) or kind not in _TYPES or isinstance(value, _TYPES[kind]):
            return True
    return False
