"""What a probe may ask of a model, and how its answers are read as heads."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal, Protocol

__all__ = ["END", "Access", "Head", "ProbeTarget", "head_of_logprobs", "head_of_text"]

Access = Literal["logprobs", "text"]
# How a reply begins: the share of each first word. Of a text it is one word with a share of 1.
Head = Mapping[str, float]
# The head of a reply that is empty.
END = "<end>"
_FIRST = re.compile(r"\w+|[^\w\s]")
_MAX_CHARS = 400


class ProbeTarget(Protocol):
    """A model that answers: by the access there is.

    A prompt is the text of one user turn; whoever implements this puts it into the chat form.
    Answers come in the order of the prompts. What fails raises a PointsmanError.
    """

    @property
    def access(self) -> Access:
        """Which of `next_logprobs` and `complete` is to be asked."""

    def next_logprobs(self, prompts: Sequence[str]) -> Sequence[Mapping[str, float]]:
        """Give the natural-log probabilities of the reply's first token, the likeliest at least."""

    def complete(self, prompts: Sequence[str], max_tokens: int) -> Sequence[str]:
        """Give the beginning of the likeliest reply (temperature 0)."""

    def vocabulary(self) -> Sequence[str]:
        """Give the strings of the model's vocabulary; none where it cannot be had."""

    def recite(self, count: int) -> Sequence[str]:
        """Give what the model writes of itself where a user's turn begins; none where it cannot be had."""


def head_of_text(text: str, opening: Sequence[str] = ()) -> Head:
    """The head of a reply: its first word in lower case, or its first sign.

    `opening` are words that a reply may begin with; each of them is passed over, once.
    """
    words, left = _FIRST.findall(_plain(text[:_MAX_CHARS])), list(opening)
    while words and words[0] in left:
        left.remove(words.pop(0))
    return {words[0] if words else END: 1.0}


def head_of_logprobs(logprobs: Mapping[str, float]) -> Head:
    """The head by a first token's log-probabilities; tokens that differ in case or space are one."""
    head: dict[str, float] = {}
    for token, logprob in logprobs.items():
        word = _word(token[:_MAX_CHARS])
        head[word] = head.get(word, 0.0) + math.exp(min(logprob, 0.0))
    return head


@lru_cache(maxsize=65_536)
def _word(token: str) -> str:
    return _plain(token).strip() or END


def _plain(text: str) -> str:
    # The marks that tokenizers put for a space before a word.
    return unicodedata.normalize("NFKC", text.replace("Ġ", " ").replace("▁", " ")).lower()
