"""Runs one model on the `xllamacpp` wheel: llama.cpp's own server, in a process of its own.

Started as a file, not as a module of the package, so that a spawn pays for nothing but llama.cpp.
One line of JSON comes on standard input (the fields of `Order`, `key` and `parent`); one goes out
on standard output when the model is loaded: `{"port": N}`. Standard input stays open as the tie to
the parent: when it ends, so does this process.
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


def watch_parent() -> None:
    """End this process when standard input ends; nothing is sent on it after the first line."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def parameters(order: dict[str, Any], xllamacpp: Any) -> Any:
    """The engine's parameters for an order."""
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
    if order["embedding"]:
        # A text is embedded in one piece, so a piece must hold the longest one.
        params.n_batch = params.n_ubatch = order["context"]
    params.offline = True
    params.ui = False
    params.use_jinja = True
    params.endpoint_slots = False
    # Kept prompts would grow to 8 GiB beside what the model itself needs.
    params.cache_ram_mib = 0
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
    # Unbuffered, and no byte past the line: the watcher reads the same descriptor.
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # a descriptor
        line = stdin.readline()
    if not line:
        os._exit(1)  # The parent died before it said what to run.
    order = json.loads(line)
    die_with(order["parent"])
    watcher = threading.Thread(target=watch_parent, daemon=True)
    watcher.start()
    # llama.cpp logs to both; standard output is for the one line alone.
    out = os.dup(1)
    os.dup2(2, 1)
    import xllamacpp

    try:
        server = xllamacpp.Server(parameters(order, xllamacpp))
    except RuntimeError as error:
        # An orderly end: llama.cpp's log, which has the reason, is written by a thread of its own.
        sys.exit(str(error))
    port = int(str(server.listening_address).rstrip("/").rpartition(":")[2])
    os.write(out, json.dumps({"port": port}).encode() + b"\n")
    watcher.join()


if __name__ == "__main__":
    main()
