"""Measures one gateway: each figure several times, with the spread kept."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _contenders import (
    RELAY,
    Contender,
    Started,
    clean_env,
    started,
)
from _envs import say, version, weight
from _load import request_bytes
from _machine import GATEWAY_CORE, LOAD_CORE, Quiet, cpu_s, rss_bytes

HERE = Path(__file__).resolve().parent
LIMITS_MS = (1, 5, 10, 50, 100)
GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
BUSY = 16
PACED_STREAMS = 8
MAX_POINT_S = 5.0
SETTLE_S = 2.0
SAMPLE_S = 0.25
MIB = 1024 * 1024

Figure = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    name: str
    imports: int
    starts: int
    rounds: int
    latency_blocks: int
    busy_s: float
    sweeps: int
    translated_sweeps: int
    point_s: float
    point_samples: int
    memory_s: float


FULL = Settings(
    name="full",
    imports=7,
    starts=5,
    rounds=3,
    latency_blocks=10,
    busy_s=2.0,
    sweeps=3,
    translated_sweeps=2,
    point_s=1.0,
    point_samples=300,
    memory_s=25.0,
)
QUICK = Settings(
    name="quick",
    imports=3,
    starts=2,
    rounds=2,
    latency_blocks=3,
    busy_s=0.6,
    sweeps=1,
    translated_sweeps=1,
    point_s=0.3,
    point_samples=50,
    memory_s=5.0,
)

SYSTEM = (
    "You are the assistant of a railway's customer service. Answer in the language of the question, "
    "in at most three sentences, and only from the timetable and the fare rules that you are given. "
    "If they do not hold the answer, say so and name the office that knows."
)
QUESTION = (
    "My train from Hamburg at 14:46 was forty minutes late, so I missed the last connection to "
    "Flensburg and took a taxi from Neumünster, which cost 118 euros. I have the receipt and the "
    "ticket with the reservation. Which part of that can I claim, by when, and do I need a "
    "confirmation of the delay from the conductor, or is the number of the train enough? "
) * 2


def openai_request(model: str, *, stream: bool) -> dict[str, Any]:
    """An OpenAI client's request: its path, headers and body."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": QUESTION},
        ],
        "temperature": 0.2,
        "max_tokens": 256,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    headers = {"authorization": "Bearer sk-bench", "accept": "application/json"}
    return {"path": "/v1/chat/completions", "headers": headers, "body": body}


def anthropic_request(model: str, *, stream: bool) -> dict[str, Any]:
    """The same from an Anthropic client."""
    body: dict[str, Any] = {
        "model": model,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0.2,
        "max_tokens": 256,
    }
    if stream:
        body["stream"] = True
    headers = {
        "x-api-key": "sk-bench",
        "anthropic-version": "2023-06-01",
        "accept": "application/json",
    }
    return {"path": "/v1/messages", "headers": headers, "body": body}


ASK: dict[str, Callable[..., dict[str, Any]]] = {
    "passed": openai_request,
    "translated": anthropic_request,
}


class LoadFailed(Exception):
    """A gateway answered wrongly, so its figures would mean nothing."""


def figure(values: Iterable[float]) -> Figure:
    """A figure of several repetitions."""
    kept = [round(value, 9) for value in values]
    return {"median": statistics.median(kept), "min": min(kept), "max": max(kept), "values": kept}


class Bench:
    """What all measurements of a run share: the mock, the generator's interpreter, the settings."""

    def __init__(self, tools: Path, upstream_port: int, settings: Settings) -> None:
        self.tools = tools
        self.upstream_port = upstream_port
        self.settings = settings
        self.sent_through = 0

    def load(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Carry out a plan on the load core.

        Raises:
            LoadFailed: an answer was wrong or missing.
        """
        with self.loading(plan) as process:
            output, _ = process.communicate(json.dumps(plan).encode())
        if process.returncode:
            raise LoadFailed("the load generator failed; its message is above")
        return self.checked(output)

    def loading(self, plan: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Start a plan; the caller writes it to the process and reads the answer."""
        return subprocess.Popen(
            [str(self.tools), str(HERE / "_load.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_env(),
        )

    def checked(self, output: bytes) -> dict[str, Any]:
        """Read the generator's answer.

        Raises:
            LoadFailed: an answer was wrong or missing.
        """
        figures: dict[str, Any] = json.loads(output)["figures"]
        for name, each in figures.items():
            if name != "direct":
                self.sent_through += each["sent"]
            if each["errors"]:
                raise LoadFailed(f"{each['errors']} wrong answers ({name}): {each['first_error']}")
        return figures

    def target(self, port: int, request: dict[str, Any], **block: float) -> dict[str, Any]:
        return {"port": port, **request, **block}

    def direct(self, model: str, *, stream: bool, **block: float) -> dict[str, Any]:
        return self.target(self.upstream_port, openai_request(model, stream=stream), **block)


def plan(
    kind: str, concurrency: int, targets: dict[str, Any], *, blocks: int = 1, warmup: int = 1
) -> dict[str, Any]:
    """A plan for the generator, without a stagger."""
    return {
        "kind": kind,
        "concurrency": concurrency,
        "warmup": warmup,
        "blocks": blocks,
        "targets": targets,
    }


def measure_mock(bench: Bench) -> dict[str, Any]:
    """The reference: the mock and the generator on their core, with no gateway between."""
    result = {}
    for name, kind, model, concurrency in (
        ("alone", "plain", "instant", 1),
        ("busy", "plain", "instant", BUSY),
        ("unpaced", "stream", "instant", 1),
    ):
        target = bench.direct(model, stream=kind == "stream", seconds=bench.settings.busy_s / 2)
        seen = bench.load(plan(kind, concurrency, {"direct": target}))["direct"]
        result[name] = {"per_s": seen["per_s"], "latency_ms": seen["latency_ms"]}
    return result


def measure(bench: Bench, contender: Contender, python: Path) -> dict[str, Any]:
    """All figures of one gateway.

    Raises:
        StartFailed, LoadFailed: it did not start, or answered wrongly.
    """
    settings = bench.settings
    quiet = Quiet()
    started_s = time.monotonic()
    bench.sent_through = 0
    result: dict[str, Any] = {
        "title": contender.title,
        "package": contender.package,
        "version": version(python, contender.package),
        "settings": contender.settings,
        "install": weight(python, with_builders=not contender.with_project),
        "mock": measure_mock(bench),
    }
    if contender.import_line:
        say(f"{contender.name}: import and cold start ...")
        result["import_s"] = import_time(contender, python, settings.imports)
    first = request_bytes(bench.upstream_port, **openai_request("instant", stream=False))
    starts = []
    for _ in range(settings.starts - 1):
        with started(contender, python, bench.upstream_port, first) as gateway:
            starts.append(gateway)
    with started(contender, python, bench.upstream_port, first) as gateway:
        starts.append(gateway)
        result.update(measure_gateway(bench, contender, gateway))
    result["first_answer_s"] = figure(each.first_answer_s for each in starts)
    ready = [each.ready_s for each in starts if each.ready_s is not None]
    result["ready_s"] = figure(ready) if ready else None
    result["requests"] = bench.sent_through
    result["foreign_cpu_share"] = round(quiet.foreign_share(), 4)
    result["seconds"] = round(time.monotonic() - started_s)
    return result


def measure_gateway(bench: Bench, contender: Contender, gateway: Started) -> dict[str, Any]:
    """The figures of a gateway that runs: its memory while it is young, then all the rest."""
    if contender is RELAY:
        return {"scenarios": {"passed": measure_scenario(bench, contender, gateway, "passed")}}
    say(f"{contender.name}: memory ...")
    time.sleep(SETTLE_S / 2)
    memory = {"idle_bytes": rss_bytes(gateway.pid), **measure_memory(bench, gateway)}
    scenarios = {
        scenario: measure_scenario(bench, contender, gateway, scenario) for scenario in ASK
    }
    time.sleep(SETTLE_S / 2)
    memory["end_bytes"] = rss_bytes(gateway.pid)
    return {"memory": memory, "scenarios": scenarios}


def import_time(contender: Contender, python: Path, times: int) -> Figure:
    """Seconds that a fresh interpreter takes to import, less those of one that imports nothing."""
    env = {**clean_env(), **contender.env}

    def once(code: str) -> float:
        started_s = time.perf_counter()
        subprocess.run([str(python), "-c", code], check=True, env=env, preexec_fn=_pin)
        return time.perf_counter() - started_s

    line = contender.import_line
    once(line)  # The first reads the files from the disk, and may compile them.
    return figure(once(line) - once("pass") for _ in range(times))


def _pin() -> None:
    os.sched_setaffinity(0, {GATEWAY_CORE})


def measure_scenario(
    bench: Bench, contender: Contender, gateway: Started, scenario: str
) -> dict[str, Any]:
    """The figures of one kind of request: passed through or translated."""
    ask = ASK[scenario]
    rounds = range(bench.settings.rounds)
    name = f"{contender.name}, {scenario}"
    say(f"{name}: latency and processor time ...")
    result: dict[str, Any] = {}
    result["alone"] = merged(measure_alone(bench, gateway, ask) for _ in rounds)
    result["busy"] = merged(measure_busy(bench, gateway, ask, "plain") for _ in rounds)
    say(f"{name}: streams ...")
    result["unpaced"] = merged(measure_unpaced(bench, gateway, ask) for _ in rounds)
    result["unpaced_busy"] = merged(measure_busy(bench, gateway, ask, "stream") for _ in rounds)
    result["paced"] = merged(measure_paced(bench, gateway, ask) for _ in rounds)
    if contender is not RELAY:
        say(f"{name}: frontier ...")
        passed = scenario == "passed"
        sweeps = bench.settings.sweeps if passed else bench.settings.translated_sweeps
        result["frontier"] = frontier([sweep(bench, gateway, ask) for _ in range(sweeps)])
    return result


def merged(rounds: Iterable[dict[str, float]]) -> dict[str, Figure]:
    """Figures by name from several rounds of values by name."""
    kept = list(rounds)
    return {name: figure(each[name] for each in kept) for name in kept[0]}


Ask = Callable[..., dict[str, Any]]


def measure_alone(bench: Bench, gateway: Started, ask: Ask) -> dict[str, float]:
    """One request at a time: what the gateway adds, and what it spends."""
    targets = {
        "direct": bench.direct("instant", stream=False, seconds=0.1),
        "via": bench.target(gateway.port, ask("instant", stream=False), seconds=0.2),
    }
    spent_s = cpu_s(gateway.pid)
    seen = bench.load(
        plan("plain", 1, targets, blocks=bench.settings.latency_blocks, warmup=20),
    )
    spent_s = cpu_s(gateway.pid) - spent_s
    direct, via = seen["direct"]["latency_ms"], seen["via"]["latency_ms"]
    return {
        "added_p50_ms": via["p50"] - direct["p50"],
        "added_p99_ms": via["p99"] - direct["p99"],
        "direct_p50_ms": direct["p50"],
        "direct_p99_ms": direct["p99"],
        "cpu_s_per_1000": spent_s / seen["via"]["sent"] * 1000,
    }


def measure_busy(bench: Bench, gateway: Started, ask: Ask, kind: str) -> dict[str, float]:
    """Sixteen requests or unpaced streams at a time: what the gateway spends, and how many it does."""
    request = ask("instant", stream=kind == "stream")
    target = bench.target(gateway.port, request, seconds=bench.settings.busy_s)
    spent_s = cpu_s(gateway.pid)
    seen = bench.load(plan(kind, BUSY, {"via": target}))["via"]
    spent_s = cpu_s(gateway.pid) - spent_s
    return {
        "per_s": seen["per_s"],
        "p50_ms": seen["latency_ms"]["p50"],
        "p99_ms": seen["latency_ms"]["p99"],
        "cpu_s_per_1000": spent_s / seen["sent"] * 1000,
    }


def measure_unpaced(bench: Bench, gateway: Started, ask: Ask) -> dict[str, float]:
    """One stream at a time, its chunks as fast as they can be written."""
    targets = {
        "direct": bench.direct("instant", stream=True, seconds=0.1),
        "via": bench.target(gateway.port, ask("instant", stream=True), seconds=0.3),
    }
    spent_s = cpu_s(gateway.pid)
    blocks = max(1, bench.settings.latency_blocks // 2)
    seen = bench.load(plan("stream", 1, targets, blocks=blocks, warmup=5))
    spent_s = cpu_s(gateway.pid) - spent_s
    return {
        **stream_figures(seen["direct"], seen["via"]),
        "cpu_s_per_1000": spent_s / seen["via"]["sent"] * 1000,
    }


def measure_paced(bench: Bench, gateway: Started, ask: Ask) -> dict[str, float]:
    """Eight streams at a time, each chunk 20 ms after the last, their starts spread over a gap."""
    targets = {
        "direct": bench.direct("paced", stream=True, times=1),
        "via": bench.target(gateway.port, ask("paced", stream=True), times=1),
    }
    spent_s = cpu_s(gateway.pid)
    steps = plan("stream", PACED_STREAMS, targets, warmup=0)
    seen = bench.load({**steps, "stagger_s": 0.02 / PACED_STREAMS})
    spent_s = cpu_s(gateway.pid) - spent_s
    return {
        **stream_figures(seen["direct"], seen["via"]),
        "cpu_s_per_1000": spent_s / seen["via"]["sent"] * 1000,
    }


def stream_figures(direct: dict[str, Any], via: dict[str, Any]) -> dict[str, float]:
    """What a gateway adds to a stream."""

    def added(name: str, share: str) -> float:
        value: float = via[name][share] - direct[name][share]
        return value

    return {
        "first_chunk_p50_ms": added("first_chunk_ms", "p50"),
        "first_chunk_p99_ms": added("first_chunk_ms", "p99"),
        "chunk_delay_p50_ms": added("transit_ms", "p50"),
        "chunk_delay_p99_ms": added("transit_ms", "p99"),
        "gap_mean_ms": added("mean_gap_ms", "p50"),
        "gap_stretch_p99_ms": added("gap_stretch_ms", "p99"),
    }


def sweep(bench: Bench, gateway: Started, ask: Ask) -> list[dict[str, float]]:
    """Throughput and latency at rising concurrency, up to where the last limit is passed twice."""
    points: list[dict[str, float]] = []
    over = 0
    for concurrency in GRID:
        rate = points[-1]["per_s"] if points else 1000.0
        enough_s = min(bench.settings.point_samples / max(rate, 1.0), MAX_POINT_S)
        seconds = max(bench.settings.point_s, enough_s)
        target = bench.target(gateway.port, ask("instant", stream=False), seconds=seconds)
        seen = bench.load(plan("plain", concurrency, {"via": target}))["via"]
        latency = seen["latency_ms"]
        points.append(
            {
                "concurrency": concurrency,
                "per_s": seen["per_s"],
                "p50_ms": latency["p50"],
                "p99_ms": latency["p99"],
            }
        )
        over = over + 1 if latency["p99"] > LIMITS_MS[-1] else 0
        if over == 2:
            break
    return points


def frontier(sweeps: Sequence[list[dict[str, float]]]) -> dict[str, Any]:
    """The most requests per second under each limit of p99; zero where none was under it."""
    at = {
        str(limit): figure(
            max((point["per_s"] for point in points if point["p99_ms"] <= limit), default=0.0)
            for points in sweeps
        )
        for limit in LIMITS_MS
    }
    return {"at": at, "sweeps": list(sweeps)}


def measure_memory(bench: Bench, gateway: Started) -> dict[str, float]:
    """Memory under a steady load, how it grows, and what is left when the load has gone."""
    target = bench.target(
        gateway.port, openai_request("instant", stream=False), seconds=bench.settings.memory_s
    )
    steps = plan("plain", BUSY, {"via": target})
    samples: list[tuple[float, int]] = []
    with bench.loading(steps) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(steps).encode())
        process.stdin.close()
        started_s = time.monotonic()
        while process.poll() is None:
            samples.append((time.monotonic() - started_s, rss_bytes(gateway.pid)))
            time.sleep(SAMPLE_S)
        seen = bench.checked(process.stdout.read())["via"]
    time.sleep(SETTLE_S)
    late = samples[len(samples) // 2 :]
    slope = statistics.linear_regression(*zip(*late, strict=True)).slope
    return {
        "steady_bytes": statistics.median(size for _, size in late),
        "after_bytes": rss_bytes(gateway.pid),
        "slope_bytes_per_s": slope,
        "slope_bytes_per_1000": slope / seen["per_s"] * 1000,
        "requests": seen["sent"],
        "seconds": bench.settings.memory_s,
    }


def pin_to_load_core() -> None:
    """Keep this process, and what it starts without saying otherwise, off the gateway's core."""
    os.sched_setaffinity(0, {LOAD_CORE})


def start_mock(tools: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the mock upstream; the caller ends it."""
    process = subprocess.Popen(
        [str(tools), str(HERE / "_mock.py")], stdout=subprocess.PIPE, env=clean_env()
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit("overhead: the mock upstream did not start; its message is above")
    port: int = json.loads(line)["port"]
    return process, port
