"""Requests that are only ever passed on: they have no middle form, so no other dialect says them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from pointsman._http.transport import Request
from pointsman._sse import frame
from pointsman.dialects.base import StreamWriter
from pointsman.dialects.openai.error import error_body
from pointsman.errors import PointsmanError, UnsupportedParameter
from pointsman.gateway.wire import ask_usage, replace_model
from pointsman.providers.binding import Binding
from pointsman.types import Chat, Chunk

__all__ = ["ErrorEvents", "Passage", "as_chat", "passed_texts", "with_suffix"]

# Where the text stands that such a request is about.
_TEXTS = ("prompt", "input", "query", "content", "input_prefix")
_SUFFIXES = ("suffix", "input_suffix")
_NO_TEXTS = frozenset(
    ("detail", "file_data", "file_id", "format", "id", "image_url", "input_audio", "multimodal_data",
     "role", "status", "type")
)  # fmt: skip
MAX_DEPTH = 16


class Passage(Struct, frozen=True):
    """How requests of one path go on, byte for byte but for the model's name.

    `path` follows the base URL, or its server's root with `at_root`. `field` is what a provider of
    another dialect cannot take, and `instead` what to do then. `llama_cpp` limits it to servers
    that are llama.cpp's. `ends` is in the event that ends a stream. `usage` names the form in which
    tokens are counted, and `asks_usage` says that a stream has to be asked for them. `writer` gives
    what writes an error into a stream, if that is not OpenAI's chat.
    """

    path: str
    field: str
    instead: str
    ends: re.Pattern[bytes]
    usage: str = "openai"
    asks_usage: bool = False
    at_root: bool = False
    llama_cpp: bool = False
    writer: Callable[[Chat], StreamWriter] | None = None

    def takes(self, binding: Binding) -> None:
        """Make sure that a provider can be asked.

        Raises:
            UnsupportedParameter: its wire format has no such request.
        """
        if binding.dialect != "openai" or (self.llama_cpp and not binding.row.quirks.llama_cpp):
            raise UnsupportedParameter(self.field, binding.name, self.instead)

    def request(self, body: bytes, model: str, binding: Binding, *, ask: bool) -> Request:
        """Give the request; with `ask` its stream is asked for its usage.

        Raises:
            UnsupportedParameter: as `takes`.
            RequestError: the body has no model, or two.
        """
        self.takes(binding)
        body = replace_model(body, model)
        if ask:
            body = ask_usage(body)
        return (binding.at_root() if self.at_root else binding).post(self.path, body)


class ErrorEvents:
    """Writes the errors of OpenAI's Responses into a stream; nothing else is ever written.

    The official clients look for `error`, others for the event's type.

    Source: the official client, openai 3.54 (`types/responses/response_error_event.py`,
    `_streaming.py`).
    """

    def write(self, chunk: Chunk) -> bytes:
        """Give nothing: the events are the upstream's own."""
        return b""

    def finish(self) -> bytes:
        """Give nothing, as `write`."""
        return b""

    def fail(self, error: PointsmanError) -> bytes:
        """Give the event for a fault, after which the stream is not complete."""
        inner = error_body(error)["error"]
        event = {
            "type": "error",
            "code": inner["code"],
            "message": inner["message"],
            "param": inner["param"],
            "sequence_number": 0,
            "error": inner,
        }
        return frame(msgspec.json.encode(event), "error")


def as_chat(tree: dict[str, Any]) -> None:
    """Make a body into that of a chat with the same text, for a route to decide on."""
    turns = passed_texts(tree) or ["-"]
    model = tree.get("model")
    tree.clear()
    tree |= {"model": model, "messages": [{"role": "user", "content": text} for text in turns]}


def passed_texts(tree: dict[str, Any]) -> list[str] | None:
    """Give what the user says in a body that is only passed on, turn by turn.

    The turns of OpenAI's Responses are those of its `input`; anything else is one turn. None if some
    of it is token ids, which say nothing to who has not the model's vocabulary.
    """
    turns: list[str] = []
    for name in _TEXTS:
        value = tree.get(name)
        if isinstance(value, list) and any(_is_turn(each) for each in value):
            for each in value:
                if not isinstance(each, dict) or each.get("role", "user") == "user":
                    turns.append(_joined(each))
        elif value:
            turns.append(_joined(value))
        if _has_tokens(value):
            return None
    return with_suffix([turn for turn in turns if turn], tree)


def with_suffix(texts: list[str], tree: dict[str, Any]) -> list[str]:
    """Give the texts with what is to come after the last one, which a user says as well."""
    after = [tree[name] for name in _SUFFIXES if isinstance(tree.get(name), str) and tree[name]]
    if not after:
        return texts
    return [*texts[:-1], "\n".join([*texts[-1:], *after])]


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "content" in value)


def _joined(value: Any) -> str:
    return "\n".join(_strings(value, 0))


def _strings(value: Any, depth: int) -> Iterator[str]:
    """All texts in a value, but for the words of the format itself and what is encoded."""
    if isinstance(value, str):
        yield value
    elif depth < MAX_DEPTH and isinstance(value, list):
        for each in value:
            yield from _strings(each, depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, dict):
        for key, each in value.items():
            if key not in _NO_TEXTS:
                yield from _strings(each, depth + 1)


def _has_tokens(value: Any) -> bool:
    if isinstance(value, list):
        return any(type(each) is int or _has_tokens(each) for each in value)
    return isinstance(value, dict) and any(
        _has_tokens(each) for key, each in value.items() if key not in _NO_TEXTS
    )
