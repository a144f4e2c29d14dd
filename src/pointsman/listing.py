"""Asks the configured providers for the models they serve."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from pointsman.door import Door
from pointsman.errors import PointsmanError
from pointsman.providers.binding import configured_names
from pointsman.types import ModelInfo

__all__ = ["list_models", "list_provider", "read_models"]

TIMEOUT_S = 5.0
CACHE_S = 300.0
MAX_PAGES = 20


async def list_models(door: Door, clock: Callable[[], float]) -> tuple[list[ModelInfo], list[str]]:
    """Give every model that a ref can name now, and the providers that did not answer.

    Routes and aliases come first, then local models, then what the configured providers list; a
    provider's list is asked for once in 300 s, and given 5 s. `clock` counts seconds.
    """
    own = [
        ModelInfo(ref, "local" if ref.startswith("local:") else "pointsman", ref)
        for ref in door.resolver.known_refs()
    ]
    names = [n for n in configured_names(door.config) if _lists(door, n)]
    results = await asyncio.gather(*(_cached(door, name, clock) for name in names))
    missing = [name for name, models in zip(names, results, strict=True) if models is None]
    return [*own, *(model for models in results for model in models or ())], missing


async def list_provider(door: Door, name: str) -> list[ModelInfo]:
    """Give the models that one provider lists, all pages of it (at most 20).

    Raises:
        PointsmanError: no such provider, no key, or it fails.
    """
    binding = door.dispatcher.binding(name)
    found: list[ModelInfo] = []
    token = ""
    for _ in range(MAX_PAGES):
        body = await door.dispatcher.fetch(binding, binding.get(f"/models{token}"))
        try:
            tree = msgspec.json.decode(body)
        except msgspec.DecodeError:
            tree = None
        page, token = read_models(name, binding.dialect, tree)
        found += page
        if not token:
            break
    return found


def read_models(name: str, dialect: str, tree: Any) -> tuple[list[ModelInfo], str]:
    """Read one page of a provider's list; gives the models and the query of the next page.

    What is no model row is passed over: lists are for people to choose from, and providers add to
    them freely.
    """
    if isinstance(tree, Mapping):
        rows = tree.get("data") if dialect != "gemini" else tree.get("models")
    else:
        rows = tree  # Together answers with a bare list.
    models = [_info(name, row) for row in _mappings(rows)]
    token = ""
    if isinstance(tree, Mapping):
        if dialect == "gemini" and tree.get("nextPageToken"):
            token = f"?pageToken={tree['nextPageToken']}"
        elif dialect == "anthropic" and tree.get("has_more") and tree.get("last_id"):
            token = f"?after_id={tree['last_id']}"
    return [model for model in models if model is not None], token


def _mappings(rows: Any) -> Iterable[Mapping[str, Any]]:
    return (row for row in rows if isinstance(row, Mapping)) if isinstance(rows, list) else ()


def _info(provider: str, row: Mapping[str, Any]) -> ModelInfo | None:
    name = row.get("id") or row.get("name")
    if not isinstance(name, str) or not name:
        return None
    name = name.removeprefix("models/")
    created = row.get("created")
    if created is None and isinstance(row.get("created_at"), str):
        try:
            created = int(datetime.datetime.fromisoformat(row["created_at"]).timestamp())
        except ValueError:
            created = None
    context = row.get("context_length") or row.get("context_window") or row.get("inputTokenLimit")
    return ModelInfo(
        ref=f"{provider}:{name}",
        provider=provider,
        name=name,
        created=int(created) if isinstance(created, int | float) else None,
        context_tokens=context if isinstance(context, int) else None,
    )


def _lists(door: Door, name: str) -> bool:
    try:
        return door.dispatcher.binding(name).row.capabilities.list_models
    except PointsmanError:
        return False  # No key or no base URL: `providers` and `doctor` say so.


async def _cached(door: Door, name: str, clock: Callable[[], float]) -> list[ModelInfo] | None:
    cached = door.listed.get(name)
    if cached is not None and clock() - cached[0] < CACHE_S:
        return cached[1]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            models = await list_provider(door, name)
    except (PointsmanError, TimeoutError):
        return None
    door.listed[name] = (clock(), models)
    return models
