"""Anthropic's Messages API, both ways.

Source: the types of the official client, anthropic 2.12.0, and Anthropic's API documentation
(read 2026-11). Paths are relative to a base URL that ends in `/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects.anthropic import answer, request, turns
from pointsman.dialects.anthropic.blocks import DIALECT
from pointsman.dialects.anthropic.error import read_error, write_error
from pointsman.dialects.anthropic.stream_reader import Reader
from pointsman.dialects.anthropic.stream_writer import Writer
from pointsman.dialects.base import Call, Target
from pointsman.errors import BadAnswer, PointsmanError, ProviderError, UnsupportedParameter
from pointsman.types import Chat, Completion, Embed, Embeddings

__all__ = ["ANTHROPIC", "Anthropic"]


class Anthropic:
    """The Messages API as a `Dialect`; it holds no state.

    What it loses by reading: citations in answers, the results of server tools, and the details
    of a refusal, for which the middle form has no place. The text is always kept.
    """

    name = DIALECT

    def read_chat(self, body: Mapping[str, Any]) -> Chat:
        """Read a client's request; see `request.read_chat` for what goes into `extra`.

        Raises:
            RequestError: a wrong type or value, or no `max_tokens`; `param` is the JSON path.
            UnsupportedParameter: a block that only Anthropic can read (a server tool's).
        """
        return request.read_chat(body)

    def write_completion(self, completion: Completion, chat: Chat) -> dict[str, Any]:
        """Write a whole answer. Signatures that Anthropic did not make are sealed.

        Raises:
            UnsupportedParameter: a part that an Anthropic answer cannot hold (an image, a sound).
            BadAnswer: a complete tool call whose arguments are no object.
        """
        return answer.write_completion(completion)

    def stream_writer(self, chat: Chat) -> Writer:
        """Give a writer for one streamed answer."""
        return Writer(chat.model)

    def write_error(self, error: PointsmanError) -> tuple[int, dict[str, Any]]:
        """Give the HTTP status and the body; the error's type follows from the status."""
        return write_error(error)

    def write_chat(self, chat: Chat, target: Target) -> Call:
        """Write a request for an upstream.

        Raises:
            RequestError: a value that Anthropic's ranges exclude.
            UnsupportedParameter: Anthropic cannot say a part or a parameter of `chat`.
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

    def write_embed(self, embed: Embed, target: Target) -> Call:
        """Refuse: Anthropic has no embeddings.

        Raises:
            UnsupportedParameter: always.
        """
        raise UnsupportedParameter(
            "input", target.provider, "Anthropic's API has no embeddings: choose another provider"
        )

    def read_embeddings(self, body: Mapping[str, Any], target: Target) -> Embeddings:
        """Refuse: Anthropic has no embeddings, so no answer can hold any.

        Raises:
            BadAnswer: always.
        """
        raise BadAnswer(
            f"{target.provider} speaks Anthropic's API, which has no embeddings",
            provider=target.provider,
            model=target.model,
        )

    def own_body(self, body: Mapping[str, Any], target: Target) -> dict[str, Any]:
        """Give a request's body for a provider of this dialect, with only the thinking that the
        provider signed, unsealed; all else is as it was, cache marks and server tools too.
        """
        return turns.own_turns(body, target)

    def read_count(self, body: Mapping[str, Any]) -> Chat:
        """Read a client's request for a count of tokens: as `read_chat`, with no `max_tokens`.

        Raises:
            RequestError: a wrong type or value; `param` is the JSON path.
            UnsupportedParameter: a block that only Anthropic can read.
        """
        return request.read_chat(body, counting=True)

    def write_count(self, chat: Chat, target: Target) -> Call:
        """Write a request for a count of the prompt's tokens.

        Raises:
            UnsupportedParameter: Anthropic cannot say a part of the prompt.
        """
        return request.write_count(chat, target)

    def read_token_count(self, body: Mapping[str, Any], target: Target) -> int:
        """Read an upstream's count of the prompt's tokens.

        Raises:
            BadAnswer: there is no count.
        """
        count = body.get("input_tokens")
        if not isinstance(count, int):
            raise BadAnswer(
                f"{target.provider} gave no count of tokens",
                provider=target.provider,
                model=target.model,
            )
        return count

    def write_token_count(self, input_tokens: int) -> dict[str, Any]:
        """Write a count of tokens for the client."""
        return {"input_tokens": input_tokens}


ANTHROPIC = Anthropic()
