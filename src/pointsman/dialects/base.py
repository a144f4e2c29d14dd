"""What a dialect is: one wire format, read and written on both sides, by pure functions of values.

A dialect meets Pointsman twice. Towards a client we are the server: `read_chat`, `write_completion`,
`stream_writer`, `write_error`. Towards a provider we are the client: `write_chat`,
`read_completion`, `stream_reader`, `read_error`. Nothing here does input or output. A dialect that
only clients speak (Ollama's) is a `ClientDialect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from pointsman._sse import Event
from pointsman.errors import PointsmanError, ProviderError
from pointsman.types import Chat, Chunk, Completion, Embed, Embeddings

__all__ = [
    "AnswerReader",
    "Call",
    "ClientDialect",
    "Dialect",
    "Quirks",
    "StreamReader",
    "StreamWriter",
    "Target",
]


class Quirks(Struct, frozen=True, kw_only=True):
    """Where a provider departs from its dialect. The defaults are the dialect itself.

    `max_tokens_field` is the OpenAI-style name for the limit on output (`max_completion_tokens` or
    `max_tokens`). `developer_role` says that a `developer` message is taken. `stream_usage` says
    that `stream_options.include_usage` is taken. `string_content` says that content must be a
    string. `tool_id_pattern` names a rule for tool call ids ("mistral": 9 alphanumeric characters).
    `required_word` is the provider's word for tool_choice "required"; `seed_field` its word for
    `seed`. `llama_cpp` says that llama.cpp's own server answers: it takes that server's sampling
    parameters and the arguments of chat templates.
    """

    max_tokens_field: str = "max_completion_tokens"
    developer_role: bool = False
    stream_usage: bool = True
    string_content: bool = False
    tool_id_pattern: str | None = None
    required_word: str = "required"
    seed_field: str = "seed"
    llama_cpp: bool = False


class Target(Struct, frozen=True):
    """The upstream that a request is written for, or an answer read from."""

    provider: str
    model: str
    quirks: Quirks = Quirks()


class Call(Struct, frozen=True):
    """A request in a dialect: `path` is relative to the provider's base URL, and starts with `/`.

    `headers` are those of the dialect itself (no credentials). `ignored` names the parameters
    that were left out because they are hints which cannot change the answer (cache marks, user
    ids, metadata): the gateway reports them in `x-pointsman-ignored`, so that none vanishes.
    `single_call` says that the caller wants at most one tool call and that the dialect cannot say so:
    whoever reads the answer then keeps the first one of each choice.
    """

    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    single_call: bool = False


class StreamReader(Protocol):
    """Reads one upstream stream. Feed it the events in order, then `finish`."""

    def read(self, event: Event) -> list[Chunk]:
        """Give the chunks that the event holds.

        Raises:
            ProviderError: the event is an in-band error.
            BadAnswer: the event breaks the dialect.
        """
        ...

    def finish(self) -> list[Chunk]:
        """Give what the end of the stream completes.

        Raises:
            StreamCut: the dialect's own end was not seen.
        """
        ...


class StreamWriter(Protocol):
    """Writes one stream to a client, as whole events (server-sent ones, or lines of JSON)."""

    def write(self, chunk: Chunk) -> bytes:
        """Give the events for the chunk; may be empty."""
        ...

    def finish(self) -> bytes:
        """Give the events that end a complete stream."""
        ...

    def fail(self, error: PointsmanError) -> bytes:
        """Give the in-band error event; what marks a complete stream is never faked after it."""
        ...


class ClientDialect(Protocol):
    """A wire format towards a client, of which we are the server."""

    name: str

    def read_chat(self, body: Mapping[str, Any]) -> Chat:
        """Read a client's request body. Where the wire has the model or `stream` in the URL
        (Gemini), the caller has put them into the body as `model` and `stream`.

        Raises:
            RequestError: a wrong type or value; `param` is the JSON path (`messages[2].content`).
        """
        ...

    def write_completion(self, completion: Completion, chat: Chat) -> dict[str, Any]:
        """Write a whole answer for the client that sent `chat`."""
        ...

    def stream_writer(self, chat: Chat) -> StreamWriter:
        """Give a writer for one streamed answer to the client that sent `chat`."""
        ...

    def write_error(self, error: PointsmanError) -> tuple[int, dict[str, Any]]:
        """Give the HTTP status and the body of an error, in the form that official clients read."""
        ...


class AnswerReader(Protocol):
    """Reads what an upstream answers."""

    def read_completion(self, body: Mapping[str, Any], target: Target) -> Completion:
        """Read an upstream's whole answer.

        Raises:
            BadAnswer: it breaks the dialect.
            ProviderError: it is an error in the clothes of an answer (a blocked prompt, a
                malformed function call).
        """
        ...

    def stream_reader(self, target: Target) -> StreamReader:
        """Give a reader for one upstream stream."""
        ...


class Dialect(ClientDialect, AnswerReader, Protocol):
    """One wire format, both ways. Implementations hold no state."""

    def write_chat(self, chat: Chat, target: Target) -> Call:
        """Write a request for an upstream.

        Raises:
            UnsupportedParameter: the dialect cannot say a part or a parameter of `chat`.
        """
        ...

    def read_error(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> ProviderError:
        """Classify an upstream's error by its status first. `body` may be anything at all."""
        ...

    def write_embed(self, embed: Embed, target: Target) -> Call:
        """Write an embeddings request for an upstream.

        Raises:
            UnsupportedParameter: the dialect has no embeddings, or not this parameter.
        """
        ...

    def read_embeddings(self, body: Mapping[str, Any], target: Target) -> Embeddings:
        """Read an upstream's embeddings.

        Raises:
            BadAnswer: it breaks the dialect.
        """
        ...
