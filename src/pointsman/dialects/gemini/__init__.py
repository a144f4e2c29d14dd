"""Gemini's generateContent, embeddings and counts, both ways.

Source: the official client, google-genai 2.34, and Google's REST reference (read 2026-11). Paths
are relative to a base URL that ends in `/v1beta`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects.base import Call, Target
from pointsman.dialects.gemini import answer, embed, own, request
from pointsman.dialects.gemini.error import read_error, write_error
from pointsman.dialects.gemini.parts import DIALECT
from pointsman.dialects.gemini.stream import ArrayWriter, Reader, Writer
from pointsman.errors import BadAnswer, PointsmanError, ProviderError
from pointsman.types import Chat, Completion, Embed, Embeddings

__all__ = ["GEMINI", "Gemini"]


class Gemini:
    """generateContent as a `Dialect`; it holds no state.

    What it loses by reading an answer: images, code that the provider ran and its results, and
    grounding, for which a stream's chunks have no place. The text is always kept.
    """

    name = DIALECT

    def read_chat(self, body: Mapping[str, Any]) -> Chat:
        """Read a client's request, with `model` and `stream` put into it.

        Raises:
            RequestError: a wrong type or value; `param` is the JSON path.
        """
        return request.read_chat(body)

    def write_completion(self, completion: Completion, chat: Chat) -> dict[str, Any]:
        """Write a whole answer. Signatures that Gemini did not make are sealed.

        Raises:
            BadAnswer: a tool call whose arguments are no object.
        """
        return answer.write_completion(completion)

    def stream_writer(self, chat: Chat) -> Writer:
        """Give a writer for one streamed answer, as server-sent events."""
        return Writer(chat)

    def array_stream_writer(self, chat: Chat) -> ArrayWriter:
        """Give a writer for one streamed answer, as one JSON array."""
        return ArrayWriter(chat)

    def write_error(self, error: PointsmanError) -> tuple[int, dict[str, Any]]:
        """Give the HTTP status and the body; Google's name follows from the status."""
        return write_error(error)

    def write_chat(self, chat: Chat, target: Target) -> Call:
        """Write a request for an upstream.

        Raises:
            UnsupportedParameter: Gemini cannot say a part or a parameter of `chat`.
            RequestError: a tool's result whose function is not known.
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
            UnsupportedParameter: token lists, or a parameter of another dialect.
        """
        return embed.write_embed(embed_request, target)

    def read_embeddings(self, body: Mapping[str, Any], target: Target) -> Embeddings:
        """Read an upstream's embeddings.

        Raises:
            BadAnswer: it breaks the dialect.
        """
        return embed.read_embeddings(body, target)

    def own_body(self, body: Mapping[str, Any], target: Target) -> dict[str, Any]:
        """Give a client's body with sealed signatures opened for their maker, and for no other."""
        return own.own_body(body, target)

    def read_embed(self, body: Mapping[str, Any]) -> Embed:
        """Read a client's embeddings request.

        Raises:
            RequestError: a wrong type or value.
        """
        return embed.read_embed(body)

    def write_embeddings(self, embeddings: Embeddings, batch: bool) -> dict[str, Any]:
        """Write embeddings for a client, of a `batch` or of one text.

        Raises:
            BadAnswer: there is no vector to give.
        """
        return embed.write_embeddings(embeddings, batch)

    def write_count(self, chat: Chat, target: Target) -> Call:
        """Write a request for a count of the prompt's tokens.

        Raises:
            UnsupportedParameter: Gemini cannot say a part of the prompt.
        """
        return request.write_count(chat, target)

    def read_count(self, body: Mapping[str, Any]) -> int:
        """Read an upstream's count of tokens; proto-JSON leaves a count of 0 out.

        Raises:
            BadAnswer: the count is no number.
        """
        count = body.get("totalTokens", 0)
        if not isinstance(count, int):
            raise BadAnswer("the upstream gave no count of tokens", provider="")
        return count

    def write_token_count(self, tokens: int) -> dict[str, Any]:
        """Write a count of tokens for a client."""
        return {"totalTokens": tokens}


GEMINI = Gemini()
