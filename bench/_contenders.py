"""The gateways that are measured: how each is installed, configured and started.

All run with authentication off, one process, quiet logs, and two models (`instant`, `paced`) at the
mock upstream. Each is given the settings that its own documentation recommends for production.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from _envs import HOME, make_env
from _machine import GATEWAY_CORE

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Contender:
    """A gateway. `command` gets the interpreter, the port, and the path of its configuration."""

    name: str
    title: str
    package: str
    lock: str
    import_line: str
    config_name: str
    config: str  # `PORT` stands for the mock's.
    command: Callable[[Path, int, Path], list[str]]
    settings: str
    env_name: str = ""  # Where it shares one; else its own name.
    env: dict[str, str] = field(default_factory=dict)
    with_project: bool = False
    announces: bool = False  # Whether it prints a line of JSON once it listens.

    def install(self) -> Path:
        """Give the interpreter of its environment."""
        return make_env(self.env_name or self.name, self.lock, with_project=self.with_project)


@dataclass
class Started:
    """A gateway that runs."""

    pid: int
    port: int
    ready_s: float | None
    first_answer_s: float


POINTSMAN = Contender(
    name="pointsman",
    title="Pointsman",
    package="pointsman",
    lock="bench.txt",
    import_line="import pointsman",
    config_name="pointsman.toml",
    config=(
        '[providers.mock]\nbase_url = "http://127.0.0.1:PORT/v1"\n\n'
        "[models.instant]\n"
        'ref = "mock:instant"\nprice = { input = 0.15, output = 0.6 }\n\n'
        "[models.paced]\n"
        'ref = "mock:paced"\nprice = { input = 0.15, output = 0.6 }\n'
    ),
    command=lambda python, port, config: [
        *(str(python), "-m", "pointsman", "serve", "--json"),
        *("--config", str(config), "--port", str(port)),
    ],
    settings="base install, authentication off, metering on with a price for the model",
    with_project=True,
    announces=True,
)
LITELLM = Contender(
    name="litellm",
    title="LiteLLM proxy",
    package="litellm",
    lock="rival-litellm.txt",
    import_line="import litellm",
    config_name="config.yaml",
    config=(
        "model_list:\n"
        + "".join(
            f"  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n"
            "      api_base: http://127.0.0.1:PORT/v1\n      api_key: sk-mock\n"
            for name in ("instant", "paced")
        )
        + "litellm_settings:\n  set_verbose: false\n  request_timeout: 600\n"
    ),
    command=lambda python, port, config: [
        *(str(python.parent / "litellm"), "--config", str(config), "--num_workers", "1"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ],
    settings=(
        "one worker, uvloop, no database, no callbacks, LITELLM_LOG=ERROR, LITELLM_MODE=PRODUCTION,"
        " its price list from the package, Anthropic's wire translated to chat completions"
    ),
    env={
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES": "true",
    },
)
_SWITCHYARD_HOST = """\
import signal, sys
from switchyard_rust.server import Server
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with Server(sys.argv[1], int(sys.argv[2])):
    signal.sigwait({signal.SIGTERM})
"""
SWITCHYARD = Contender(
    name="switchyard",
    title="Switchyard",
    package="nemo-switchyard",
    lock="rival-switchyard.txt",
    import_line="from switchyard_rust.server import Server",
    config_name="routes.toml",
    config=(
        'schema_version = 1\n\n[llm_clients.mock]\nformat = "openai_chat"\n'
        'base_url = "http://127.0.0.1:PORT/v1"\n'
        + "".join(
            f'\n[targets.{name}]\nid = "{name}"\nllm_client = "mock"\n\n'
            f'[routes.{name}]\nid = "{name}"\ntype = "passthrough"\ntarget = "{name}"\n'
            for name in ("instant", "paced")
        )
    ),
    command=lambda python, port, config: [
        *(str(python), "-c", _SWITCHYARD_HOST, str(config), str(port)),
    ],
    settings="its native server, hosted by the wheel; passthrough routes, log level error",
    env={"RUST_LOG": "error"},
)
# Not a gateway: a process that copies bytes from socket to socket. No gateway in a process of its own
# can be below it by much, so it shows how much of each figure is the method's.
RELAY = Contender(
    name="relay",
    title="bare relay",
    package="uvloop",
    lock="bench.txt",
    import_line="",
    env_name="tools",
    config_name="port.json",
    config='{"upstream_port": PORT}',
    command=lambda python, port, config: [
        *(str(python), str(Path(__file__).with_name("_relay.py")), str(config), str(port)),
    ],
    settings="copies bytes between two sockets and reads none of them (uvloop)",
)
ALL = {each.name: each for each in (POINTSMAN, SWITCHYARD, LITELLM, RELAY)}
GATEWAYS = (POINTSMAN.name, SWITCHYARD.name, LITELLM.name)


class StartFailed(Exception):
    """A gateway did not come up, or answered wrongly."""


@contextmanager
def started(
    contender: Contender, python: Path, upstream_port: int, first_request: bytes
) -> Iterator[Started]:
    """Run a gateway on its core; the block begins once it has answered a request rightly.

    Raises:
        StartFailed: it ended, or did not answer in two minutes.
    """
    folder = HOME / f"run-{contender.name}"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / contender.config_name
    config.write_text(contender.config.replace("PORT", str(upstream_port)), "utf-8")
    port = free_port()
    log = folder / "log.txt"
    env = {**clean_env(), **contender.env}
    with log.open("wb") as errors:
        spawned_s = time.perf_counter()
        process = subprocess.Popen(
            contender.command(python, port, config),
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if contender.announces else errors,
            stderr=errors,
            preexec_fn=lambda: os.sched_setaffinity(0, {GATEWAY_CORE}),
        )
        try:
            ready_s = None
            if contender.announces:
                assert process.stdout is not None
                line = process.stdout.readline()
                ready_s = time.perf_counter() - spawned_s
                if not line or json.loads(line).get("event") != "listening":
                    raise StartFailed(f"{contender.title} did not start: {last_line(log)}")
            while not answers(port, first_request):
                if process.poll() is not None:
                    raise StartFailed(f"{contender.title} ended at its start: {last_line(log)}")
                if time.perf_counter() - spawned_s > START_TIMEOUT_S:
                    raise StartFailed(f"{contender.title} did not answer: {last_line(log)}")
                time.sleep(0.002)
            yield Started(process.pid, port, ready_s, time.perf_counter() - spawned_s)
        finally:
            stop(process)


def last_line(log: Path) -> str:
    """Where the log is, and what it says last."""
    lines = log.read_text("utf-8", "replace").strip().splitlines() or ["it is empty"]
    return f"{lines[-1]} ({log})"


def clean_env() -> dict[str, str]:
    """The environment without what would change a gateway: keys, proxies, its own settings."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


def answers(port: int, request: bytes) -> bool:
    """Whether a right answer to the request came."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.settimeout(START_TIMEOUT_S)
            connection.sendall(request)
            data = b""
            while piece := connection.recv(65536):
                data += piece
                if b"A points operator" in data:
                    return data.startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
