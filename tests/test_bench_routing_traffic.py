"""The benchmarks of agents' runs and of online learning: their own small parts."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import routing_agents  # noqa: E402
import routing_online  # noqa: E402
from _docs import write_section  # noqa: E402
from _online_plot import curves_svg  # noqa: E402

from pointsman.router.evaluate import auroc  # noqa: E402
from pointsman.router.online import Learner  # noqa: E402
from pointsman.router.prognosis_fit import fit_prognosis  # noqa: E402
from pointsman.types import Ability, PromptReading  # noqa: E402


def messages(errors: int, turns: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"role": "user", "content": "Please do it"}]
    for turn in range(turns):
        call = {"id": f"c{turn}", "type": "function"}
        call["function"] = {"name": "edit_file", "arguments": json.dumps({"turn": turn})}
        found.append({"role": "assistant", "tool_calls": [call]})
        text = f"Error: no such line {turn}" if turn < errors else "edited"
        found.append({"role": "tool", "tool_call_id": f"c{turn}", "content": text})
    return found


@pytest.fixture
def runs(tmp_path: Path) -> list[routing_agents.Run]:
    draw = random.Random(0)
    path = tmp_path / "runs.jsonl.gz"
    with gzip.open(path, "wt") as file:
        for number in range(48):
            failed = draw.random() < 0.5
            row = {
                "task": number // 4,
                "reward": 0.0 if failed else 1.0,
                "messages": messages(draw.randint(3, 6) if failed else draw.randint(0, 2), 8),
            }
            file.write(json.dumps(row) + "\n")
    return routing_agents.read_runs(path)


def test_a_model_of_runs_learns_what_there_is_to_learn(runs: list[routing_agents.Run]) -> None:
    ordered, logits = routing_agents.held_out(runs, repeats=1)
    assert ordered[None].auroc(runs) > 0.9
    assert len(logits[10]) == len(runs)
    rows = routing_agents.rows_of(runs)
    model = fit_prognosis(rows, {})
    assert model == fit_prognosis(rows, {}), "the same rows give the same model"
    assert model.weights[1] > 0.3 and min(model.weights) >= 0


def test_comparisons_give_the_auroc_and_keep_folds_apart(runs: list[routing_agents.Run]) -> None:
    draw = random.Random(1)
    values = [draw.choice((0.1, 0.4, 0.4, 0.9)) for _ in runs]
    failed = [run.failed for run in runs]
    whole = routing_agents.compared(values)
    assert whole.auroc(runs) == pytest.approx(auroc(values, failed))
    groups = [index % 2 for index in range(len(runs))]
    apart = routing_agents.compared(
        [v + 100 * g for v, g in zip(values, groups, strict=True)], groups
    )
    parts = routing_agents.compared(values, groups)
    assert np.array_equal(apart.right, parts.right), (
        "what a fold adds to all of its scores is nothing"
    )
    low, high = routing_agents.interval(runs, whole)
    assert low < whole.auroc(runs) < high


def prompt(number: int) -> routing_online.Prompt:
    reading = PromptReading((0.5,), 0.0, 100.0, 0.5, 1.0)
    facts = routing_online.Facts(f"prompt {number}", 100, 4096)
    scores = {"good": (1.0, 100, 100), "bad": (0.0, 100, 100), "awful": (0.0, 100, 100)}
    return routing_online.Prompt(reading, facts, scores)


WORLD = routing_online.World(
    "two",
    "x",
    {"bad": (1.0, 1.0), "good": (0.5, 0.5)},
    {"good": (0.4, 0.4)},
    ("good", "awful"),
    1e-4,
)


def test_the_simulation_learns_drifts_and_keeps_to_its_cap() -> None:
    market = routing_online.Market(WORLD, 400)
    stream = [prompt(number) for number in range(400)]
    abilities = {ref: Ability((0.0,), 0.6, "test") for ref in WORLD.prices}
    router = routing_online.Router(abilities, Learner(), explore=0.1, told=1.0)
    trace = routing_online.simulate(market, stream, router, 0)
    assert sum(trace.utility[100:200]) > 80
    assert sum(trace.utility[300:]) < 20, "after the drift nobody is any good"
    assert max(trace.days_usd) <= WORLD.cap_usd_per_request * routing_online.DAY_REQUESTS
    tight = routing_online.Market(
        routing_online.World("t", "x", WORLD.prices, {}, WORLD.worse, 5e-6), 400
    )
    poor = routing_online.simulate(tight, stream, router, 0)
    assert poor.refused > 0
    assert max(poor.days_usd) <= 5e-6 * routing_online.DAY_REQUESTS


def test_the_report_and_the_plot_are_well_formed(tmp_path: Path) -> None:
    curve = [float(n) for n in range(10)]
    each = {
        "utility_per_request": [0.5, 0.4, 0.6],
        "regret_per_request": [0.1, 0.0, 0.2],
        "gain_on_stationary": [0.0, 0.0, 0.0],
        "over_every_fixed": 1,
        "over_every_fixed_at_2000": 0,
        "day_usd_max": 0.5,
    }
    world = {
        "requests": 100,
        "prompts": 10,
        "cap_usd_per_day": 1.0,
        "runs": [{"curves": {"a & b": curve}}, {"curves": {"a & b": curve}}],
        "summary": {"a & b": each, "best fixed": {"utility_per_request": [0.6, 0.6, 0.6]}},
    }
    found = {"one <world>": world, "two": world, "three": world}
    assert len(ElementTree.fromstring(curves_svg(found))) > 20
    text = routing_online.table(found)
    assert "| a & b | 0.500 [0.400, 0.600] |" in text
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: made by y --write-docs -->\nold\n<!-- x: end -->\nafter\n")
    write_section(page, "x", "y", text)
    assert page.read_text().startswith("before\n") and "old" not in page.read_text()
    with pytest.raises(SystemExit, match="lacks the marks"):
        write_section(page, "z", "y", text)


def test_the_page_has_the_marks_of_both() -> None:
    text = (BENCH.parent / "docs" / "benchmarks.md").read_text("utf-8")
    for name, script in (("routing-agents", "agents"), ("routing-online", "online")):
        assert f"<!-- {name}: made by bench/routing_{script}.py --write-docs -->" in text
        assert f"<!-- {name}: end -->" in text
