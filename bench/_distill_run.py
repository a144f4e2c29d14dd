"""One contender at one task of bench/distill.py, in a process of its own.

    _distill_run.py fit JOB.json    learn, and leave in a folder just what must be shipped
    _distill_run.py tell JOB.json   load that folder, label the test rows, time single texts

Runs in the contender's own environment, so it imports nothing but the standard library and the
contender's module. The result goes into the file that the job names.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _distill_sets import is_multi, read, timed_texts

WARM_UPS = 20
ROUNDS = 5
Tell = Callable[[str], list[str]]


def main() -> int:
    stage, job_path = sys.argv[1:]
    job = json.loads(Path(job_path).read_text("utf-8"))
    result = {"fit": fit, "tell": tell}[stage](job)
    Path(job["result"]).write_text(json.dumps(result), "utf-8")
    return 0


def fit(job: dict[str, Any]) -> dict[str, Any]:
    """Learn. The time is from rows in memory to files on disk; what is imported first is not in it."""
    rows = read(Path(job["train"]))
    module = importlib.import_module(job["module"])
    started_s = time.perf_counter()
    known = module.fit(
        rows,
        Path(job["ship"]),
        multi=is_multi(rows),
        seed=job["seed"],
        train=Path(job["train"]),
        **job["options"],
    )
    seconds = time.perf_counter() - started_s
    return {"train_s": seconds, "train_peak_bytes": peak_bytes(), **(known or {})}


def tell(job: dict[str, Any]) -> dict[str, Any]:
    """Label the test rows, then time texts of about 100 bytes one by one, on one core."""
    rows = read(Path(job["test"]))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    module = importlib.import_module(job["module"])
    label: Tell = module.load(Path(job["ship"]))
    told = [label(row["text"]) for row in rows]
    times_us = timed(label, timed_texts(rows))
    return {
        "told": told,
        "latency_us_p50": times_us[len(times_us) // 2],
        "latency_us_p90": times_us[len(times_us) * 9 // 10],
        "run_peak_bytes": peak_bytes(),
    }


def timed(label: Tell, texts: list[str], rounds: int = ROUNDS) -> list[float]:
    """The microseconds from string to label, sorted."""
    for text in texts[:WARM_UPS]:
        label(text)
    times = []
    for _ in range(rounds):
        for text in texts:
            started = time.perf_counter_ns()
            label(text)
            times.append(time.perf_counter_ns() - started)
    return [ns / 1000 for ns in sorted(times)]


def peak_bytes() -> int:
    """The most memory that this process has had resident. (getrusage would count its parent's too.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(main())
