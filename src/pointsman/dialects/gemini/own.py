"""A Gemini client's own body, made fit for the provider it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import at, carried, want_list
from pointsman.dialects.base import Target
from pointsman.dialects.gemini.parts import DIALECT, camel, signature_in

__all__ = ["own_body"]


def own_body(body: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Give the body with each sealed signature opened for the provider that made it, and taken
    out for others; a thought whose signature goes, goes with it. All else stays.

    Raises:
        RequestError: a wrong type on the way to a signature.
    """
    contents = body.get("contents")
    if not isinstance(contents, list):
        return dict(body)
    out = []
    for index, item in enumerate(contents):
        path = at("contents", index)
        content = camel(item, path)
        parts = content.get("parts")
        if parts is None:
            out.append(content)
            continue
        kept = []
        for number, each in enumerate(want_list(parts, at(path, "parts"))):
            part = camel(each, at(at(path, "parts"), number))
            signature = signature_in(part, path)
            if signature is not None:
                value = carried(signature, target, DIALECT)
                if value is None and part.get("thought"):
                    continue
                part = {k: v for k, v in part.items() if k != "thoughtSignature"}
                if value is not None:
                    part["thoughtSignature"] = value
            kept.append(part)
        out.append({**content, "parts": kept})
    return {**body, "contents": out}
