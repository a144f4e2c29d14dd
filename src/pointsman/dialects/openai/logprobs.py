"""OpenAI's log-probabilities of an answer's tokens, both ways.

Source: the types of the official client, openai 3.54
(`types/chat/chat_completion_token_logprob.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.types import TokenLogprob

__all__ = ["read_logprobs", "write_logprobs"]


def read_logprobs(value: object) -> tuple[TokenLogprob, ...] | None:
    """Give the log-probabilities of an answer's text; None if it has none."""
    content = value.get("content") if isinstance(value, Mapping) else None
    if not isinstance(content, list):
        return None
    return tuple(_logprob(item) for item in content if isinstance(item, Mapping))


def _logprob(item: Mapping[str, Any]) -> TokenLogprob:
    token, logprob, raw = item.get("token"), item.get("logprob"), item.get("bytes")
    top = item.get("top_logprobs")
    return TokenLogprob(
        token=token if isinstance(token, str) else "",
        logprob=float(logprob) if isinstance(logprob, int | float) else 0.0,
        bytes=tuple(b for b in raw if isinstance(b, int)) if isinstance(raw, list) else None,
        top=tuple(_logprob(each) for each in top if isinstance(each, Mapping))
        if isinstance(top, list)
        else (),
    )


def write_logprobs(logprobs: tuple[TokenLogprob, ...] | None) -> dict[str, Any] | None:
    """Give OpenAI's form of log-probabilities."""
    if logprobs is None:
        return None
    return {"content": [_write_logprob(each) for each in logprobs], "refusal": None}


def _write_logprob(each: TokenLogprob) -> dict[str, Any]:
    raw = list(each.bytes) if each.bytes is not None else None
    body = {"token": each.token, "logprob": each.logprob, "bytes": raw}
    return {**body, "top_logprobs": [_plain_logprob(top) for top in each.top]}


def _plain_logprob(each: TokenLogprob) -> dict[str, Any]:
    raw = list(each.bytes) if each.bytes is not None else None
    return {"token": each.token, "logprob": each.logprob, "bytes": raw}
