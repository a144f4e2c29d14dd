"""What the teacher is asked and what it answers: the one seam between this room and any model."""

from __future__ import annotations

import hashlib
from typing import Protocol

import msgspec
from msgspec import Struct

from pointsman.types import Chat, TokenLogprob, Usage

__all__ = ["Answer", "Price", "Question", "Teacher", "key_of", "lean"]

KEY_CHARS = 32
MAX_TEXT_CHARS = 1_000_000
# Alternatives to a token as sure as this one say nothing worth keeping (natural log of 0.99).
SURE_LOGPROB = -0.01005


class Answer(Struct, frozen=True, kw_only=True):
    """One answer of the teacher, and what it cost.

    `cost_usd` is None where the price or the usage is unknown. `cut` says that the answer hit its
    limit of tokens, `refused` that the provider itself marked a refusal or filtered it.
    """

    text: str
    usage: Usage | None = None
    cost_usd: float | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    cut: bool = False
    refused: bool = False


class Price(Struct, frozen=True):
    """US dollars per million tokens: an upper bound, where a ref may mean several models."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float


class Question(Struct, frozen=True, kw_only=True):
    """One request to the teacher; `index` sets questions of a stage with equal prompts apart."""

    stage: str
    index: int
    chat: Chat


class Teacher(Protocol):
    """A model that answers. The host fills it with a client; tests with a script.

    `price` is None where it is unknown. `json_schema` says that the form of an answer can be
    demanded, `logprobs` that an answer carries the probabilities of its tokens on request.
    """

    ref: str
    price: Price | None
    json_schema: bool
    logprobs: bool

    async def ask(self, chat: Chat) -> Answer:
        """Give the answer to a chat.

        Raises:
            ProviderError: the provider refuses or fails; nothing is retried here.
        """
        ...


def key_of(question: Question, ref: str, seed: int) -> str:
    """Give the key under which an answer is kept: what was asked, of whom, and for which run."""
    chat = msgspec.structs.replace(question.chat, model=ref)
    body = msgspec.json.encode((question.stage, question.index, ref, seed, chat), order="sorted")
    return hashlib.sha256(body).hexdigest()[:KEY_CHARS]


def lean(answer: Answer) -> Answer:
    """Give the answer as it is kept and used: bounded, and without probabilities that say nothing."""
    logprobs = answer.logprobs and tuple(
        TokenLogprob(
            each.token,
            each.logprob,
            top=()
            if each.logprob > SURE_LOGPROB
            else tuple(TokenLogprob(other.token, other.logprob) for other in each.top),
        )
        for each in answer.logprobs
    )
    return msgspec.structs.replace(answer, text=answer.text[:MAX_TEXT_CHARS], logprobs=logprobs)
