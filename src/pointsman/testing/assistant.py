"""The scripted assistant: what the fake provider answers when no script is given. Pure.

It says plainly that it is no model. A request with tools gets a call, one with a schema gets a value
that fits it, a tool's result gets a closing sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pointsman.testing.example import example
from pointsman.testing.script import Answer, Call, Fault, Recorded, Reply

__all__ = ["NOTICE", "answer_to"]

NOTICE = "This is a scripted stand-in for a strong model; no model ran."

# A model's name can ask for a fault, so that fall-back can be tried from outside.
_FAULTS = {
    "fault-429": Fault(status=429, retry_after="1"),
    "fault-500": Fault(status=500),
    "fault-503": Fault(status=503),
    "fault-close": Fault(close=True),
    "fault-cut": Fault(cut_after=3),
    "fault-stall": Fault(stall_after=3),
    "fault-garbage": Fault(garbage_after=2),
    "fault-error": Fault(error_after=2),
    "fault-huge": Fault(huge_bytes=64 * 1024 * 1024),
    "fault-head": Fault(endless_head=True),
}


def answer_to(request: Recorded) -> Reply:
    """Give the reply for a request, by its model's name, tools, schema and last message."""
    if request.model in _FAULTS:
        return _FAULTS[request.model]
    body = request.body if isinstance(request.body, Mapping) else {}
    prompt, after_tool = _last(request.dialect, body)
    logprobs = bool(body.get("logprobs"))
    schema = _schema(request.dialect, body)
    tools = _tools(request.dialect, body)
    if tools and not after_tool and _may_call(request.dialect, body):
        names = _chosen(request.dialect, body) or list(tools)
        name = names[0]
        arguments = example(tools[name], prompt)
        return Answer(calls=(Call(name, arguments if isinstance(arguments, dict) else {}),))
    if schema is not None:
        return Answer(text=json.dumps(example(schema, prompt), ensure_ascii=False))
    if after_tool:
        return Answer(text=f"{NOTICE} The tool said: {prompt[:200]}", logprobs=logprobs)
    words = len(prompt.split())
    return Answer(text=f"{NOTICE} Your prompt has {words} words.", logprobs=logprobs)


def _last(dialect: str, body: Mapping[str, Any]) -> tuple[str, bool]:
    """The last message's text, and whether it is a tool's result."""
    turns = body.get("contents" if dialect == "gemini" else "messages") or [{}]
    last = turns[-1] if isinstance(turns, list) and isinstance(turns[-1], Mapping) else {}
    if dialect == "gemini":
        parts = [p for p in last.get("parts") or () if isinstance(p, Mapping)]
        results = [p["functionResponse"] for p in parts if "functionResponse" in p]
        if results:
            return json.dumps(results[0].get("response")), True
        return " ".join(str(p.get("text", "")) for p in parts), False
    content = last.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    results = [p for p in parts if isinstance(p, Mapping) and p.get("type") == "tool_result"]
    if results:
        inner = results[0].get("content")
        texts = inner if isinstance(inner, list) else [{"text": inner}]
        return " ".join(str(t.get("text", "")) for t in texts if isinstance(t, Mapping)), True
    text = " ".join(str(p.get("text", "")) for p in parts if isinstance(p, Mapping))
    return text, last.get("role") == "tool"


def _tools(dialect: str, body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for tool in body.get("tools") or ():
        if dialect == "openai" and tool.get("type") == "function":
            found[tool["function"]["name"]] = tool["function"].get("parameters") or {}
        elif dialect == "anthropic" and "input_schema" in tool:
            found[tool["name"]] = tool["input_schema"]
        elif dialect == "gemini":
            for each in tool.get("functionDeclarations") or ():
                schema = each.get("parametersJsonSchema") or each.get("parameters") or {}
                found[each["name"]] = schema
    return found


def _may_call(dialect: str, body: Mapping[str, Any]) -> bool:
    if dialect == "openai":
        return body.get("tool_choice") != "none"
    if dialect == "anthropic":
        return (body.get("tool_choice") or {}).get("type") != "none"
    return _calling(body).get("mode") != "NONE"


def _chosen(dialect: str, body: Mapping[str, Any]) -> list[str]:
    choice = body.get("tool_choice")
    if dialect == "openai" and isinstance(choice, Mapping):
        return [choice["function"]["name"]] if "function" in choice else []
    if dialect == "anthropic" and isinstance(choice, Mapping) and choice.get("name"):
        return [choice["name"]]
    return list(_calling(body).get("allowedFunctionNames") or ())


def _calling(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return (body.get("toolConfig") or {}).get("functionCallingConfig") or {}


def _schema(dialect: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if dialect == "openai":
        form = body.get("response_format") or {}
        if form.get("type") == "json_schema":
            return form["json_schema"].get("schema") or {}
        return {"type": "object"} if form.get("type") == "json_object" else None
    if dialect == "anthropic":
        return ((body.get("output_config") or {}).get("format") or {}).get("schema")
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is None and config.get("responseMimeType") == "application/json":
        return {"type": "object"}
    return schema
