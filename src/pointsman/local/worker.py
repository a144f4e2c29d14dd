"""Runs one model on the `xllamacpp` wheel: llama.cpp's own server, in a process of its own.

Started as a file, not as a module of the package, so that a spawn pays for nothing but llama.cpp.
Its argument is the parent's process id. One line of JSON comes on standard input (the fields of
`Order`, and `key`); one goes out on standard output when the model is loaded: `{"port": N}`.
Standard input stays open as the tie to the parent: when it ends, so does this process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from enum import IntEnum
from typing import Any

MAX_TEMPLATE_CHARS = 1024 * 1024
LAST_WORDS_S = 0.2
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
    draft = params.speculative.draft
    draft.cpuparams.n_threads = draft.cpuparams_batch.n_threads = order["threads"]
    for path, value in order["attributes"].items():
        assign(params, path, value, xllamacpp)
    return params


def assign(params: Any, path: str, value: Any, xllamacpp: Any) -> None:
    """Set one attribute, given as a dotted path and a value of JSON."""
    if path == "chat_template_file":
        path = "chat_template"
        with open(value, encoding="utf-8") as file:  # noqa: PTH123  # one import less
            value = file.read(MAX_TEMPLATE_CHARS)
    elif path == "lora_adapters":
        value = [xllamacpp.CommonAdapterLoraInfo(file, scale) for file, scale in value]
    *parents, name = path.split(".")
    target = params
    for each in parents:
        target = getattr(target, each)
    setattr(target, name, like(getattr(target, name), value))
    if parents == ["sampling"]:
        # So marked, it goes before what the model's file says.
        member = f"COMMON_PARAMS_SAMPLING_CONFIG_{name.upper()}"
        bits = xllamacpp.common_params_sampling_config.__members__
        target.user_sampling_config |= bits.get(member, 0)


def like(current: Any, value: Any) -> Any:
    """A value of JSON as the type that stands there now; an enum's member is given by its name."""
    if isinstance(current, IntEnum):
        return type(current)[value]
    if isinstance(current, float):
        return float(value)
    if isinstance(current, list) and isinstance(value, list) and current and value:
        if isinstance(current[0], IntEnum):
            return [type(current[0])[each] for each in value]
        if isinstance(current[0], int | float):
            # One for each device: a single number is for all of them, and the rest get none.
            filler = (
                value if len(value) == 1 and isinstance(current[0], int) else [type(current[0])()]
            )
            return value + filler * (len(current) - len(value))
    return value


def main() -> None:
    """Load llama.cpp, then the model of the order, say where it listens, and serve until the parent
    goes.
    """
    die_with(int(sys.argv[1]))
    # llama.cpp logs to both; standard output is for the one line alone.
    out = os.dup(1)
    os.dup2(2, 1)
    # Before the order is there: a worker that was started ahead has this behind it.
    import xllamacpp

    # Unbuffered, and no byte past the line: the watcher reads the same descriptor.
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # a descriptor
        line = stdin.readline()
    if not line:
        os._exit(0)  # The parent has no use for it any more, or died.
    order = json.loads(line)
    watcher = threading.Thread(target=watch_parent, daemon=True)
    watcher.start()
    try:
        server = xllamacpp.Server(parameters(order, xllamacpp))
    except RuntimeError as error:
        # llama.cpp's log, which has the reason, is written by a thread of its own, and nothing says
        # when it is done: on a busy machine an orderly end alone had come before it.
        time.sleep(LAST_WORDS_S)
        sys.exit(str(error))
    port = int(str(server.listening_address).rstrip("/").rpartition(":")[2])
    os.write(out, json.dumps({"port": port}).encode() + b"\n")
    watcher.join()


if __name__ == "__main__":
    main()
