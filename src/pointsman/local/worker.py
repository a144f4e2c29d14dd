"""Runs one model on the `xllamacpp` wheel: llama.cpp's own server, in a process of its own.

Started as a file, not as a module of the package, so that a spawn pays for nothing but llama.cpp.
One line of JSON comes on standard input (the fields of `Order`); one goes out on standard output
when the model is loaded: `{"port": N}`. Standard input stays open as the tie to the parent: when
it ends, so does this process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from typing import Any

PR_SET_PDEATHSIG = 1  # Linux, <linux/prctl.h>


def die_with(parent_pid: int) -> None:
    """Arrange that this process is killed when its parent dies (Linux; elsewhere stdin's end does)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # It died before the call above.
        os._exit(1)


def _watch_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def _parameters(order: dict[str, Any], xllamacpp: Any) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = order["path"]
    params.model_alias = {order["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [order["key"]]
    params.n_ctx = order["context"]
    params.n_parallel = order["slots"]
    # All slots share one cache, so that a single request may use all of the context.
    params.kv_unified = True
    params.embedding = order["embedding"]
    params.ui = False
    params.use_jinja = True
    params.endpoint_slots = False
    params.cache_ram_mib = order["cache_mib"]
    params.verbosity = 1
    params.cpuparams.n_threads = order["threads"]
    params.cpuparams_batch.n_threads = order["threads"]
    sampling = order["sampling"]
    for theirs, ours in (
        ("temp", "temperature"),
        ("top_p", "top_p"),
        ("penalty_repeat", "repeat_penalty"),
    ):
        if sampling.get(ours) is not None:
            setattr(params.sampling, theirs, sampling[ours])
    return params


def main() -> None:
    """Load the model, say where it listens, and serve until the parent goes."""
    order = json.loads(sys.stdin.buffer.readline())
    die_with(order["parent"])
    # llama.cpp logs to both; standard output is for the one line alone.
    out = os.dup(1)
    os.dup2(2, 1)
    import xllamacpp

    server = xllamacpp.Server(_parameters(order, xllamacpp))
    address = server.listening_address
    port = int(str(address).rstrip("/").rpartition(":")[2])
    os.write(out, json.dumps({"port": port}).encode() + b"\n")
    watcher = threading.Thread(target=_watch_parent)
    watcher.start()
    watcher.join()


if __name__ == "__main__":
    main()
