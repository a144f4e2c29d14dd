"""What a gateway costs: Pointsman beside LiteLLM's proxy and NVIDIA's Switchyard, in one run.

    python bench/overhead.py                        all of it, about a quarter of an hour
    python bench/overhead.py --quick                short repetitions, under three minutes
    python bench/overhead.py --write-docs           and put the result into docs/benchmarks.md
    python bench/overhead.py --report --write-docs  from the last result, measuring nothing

Needs Linux with two cores or more, Python 3.11 or newer, and a package registry; it makes every
environment itself, in .bench/. Leave the machine alone meanwhile: the result says how much of the
processors others took. A run that was broken off goes on where it was, gateway by gateway, for two
hours.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from _contenders import ALL, GATEWAYS, StartFailed, stop
from _envs import HOME, ROOT, EnvironmentFailed, make_env, say
from _machine import commit, facts, source_id
from _measure import FULL, QUICK, Bench, LoadFailed, Settings, measure, pin_to_load_core, start_mock
from _report import summary_lines, write_docs

RESULT = HOME / "overhead.json"
PARTS = HOME / "overhead.parts"
PART_AGE_S = 2 * 3600
BUSY_SHARE = 0.02


def main() -> int:
    options = _options()
    if options.report:
        result = json.loads(RESULT.read_text("utf-8"))
    else:
        if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
            say("overhead: needs Linux and two cores")
            return 2
        try:
            result = run(QUICK if options.quick else FULL, options.only, fresh=options.fresh)
        except (EnvironmentFailed, StartFailed, LoadFailed) as error:
            say(f"overhead: {error}")
            return 1
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        say(f"wrote {RESULT.relative_to(ROOT)}")
    print("\n".join(summary_lines(result)))
    if options.write_docs and not result["complete"]:
        say("overhead: the page is for all gateways; this result lacks some")
        return 2
    if options.write_docs:
        for path in write_docs(result, ROOT / "docs"):
            say(f"wrote {path.relative_to(ROOT)}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short repetitions")
    parser.add_argument("--only", nargs="+", choices=list(ALL), default=list(ALL))
    parser.add_argument("--fresh", action="store_true", help="take nothing from a broken-off run")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


def run(settings: Settings, names: list[str], *, fresh: bool) -> dict[str, Any]:
    """Measure, gateway by gateway; what is done is kept until the whole is done.

    Raises:
        EnvironmentFailed, StartFailed, LoadFailed: one could not be installed, started or trusted.
    """
    started_s = time.monotonic()
    tools = make_env("tools", "bench.txt")
    pythons = {name: ALL[name].install() for name in names}
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(ROOT),
        "settings": settings.name,
        "seed": None,  # Nothing in it is drawn at random.
        "machine": facts(),
        "contenders": {},
    }
    key = [source_id(ROOT), settings.name, result["machine"]["kernel"]]
    PARTS.mkdir(parents=True, exist_ok=True)
    all_cores = os.sched_getaffinity(0)
    pin_to_load_core()
    mock, port = start_mock(tools)
    try:
        bench = Bench(tools, port, settings)
        for name in names:
            part = PARTS / f"{name}.json"
            found = None if fresh else _kept(part, key)
            if found is None:
                found = measure(bench, ALL[name], pythons[name])
                part.write_text(json.dumps({"key": key, "found": found}), "utf-8")
            else:
                say(f"{name}: taken from the run that was broken off")
            result["contenders"][name] = found
            if found["foreign_cpu_share"] > BUSY_SHARE:
                share = found["foreign_cpu_share"]
                say(f"{name}: others took {share:.0%} of the processors; its figures suffer")
    finally:
        stop(mock)
        os.sched_setaffinity(0, all_cores)
    for part in PARTS.glob("*.json"):
        part.unlink()
    result["complete"] = all(name in result["contenders"] for name in GATEWAYS)
    result["seconds"] = round(time.monotonic() - started_s)
    return result


def _kept(part: Path, key: list[str]) -> dict[str, Any] | None:
    try:
        if time.time() - part.stat().st_mtime > PART_AGE_S:
            return None
        value = json.loads(part.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    found: dict[str, Any] = value["found"]
    return found if value["key"] == key else None


if __name__ == "__main__":
    sys.exit(main())
