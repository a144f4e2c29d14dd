"""Bodies that two readers could read differently: a guard must see what the provider will see.

JSON leaves open which of two equal keys counts, and some servers (Go's `encoding/json`, for one) take
`Content` for `content`. A body that is passed on as it is could so show a guard one text and its
provider another.

Source: RFC 8259, 4 (names within an object); Go, package encoding/json, Unmarshal (read 2026-11).
"""

from __future__ import annotations

import json
from typing import Any

from pointsman.errors import RequestError

__all__ = ["refuse_ambiguous"]

# What holds words, or leads to them, in any of the wire formats.
_FIELDS = frozenset(
    ("content", "contents", "documents", "input", "input_extra", "input_prefix", "input_suffix",
     "instructions", "messages", "output", "parts", "prompt", "query", "requests", "role", "suffix",
     "system", "systemInstruction", "system_instruction", "text", "type")
)  # fmt: skip
_PLAIN = {name.casefold(): name for name in _FIELDS}
_LISTS = frozenset(
    ("content", "contents", "input", "messages", "parts", "prompt", "requests", "system")
)


def refuse_ambiguous(body: bytes) -> None:
    """Make sure that a body, which is a JSON object, has one meaning where the user's words stand.

    Raises:
        RequestError: a key stands twice in an object, or a field of the words is written in another
            case; or the body is no JSON.
    """
    try:
        tree = json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is no JSON: {error}") from error
    _check_case(tree)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RequestError(f"the key '{twice[:100]}' stands twice in an object", param=twice[:100])
    return found


def _check_case(tree: Any) -> None:
    """Look at the keys of the body, its messages and their parts; not at tools' schemas, whose
    properties have any names."""
    open_values = [tree]
    while open_values:
        value = open_values.pop()
        if isinstance(value, list):
            open_values += [each for each in value if isinstance(each, dict | list)]
        elif isinstance(value, dict):
            for key, inner in value.items():
                if key not in _FIELDS and key.casefold() in _PLAIN:
                    raise RequestError(
                        f"'{key}' is not '{_PLAIN[key.casefold()]}': write keys as the API has them",
                        param=key,
                    )
                # The `input` of a tool's call is an object, with the tool's own keys.
                if key in _LISTS and (key != "input" or isinstance(inner, list)):
                    open_values.append(inner)
