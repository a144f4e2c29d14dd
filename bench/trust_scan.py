"""Scanners of model files beside each other on one corpus of inert hostile files, and one of ordinary ones.

    python bench/trust_scan.py                      all scanners, each in an environment of its own
    python bench/trust_scan.py --only modelscan     one anew, the others from the last result
    python bench/trust_scan.py --write-docs         and put the result into docs/benchmarks.md
    python bench/trust_scan.py --python modelscan=/path/to/python   an environment that is there already

The corpus is made by tests/trust/trust_corpus.py; nothing in it is ever loaded. Each file is scanned by
itself. "Found" is a finding of a severity that fails (for modelaudit: warning or critical), "unchecked"
is an error or a format that the scanner says it does not read, "passed" is neither.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from _envs import HOME, ROOT, EnvironmentFailed, make_env, say, version
from _machine import facts
from _scan_rivals import SCANNERS, Scanner

sys.path.insert(0, str(ROOT / "tests" / "trust"))
import trust_corpus

RESULT = HOME / "trust_scan.json"
BEGIN = "<!-- trust-scan: made by bench/trust_scan.py --write-docs -->"
END = "<!-- trust-scan: end -->"
FILE_CAP_S = 60
TOTAL_CAP_S = 3600
QUIET = {"NO_ANALYTICS": "1", "PROMPTFOO_DISABLE_TELEMETRY": "1", "CI": "1", "DO_NOT_TRACK": "1"}
TITLES = {
    "pickles": "pickles",
    "archives": "pickles in archives, and archives that escape, lie or burst",
    "gguf": "GGUF whose fields lie",
    "safetensors": "safetensors whose fields lie",
    "others": "Keras, ONNX, TensorFlow, configurations, code, names",
    "templates": "chat templates",
    "benign": "ordinary files (a finding is a false alarm)",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    names = [each.name for each in SCANNERS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument(
        "--report", action="store_true", help="from the last result, scanning nothing"
    )
    options = parser.parse_args()
    if options.report:
        result = json.loads(RESULT.read_text("utf-8"))
    else:
        given = dict(each.split("=", 1) for each in options.python)
        try:
            result = run([each for each in SCANNERS if each.name in options.only], given)
        except EnvironmentFailed as error:
            say(f"trust_scan: {error}")
            return 2
        RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print("\n".join(table(result)))
    if options.write_docs:
        write_docs(result, ROOT / "docs" / "benchmarks.md")
    return 0


def corpus() -> dict[str, dict[str, bytes]]:
    """Give the files by class."""
    weights = trust_corpus.weights()
    return {
        "pickles": trust_corpus.pickles(),
        "archives": trust_corpus.archives(),
        "gguf": {name: raw for name, raw in weights.items() if name.endswith(".gguf")},
        "safetensors": {
            name: raw for name, raw in weights.items() if name.endswith(".safetensors")
        },
        "others": trust_corpus.others(),
        "templates": trust_corpus.template_files(),
        "benign": trust_corpus.benign(),
    }


def run(scanners: list[Scanner], given: dict[str, str]) -> dict[str, Any]:
    HOME.mkdir(exist_ok=True)
    folder = HOME / "trust-corpus"
    shutil.rmtree(folder, ignore_errors=True)
    files = corpus()
    for name, members in files.items():
        trust_corpus.write(folder / name, members)
    found = {}
    for scanner in scanners:
        own = scanner.name == "pointsman"
        python = Path(
            given.get(scanner.name) or make_env(scanner.name, scanner.lock, with_project=own)
        )
        say(f"{scanner.name} ...")
        found[scanner.name] = {
            "version": version(python, scanner.package),
            "classes": {name: scan(scanner, python, folder / name) for name in files},
        }
    sizes = {name: len(members) for name, members in files.items()}
    digest = hashlib.sha256()
    for members in files.values():
        for name in sorted(members):
            digest.update(name.encode() + members[name])
    return {
        "date": datetime.date.today().isoformat(),
        "machine": facts(),
        "corpus": digest.hexdigest(),
        "files": sizes,
        "scanners": kept(digest.hexdigest()) | found,
    }


def kept(corpus: str) -> dict[str, Any]:
    """What the last result says of the same corpus, for the scanners that are not run now."""
    try:
        last = json.loads(RESULT.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(last["scanners"]) if last.get("corpus") == corpus else {}


def scan(scanner: Scanner, python: Path, folder: Path) -> dict[str, Any]:
    """Give what a scanner says of each file; those that it never came to are 'crashed'."""
    command = [str(python), "-c", scanner.program, str(folder), str(FILE_CAP_S)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=TOTAL_CAP_S,
            env={**os.environ, **QUIET}, cwd=folder,
        )  # fmt: skip
        out = done.stdout
    except subprocess.TimeoutExpired as error:
        out = error.stdout or b""
    rows = [json.loads(line) for line in out.decode().splitlines()]
    if not rows:
        raise EnvironmentFailed(
            f"{scanner.name} came to no file of {folder.name}: {' '.join(command[:1])}"
        )
    said = {name: word for name, word, _, _ in rows}
    for path in folder.iterdir():
        said.setdefault(path.name, "crashed")
    return {
        "said": said,
        "cpu_s": sum(cpu for _, _, cpu, _ in rows),
        "max_cpu_s": max((cpu for _, _, cpu, _ in rows), default=0.0),
        "max_rss_mb": max((rss for _, _, _, rss in rows), default=0) / 1024,
    }


def table(result: dict[str, Any]) -> list[str]:
    """Give the Markdown table: found / unchecked / passed of each class by each scanner."""
    names = [each.name for each in SCANNERS if each.name in result["scanners"]]
    head = [f"{name} {result['scanners'][name]['version']}" for name in names]
    lines = ["| files | count | " + " | ".join(head) + " |", "| --- " * (len(names) + 2) + "|"]
    for kind, count in result["files"].items():
        cells = [cell(result["scanners"][name]["classes"][kind]["said"]) for name in names]
        lines.append(f"| {TITLES[kind]} | {count} | " + " | ".join(cells) + " |")
    cpu = [
        sum(each["cpu_s"] for each in result["scanners"][name]["classes"].values())
        for name in names
    ]
    rss = [
        max(each["max_rss_mb"] for each in result["scanners"][name]["classes"].values())
        for name in names
    ]
    slow = [
        max(each["max_cpu_s"] for each in result["scanners"][name]["classes"].values())
        for name in names
    ]
    lines.append("| CPU for all, s | | " + " | ".join(f"{each:.1f}" for each in cpu) + " |")
    lines.append(
        "| CPU for the slowest file, s | | " + " | ".join(f"{each:.2f}" for each in slow) + " |"
    )
    lines.append("| memory at most, MiB | | " + " | ".join(f"{each:.0f}" for each in rss) + " |")
    return lines


def cell(said: dict[str, str]) -> str:
    words = list(said.values())
    counts = [f"{words.count(word)}" for word in ("found", "unchecked", "passed")]
    broke = sum(words.count(word) for word in ("crashed", "hung"))
    return " / ".join(counts) + (f", {broke} broke" if broke else "")


def write_docs(result: dict[str, Any], page: Path) -> None:
    text = page.read_text("utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the markers {BEGIN} and {END}")
    machine = result["machine"]
    shown = f"{result['date']} on {machine['cpu']}, Python {machine['python']}"
    body = "\n".join(table(result))
    page.write_text(f"{head}{BEGIN}\n\nMeasured {shown}.\n\n{body}\n\n{END}{tail}", "utf-8")
    say(f"wrote {page}")


if __name__ == "__main__":
    sys.exit(main())
