"""A Gemini client's own body, made fit for the provider it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import carried, unseal
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.parts import DIALECT
from pointsman.dialects.gemini.turns import unsigned_mark

__all__ = ["own_body"]

_NAMES = ("thoughtSignature", "thought_signature")
_TEXT = frozenset(("text", "thought", *_NAMES))


def own_body(body: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Give the body with each sealed signature opened for the provider that made it, and taken
    out for others; a thought, or an empty text, goes with its signature, and a call is marked as
    made elsewhere where the model wants that. All else is as it was, raw signatures too.
    """
    items = body.get("contents")
    contents = [items] if isinstance(items, dict) else items
    if not isinstance(contents, list):
        return dict(body)
    out: list[Any] = []
    changed = False
    for item in contents:
        parts = item.get("parts") if isinstance(item, dict) else None
        listed = [parts] if isinstance(parts, dict) else parts
        if not isinstance(listed, list):
            out.append(item)
            continue
        kept = [own for part in listed if (own := _own_part(part, target)) is not None]
        if all(a is b for a, b in zip(kept, listed, strict=False)) and len(kept) == len(listed):
            out.append(item)
            continue
        changed = True
        if kept:
            out.append({**item, "parts": kept})
    return {**body, "contents": out} if changed else dict(body)


def _own_part(part: Any, target: Target) -> Any:
    """The part, the very same where there is nothing to open; None where nothing is left of it."""
    if not isinstance(part, dict):
        return part
    name = next((each for each in _NAMES if isinstance(part.get(each), str)), None)
    if name is None:
        return part
    signature = unseal(part[name], DIALECT)
    if signature.value == part[name]:  # It was not sealed.
        return part
    value = carried(signature, target, DIALECT)
    if value is not None:
        return {**part, name: value}
    if "functionCall" in part or "function_call" in part:
        value = unsigned_mark(target)
        if value is not None:
            return {**part, name: value}
    rest = {key: each for key, each in part.items() if key not in _NAMES}
    if rest.get("thought") or (rest.keys() <= _TEXT and not rest.get("text")):
        return None
    return rest
