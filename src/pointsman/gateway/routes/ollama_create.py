"""Ollama's pull and create, which tell of their progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.dialects._shared import at, optional, required, want_list, want_object, want_string
from pointsman.dialects.ollama.request import read_stream
from pointsman.errors import LocalError, RequestError
from pointsman.gateway.exchange import Exchange
from pointsman.gateway.lines import respond_lines
from pointsman.gateway.routes.ollama_target import find_local, name_in
from pointsman.gateway.wire import decode_body
from pointsman.local.blobs import blob_path, has_blob
from pointsman.local.catalogue import entry
from pointsman.local.create import create as create_model
from pointsman.local.names import LATEST, is_name
from pointsman.local.ollama.modelfile import parse_modelfile
from pointsman.local.ollama.parameters import PARAMETERS
from pointsman.local.progress import Step
from pointsman.local.store import ModelStore

if TYPE_CHECKING:
    from pointsman.gateway.app import Gateway

__all__ = ["create", "pull", "ref_of"]

_SCHEMES = ("hf", "pypi", "http", "https", "file", "ollama")
_HUB_HOSTS = ("hf.co", "huggingface.co", "www.huggingface.co")
SHOWN_DIGITS = 12
_KNOWN = frozenset(
    ("adapters", "files", "from", "license", "messages", "model", "modelfile", "name", "parameters",
     "stream", "system")
)  # fmt: skip
_REFUSED = {
    "template": "a template in Go's form is not run here; llama.cpp uses the one in the model's file",
    "quantize": "models are not quantized here; pull the quantization that is wanted, or make it with"
    " llama.cpp's llama-quantize and upload it",
}


async def pull(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/pull`; the client's leaving ends it, and the next one goes on where it was."""
    body = decode_body(await exchange.body(gateway.max_body_bytes))
    gateway.begin(exchange)
    name, stream = name_in(body), read_stream(body)

    async def lines() -> AsyncIterator[dict[str, Any]]:
        async for line in _pulled(gateway, name):
            yield line
        yield {"status": "success"}

    await respond_lines(exchange, lines(), stream=stream)


def ref_of(name: str) -> tuple[str, str | None]:
    """Give what a name of Ollama's is to `pull`, and what the model is to be called, if not by its
    source: a name of the catalogue is that; one with a host is kept whole, so that it is found by it.
    """
    scheme, colon, _ = name.partition(":")
    if colon and scheme in _SCHEMES:
        return name, None
    bare = name.removesuffix(f":{LATEST}")
    host, slash, _ = bare.partition("/")
    if slash and host.lower() in _HUB_HOSTS:
        return bare, bare
    try:
        return entry(bare).name, None
    except LocalError:
        return f"ollama:{name}", bare if slash and "." in host else None


async def _pulled(gateway: Gateway, name: str) -> AsyncIterator[dict[str, Any]]:
    ref, wanted = ref_of(name)
    async with aclosing(gateway.pulls.steps(ref, wanted)) as steps:
        async for step in steps:
            if isinstance(step, Step):
                yield _line_of(step)
            else:
                await _stop_old(gateway, step.name)


def _line_of(step: Step) -> dict[str, Any]:
    """Say a step in Ollama's words."""
    if step.status == "verifying":
        return {"status": "verifying sha256 digest"}
    if step.status != "downloading":
        return {"status": step.status}
    name = step.file or "file"
    line: dict[str, Any] = {
        "status": f"pulling {step.sha256[:SHOWN_DIGITS] if step.sha256 else name}",
        "digest": f"sha256:{step.sha256}" if step.sha256 else name,
    }
    if step.total_bytes is not None:
        line["total"] = step.total_bytes
    return {**line, "completed": step.done_bytes}


class _Order(Struct, frozen=True):
    """What is to be made. `source` is a model's name; `files` and `adapters` are digests by name."""

    source: str | None
    files: dict[str, str]
    adapters: dict[str, str]
    parameters: dict[str, Any]
    system: str | None
    messages: tuple[tuple[str, str], ...]
    licence: str | None


async def create(gateway: Gateway, exchange: Exchange) -> None:
    """`POST /api/create`: a model from another one, pulled if it is not here, or from blobs."""
    body = decode_body(await exchange.body(gateway.max_body_bytes))
    gateway.begin(exchange)
    name = name_in(body).removesuffix(f":{LATEST}")
    if not is_name(name):
        raise RequestError(f"'{name[:200]}' cannot be a model's name", param="model")
    stream, order = read_stream(body), _read_order(body)
    store = gateway.door.local.store
    files, adapters = _paths(store, order.files), _paths(store, order.adapters)

    async def lines() -> AsyncIterator[dict[str, Any]]:
        source = order.source
        if source is not None and find_local(gateway, source) is None:
            async for line in _pulled(gateway, source):
                yield line
            source = find_local(gateway, source) or source
        yield {"status": "reading model metadata"}
        made = partial(
            create_model,
            store,
            name,
            source=source,
            files=files,
            adapters=adapters,
            parameters=order.parameters,
            system=order.system,
            messages=order.messages,
            licence=order.licence,
        )
        try:
            await asyncio.to_thread(made)
        except LocalError as error:
            # The files are the caller's: another try would not help.
            raise RequestError(error.message, param="from") from error
        await _stop_old(gateway, name)
        yield {"status": "writing manifest"}
        yield {"status": "success"}

    await respond_lines(exchange, lines(), stream=stream)


def _read_order(body: Mapping[str, Any]) -> _Order:
    for field, why in _REFUSED.items():
        if body.get(field):
            raise RequestError(f"'{field}': {why}", param=field)
    for field, value in body.items():
        if field not in _KNOWN and field not in _REFUSED and value:
            raise RequestError(f"'{field}' has no meaning here: leave it out", param=field)
    text = optional(body, "modelfile", want_string)
    if text is not None and body.get("from") is None:
        return _of_modelfile(text)
    source = optional(body, "from", want_string) or None
    if source is not None and source[:1] in ("/", ".", "~"):
        raise RequestError(
            "'from' names a file of this machine: send it as a blob, and name its digest in 'files'",
            param="from",
        )
    files = _digests(body, "files")
    if (source is None) == (not files):
        raise RequestError(
            "name a model in 'from', or GGUF files in 'files', and not both", param="from"
        )
    parameters = optional(body, "parameters", want_object) or {}
    for parameter in parameters:
        if parameter not in PARAMETERS:
            where = at("parameters", parameter)
            raise RequestError(f"no such parameter '{parameter}'", param=where)
    return _Order(
        source,
        files,
        _digests(body, "adapters"),
        parameters,
        optional(body, "system", want_string),
        _messages(body),
        _licence(body.get("license")),
    )


def _of_modelfile(text: str) -> _Order:
    """The older form: the Modelfile itself, in which a blob is `@sha256:…`."""
    parsed = parse_modelfile(text)
    blobs = {source: source[1:] for source in parsed.sources if source.startswith("@")}
    names = [source for source in parsed.sources if source not in blobs]
    if len(names) > 1 or (names and blobs):
        raise RequestError("FROM names more than one model", param="modelfile")
    for each in (*names, *(a for a in parsed.adapters if not a.startswith("@"))):
        if each[:1] in ("/", ".", "~") or each in parsed.adapters:
            raise RequestError(
                f"'{each[:200]}' is a file: send it as a blob, and name it as @sha256:…",
                param="modelfile",
            )
    return _Order(
        names[0] if names else None,
        blobs,
        {each: each[1:] for each in parsed.adapters},
        parsed.parameters,
        parsed.system,
        parsed.messages,
        parsed.licence,
    )


def _digests(body: Mapping[str, Any], field: str) -> dict[str, str]:
    given = optional(body, field, want_object) or {}
    return {name: want_string(digest, at(field, name)) for name, digest in given.items()}


def _messages(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = []
    for number, item in enumerate(optional(body, "messages", want_list) or ()):
        path = at("messages", number)
        message = want_object(item, path)
        if message.get("images") or message.get("tool_calls"):
            raise RequestError(f"'{path}' must be a role and a text", param=path)
        role = required(message, "role", want_string, path)
        found.append((role, optional(message, "content", want_string, path) or ""))
    return tuple(found)


def _licence(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    texts = want_list(value, "license")
    return "\n".join(want_string(each, at("license", n)) for n, each in enumerate(texts))


def _paths(store: ModelStore, digests: Mapping[str, str]) -> dict[str, Path]:
    """Where the blobs are.

    Raises:
        RequestError: a wrong digest, or no such blob.
    """
    found = {}
    for name, digest in digests.items():
        path = blob_path(store, digest)
        if not has_blob(store, digest):
            raise RequestError(
                f"there is no blob {digest[:80]} for '{name[:200]}': send it to /api/blobs/ first",
                param="files",
            )
        found[name] = path
    return found


async def _stop_old(gateway: Gateway, name: str) -> None:
    """Let a process go, once it is idle, that runs what the name meant before."""
    if any(each.name == name for each in gateway.door.local.running()):
        await gateway.door.local.unload(name)
