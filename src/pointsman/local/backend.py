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

import msgspec

from pointsman._http.transport import Origin, Request, Timeouts, Transport, TransportError
from pointsman.errors import LocalError
from pointsman.local.child import Child, Order, spawn

__all__ = ["server_arguments", "start_llama_server", "start_worker"]

HERE = Path(__file__).parent
LOOK_S = 0.05
# Of the log at its default level, in all builds since 2024: tools/server/server.cpp, b11434.
_LISTENING = re.compile(rb"listening on http://127\.0\.0\.1:(\d+)\s")
_PROBE = Timeouts(connect_s=1.0, first_byte_s=2.0, idle_s=2.0)


async def start_worker(order: Order, timeout_s: float) -> Child:
    """Start the model on the xllamacpp wheel; it is loaded when this returns.

    Raises:
        LocalError: it ended, or was not loaded in time.
    """
    key = secrets.token_urlsafe(32)
    # As a file, without this folder on its path: `gguf` here must not hide another package's.
    child = Child(order, await spawn([sys.executable, "-P", str(HERE / "worker.py")]), key)
    body = {**msgspec.to_builtins(order), "key": key, "parent": os.getpid()}
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
    command = [*launcher, binary, *server_arguments(order)]
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


def server_arguments(order: Order) -> list[str]:
    """The arguments of `llama-server` for an order.

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
    for flag, value in (
        ("--temp", order.sampling.temperature),
        ("--top-p", order.sampling.top_p),
        ("--repeat-penalty", order.sampling.repeat_penalty),
    ):
        if value is not None:
            arguments += [flag, str(value)]
    return arguments


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
