"""The overhead benchmark: the mock, the generator and the report, without any gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import _load  # noqa: E402
import _measure  # noqa: E402
import _mock  # noqa: E402
import _report  # noqa: E402


@pytest.fixture
async def mock_port() -> AsyncIterator[int]:
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(_mock.serve(ready))
    yield await ready
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def load(port: int, kind: str, *, times: int, path: str = "") -> dict[str, Any]:
    request = _measure.openai_request("instant", stream=kind == "stream")
    target = {"port": port, **request, "times": times}
    plan = _measure.plan(kind, 2, {"direct": target | ({"path": path} if path else {})}, blocks=2)
    seen: dict[str, Any] = (await _load.Runner(plan).run())["figures"]["direct"]
    return seen


async def test_the_generator_times_whole_answers(mock_port: int) -> None:
    before = _mock.Upstream.count
    seen = await load(mock_port, "plain", times=5)
    assert (seen["errors"], seen["done"], seen["sent"]) == (0, 20, 22)
    assert _mock.Upstream.count - before == 22
    assert 0 < seen["latency_ms"]["p50"] <= seen["latency_ms"]["p99"] <= seen["latency_ms"]["max"]


async def test_the_generator_times_each_chunk_of_a_stream(mock_port: int) -> None:
    seen = await load(mock_port, "stream", times=2)
    assert (seen["errors"], seen["done"]) == (0, 8)
    assert seen["transit_ms"]["n"] == 8 * _mock.CHUNKS
    assert seen["gap_stretch_ms"]["n"] == 8 * (_mock.CHUNKS - 1)
    assert 0 < seen["first_chunk_ms"]["p50"] < seen["latency_ms"]["max"]


async def test_a_refusal_counts_as_an_error(mock_port: int) -> None:
    seen = await load(mock_port, "plain", times=1, path="/nowhere")
    assert seen["errors"] == 2
    assert "404" in seen["first_error"]


def feed(pieces: list[bytes]) -> _load.Samples:
    """Give what a stream client makes of an answer that comes in these pieces."""
    samples = _load.Samples()
    client = _load.StreamClient(b"", samples, lambda _: None)
    client.record = True
    client.fire()
    samples.errors, samples.first_error = 0, ""  # It has no connection, and need not have.
    for piece in pieces:
        client.data_received(piece)
    return samples


def whole_stream() -> bytes:
    chunks = [_mock._stamped(index) for index in range(_mock.CHUNKS)]
    return _mock._STREAM_HEAD + b"".join(chunks) + _mock._END


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_a_stream_is_read_the_same_however_it_is_cut(size: int) -> None:
    data = whole_stream()
    samples = feed([data[start : start + size] for start in range(0, len(data), size)])
    assert (samples.errors, samples.first_error) == (0, "")
    assert len(samples.transit_ns) == _mock.CHUNKS
    assert min(samples.transit_ns) > 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b"[DONE]", b"[GONE]"),
        lambda data: data.replace(b" @", b" #", 1),
    ],
    ids=["no end", "a chunk lost"],
)
def test_a_stream_that_is_not_whole_counts_as_an_error(spoil: Any) -> None:
    assert feed([spoil(whole_stream())]).errors == 1


def test_percentiles_are_by_nearest_rank() -> None:
    assert [_load.percentile(range(1, 101), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert _load.percentile([7.0], 0.99) == 7.0


def figure(value: float) -> dict[str, Any]:
    return _measure.figure([value, value * 1.1, value * 0.9])


def gateway(title: str, cost: float) -> dict[str, Any]:
    alone = {name: figure(cost) for name in ("added_p50_ms", "added_p99_ms", "cpu_s_per_1000")}
    stream = {
        name: figure(cost)
        for name in (
            *("first_chunk_p50_ms", "chunk_delay_p50_ms", "chunk_delay_p99_ms"),
            *("gap_mean_ms", "gap_stretch_p99_ms", "cpu_s_per_1000"),
        )
    }
    sweep = [
        {"concurrency": level, "per_s": 900.0 / cost, "p50_ms": cost, "p99_ms": cost * level}
        for level in (1, 8, 64)
    ]
    busy = {"cpu_s_per_1000": figure(cost), "per_s": figure(100 / cost)}
    scenario = {
        "alone": alone,
        "busy": busy,
        "unpaced": stream,
        "paced": stream,
        "unpaced_busy": busy,
        "frontier": _measure.frontier([sweep, sweep]),
    }
    mock = {"per_s": 1e5, "latency_ms": {"p50": 0.01}}
    return {
        "title": title,
        "package": title,
        "version": "1.0",
        "settings": "none",
        "install": {"packages": 7, "size_bytes": 18e6},
        "mock": {"busy": mock, "alone": mock},
        "scenarios": {"passed": scenario, "translated": scenario},
        "memory": {"idle_bytes": 3e7, "steady_bytes": 5e7, "slope_bytes_per_1000": 0.0},
        "first_answer_s": figure(0.2),
        "ready_s": None,
        "foreign_cpu_share": 0.001,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "date": "2026-11-24T00:00:00+00:00",
        "commit": "abc",
        "settings": "quick",
        "seconds": 100,
        "machine": {
            "cpu": "CPU & Co",
            "mhz": "2600.0",
            "cores": 2,
            "shared_core": False,
            "virtual": True,
            "memory_bytes": 2**34,
            "kernel": "6",
            "python": "3.11",
        },
        "contenders": {
            "pointsman": gateway("Pointsman", 0.2),
            "litellm": gateway("Lite<LLM>", 8.0),
        },
    }


def test_the_frontier_is_the_most_under_each_limit(result: dict[str, Any]) -> None:
    at = result["contenders"]["litellm"]["scenarios"]["passed"]["frontier"]["at"]
    medians = {limit: each["median"] for limit, each in at.items()}
    assert medians == {"1": 0.0, "5": 0.0, "10": 112.5, "50": 112.5, "100": 112.5}


def test_the_page_gets_the_figures_and_their_ratios(result: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text(f"before\n{_report.BEGIN}\nold\n{_report.END}\nafter\n")
    result = json.loads(json.dumps(result))
    for _ in range(2):
        page, plot = _report.write_docs(result, tmp_path)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "stale" not in text
    assert text.count("| added latency, p50 | 0.200 ms | 8.000 ms (40×) |") == 2
    assert "bench/overhead.py --quick" in text
    assert len(list(ElementTree.parse(plot).iter("{http://www.w3.org/2000/svg}polyline"))) == 2


def test_the_terminal_gets_a_line_per_figure(result: dict[str, Any]) -> None:
    lines = _report.summary_lines(result)
    assert any("cold start" in line and "0.20 s" in line for line in lines)


def test_the_page_of_the_project_has_the_markers() -> None:
    text = (BENCH.parent / "docs" / "benchmarks.md").read_text("utf-8")
    assert text.index(_report.BEGIN) < text.index(_report.END)
