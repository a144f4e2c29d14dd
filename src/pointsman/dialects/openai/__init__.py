"""OpenAI's Chat Completions and embeddings, both ways.

Source: the types of the official client, openai 3.54. Paths are relative to a base URL that ends in
`/v1` (or whatever a compatible vendor has in its place).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from pointsman.dialects.base import Call, Target
from pointsman.dialects.openai import answer, embed, request
from pointsman.dialects.openai.embed import read_embed, write_embeddings
from pointsman.dialects.openai.error import read_error, write_error
from pointsman.dialects.openai.parts import DIALECT
from pointsman.dialects.openai.stream_reader import Reader
from pointsman.dialects.openai.stream_writer import Writer
from pointsman.errors import PointsmanError, ProviderError
from pointsman.types import Chat, Completion, Embed, Embeddings

__all__ = ["OPENAI", "OpenAI", "read_embed", "write_embeddings"]


class OpenAI:
    """Chat Completions as a `Dialect`; it holds no state.

    `clock` gives the Unix time in seconds: an answer has a date here, and elsewhere it has none.
    """

    name = DIALECT

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def read_chat(self, body: Mapping[str, Any]) -> Chat:
        """Read a client's request.

        Raises:
            RequestError: a wrong type or value; `param` is the JSON path.
        """
        return request.read_chat(body)

    def write_completion(self, completion: Completion, chat: Chat) -> dict[str, Any]:
        """Write a whole answer.

        Raises:
            UnsupportedParameter: a part that such an answer cannot hold (a sound).
        """
        return answer.write_completion(completion, self._clock)

    def stream_writer(self, chat: Chat) -> Writer:
        """Give a writer for one streamed answer."""
        return Writer(chat, self._clock)

    def write_error(self, error: PointsmanError) -> tuple[int, dict[str, Any]]:
        """Give the HTTP status and the body; the error's type follows from the status."""
        return write_error(error)

    def write_chat(self, chat: Chat, target: Target) -> Call:
        """Write a request for an upstream.

        Raises:
            UnsupportedParameter: OpenAI's form cannot say a part or a parameter of `chat`.
        """
        return request.write_chat(chat, target)

    def read_completion(self, body: Mapping[str, Any], target: Target) -> Completion:
        """Read an upstream's whole answer.

        Raises:
            BadAnswer: it breaks the dialect.
            ProviderError: it is an error in the clothes of an answer.
        """
        return answer.read_completion(body, target)

    def stream_reader(self, target: Target) -> Reader:
        """Give a reader for one upstream stream."""
        return Reader(target)

    def read_error(
        self, status: int, headers: Mapping[str, str], body: bytes, target: Target
    ) -> ProviderError:
        """Classify an upstream's error by its status; `body` may be anything at all."""
        return read_error(status, headers, body, target)

    def write_embed(self, embed_request: Embed, target: Target) -> Call:
        """Write an embeddings request.

        Raises:
            UnsupportedParameter: a parameter of another dialect that changes the vectors.
        """
        return embed.write_embed(embed_request, target)

    def read_embeddings(self, body: Mapping[str, Any], target: Target) -> Embeddings:
        """Read an upstream's embeddings.

        Raises:
            BadAnswer: it breaks the dialect.
        """
        return embed.read_embeddings(body, target)


OPENAI = OpenAI()
