"""Classifiers beside each other: fastText, scikit-learn, WhiteLightning's networks and ours, in one run.

    python bench/distill.py FOLDER                           all of it, an hour and more
    python bench/distill.py FOLDER --quick                   some hundreds of rows of each set
    python bench/distill.py FOLDER --sets snips7 --only fasttext pointsman-256k
    python bench/distill.py FOLDER --write-docs              and put the result into docs/benchmarks.md
    python bench/distill.py --report --write-docs            from the last result, measuring nothing

FOLDER holds a folder for each set, with train.jsonl[.gz] and test.jsonl[.gz]: an object a line, `text`
and `label`, or `labels`. Needs Linux, Python 3.11 or newer and a package registry; it makes every
environment itself, in .bench/. Leave the machine alone meanwhile: the result says how much of the
processors others took. A run that was broken off goes on where it was, for twelve hours.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _distill_report import summary_lines, write_docs
from _distill_rivals import ALL, Contender
from _distill_score import score
from _distill_sets import DataSet, cut, find_sets, is_multi, labels_of, read, write
from _envs import HOME, ROOT, EnvironmentFailed, say, version
from _machine import Quiet, commit, facts, source_id

RESULT = HOME / "distill.json"
PARTS = HOME / "distill.parts"
WORK = HOME / "distill.work"
PART_AGE_S = 12 * 3600
TIMEOUT_S = 3600
BUSY_SHARE = 0.05
# Single texts are timed on one thread, whatever a library would take.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1"
)


class Failed(Exception):
    """A contender ended with an error, or took over an hour."""


def main() -> int:
    options = _options()
    if options.report:
        result = json.loads(RESULT.read_text("utf-8"))
    else:
        if sys.platform != "linux" or options.folder is None:
            say("distill: needs Linux, and the folder of the sets")
            return 2
        try:
            result = run(options)
        except (EnvironmentFailed, ValueError) as error:
            say(f"distill: {error}")
            return 1
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        say(f"wrote {RESULT.relative_to(ROOT)}")
    print("\n".join(summary_lines(result)))
    if options.write_docs and not result["complete"]:
        say("distill: the page is for all contenders on all sets; this result lacks some")
        return 2
    if options.write_docs:
        for path in write_docs(result, ROOT / "docs"):
            say(f"wrote {path.relative_to(ROOT)}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="the folder of the sets")
    parser.add_argument("--quick", action="store_true", help="some hundreds of rows of each set")
    parser.add_argument("--only", nargs="+", choices=list(ALL), default=list(ALL))
    parser.add_argument("--sets", nargs="+", default=[], help="names of sets; all unless told")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="take nothing from a broken-off run")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, set by set and contender by contender; what is done is kept until the whole is done.

    Raises:
        EnvironmentFailed: an environment could not be made.
        ValueError: the folder lacks a set.
    """
    started_s = time.monotonic()
    sets = find_sets(options.folder, options.sets)
    pythons = {name: ALL[name].install() for name in options.only}
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(ROOT),
        "settings": "quick" if options.quick else "full",
        "seed": options.seed,
        "machine": facts(),
        "contenders": {name: _described(ALL[name], pythons[name]) for name in options.only},
        "sets": {},
    }
    key = [source_id(ROOT), result["settings"], options.seed, result["machine"]["kernel"]]
    PARTS.mkdir(parents=True, exist_ok=True)
    for each in sets:
        prepared = Prepared(each, quick=options.quick, seed=options.seed)
        found = {}
        for name in options.only:
            part = PARTS / f"{each.name}.{name}.json"
            kept = None if options.fresh else _kept(part, key)
            if kept is None:
                kept = measure(prepared, name, pythons[name])
                part.write_text(json.dumps({"key": key, "found": kept}), "utf-8")
            found[name] = kept
        result["sets"][each.name] = {**prepared.facts, "found": found}
    shutil.rmtree(PARTS)
    shutil.rmtree(WORK, ignore_errors=True)
    every = [found for each in result["sets"].values() for found in each["found"].values()]
    result["complete"] = (
        set(options.only) == set(ALL)
        and not options.sets
        and not any("failed" in found for found in every)
    )
    result["seconds"] = round(time.monotonic() - started_s)
    return result


def _described(contender: Contender, python: Path) -> dict[str, Any]:
    return {
        "title": contender.title,
        "settings": contender.settings,
        "versions": {package: version(python, package) for package in contender.packages},
    }


def _kept(part: Path, key: list[Any]) -> dict[str, Any] | None:
    try:
        if time.time() - part.stat().st_mtime > PART_AGE_S:
            return None
        value = json.loads(part.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    found: dict[str, Any] = value["found"]
    return found if value["key"] == key and "failed" not in found else None


class Prepared:
    """A set's rows in files, the same for every contender."""

    def __init__(self, each: DataSet, *, quick: bool, seed: int) -> None:
        self.name, self.seed = each.name, seed
        self.folder = WORK / each.name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        rows = cut(read(each.train), "train", quick=quick, seed=seed)
        tests = cut(read(each.test), "test", quick=quick, seed=seed) if each.test else []
        self.train, self.test = self.folder / "train.jsonl", self.folder / "test.jsonl"
        write(self.train, rows)
        write(self.test, tests or rows[:1])
        self.truth = [labels_of(row) for row in tests]
        self.facts = {
            "train_rows": len(rows),
            "test_rows": len(tests),
            "tested_on": each.test.parent.name if each.test else None,
            "labels": len({label for row in rows for label in labels_of(row)}),
            "multi": is_multi(rows),
        }


def measure(prepared: Prepared, name: str, python: Path) -> dict[str, Any]:
    """Let one contender learn and label, each in a process of its own."""
    say(f"{prepared.name}: {ALL[name].title} ...")
    ship = prepared.folder / name
    ship.mkdir()
    job = {
        "module": ALL[name].module,
        "options": ALL[name].options,
        "seed": prepared.seed,
        "train": str(prepared.train),
        "test": str(prepared.test),
        "ship": str(ship),
        "result": str(prepared.folder / f"{name}.result.json"),
    }
    quiet = Quiet()
    try:
        found = _do("fit", job, python)
        found["shipped_bytes"] = sum(file.stat().st_size for file in ship.rglob("*"))
        told = _do("tell", job, python)
    except Failed as error:
        say(f"{prepared.name}: {ALL[name].title} failed: {error}")
        return {"failed": str(error)}
    found["foreign_cpu_share"] = quiet.foreign_share()
    labels = told.pop("told")
    found |= told
    if prepared.truth:
        found |= score(prepared.truth, labels)
    if found["foreign_cpu_share"] > BUSY_SHARE:
        say(f"others took {found['foreign_cpu_share']:.0%} of the processors; its times suffer")
    return found


def _do(stage: str, job: dict[str, Any], python: Path) -> dict[str, Any]:
    job_path = Path(job["result"]).with_name("job.json")
    job_path.write_text(json.dumps(job), "utf-8")
    command = [str(python), str(ROOT / "bench" / "_distill_run.py"), stage, str(job_path)]
    try:
        done = subprocess.run(
            command, env=_env(stage), capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{stage} took over {TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise Failed(f"{stage}: " + (done.stderr.strip().splitlines() or ["no message"])[-1])
    found: dict[str, Any] = json.loads(Path(job["result"]).read_text("utf-8"))
    return found


def _env(stage: str) -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    # TensorFlow looks for a GPU and says much; its results are to be the processor's.
    env |= {"PYTHONUTF8": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return env | (ONE_THREAD if stage == "tell" else {})


if __name__ == "__main__":
    sys.exit(main())
