"""Which model an Ollama client means, and what must be so before it answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.dialects._shared import optional, want_string
from pointsman.dialects.ollama.answer import Stopwatch
from pointsman.dialects.ollama.durations import read_keep_alive
from pointsman.errors import LocalError, RequestError, UnknownModel
from pointsman.local.gguf import GgufHead, read_head
from pointsman.local.store import LocalModel

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["Target", "find_local", "find_target", "head_of", "load", "name_in"]

_LATEST = ":latest"


class Target(Struct, frozen=True):
    """What a name means: a ref, and the local model's name if it is one that runs here."""

    ref: str
    local: str | None = None


def name_in(body: dict[str, Any]) -> str:
    """Give the model's name: `model`, or `name` as older clients say.

    Raises:
        RequestError: there is none.
    """
    name = optional(body, "model", want_string) or optional(body, "name", want_string)
    if not name:
        raise RequestError("model is required", param="model")
    return name


def find_local(gateway: Gateway, name: str) -> str | None:
    """Give the full name of the local model that is meant; None if there is none."""
    try:
        return gateway.door.local.store.find(name.removeprefix("local:"))
    except LocalError:
        return None


def find_target(gateway: Gateway, name: str) -> Target:
    """Give what a name means: a local model first, then a ref; a tag `latest` may be a client's.

    An alias of a single local model is that model.

    Raises:
        UnknownModel: neither; the message names the nearest.
    """
    local = find_local(gateway, name)
    if local is not None:
        return Target(f"local:{local}", local)
    if name.endswith(_LATEST):
        try:
            return _target(gateway, name.removesuffix(_LATEST))
        except UnknownModel:
            pass  # It may be a model of that very name.
    try:
        return _target(gateway, name)
    except UnknownModel as error:
        near = error.message.partition("nearest: ")[2]
        hint = f" (nearest: {near})" if near else ""
        raise UnknownModel(
            f"model '{name[:200]}' not found, try pulling it first{hint}", param="model"
        ) from error


def _target(gateway: Gateway, ref: str) -> Target:
    plan = gateway.door.resolver.resolve(ref)
    only = plan.candidates[0] if len(plan.candidates) == 1 and plan.route is None else None
    return Target(ref, only.model if only is not None and only.local else None)


async def load(
    gateway: Gateway, name: str, body: dict[str, Any], num_ctx: int | None, watch: Stopwatch
) -> None:
    """Have a local model loaded, for as long as `keep_alive` says, with the context asked for.

    Raises:
        LocalError, MissingExtra: it cannot be loaded.
        RequestError: a wrong `keep_alive`, or a context that is larger than the model runs with.
    """
    await gateway.door.local.load(name, read_keep_alive(body.get("keep_alive")))
    watch.loaded()
    if num_ctx is None:
        return
    context = next(
        (each.context_tokens for each in gateway.door.local.running() if each.name == name), None
    )
    if context is not None and num_ctx > context:
        raise RequestError(
            f"'options.num_ctx' is {num_ctx}, and '{name}' runs with a context of {context} tokens,"
            f" which a request cannot change: set context = {num_ctx} under [local.models], or"
            f" create a model from it with PARAMETER num_ctx {num_ctx}",
            param="options.num_ctx",
        )


async def head_of(model: LocalModel) -> GgufHead | None:
    """Give the head of a model's file; None for one that runs elsewhere.

    Raises:
        LocalError: a broken file.
    """
    if model.url is not None:
        return None
    return await asyncio.to_thread(read_head, Path(model.path))
