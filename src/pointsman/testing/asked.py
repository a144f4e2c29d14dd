"""Reads from a request what a scripted answer depends on, in each dialect's own words. Pure.

Nothing is validated: what is missing or odd counts as not asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pointsman.testing.script import Recorded

__all__ = ["Asked", "read_asked"]


class Asked(Struct, frozen=True, kw_only=True):
    """A request in common words.

    `prompt` is the last turn's text, or a tool's result (`after_tool`). `tools` maps names to the
    schemas of their arguments; `tool_mode` is `auto`, `none` or `required`, `tool_names` those that
    may be called (all if empty). `schema` is the form wanted of the answer.
    """

    prompt: str = ""
    after_tool: bool = False
    tools: Mapping[str, Mapping[str, Any]] = {}
    tool_mode: str = "auto"
    tool_names: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    logprobs: bool = False
    thinking: bool = False


def read_asked(request: Recorded) -> Asked:
    """Read a request."""
    body = _map(request.body)
    return {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}[request.dialect](body)


def _openai(body: Mapping[str, Any]) -> Asked:
    last = _last(body.get("messages"))
    choice = body.get("tool_choice")
    mode = {"required": "required", "none": "none"}.get(str(choice), "auto")
    names: list[str] = []
    if isinstance(choice, Mapping):
        allowed = _map(choice.get("allowed_tools"))
        mode = str(allowed.get("mode", "required"))
        rows = _maps(allowed.get("tools")) or [choice]
        names = [str(_map(row.get("function")).get("name")) for row in rows]
    form = _map(body.get("response_format"))
    schema: Any = {"type": "object"} if form.get("type") == "json_object" else None
    if form.get("type") == "json_schema":
        schema = _map(form.get("json_schema")).get("schema") or {}
    functions = [_map(tool.get("function")) for tool in _maps(body.get("tools"))]
    return Asked(
        prompt=_text(last.get("content")),
        after_tool=last.get("role") == "tool",
        tools={str(f["name"]): _map(f.get("parameters")) for f in functions if "name" in f},
        tool_mode=mode,
        tool_names=tuple(names),
        schema=schema,
        stop=_strings(body.get("stop")),
        max_tokens=_count(body.get("max_completion_tokens") or body.get("max_tokens")),
        logprobs=body.get("logprobs") is True,
    )


def _anthropic(body: Mapping[str, Any]) -> Asked:
    content = _last(body.get("messages")).get("content")
    results = [part for part in _maps(content) if part.get("type") == "tool_result"]
    choice = _map(body.get("tool_choice"))
    kind = choice.get("type", "auto")
    form = _map(_map(body.get("output_config")).get("format"))
    thinking = _map(body.get("thinking")).get("type")
    return Asked(
        prompt=_text(results[0].get("content") if results else content),
        after_tool=bool(results),
        tools={
            str(tool.get("name")): _map(tool["input_schema"])
            for tool in _maps(body.get("tools"))
            if "input_schema" in tool
        },
        tool_mode={"any": "required", "tool": "required", "none": "none"}.get(kind, "auto"),
        tool_names=(str(choice["name"]),) if "name" in choice else (),
        schema=_map(form["schema"]) if "schema" in form else None,
        stop=_strings(body.get("stop_sequences")),
        max_tokens=_count(body.get("max_tokens")),
        thinking=thinking in ("enabled", "adaptive"),
    )


def _gemini(body: Mapping[str, Any]) -> Asked:
    parts = _maps(_last(body.get("contents")).get("parts"))
    results = [_map(p[key]) for p in parts for key in _either("functionResponse") if key in p]
    calling = _map(_get(_map(_get(body, "toolConfig")), "functionCallingConfig"))
    mode = {"ANY": "required", "VALIDATED": "auto", "NONE": "none"}.get(
        str(calling.get("mode", "AUTO")).upper(), "auto"
    )
    config = _map(_get(body, "generationConfig"))
    schema = _get(config, "responseJsonSchema") or _get(config, "responseSchema")
    if schema is None and _get(config, "responseMimeType") == "application/json":
        schema = {"type": "object"}
    tools = {}
    for tool in _maps(body.get("tools")):
        for each in _maps(_get(tool, "functionDeclarations")):
            tools[str(each.get("name"))] = _map(
                _get(each, "parametersJsonSchema") or each.get("parameters")
            )
    thinking = _map(_get(config, "thinkingConfig"))
    return Asked(
        prompt=json.dumps(results[0].get("response"), ensure_ascii=False)
        if results
        else _text(parts),
        after_tool=bool(results),
        tools=tools,
        tool_mode=mode,
        tool_names=_strings(_get(calling, "allowedFunctionNames")),
        schema=schema if isinstance(schema, Mapping) else None,
        stop=_strings(_get(config, "stopSequences")),
        max_tokens=_count(_get(config, "maxOutputTokens")),
        logprobs=_get(config, "responseLogprobs") is True,
        thinking=_get(thinking, "includeThoughts") is True,
    )


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(str(part["text"]) for part in _maps(content) if "text" in part)


def _last(turns: Any) -> Mapping[str, Any]:
    return next(iter(reversed(_maps(turns))), {})


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _strings(value: Any) -> tuple[str, ...]:
    rows = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(each for each in rows if isinstance(each, str))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _either(name: str) -> tuple[str, str]:
    """Gemini's servers take a field's name in both of these forms."""
    return name, "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def _get(fields: Mapping[str, Any], name: str) -> Any:
    return next((fields[key] for key in _either(name) if key in fields), None)
