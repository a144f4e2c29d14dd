"""Which model `pointsman run NAME` means: one that is here, one behind a ref, or one to be pulled."""

from __future__ import annotations

import difflib

from msgspec import Struct

from pointsman.config import Config
from pointsman.errors import LocalError, PointsmanError, UnknownModel
from pointsman.local.catalogue import CATALOGUE
from pointsman.local.refs import CatalogueRef, OllamaRef, parse_ref
from pointsman.local.store import LocalModel, ModelStore
from pointsman.resolve import Resolver

__all__ = ["Pullable", "Target", "can_see", "find_target"]


class Target(Struct, frozen=True):
    """A model that can be asked, by `ref`; `model` is set where it is of this machine."""

    ref: str
    model: LocalModel | None = None


class Pullable(Struct, frozen=True):
    """A model that is not here, and can be pulled by `ref`."""

    ref: str


def find_target(
    name: str, config: Config, store: ModelStore, resolver: Resolver
) -> Target | Pullable:
    """Give what is meant by a name. In this order: an alias or a route; a model of this machine, by
    its name or by what it was pulled as; a provider's model; what can be pulled.

    `ollama:NAME` is a provider's where the configuration names that provider, else it is pulled.

    Raises:
        UnknownModel: it is none of these; names the nearest.
        RequestError: it is nearly something that can be pulled; says how to write it.
        LocalError: it is a model of this machine that can't be used.
    """
    if name in config.models or name.partition(":")[0] in resolver.routes():
        resolver.resolve(name)
        return Target(name)
    here = _here(name, store)
    if here is not None:
        return Target(f"local:{here.name}", here)
    pullable = _is_pullable(name)
    # An Ollama server may be a provider too; one that nobody configured is not meant.
    if (
        pullable
        and isinstance(parse_ref(name), OllamaRef)
        and name.partition(":")[0] not in config.providers
    ):
        return Pullable(name)
    try:
        resolver.resolve(name)
    except UnknownModel as error:
        if pullable:
            return Pullable(name)
        if name.endswith(".gguf"):
            parse_ref(name)  # Raises: it says how to name a file.
        near = difflib.get_close_matches(name, [*store.names(), *CATALOGUE], 1)
        if near:
            raise UnknownModel(f"no model '{name}'; did you mean '{near[0]}'?") from error
        raise
    return Target(name)


def can_see(target: Target, config: Config, resolver: Resolver) -> bool:
    """Whether images may be sent: not to a model of which it is known that it can't take them."""
    if target.model is not None:
        return target.model.projector is not None or target.model.url is not None
    if target.ref not in config.models and target.ref.partition(":")[0] in resolver.routes():
        return True  # The route takes a model that can.
    card = resolver.candidate(target.ref).card
    known = card.context_tokens is not None or card.input_usd_per_mtok is not None
    return card.vision or not known


def _here(name: str, store: ModelStore) -> LocalModel | None:
    asked = name.removeprefix("local:")
    try:
        full = store.find(asked)
    except LocalError:
        return next((each for each in store.list() if each.source == name), None)
    return store.get(full)


def _is_pullable(name: str) -> bool:
    try:
        ref = parse_ref(name)
    except PointsmanError:
        return False
    return not isinstance(ref, CatalogueRef) or ref.name in CATALOGUE
