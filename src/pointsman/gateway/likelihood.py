"""Log-probabilities that a route asked for and the client did not: put into the request, taken out again.

A body that is passed on stays as it is but for these fields; an answer is decoded and encoded anew only
where it holds them.

Source: OpenAI's chat completions (`logprobs` of a request and of a choice, null if not asked for) and
Gemini's generateContent (`responseLogprobs`, `logprobsResult`, `avgLogprobs`), read 2026-11.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pointsman.gateway.wire import decode_body

__all__ = ["ask_logprobs", "hide_in_events", "hide_logprobs"]

_JSON = msgspec.json.Encoder()
_ANY = msgspec.json.Decoder()
_MARK = {"openai": b'"logprobs"', "gemini": b"ogprobs"}


def ask_logprobs(dialect: str, body: bytes) -> bytes | None:
    """Give the body with log-probabilities asked for; None if it says something of them itself, or if
    the dialect has none.

    Raises:
        RequestError: the body is no JSON object.
    """
    if dialect == "openai" and b'"logprobs"' not in body:
        brace = body.index(b"{") + 1
        return b"".join((body[:brace], b'"logprobs":true,', body[brace:]))
    if dialect != "gemini" or b"ogprobs" in body:
        return None
    tree = decode_body(body)
    name = "generation_config" if "generation_config" in tree else "generationConfig"
    config = tree.setdefault(name, {})
    if not isinstance(config, dict):
        return None
    config["responseLogprobs"] = True
    return _JSON.encode(tree)


def hide_logprobs(dialect: str, body: bytes) -> bytes:
    """Give a whole answer without them; one that cannot be decoded stays as it is."""
    if _MARK.get(dialect, b"\x00") not in body:
        return body
    try:
        tree = _ANY.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    for each in tree if isinstance(tree, list) else [tree]:
        _strip(dialect, each)
    return _JSON.encode(tree)


def hide_in_events(dialect: str, events: bytes) -> bytes:
    """Give whole server-sent events without them."""
    mark = _MARK.get(dialect, b"\x00")
    if mark not in events:
        return events
    lines = events.split(b"\n")
    for number, line in enumerate(lines):
        if mark in line and line.startswith(b"data:"):
            data = line[5:].strip()
            ending = b"\r" if line.endswith(b"\r") else b""
            lines[number] = b"data: " + hide_logprobs(dialect, data) + ending
    return b"\n".join(lines)


def _strip(dialect: str, tree: Any) -> None:
    if not isinstance(tree, dict):
        return
    choices = tree.get("choices" if dialect == "openai" else "candidates")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        if dialect == "openai" and "logprobs" in choice:
            choice["logprobs"] = None
        elif dialect == "gemini":
            choice.pop("logprobsResult", None)
            choice.pop("avgLogprobs", None)
