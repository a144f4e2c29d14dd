"""What running local models through Pointsman costs, beside the bare engine, in one run.

    python bench/local.py               all of it, about six minutes
    python bench/local.py --quick       fewer repetitions, about two
    python bench/local.py --write-docs  and put the result into docs/benchmarks.md

Needs Linux, Python 3.11 or newer, and a package registry; it makes its environment itself, in
.bench/. Leave the machine alone meanwhile: llama.cpp's threads wait by spinning, and other load
slows them out of proportion. The result says how much of the processors others took.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _envs import HOME, ROOT, EnvironmentFailed, make_env, say, version
from _local_report import summary_lines, write_docs
from _machine import Quiet, commit, facts

RESULT = HOME / "local.json"
SETTINGS = {
    "full": {"swaps": 30, "firsts": 300, "streams": 10, "imports": 5},
    "quick": {"swaps": 8, "firsts": 60, "streams": 3, "imports": 2},
}


def main() -> int:
    options = _options()
    if sys.platform != "linux":
        say("local: needs Linux")
        return 2
    if options.report:
        result = json.loads(RESULT.read_text("utf-8"))
    else:
        try:
            result = run("quick" if options.quick else "full")
        except (EnvironmentFailed, subprocess.CalledProcessError) as error:
            say(f"local: {error}")
            return 1
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        say(f"wrote {RESULT.relative_to(ROOT)}")
    print("\n".join(summary_lines(result)))
    if options.write_docs:
        say(f"wrote {write_docs(result, ROOT / 'docs').relative_to(ROOT)}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    return parser.parse_args()


def run(settings: str) -> dict[str, Any]:
    """Fetch the model, then measure.

    Raises:
        EnvironmentFailed: it could not be installed.
        subprocess.CalledProcessError: a part failed; what it said is above.
    """
    python = make_env("local", "bench-local.txt", with_project=True)
    with tempfile.TemporaryDirectory() as work:
        model = _model(python)
        say("measuring swaps, first tokens and streams ...")
        quiet = Quiet()
        numbers = [f"--{name}={value}" for name, value in SETTINGS[settings].items()]
        measured = _json(python, "_local_run.py", str(model), work, *numbers)
        say("measuring memory ...")
        memory = _json(python, "local_memory.py", "--json", str(model))
        foreign = quiet.foreign_share()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(ROOT),
        "settings": settings,
        "times": SETTINGS[settings],
        "machine": facts(),
        "foreign_cpu_share": foreign,
        "xllamacpp": version(python, "xllamacpp"),
        **measured,
        "memory": memory,
    }


def _model(python: Path) -> Path:
    home = HOME / "local-home"
    command = [str(python), "-m", "pointsman", "pull", "smollm2", "--json"]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        env={**_clean_env(), "POINTSMAN_HOME": str(home)},
    )
    return Path(json.loads(done.stdout)[0]["path"])


def _clean_env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}


def _json(python: Path, script: str, *arguments: str) -> Any:
    command = [str(python), str(ROOT / "bench" / script), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=_clean_env())
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
