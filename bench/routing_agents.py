"""Measures, and with --write-model makes, the model of agents' trajectories.

    python bench/routing_agents.py FILE [--write-model] [--write-docs] [--repeats N]

FILE holds recorded runs, one JSON object a line, gzipped or not: `task`, `reward` (1 solved), `messages`
in OpenAI's form. Prints one JSON object: for the first 10, 16 and 24 messages, and for the whole run, the
AUROC of "this run will fail" for the model, each task predicted by models that saw none of its trials
(5 folds by task, over several shuffles), with a 95 % bootstrap interval over tasks; the same for
counting errors, calls, messages and tokens; and the calibration. `alive` leaves out runs that had ended
by then, of which nothing is left to be decided. Nothing is chosen by these figures but what is said so
in docs/routing.md.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from _docs import write_section
from numpy.typing import NDArray

from pointsman.dialects import get_client_dialect
from pointsman.router.prognosis import SIGNS, PrognosisModel, prognosis_of
from pointsman.router.prognosis_fit import PRIORS, RunRow, fit_prognosis
from pointsman.router.trajectory import Progress, Trajectory, advance, trajectory_of
from pointsman.types import Chat

STOPS: tuple[int | None, ...] = (10, 16, 24, None)
FOLDS = 5
SAMPLES = 2000
# Beginnings that are rows of the training: every turn of the user and the tools from here on.
FIRST, STEP, LAST = 8, 2, 40
HOME = Path(__file__).parent.parent
MODEL = HOME / "src/pointsman/data/router/trajectory.json"
BASELINES: dict[str, Callable[[Trajectory], float]] = {
    "tool errors": lambda run: run.errors,
    "calls": lambda run: run.calls,
    "messages": lambda run: run.messages,
    "tokens": lambda run: run.tokens,
}


class Run(msgspec.Struct):
    """A recorded run."""

    id: str
    task: str
    failed: bool
    chat: Chat

    def until(self, stop: int | None) -> Trajectory:
        messages = self.chat.messages[:stop]
        return trajectory_of(msgspec.structs.replace(self.chat, messages=messages))

    def alive(self, stop: int | None) -> bool:
        return stop is None or len(self.chat.messages) > stop


def read_runs(path: Path) -> list[Run]:
    dialect = get_client_dialect("openai")
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    rows = [json.loads(line) for line in text.splitlines()]
    return [
        Run(
            str(row.get("id", number)),
            str(row["task"]),
            float(row["reward"]) < 0.5,
            dialect.read_chat({"model": "auto", "messages": row["messages"]}),
        )
        for number, row in enumerate(rows)
    ]


def rows_of(runs: Sequence[Run]) -> list[RunRow]:
    found = []
    for run in runs:
        size = len(run.chat.messages)
        for stop in (*range(FIRST, min(LAST, size - 1) + 1, STEP), size):
            found.append(RunRow(run.id, run.until(stop), run.failed))
    return found


class Scores(msgspec.Struct):
    """How runs are ordered: `right[i, j]` of `pairs[i, j]` comparisons have i above j, ties a half.

    Only scores of one model are compared with each other: those of models from different folds differ
    in their intercepts, the other way round than the tasks that they left out.
    """

    right: NDArray[np.float64]
    pairs: NDArray[np.float64]

    def auroc(self, runs: Sequence[Run], times: NDArray[np.float64] | None = None) -> float | None:
        failed = np.array([run.failed for run in runs], dtype=float)
        weight = np.ones(len(runs)) if times is None else times
        chosen = np.outer(failed * weight, (1 - failed) * weight)
        count = float((chosen * self.pairs).sum())
        return float((chosen * self.right).sum()) / count if count else None

    def part(self, kept: Sequence[int]) -> Scores:
        grid = np.ix_(kept, kept)
        return Scores(self.right[grid], self.pairs[grid])


def compared(values: Sequence[float], groups: Sequence[int] | None = None) -> Scores:
    """Compare each with each, or with those of its group."""
    value = np.asarray(values, dtype=float)
    above = (value[:, None] > value[None, :]) + 0.5 * (value[:, None] == value[None, :])
    pairs = np.ones_like(above)
    if groups is not None:
        group = np.asarray(groups)
        pairs = (group[:, None] == group[None, :]).astype(float)
    return Scores(above * pairs, pairs)


def held_out(
    runs: Sequence[Run], repeats: int
) -> tuple[dict[int | None, Scores], dict[int | None, list[float]]]:
    """How models that saw nothing of a run's task order the runs, and each run's mean logit."""
    rows: dict[str, list[RunRow]] = {run.id: rows_of([run]) for run in runs}
    seen = {stop: [run.until(stop) for run in runs] for stop in STOPS}
    means = {stop: [0.0] * len(runs) for stop in STOPS}
    nothing = np.zeros((len(runs), len(runs)))
    sums = {stop: Scores(nothing.copy(), nothing.copy()) for stop in STOPS}
    tasks = sorted({run.task for run in runs})
    for seed in range(repeats):
        random.Random(seed).shuffle(tasks)
        fold_of = {task: number % FOLDS for number, task in enumerate(tasks)}
        groups = [fold_of[run.task] for run in runs]
        models = [
            fit_prognosis(
                [r for run in runs if fold_of[run.task] != fold for r in rows[run.id]], {}
            )
            for fold in range(FOLDS)
        ]
        for stop in STOPS:
            found = [
                prognosis_of(t, models[g]).p_fail for t, g in zip(seen[stop], groups, strict=True)
            ]
            logits = [math.log(p / (1 - p)) for p in found]
            means[stop] = [a + b / repeats for a, b in zip(means[stop], logits, strict=True)]
            each = compared(logits, groups)
            sums[stop].right += each.right
            sums[stop].pairs += each.pairs
    return sums, means


def interval(runs: Sequence[Run], scores: Scores) -> list[float]:
    """95 %, over tasks drawn again."""
    names = sorted({run.task for run in runs})
    place = np.array([names.index(run.task) for run in runs])
    draw = np.random.default_rng(0)
    found = []
    for _ in range(SAMPLES):
        times = np.bincount(draw.integers(len(names), size=len(names)), minlength=len(names))
        value = scores.auroc(runs, times[place].astype(float))
        if value is not None:
            found.append(value)
    found.sort()
    return [round(found[int(q * (len(found) - 1))], 3) for q in (0.025, 0.975)]


def scored(runs: Sequence[Run], scores: Scores, stop: int | None) -> dict[str, Any]:
    alive = [i for i, run in enumerate(runs) if run.alive(stop)]
    some, left = [runs[i] for i in alive], scores.part(alive)
    same = compared([0.0] * len(runs), [hash(run.task) for run in runs]).pairs
    within = Scores(scores.right * same, scores.pairs * same)
    return {
        "auroc": _short(scores.auroc(runs)),
        "auroc_95": interval(runs, scores),
        "alive": len(alive),
        "alive_auroc": _short(left.auroc(some)),
        "alive_auroc_95": interval(some, left),
        "within_tasks": _short(within.auroc(runs)),
    }


def calibration(runs: Sequence[Run], logits: Sequence[float]) -> dict[str, Any]:
    p = [1 / (1 + math.exp(-each)) for each in logits]
    failed = [float(run.failed) for run in runs]
    rate = sum(failed) / len(failed)
    order = sorted(range(len(p)), key=p.__getitem__)
    bins = [order[n * len(order) // 5 : (n + 1) * len(order) // 5] for n in range(5)]
    error = sum(abs(sum(p[i] - failed[i] for i in part)) for part in bins) / len(p)
    brier = sum((a - b) ** 2 for a, b in zip(p, failed, strict=True)) / len(p)
    return {
        "error_5_bins": _short(error),
        "brier": _short(brier),
        "brier_of_base_rate": _short(rate * (1 - rate)),
    }


def latency_us(runs: Sequence[Run]) -> dict[str, float]:
    """Processor time of one reading: of 40 messages from the start, and of two new ones after 38."""
    chat = max((run.chat for run in runs), key=lambda chat: len(chat.messages))
    whole = msgspec.structs.replace(chat, messages=chat.messages[:40])
    before = msgspec.structs.replace(chat, messages=chat.messages[:38])

    def timed(work: Callable[[Any], object], inputs: Sequence[Any]) -> float:
        times = []
        for each in inputs:
            start = time.perf_counter_ns()
            work(each)
            times.append(time.perf_counter_ns() - start)
        return round(sorted(times)[len(times) // 2] / 1000, 1)

    states = [advance(None, before) for _ in range(500)]
    copies: list[Progress] = [
        msgspec.structs.replace(s, trajectory=msgspec.structs.replace(s.trajectory)) for s in states
    ]
    run = trajectory_of(whole)
    return {
        "read_40_messages": timed(lambda _: trajectory_of(whole), range(1000)),
        "read_2_more": timed(lambda state: advance(state, whole), copies),
        "prognosis": timed(lambda _: prognosis_of(run), range(1000)),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def card_of(path: Path, runs: Sequence[Run]) -> dict[str, str | int | float]:
    return {
        "trained_on": "tau-bench airline, gpt-4o as an agent (sierra-research/tau-bench, MIT)",
        "data_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "runs": len(runs),
        "tasks": len({run.task for run in runs}),
        "failed": round(sum(run.failed for run in runs) / len(runs), 3),
        "made_by": "python bench/routing_agents.py FILE --write-model",
        "limits": "one agent, one domain, 30 tasks; signs that are not learned have weights set by hand",
    }


def report(path: Path, repeats: int) -> dict[str, Any]:
    runs = read_runs(path)
    ordered, logits = held_out(runs, repeats)
    model = fit_prognosis(rows_of(runs), card_of(path, runs))
    found: dict[str, Any] = {
        "runs": len(runs),
        "tasks": len({run.task for run in runs}),
        "failed": sum(run.failed for run in runs),
        "stops": {},
        "weights": {
            sign: {
                "prior": PRIORS[sign][0],
                "weight": model.weights[i],
                "sd": round(math.sqrt(model.covariance[i + 1][i + 1]), 3),
                "learned": model.learned[i],
            }
            for i, sign in enumerate(SIGNS)
        },
    }
    for stop in STOPS:
        seen = [run.until(stop) for run in runs]
        each = {"model": scored(runs, ordered[stop], stop)}
        for name, count in BASELINES.items():
            each[name] = scored(runs, compared([count(run) for run in seen]), stop)
        found["stops"][str(stop or "end")] = each | {"calibration": calibration(runs, logits[stop])}
    found["latency_us_p50"] = latency_us(runs)
    return found


def table(found: dict[str, Any]) -> str:
    """The part of docs/benchmarks.md."""
    lines = [
        f"By `python bench/routing_agents.py FILE`: {found['runs']} runs of {found['tasks']} tasks,"
        f" {found['failed']} failed. AUROC of “this run will fail”, the model's by 5-fold"
        " cross-validation over whole tasks; 95 % bootstrap intervals over tasks.",
        "",
        "| messages seen | runs under way | model, all runs | model, runs under way | tool errors | calls |"
        " messages | tokens |",
        "|---|---:|---|---|---|---|---|---|",
    ]
    for stop, each in found["stops"].items():
        own = each["model"]
        cells = [stop, str(own["alive"]), _cell(own), _cell(own, "alive_")]
        cells += [_cell(each[name]) for name in BASELINES]
        lines.append("| " + " | ".join(cells) + " |")
    latency = found["latency_us_p50"]
    lines += [
        "",
        f"Reading 40 messages takes {latency['read_40_messages']} µs (median), two more after 38"
        f" {latency['read_2_more']} µs, the prognosis {latency['prognosis']} µs, one thread, on a"
        " machine that others used as well.",
    ]
    return "\n".join(lines)


def _cell(each: dict[str, Any], prefix: str = "") -> str:
    low, high = each[f"{prefix}auroc_95"]
    return f"{each[f'{prefix}auroc']:.3f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--write-model", action="store_true")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.write_model:
        runs = read_runs(given.file)
        model: PrognosisModel = fit_prognosis(rows_of(runs), card_of(given.file, runs))
        MODEL.write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=1) + b"\n")
    found = report(given.file, given.repeats)
    if given.write_docs:
        write_section(
            HOME / "docs/benchmarks.md", "routing-agents", "bench/routing_agents.py", table(found)
        )
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
