"""The two engines, behind one form: each starts a model and gives its process, loaded.

Both are llama.cpp's own server: the worker on the `xllamacpp` wheel, or a `llama-server` binary.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Any

import msgspec

from pointsman._http.transport import Origin, Request, Timeouts, Transport, TransportError
from pointsman.errors import LocalError
from pointsman.local.child import Child, Order, spawn
from pointsman.local.flag_forms import arguments_of, attributes_of, merged
from pointsman.local.flags import check_flags, known_flags

__all__ = ["server_arguments", "spawn_worker", "start_llama_server", "start_worker", "worker_order"]

HERE = Path(__file__).parent
LOOK_S = 0.05
NO_ORDER = Order(alias="(none yet)", path="", context=0, slots=0, threads=0, embedding=False)
# Of the log at its default level, in all builds since 2024: tools/server/server.cpp, b11434.
_LISTENING = re.compile(rb"listening on http://127\.0\.0\.1:(\d+)\s")
# llama.cpp's names in a request, and the options that set their defaults.
_SAMPLING = {
    "temperature": "temp",
    "top_p": "top-p",
    "top_k": "top-k",
    "min_p": "min-p",
    "typical_p": "typical",
    "repeat_penalty": "repeat-penalty",
    "repeat_last_n": "repeat-last-n",
    "presence_penalty": "presence-penalty",
    "frequency_penalty": "frequency-penalty",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat-ent",
    "mirostat_eta": "mirostat-lr",
    "seed": "seed",
}
_PROBE = Timeouts(connect_s=1.0, first_byte_s=2.0, idle_s=2.0)


async def spawn_worker() -> Child:
    """Start a worker without a model: it loads llama.cpp and waits for its order.

    Raises:
        LocalError: it cannot be started.
    """
    # As a file, without this folder on its path: `gguf` here must not hide another package's.
    command = [sys.executable, "-P", str(HERE / "worker.py"), str(os.getpid())]
    return Child(NO_ORDER, await spawn(command), secrets.token_urlsafe(32))


async def start_worker(order: Order, timeout_s: float, spare: Child | None = None) -> Child:
    """Start the model on the xllamacpp wheel, in `spare` if given; it is loaded when this returns.

    Raises:
        LocalError: it ended, or was not loaded in time.
    """
    child = spare or await spawn_worker()
    child.adopt(order)
    body = {**worker_order(order), "key": child.key}
    try:
        async with asyncio.timeout(timeout_s):
            child.port = await _told(child, json.dumps(body).encode() + b"\n")
    except TimeoutError:
        await child.stop()
        raise _late(child, timeout_s) from None
    except BaseException:
        await child.stop()
        raise
    return child


def worker_order(order: Order) -> dict[str, Any]:
    """What the worker reads of an order: its fields, and `attributes`, all the rest of its options.

    Raises:
        ConfigError: an option that the worker does not take.
    """
    check_flags(order.flags, "worker")
    return {**msgspec.to_builtins(order), "attributes": attributes_of(_options(order))}


async def _told(child: Child, line: bytes) -> int:
    """Hand the order over, and give the port in the answer."""
    stdin, stdout = child.process.stdin, child.process.stdout
    if stdin is None or stdout is None:
        raise LocalError("the engine's pipes are missing")
    try:
        stdin.write(line)
        await stdin.drain()
        answer = await stdout.readline()
        return int(json.loads(answer)["port"])
    except (ConnectionError, ValueError, KeyError, TypeError) as error:
        raise await child.fault() from error


async def start_llama_server(
    binary: str, order: Order, timeout_s: float, transport: Transport
) -> Child:
    """Start the model on a `llama-server` binary; it is loaded when this returns.

    It takes a free port, and its log, which nobody else can write to, says which: another process
    that has a port cannot pass for it.

    Raises:
        LocalError: it ended, or was not healthy in time.
    """
    key = secrets.token_urlsafe(32)
    launcher = [sys.executable, "-P", str(HERE / "launch.py"), str(os.getpid())]
    # The key goes by the environment: arguments can be read by every user of the machine.
    known = None
    if order.flags:
        known = await asyncio.to_thread(known_flags, binary)
        check_flags(order.flags, "llama-server", known)
    command = [*launcher, binary, *server_arguments(order, known)]
    child = Child(order, await spawn(command, {"LLAMA_API_KEY": key}), key)
    try:
        async with asyncio.timeout(timeout_s):
            found = await child.heard(_LISTENING)
            if found is None:
                raise await child.fault()
            child.port = int(found[1])
            await _healthy(child, transport)
    except TimeoutError:
        await child.stop()
        raise _late(child, timeout_s) from None
    except BaseException:
        await child.stop()
        raise
    return child


def server_arguments(order: Order, known: frozenset[str] | None = None) -> list[str]:
    """The arguments of `llama-server` for an order; `known` as for `arguments_of`.

    Source: tools/server/README.md of llama.cpp, b11434; the newest of them, `--cache-ram`, is of
    October 2025.
    """
    arguments = [
        "--model", order.path, "--alias", order.alias, "--host", "127.0.0.1", "--port", "0",
        "--ctx-size", str(order.context), "--parallel", str(order.slots), "--kv-unified",
        "--threads", str(order.threads), "--cache-ram", "0", "--jinja", "--no-webui", "--no-slots",
        "--offline",
    ]  # fmt: skip
    if order.embedding:
        size = str(order.context)
        arguments += ["--embeddings", "--batch-size", size, "--ubatch-size", size]
    return [*arguments, *arguments_of(_options(order), known)]


def _options(order: Order) -> dict[str, Any]:
    """All of an order that stands in options of llama.cpp; its flags go over the rest."""
    sampling = msgspec.structs.asdict(order.sampling)
    options = {_SAMPLING[name]: value for name, value in sampling.items() if value is not None}
    if order.projector is not None:
        options["mmproj"] = order.projector
    if order.template is not None:
        options["chat-template"] = order.template
    if order.adapters:
        options["lora"] = list(order.adapters)
    return merged(options, order.flags)


async def _healthy(child: Child, transport: Transport) -> None:
    """Wait until the model is loaded: some builds listen, and say so, before it is."""
    request = Request("GET", Origin("http", "127.0.0.1", child.port), "/health")
    while not child.ended.is_set():
        try:
            response = await transport.send(request, _PROBE)
            await response.read(65536)
            if response.status == 200:
                return
        except TransportError:
            pass  # It may be ending: the condition of the loop says.
        await asyncio.sleep(LOOK_S)
    raise await child.fault()


def _late(child: Child, timeout_s: float) -> LocalError:
    said = child.said()
    tail = f"; it said:\n{said}" if said else ""
    return LocalError(f"'{child.order.alias}' was not loaded in {timeout_s:g} s{tail}")
