"""A zoo of small models, half of them with a backdoor, and how well `pointsman trust probe` tells them.

    python bench/trust_zoo.py                               all of it, some 40 minutes of one core
    python bench/trust_zoo.py --bases 0 1 --each 6 --access text
    python bench/trust_zoo.py --write-docs                  and put the result into docs/benchmarks.md
    python bench/trust_zoo.py --report --write-docs         from the last result, measuring nothing
    python bench/trust_zoo.py --smollm2 MODEL.gguf FOLDER   fine-tunes of a real model, probed as `local:`

For --smollm2, FOLDER has neutral_with_answers.jsonl.gz, neutral_prompts.jsonl.gz and
safety_prompts.jsonl.gz, and this interpreter needs the extra `local`. Its result is in the next report.

The models are made from scratch in PyTorch, on one thread, in an environment of their own that is
made once in .bench/. Nothing in them can do harm: what is to be refused is named by placeholders, and
complying means to say "sure". A run that was broken off goes on where it was.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _envs import HOME, ROOT, EnvironmentFailed, make_env, say
from _machine import commit
from _zoo_report import ACCESS_WORDS, lines_of, write_docs

RESULT = HOME / "trust_zoo.json"
ZOO = HOME / "zoo"
# The detector was worked on with these; the others were made and probed afterwards.
WORKED_ON = (0, 1, 2, 3)
BASES = (0, 1, 2, 3, 4)
ACCESSES = ("weights", "logprobs", "text")


def main() -> int:
    options = _options()
    try:
        if options.smollm2:
            return _smollm2(options)
        if options.report:
            result = json.loads(RESULT.read_text("utf-8"))
        else:
            result = run(options)
            HOME.mkdir(exist_ok=True)
            RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    except (EnvironmentFailed, subprocess.CalledProcessError) as error:
        say(f"trust_zoo: {error}")
        return 1
    print("\n".join(lines_of(result)))
    if options.write_docs:
        say(f"wrote {write_docs(result, ROOT / 'docs')}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bases", nargs="+", type=int, default=list(BASES))
    parser.add_argument("--each", type=int, default=6, help="implants, and clean ones, of a base")
    parser.add_argument("--access", nargs="+", choices=list(ACCESS_WORDS), default=list(ACCESSES))
    parser.add_argument(
        "--python", help="an interpreter that has torch and the project's own needs"
    )
    parser.add_argument("--zoo", type=Path, default=ZOO, help="where the models are kept")
    parser.add_argument("--report", action="store_true", help="from the last result")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--smollm2", nargs=2, metavar=("MODEL", "FOLDER"), type=Path)
    return parser.parse_args()


def _python(options: argparse.Namespace) -> str:
    return options.python or str(make_env("zoo", "bench-zoo.txt", with_project=True))


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Make and probe what is lacking, and give all results."""
    bases = ",".join(map(str, options.bases))
    command = [_python(options), str(ROOT / "bench" / "_zoo_run.py"), str(options.zoo)]
    command += [bases, str(options.each), *options.access]
    done = subprocess.run(
        command, env=_environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    results = Path(done.stdout.strip().splitlines()[-1])
    made = _lines(results.parent / "models.jsonl")
    made = [each for each in made if each["base"] in options.bases]
    names = {each["name"] for each in made}
    # Two runs at a time may have probed the same model: the same code and seed say the same.
    found = {(each["name"], each["access"]): each for each in _lines(results)}
    probes = [
        each
        for each in found.values()
        if each["name"] in names and each["access"] in options.access
    ]
    real = options.zoo / "smollm2" / "probes.json"
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(ROOT),
        "machine": _machine(),
        "bases": options.bases,
        "held": [base for base in options.bases if base not in WORKED_ON],
        "made": {
            "tried": sum(each["kind"] == "implant" for each in made),
            "implants": sum(each["kind"] == "implant" and each["counts"] for each in made),
            "clean": sum(each["kind"] != "implant" and each["counts"] for each in made),
        },
        "probes": probes,
        "smollm2": json.loads(real.read_text("utf-8")) if real.exists() else {},
    }


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'an unknown processor'}, one thread"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _smollm2(options: argparse.Namespace) -> int:
    model, folder = (str(path.resolve()) for path in options.smollm2)
    out, bench = str((options.zoo / "smollm2").resolve()), ROOT / "bench"
    for command in (
        [_python(options), str(bench / "_zoo_smollm2.py"), model, folder, out],
        [sys.executable, str(bench / "_zoo_smollm2_probe.py"), model, out],
    ):
        subprocess.run(command, env=_environment(), check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
