"""The scripted assistant: what the fake provider answers when it is given no script. Pure.

It says plainly that it is no model. A request with tools gets a call, one with a schema gets a value
that fits it, a tool's result gets a closing sentence. It remembers nothing.
"""

from __future__ import annotations

import json

from pointsman.testing.asked import Asked, read_asked
from pointsman.testing.example import example, quoted
from pointsman.testing.script import Answer, Call, Fault, Recorded, Reply
from pointsman.testing.tokens import CHARS_PER_TOKEN

__all__ = ["FAULTS", "NOTICE", "answer_to"]

NOTICE = "This is a scripted stand-in for a strong model; no model ran."
THOUGHT = "A scripted thought; nobody thought it."
PREFIX = "fault-"

# A model's name can ask for a fault, so that fall-back can be tried from outside. Beside these,
# `fault-` and a status from 400 to 599 gives that status.
FAULTS: dict[str, Fault] = {
    "fault-429": Fault(status=429, retry_after="1"),
    "fault-close": Fault(close=True),
    "fault-cut": Fault(cut_after=3),
    "fault-error": Fault(error_after=2),
    "fault-garbage": Fault(garbage_after=2),
    "fault-head": Fault(endless_head=True),
    "fault-huge": Fault(huge_bytes=64 * 1024 * 1024),
    "fault-pause": Fault(pause_after=3, pause_s=5.0),
    "fault-slow": Fault(stall_s=5.0),
    "fault-stall": Fault(stall_after=3),
}


def answer_to(request: Recorded) -> Reply:
    """Give the reply for a request, by its model's name, tools, schema and last message."""
    if request.model.startswith(PREFIX):
        return _fault(request.model)
    asked = read_asked(request)
    forced = asked.tool_mode == "required"
    if asked.tools and asked.tool_mode != "none" and (forced or not asked.after_tool):
        return _call(request.dialect, asked)
    if asked.schema is not None:
        return Answer(text=json.dumps(_structured(asked), ensure_ascii=False))
    if asked.after_tool:
        return _said(request.dialect, asked, f"{NOTICE} The tool said: {asked.prompt[:200]}")
    words = len(asked.prompt.split())
    return _said(request.dialect, asked, f"{NOTICE} Your prompt has {words} words.")


def _fault(name: str) -> Fault:
    known = FAULTS.get(name)
    if known is not None:
        return known
    status = name.removeprefix(PREFIX)
    if status.isascii() and status.isdigit() and 400 <= int(status) <= 599:
        return Fault(status=int(status))
    return Fault(
        status=404,
        message=f"no such fault: {name}; there are {', '.join(FAULTS)} and fault-400 to fault-599",
    )


def _call(dialect: str, asked: Asked) -> Answer:
    """A call of the first tool that may be called."""
    name = next((each for each in asked.tool_names if each in asked.tools), next(iter(asked.tools)))
    arguments = example(asked.tools[name], asked.prompt)
    # Gemini's models sign their calls, and want the signature back.
    signature = f"scripted:{name}" if dialect == "gemini" else None
    given = arguments if isinstance(arguments, dict) else {}
    return Answer(calls=(Call(name, given, signature=signature),))


def _structured(asked: Asked) -> object:
    """A value for the schema; a bare object gets the keys that the prompt puts in quotes."""
    if asked.schema and set(asked.schema) - {"type"}:
        return example(asked.schema, asked.prompt)
    keys = [word for word in quoted(asked.prompt) if word.isidentifier()]
    return {key: f"example {key}" for key in keys} or {"answer": NOTICE}


def _said(dialect: str, asked: Asked, text: str) -> Answer:
    """The text, ended early where the request's stop sequences or its limit end it."""
    ends = [(text.find(stop), stop) for stop in asked.stop if stop and stop in text]
    finish = None
    stop = None
    if ends:
        end, stop = min(ends)
        text = text[:end]
    if asked.max_tokens is not None and len(text) > asked.max_tokens * CHARS_PER_TOKEN:
        text = text[: asked.max_tokens * CHARS_PER_TOKEN]
        stop = None
        finish = {"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}[dialect]
    return Answer(
        text=text,
        reasoning=THOUGHT if asked.thinking else "",
        signature="scripted" if asked.thinking else None,
        finish=finish,
        stop_sequence=stop,
        logprobs=asked.logprobs,
    )
