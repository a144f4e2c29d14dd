"""Whatever comes in place of a value, the error is one of Pointsman's own."""

from __future__ import annotations

import copy
import json

import pytest

from pointsman._sse import Event
from pointsman.dialects.anthropic import ANTHROPIC
from pointsman.dialects.base import Target
from pointsman.errors import ProviderError, RequestError

TARGET = Target("anthropic", "claude")
REQUEST = {
    "model": "m",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "q", "citations": None},
                {"type": "image", "source": {"type": "url", "url": "https://x.test"}},
                {
                    "type": "document",
                    "title": "t",
                    "source": {"type": "content", "content": [{"type": "text", "text": "d"}]},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "is_error": False,
                    "content": [
                        {
                            "type": "search_result",
                            "title": "t",
                            "source": "s",
                            "content": [{"type": "text", "text": "r"}],
                        }
                    ],
                }
            ],
        },
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["a"],
}
EVENTS = [
    {"type": "message_start", "message": {"id": "i", "model": "m", "usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    },
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "thinking", "thinking": "t", "signature": "s"},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "signature_delta", "signature": "s"},
    },
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": "x"},
        "usage": {"output_tokens": 1, "output_tokens_details": {"thinking_tokens": 1}},
    },
    {"type": "message_stop"},
]
ANSWER = {
    "id": "i",
    "model": "m",
    "content": [event["content_block"] for event in EVENTS if "content_block" in event],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens_details": {"thinking_tokens": 1}},
}
ODD = (None, True, -1, 10**30, 1.5, "", "text", [], {}, [None], [[]], {"type": []})


def spots(value, path=()):
    """Every place in the value, the root left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from spots(inner, (*path, key))


def with_odd(value, path, odd):
    out = copy.deepcopy(value)
    inner = out
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    return out


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_request(odd):
    for path in spots(REQUEST):
        try:
            chat = ANTHROPIC.read_chat(with_odd(REQUEST, path, odd))
            ANTHROPIC.write_chat(chat, TARGET)
        except RequestError as error:
            assert error.param


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_answer(odd):
    for path in spots(ANSWER):
        try:
            ANTHROPIC.read_completion(with_odd(ANSWER, path, odd), TARGET)
        except ProviderError as error:
            assert error.provider == "anthropic"


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_stream(odd):
    for path in spots(EVENTS):
        reader = ANTHROPIC.stream_reader(TARGET)
        try:
            for body in with_odd(EVENTS, path, odd):
                reader.read(Event("", json.dumps(body)))
            reader.finish()
        except ProviderError as error:
            assert error.provider == "anthropic"
