"""What may be spent: an upper bound for each request before it goes out, and caps that hold."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pointsman.distill.teacher.asking import Answer, Price
from pointsman.types import Chat, Text

__all__ = ["BATCH_SHARE", "Budget", "Limits", "bound_usd", "expected_usd"]

# Every tokenizer in use falls back to bytes, so a text never has more tokens than UTF-8 bytes. What
# a provider adds for turns and for the form of the answer is covered by a lump sum.
OVERHEAD_TOKENS = 600
# Per row kept, in and out: its share of the prompts, its text, its blind label, and the rows lost.
ROW_TOKENS = (400, 140)
ROW_TOKENS_LABELLED = 120
BATCH_SHARE = 0.5
"""Source: OpenAI's and Anthropic's price pages, 2026-11: a batch costs half."""


class Limits(Struct, frozen=True, kw_only=True):
    """The caps of a run; None is no cap. `share` is the part of the price that is paid."""

    max_usd: float | None = None
    max_calls: int | None = None
    share: float = 1.0


def bound_usd(chat: Chat, price: Price | None, share: float = 1.0) -> float:
    """Give the most that a request can cost; 0 without a price."""
    if price is None:
        return 0.0
    size = sum(
        len(part.text.encode("utf-8", "surrogatepass"))
        for message in chat.messages
        for part in message.parts
        if isinstance(part, Text)
    )
    if chat.response_format is not None:
        size += len(msgspec.json.encode(chat.response_format))
    assert chat.max_tokens is not None, "every question has a limit of tokens"
    into = (size + OVERHEAD_TOKENS) * price.input_usd_per_mtok
    return share * (into + chat.max_tokens * price.output_usd_per_mtok) / 1e6


def expected_usd(price: Price, rows: int, *, own: bool = False, share: float = 1.0) -> float:
    """Give about what rows cost, for a person to decide by; no bound.

    `own` texts are labelled twice and not written.
    """
    into, out = (ROW_TOKENS_LABELLED * 2, 30) if own else ROW_TOKENS
    return share * rows * (into * price.input_usd_per_mtok + out * price.output_usd_per_mtok) / 1e6


class Budget:
    """Money and calls that are left. Reserve before asking, then settle or release.

    `spent_usd` and `calls` start with what the ledger holds.
    """

    def __init__(
        self, limits: Limits, price: Price | None, spent_usd: float = 0.0, calls: int = 0
    ) -> None:
        self.limits = limits
        self.price = price
        self.spent_usd = spent_usd
        self.calls = calls
        self._reserved_usd = 0.0
        self._reserved_calls = 0

    def bound_usd(self, chat: Chat) -> float:
        """Give the most that a request can cost under this price."""
        return bound_usd(chat, self.price, self.limits.share)

    def refusal(self, bound: float) -> str | None:
        """Why a request may not go out; None if it may."""
        most = self.limits.max_usd
        if most is not None and self.spent_usd + self._reserved_usd + bound > most:
            return f"the cost cap of ${most:g}"
        calls = self.limits.max_calls
        if calls is not None and self.calls + self._reserved_calls >= calls:
            return f"the cap of {calls} calls"
        return None

    def left_usd(self) -> float:
        """Give what is left to spend; infinite without a cap."""
        most = self.limits.max_usd
        return float("inf") if most is None else most - self.spent_usd - self._reserved_usd

    def left_calls(self) -> float:
        """Give how many calls are left; infinite without a cap."""
        most = self.limits.max_calls
        return float("inf") if most is None else most - self.calls - self._reserved_calls

    def reserve(self, bound: float) -> None:
        """Set aside what a request may cost."""
        self._reserved_usd += bound
        self._reserved_calls += 1

    def release(self, bound: float) -> None:
        """Give back what was set aside: the request cost nothing."""
        self._reserved_usd -= bound
        self._reserved_calls -= 1

    def settle(self, bound: float, cost: float) -> None:
        """Turn what was set aside into what it cost."""
        self.release(bound)
        self.spent_usd += cost
        self.calls += 1

    def cost_of(self, answer: Answer, bound: float) -> float:
        """Give what an answer counts as: its cost, or the bound where the provider doesn't say."""
        if answer.cost_usd is not None:
            return answer.cost_usd * self.limits.share
        return bound
