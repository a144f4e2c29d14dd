"""What a model will hold in memory: its weights, and a cache as large as a small model's."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from pointsman.local.gguf import GgufHead


class Footprint(Struct, frozen=True):
    """Bytes."""

    weights_bytes: int
    cache_bytes: int
    compute_bytes: int
    base_bytes: int

    @property
    def total_bytes(self) -> int:
        """Sum."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes + self.base_bytes


def predict(
    head: GgufHead, *, context_tokens: int, extra_weights_bytes: int = 0, **_: Any
) -> Footprint:
    """Rough."""
    return Footprint(
        head.size_bytes + extra_weights_bytes, context_tokens * 23040, 64 << 20, 44 << 20
    )


def largest_context(
    head: GgufHead, budget_bytes: int, *, most: int, least: int, **facts: Any
) -> int | None:
    """Rough."""
    context = most
    while context >= least:
        if predict(head, context_tokens=context, **facts).total_bytes <= budget_bytes:
            return context
        context -= 256
    return None
