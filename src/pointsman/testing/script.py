"""What the fake provider is told to answer: values, the same for every dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from msgspec import Struct

__all__ = ["Answer", "Call", "Fault", "Recorded", "Reply"]


class Call(Struct, frozen=True):
    """A tool call in an answer. `arguments` is sent as an object or as its JSON text, by dialect."""

    name: str
    arguments: dict[str, Any] = {}
    id: str | None = None
    signature: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """A good answer.

    `text` is cut into `pieces` for a stream, which come `delay_s` apart. `signature` is of the
    reasoning (Anthropic's `signature`, Gemini's `thoughtSignature`), `redacted` an opaque thinking
    block (Anthropic only). `finish` is the dialect's own word, in place of the usual one. `usage`
    counts are as in `pointsman.Usage`; those left 0 are counted from the text.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    signature: str | None = None
    redacted: str | None = None
    refusal: str = ""
    finish: str | None = None
    pieces: int = 4
    delay_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    logprobs: bool = False


class Fault(Struct, frozen=True, kw_only=True):
    """A bad one. Give one of the following.

    `status`: an error answer with `message` in the dialect's form (or `body` as it stands) and,
    if set, `retry_after`. `close`: the connection is closed without an answer. `stall_s`: silence
    for so long before the head. `cut_after`, `stall_after`, `garbage_after`, `error_after`: a good
    stream for so many events, and then the socket is cut, nothing more comes, an event that is no
    JSON comes, or the dialect's in-stream error comes. `huge_bytes`: a body of that size.
    `endless_head`: header lines without end (up to 1 MB).
    """

    status: int | None = None
    message: str = "a fault was asked for"
    body: bytes | None = None
    retry_after: str | None = None
    close: bool = False
    stall_s: float | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    garbage_after: int | None = None
    error_after: int | None = None
    huge_bytes: int | None = None
    endless_head: bool = False


Reply: TypeAlias = Answer | Fault


class Recorded(Struct):
    """A request as it came. `cancelled` says that the client hung up before the answer's end."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    raw: bytes
    dialect: str
    stream: bool
    model: str
    cancelled: bool = False
