"""An agent's conversation that grows turn by turn, put into each dialect's words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from gateway_site import Reply, Site

SYSTEM = "You are a coding agent."
TASK = "Mend the failing test of the parser, please, and tell me what was wrong with it."
TOOL = {
    "name": "bash",
    "description": "Run a command.",
    "parameters": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}


@dataclass
class Session:
    """One conversation with a route. `padding` makes its prompt long, so that a cache is worth something."""

    site: Site
    dialect: str
    route: str = "r"
    padding: str = ""
    steps: list[tuple[str, str, bool]] = field(default_factory=list)

    def did(self, command: str, result: str, *, error: bool = False) -> Session:
        """The assistant ran a command, and that came of it."""
        self.steps.append((command, result, error))
        return self

    def ask(self) -> Reply:
        path, body = _BODIES[self.dialect](self)
        headers = {"anthropic-version": "2023-06-01"} if self.dialect == "anthropic" else {}
        return self.site.send(path, body, headers)

    def model(self) -> str:
        reply = self.ask()
        assert reply.status == 200, reply.body
        return reply.headers["x-pointsman-model"]


def _openai(session: Session) -> tuple[str, dict[str, Any]]:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": SYSTEM + session.padding},
        {"role": "user", "content": TASK},
    ]
    for number, (command, result, _) in enumerate(session.steps):
        call = {"name": "bash", "arguments": json.dumps({"command": command})}
        called = {"id": f"c{number}", "type": "function", "function": call}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": result},
        ]
    tools = [{"type": "function", "function": TOOL}]
    return "/v1/chat/completions", {"model": session.route, "messages": messages, "tools": tools}


def _anthropic(session: Session) -> tuple[str, dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": TASK}]
    for number, (command, result, error) in enumerate(session.steps):
        use = {
            "type": "tool_use",
            "id": f"c{number}",
            "name": "bash",
            "input": {"command": command},
        }
        told = {"type": "tool_result", "tool_use_id": f"c{number}", "content": result}
        messages += [
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [told | ({"is_error": True} if error else {})]},
        ]
    tool = {"name": "bash", "description": "Run.", "input_schema": TOOL["parameters"]}
    return "/v1/messages", {
        "model": session.route,
        "max_tokens": 500,
        "system": SYSTEM + session.padding,
        "messages": messages,
        "tools": [tool],
    }


def _gemini(session: Session) -> tuple[str, dict[str, Any]]:
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": TASK}]}]
    for command, result, _ in session.steps:
        call = {"functionCall": {"name": "bash", "args": {"command": command}}}
        told = {"functionResponse": {"name": "bash", "response": {"output": result}}}
        contents += [
            {"role": "model", "parts": [call]},
            {"role": "user", "parts": [told]},
        ]
    declared = {"name": "bash", "description": "Run.", "parameters": TOOL["parameters"]}
    return f"/v1beta/models/{session.route}:generateContent", {
        "systemInstruction": {"parts": [{"text": SYSTEM + session.padding}]},
        "contents": contents,
        "tools": [{"functionDeclarations": [declared]}],
    }


_BODIES = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}
