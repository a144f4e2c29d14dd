"""What the fake provider is told to answer, and what it remembers: values, the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

__all__ = ["Answer", "Call", "Fault", "Recorded", "Reply", "Script"]


class Call(Struct, frozen=True):
    """A tool call in an answer. `arguments` is sent as an object or as its JSON text, by dialect.

    Without an `id` one is minted, but for Gemini, which often gives none. `signature` is Gemini's
    `thoughtSignature` on this call; it is sent as the base64 of the text.
    """

    name: str
    arguments: dict[str, Any] = {}
    id: str | None = None
    signature: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """A good answer.

    In a stream `text`, `reasoning` and arguments are each cut into `pieces`, which come `delay_s`
    seconds apart; a whole answer comes after `delay_s`. `signature` is that of the reasoning
    (Anthropic's `signature`; Gemini's `thoughtSignature` on the text, sent as base64), `redacted`
    an opaque thinking block (Anthropic only). `refusal` is the model's refusal, in each dialect's
    own way. `finish` is the dialect's own word in place of the usual one, `stop_sequence` the
    sequence that Anthropic reports. Counts of tokens are as in `pointsman.Usage`: `input_tokens`
    includes cached and written ones, `output_tokens` includes reasoning. Those left 0 are counted
    from the text, four characters a token. `logprobs` gives each piece one, of the value `logprob`.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""
    signature: str | None = None
    redacted: str | None = None
    refusal: str = ""
    finish: str | None = None
    stop_sequence: str | None = None
    pieces: int = 4
    delay_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    logprobs: bool = False
    logprob: float = -0.25


_EIGHT_WORDS = Answer(text="one two three four five six seven eight", pieces=8)


class Fault(Struct, frozen=True, kw_only=True):
    """A bad answer. Give one of the following; `stall_s` goes with any.

    - `status`: an error answer with `message` in the dialect's form (or `body` as it stands) and,
      where set, the header `retry-after`.
    - `close`: the connection is closed without an answer.
    - `stall_s`: silence for so many seconds before the head, and then the rest.
    - `cut_after`, `stall_after`, `garbage_after`, `error_after`: `answer` is sent for so many
      events of its stream; then the socket is cut, nothing more comes, a piece that is no JSON
      comes, or the dialect's own in-stream error comes. Without a stream the first half of the body
      counts as the events before.
    - `pause_after`: a stream stops for `pause_s` seconds after so many events, and then goes on.
    - `huge_bytes`: a body of that size (in a stream: one event of it).
    - `endless_head`: header lines without end (up to 1 MB).
    """

    status: int | None = None
    message: str = "a fault was asked for"
    body: bytes | None = None
    retry_after: str | None = None
    close: bool = False
    stall_s: float | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    pause_after: int | None = None
    pause_s: float = 1.0
    garbage_after: int | None = None
    error_after: int | None = None
    huge_bytes: int | None = None
    endless_head: bool = False
    answer: Answer = _EIGHT_WORDS


Reply: TypeAlias = Answer | Fault


class Recorded(Struct):
    """A request as it came, and how its answer ended.

    `path` includes the query. `headers` have lower-case names. `body` is the decoded JSON, or None
    if it was none; `raw` are its bytes. `received_s` and `finished_s` are Unix times; the second
    is None while the answer is under way. `cancelled` says that the client hung up before the end.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    raw: bytes
    dialect: str
    stream: bool
    model: str
    cancelled: bool = False
    received_s: float = 0.0
    finished_s: float | None = None


Script: TypeAlias = Sequence[Reply] | Callable[[Recorded], Reply]
