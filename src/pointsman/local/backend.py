"""The two engines, behind one form: each starts a model and gives its process, loaded.

Both are llama.cpp's own server: the worker on the `xllamacpp` wheel, or a `llama-server` binary.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
from pathlib import Path

import msgspec

from pointsman._http.transport import Origin, Request, Timeouts, Transport, TransportError
from pointsman.errors import LocalError
from pointsman.local.child import Child, Order, spawn

__all__ = ["server_arguments", "start_llama_server", "start_worker"]

HERE = Path(__file__).parent
PORT_TRIES = 3
LOOK_S = 0.05
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

    The port is one that was free a moment ago; if another process took it, another is tried.

    Raises:
        LocalError: it ended, or was not healthy in time.
    """
    key = secrets.token_urlsafe(32)
    launcher = [sys.executable, "-P", str(HERE / "launch.py"), str(os.getpid())]
    for tries in range(1, PORT_TRIES + 1):
        port = _free_port()
        command = [*launcher, binary, *server_arguments(order, port)]
        # The key goes by the environment: arguments can be read by every user of the machine.
        child = Child(order, await spawn(command, {"LLAMA_API_KEY": key}), key, port)
        child.also_drain(child.process.stdout)
        try:
            async with asyncio.timeout(timeout_s):
                if await _healthy(child, transport):
                    return child
                fault = await child.fault()
            if tries == PORT_TRIES or "bind" not in child.said():
                raise fault
            await child.stop()
        except TimeoutError:
            await child.stop()
            raise _late(child, timeout_s) from None
        except BaseException:
            await child.stop()
            raise
    raise AssertionError("unreachable: the last try returns or raises")


def server_arguments(order: Order, port: int) -> list[str]:
    """The arguments of `llama-server` for an order.

    Source: tools/server/README.md of llama.cpp, b11434; the newest of them, `--cache-ram`, is of
    October 2025.
    """
    arguments = [
        "--model", order.path, "--alias", order.alias, "--host", "127.0.0.1", "--port", str(port),
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


async def _healthy(child: Child, transport: Transport) -> bool:
    """Wait until it is loaded (True) or has ended (False)."""
    request = Request("GET", Origin("http", "127.0.0.1", child.port), "/health")
    while not child.ended.is_set():
        try:
            response = await transport.send(request, _PROBE)
            await response.read(65536)
            # That one answers on our port does not say that it is ours, unless ours still lives:
            # a server that cannot have its port ends.
            if response.status == 200 and not child.ended.is_set():
                return True
        except TransportError:
            pass  # Not listening yet.
        try:
            await asyncio.wait_for(child.ended.wait(), LOOK_S)
        except TimeoutError:
            continue
    return False


def _late(child: Child, timeout_s: float) -> LocalError:
    said = child.said()
    tail = f"; it said:\n{said}" if said else ""
    return LocalError(f"'{child.order.alias}' was not loaded in {timeout_s:g} s{tail}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
