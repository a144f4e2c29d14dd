"""What Ollama's clients ask of models: which there are, which run, and what one is."""

from __future__ import annotations

import asyncio
import datetime
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.dialects._shared import optional, want_boolean
from pointsman.dialects.ollama.answer import rfc3339
from pointsman.errors import LocalError, MissingKey, PointsmanError
from pointsman.gateway.exchange import Exchange, Headers
from pointsman.gateway.routes import console, own
from pointsman.gateway.routes.ollama_target import find_target, name_in
from pointsman.gateway.wire import decode_body
from pointsman.local.gguf import FILE_TYPES
from pointsman.local.gguf_metadata import read_metadata, read_outline
from pointsman.local.ollama.capabilities import capabilities_of as capabilities_in
from pointsman.local.ollama.modelfile import write_modelfile, write_parameters
from pointsman.local.ollama.parameters import parameters_of
from pointsman.local.store import LocalModel
from pointsman.providers.binding import configured_names
from pointsman.providers.prices import default_models
from pointsman.resolve import Candidate

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["API_VERSION", "capabilities_of", "ps", "root", "show", "tags", "version"]

# Clients ask for a least version by what they need: 0.6.4 for lists and tools (Copilot Chat), 0.9
# for thinking, 0.12.11 for log-probabilities, 0.13.4 for /v1/responses, 0.14 for /v1/messages. What
# came later (images made, System One) is not here.
API_VERSION = "0.14.2"
RUNNING = b"Ollama is running"
# Go's longest duration: what an Ollama says of a model that stays.
FOREVER_S = (2**63 - 1) / 1e9
_COPILOT = "GitHubCopilotChat/"
_UNKNOWN_TIME = "1970-01-01T00:00:00Z"


class Facts(Struct, frozen=True):
    """What a model's file says of it, for a list."""

    family: str
    parameters: int
    quantization: str
    capabilities: tuple[str, ...]


async def root(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /` and `HEAD /`: Ollama's own words, by which its clients know it is there.

    A caller that asks for JSON, or says nothing of what it takes, gets what this gateway is; one
    that calls itself Ollama's client gets the words in any case. A browser gets the console.
    """
    accept = exchange.header(b"accept")
    ollama = (exchange.header(b"user-agent") or "").lower().startswith("ollama")
    if not ollama and (accept is None or "application/json" in accept):
        await own.root(gateway, exchange)
        return
    if not ollama and console.wants_page(accept):
        await console.page(gateway, exchange)
        return
    headers: Headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"vary", b"accept, user-agent"),
    ]
    await exchange.respond(200, headers, RUNNING)


async def version(_gateway: Gateway, exchange: Exchange) -> None:
    """`GET /api/version`: the release of Ollama whose API this is."""
    await exchange.respond_json(200, {"version": API_VERSION})


async def tags(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /api/tags`: the local models, the newest first, then what else a client may ask for.

    That is the routes, the aliases, and a few well-known models of each provider whose key is
    there; no provider is asked, since clients ask this to see whether we are alive.
    """
    gateway.begin(exchange)
    models = await asyncio.to_thread(_local_rows, gateway)
    await exchange.respond_json(200, {"models": [*models, *_remote_rows(gateway)]})


async def ps(gateway: Gateway, exchange: Exchange) -> None:
    """`GET /api/ps`: the models that run."""
    gateway.begin(exchange)
    running = gateway.door.local.running()
    found = await asyncio.to_thread(_models, gateway, [each.name for each in running])
    rows = []
    for each in running:
        model = found.get(each.name)
        if model is None:
            continue
        left_s = FOREVER_S if each.expires_in_s is None and not each.leases else each.expires_in_s
        expires_ns = time.time_ns() + int((left_s or 0.0) * 1e9)
        rows.append(
            {
                **_row(model),
                "expires_at": rfc3339(expires_ns),
                "size": each.predicted_bytes or each.resident_bytes or model.bytes,
                "size_vram": each.vram_bytes,
                "context_length": each.context_tokens or 0,
            }
        )
        rows[-1].pop("modified_at")
    rows.sort(key=lambda row: row["expires_at"], reverse=True)
    await exchange.respond_json(200, {"models": rows})


async def show(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/show`: what is known of a model."""
    body = decode_body(await exchange.body(gateway.max_body_bytes))
    gateway.begin(exchange)
    name = name_in(body)
    verbose = optional(body, "verbose", want_boolean) or False
    target = find_target(gateway, name)
    if target.local is None:
        answer = _remote_answer(gateway, target.ref)
    else:
        model = gateway.door.local.store.get(target.local)
        answer = await asyncio.to_thread(_local_answer, model, verbose)
    if (exchange.header(b"user-agent") or "").startswith(_COPILOT):
        # It shows this name, and people know the model by the one in the list.
        answer["model_info"]["general.basename"] = name
    await exchange.respond_json(200, answer)


async def capabilities_of(model: LocalModel) -> tuple[str, ...]:
    """What a local model can do, in Ollama's words.

    Raises:
        LocalError: its file is gone or broken.
    """
    return (await asyncio.to_thread(_facts, model)).capabilities


# --- local models ---


def _local_rows(gateway: Gateway) -> list[dict[str, Any]]:
    rows = [_row(model) for model in gateway.door.local.store.list()]
    rows.sort(key=lambda row: str(row["modified_at"]), reverse=True)
    return rows


def _models(gateway: Gateway, names: list[str]) -> dict[str, LocalModel]:
    found = {}
    for name in names:
        try:
            found[name] = gateway.door.local.store.get(name)
        except LocalError:
            continue  # It was removed while it runs.
    return found


def _row(model: LocalModel) -> dict[str, Any]:
    tagged = model.name if ":" in model.name else f"{model.name}:latest"
    try:
        details = _details(_facts(model))
    except LocalError:
        details = _details(None)  # A broken file is listed, so that it can be removed.
    return {
        "name": tagged,
        "model": tagged,
        "modified_at": _modified_at(model),
        "size": model.bytes,
        "digest": model.sha256 or "",
        "details": details,
    }


def _details(facts: Facts | None) -> dict[str, Any]:
    family = "" if facts is None else facts.family
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": "" if facts is None else _count(facts.parameters),
        "quantization_level": "" if facts is None else facts.quantization,
    }


def _count(number: int) -> str:
    """A number of parameters as Ollama shows it: 1.5B, 135M, 330K."""
    for size, letter, places in ((10**9, "B", 1), (10**6, "M", 2)):
        if number >= size:
            places = 0 if number % size == 0 else places
            return f"{number / size:.{places}f}{letter}"
    return f"{number / 1000:.0f}K" if number >= 1000 else str(number)


def _modified_at(model: LocalModel) -> str:
    try:
        if model.created_at:
            moment = datetime.datetime.fromisoformat(model.created_at)
            return rfc3339(int(moment.timestamp() * 1e9))
        return rfc3339(Path(model.path).stat().st_mtime_ns) if model.path else _UNKNOWN_TIME
    except (OSError, ValueError, OverflowError):
        return _UNKNOWN_TIME


def _facts(model: LocalModel) -> Facts:
    if model.url is not None:
        return Facts("", 0, "", ("completion",))
    return _facts_in(model.path, _stamp(model.path), model.projector, model.template)


def _stamp(path: str) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        stat = os.stat(path)  # noqa: PTH116  # thousands of them
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror or error}") from error
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=1024)
def _facts_in(
    path: str, _stamp: tuple[int, int], projector: str | None, template: str | None
) -> Facts:
    outline = read_outline(Path(path))
    seen = None if projector is None else read_outline(Path(projector)).values
    parameters = 0
    for dimensions in outline.tensors.values():
        size = 1
        for each in dimensions:
            size *= each
        parameters += size
    kind = outline.number("general.file_type")
    return Facts(
        outline.architecture,
        parameters,
        FILE_TYPES.get(-1 if kind is None else kind, "unknown"),
        capabilities_in(outline.values, template=template, projector=seen),
    )


def _local_answer(model: LocalModel, verbose: bool) -> dict[str, Any]:
    facts, defaults = _facts(model), model.defaults
    parameters = parameters_of(defaults)
    info: dict[str, Any] = {}
    answer: dict[str, Any] = {}
    template = model.template
    if model.url is None:
        info = read_metadata(Path(model.path), full=verbose)
        own = info.pop("tokenizer.chat_template", None)
        template = template or (own if isinstance(own, str) else None)
        info.pop("general.name", None)
        info["general.parameter_count"] = facts.parameters
    if model.projector is not None:
        answer["projector_info"] = read_metadata(Path(model.projector), full=verbose)
    return answer | {
        "modelfile": write_modelfile(
            [model.path or model.source],
            adapters=model.adapters,
            parameters=parameters,
            system=defaults.system,
            messages=defaults.messages,
            licence=model.licence or "",
            comments=(f"To build another model on this one, say: FROM {model.name}",),
        ),
        "parameters": write_parameters(parameters),
        "template": template or "",
        "system": defaults.system or "",
        "messages": [{"role": role, "content": text} for role, text in defaults.messages],
        "license": model.licence or "",
        "details": _details(facts),
        "model_info": info,
        "capabilities": list(facts.capabilities),
        "modified_at": _modified_at(model),
    }


# --- what other providers serve ---


def _remote_refs(gateway: Gateway) -> list[str]:
    config, resolver = gateway.config, gateway.door.resolver
    refs = [*config.models, *(each for each in resolver.routes() if each in config.routes)]
    models = [f"{p}:{m}" for p in configured_names(config) for m in default_models(p)]
    if "auto" not in config.routes and (models or gateway.door.local.names()):
        refs.append("auto")
    return list(dict.fromkeys([*refs, *models]))


def _remote_rows(gateway: Gateway) -> list[dict[str, Any]]:
    rows = []
    for ref in _remote_refs(gateway):
        try:
            first = gateway.door.resolver.resolve(ref).candidates[0]
        except PointsmanError:
            continue  # The configuration names what is not there: `doctor` says so.
        rows.append(
            {
                "name": ref,
                "model": ref,
                "remote_model": first.model,
                "remote_host": _host(gateway, first),
                "modified_at": _UNKNOWN_TIME,
                "size": 0,
                "digest": "",
                "details": {**_details(None), "format": "", "family": first.provider},
            }
        )
    return rows


def _host(gateway: Gateway, candidate: Candidate) -> str:
    """The provider's origin; nothing for one that cannot be reached as things are."""
    if candidate.local:
        return ""
    try:
        origin = gateway.door.dispatcher.binding(candidate.provider).origin
    except (MissingKey, PointsmanError):
        return ""
    return f"{origin.scheme}://{origin.host}:{origin.port}"


def _remote_answer(gateway: Gateway, ref: str) -> dict[str, Any]:
    plan = gateway.door.resolver.resolve(ref)
    first = plan.candidates[0]
    family = "route" if plan.route else first.provider
    cards = [candidate.card for candidate in plan.candidates]
    capabilities = ["completion"]
    if any(card.tools for card in cards):
        capabilities.append("tools")
    if any(card.vision for card in cards):
        capabilities.append("vision")
    info: dict[str, Any] = {"general.architecture": family, "general.basename": ref}
    contexts = [card.context_tokens for card in cards if card.context_tokens is not None]
    if contexts:
        info[f"{family}.context_length"] = max(contexts)
    return {
        "modelfile": f"FROM {ref}\n",
        "parameters": "",
        "template": "",
        "license": "",
        "remote_model": first.model,
        "remote_host": _host(gateway, first),
        "details": {**_details(None), "format": "", "family": family, "families": [family]},
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": _UNKNOWN_TIME,
    }
