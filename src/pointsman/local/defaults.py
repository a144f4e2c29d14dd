"""What holds for a model when a request, or the configuration, does not say."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["Defaults", "Sampling"]


class Sampling(Struct, frozen=True, omit_defaults=True):
    """What a model samples with, by llama.cpp's names; None leaves it to llama.cpp."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    seed: int | None = None


class Defaults(Struct, frozen=True, omit_defaults=True):
    """Settings that come with a model: from the catalogue, an Ollama store, or a Modelfile.

    `context_tokens` and `flags` (llama-server's long option names, without dashes) decide how its
    process is started; `max_tokens`, `stop`, `system` and `messages` (role, text; put before a
    request's own) are put into a request that lacks them.
    """

    sampling: Sampling = Sampling()
    context_tokens: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    system: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    flags: dict[str, Any] = field(default_factory=dict)
