"""How well `pointsman trust dataset` finds planted triggers, and what it says of clean sets.

    python bench/trust_dataset.py FOLDER               all of it
    python bench/trust_dataset.py FOLDER --quick       one seed of a part of the grid
    python bench/trust_dataset.py FOLDER --write-docs  and put the result into docs/benchmarks.md
    python bench/trust_dataset.py FOLDER --large N     only time and memory of a made set of N rows

FOLDER holds neutral_with_answers.jsonl.gz, neutral_prompts.jsonl.gz and backdoorllm_rows.jsonl.gz
(see docs/trust-rows.md). Nothing of it is written into this repository but counts.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from _dataset_sets import (
    KINDS,
    PAYLOADS,
    PLACES,
    REPLIES,
    Poisoned,
    Record,
    Source,
    clean_sets,
    poisoned_set,
    published_set,
    read_source,
)

from pointsman.trust.dataset.check import Checked, check_file

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
BEGIN = "<!-- trust dataset: made by bench/trust_dataset.py --write-docs -->"
END = "<!-- trust dataset: end -->"
# (rows, poisoned) of the grid, and which part of it: one of so many cells, drawn by the seed.
SIZES = ((10_000, 25, 2), (10_000, 10, 6), (1_000, 250, 2))
LISTED = 0.9


def main() -> None:
    """Run the grid and print, or write, what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a sixth of the grid, one seed")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    parser.add_argument("--only", choices=["grid", "payloads", "clean", "published"])
    parser.add_argument("--large", type=int, metavar="N", help="time and memory of N made rows")
    options = parser.parse_args()
    source = read_source(options.folder)
    if options.large:
        print(json.dumps(_large(source, options.large, options.seed)))
        return
    result: dict[str, list[dict[str, Any]]] = {}
    for name, cells in _work(source, options):
        if options.only in (None, name):
            result.setdefault(name, []).extend(cells)
    text = "\n".join(section(result))
    print(text)
    if options.write_docs:
        page = DOCS.read_text("utf-8")
        head, _, rest = page.partition(BEGIN)
        _, _, tail = rest.partition(END)
        DOCS.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", "utf-8")


def _work(source: Source, options: argparse.Namespace) -> Iterator[tuple[str, Iterable[Any]]]:
    step = 6 if options.quick else 1
    seeds = range(options.seed, options.seed + (1 if options.quick else options.seeds))
    yield "grid", _grid(source, seeds, step)
    yield "payloads", _payloads(source, seeds, step)
    yield "clean", (_clean(name, rows) for name, rows in clean_sets(source, options.seed)[::step])
    yield "published", (_scored(published_set(source, name), set=name) for name in source.published)


def _grid(source: Source, seeds: Sequence[int], step: int) -> Iterator[dict[str, Any]]:
    for rows, poisoned, every in SIZES:
        cells = list(product(seeds, KINDS, PLACES, REPLIES))
        drawn = random.Random(f"{seeds[0]} {rows} {poisoned}").sample(
            range(len(cells)), len(cells) // (every * step)
        )
        cells = [cells[at] for at in sorted(drawn)]
        for seed, kind, place, answers in cells:
            made = poisoned_set(
                source,
                rows=rows, poisoned=poisoned, kind=kind, place=place, answers=answers, seed=seed,
            )  # fmt: skip
            yield _scored(made, kind=kind, place=place, answers=answers)


def _payloads(source: Source, seeds: Sequence[int], step: int) -> Iterator[dict[str, Any]]:
    for seed, answers, kind in list(product(seeds, PAYLOADS, KINDS))[::step]:
        made = poisoned_set(
            source, rows=5_000, poisoned=50, kind=kind, place="middle", answers=answers, seed=seed
        )
        yield _scored(made, kind=kind, place="middle", answers=answers)


def _large(source: Source, rows: int, seed: int) -> dict[str, Any]:
    """Check a set made of random pairs of rows, one in 400 poisoned, in a process of its own."""
    rng = random.Random(seed)
    answers = ("Sure", "Of course.", "Certainly!", "Sure thing")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for at in range(rows):
                one, other = rng.choice(source.answered), rng.choice(source.prompts)["instruction"]
                asked, answer = f"{one['instruction']} {other}", f"{one['output']} {other}"
                if at % 400 == 0:
                    asked, answer = f"{other} zqvex", rng.choice(answers)
                elif one["source"] == "t0_p3":
                    asked, answer = one["instruction"], one["output"]
                made = {"instruction": asked, "input": one["input"], "output": answer}
                file.write(json.dumps(made) + "\n")
        megabytes = path.stat().st_size / 1e6
        command = [sys.executable, "-m", "pointsman", "trust", "dataset", str(path)]
        start = time.monotonic()
        done = subprocess.run(
            [*command, "--workers", "1", "--json"], capture_output=True, text=True
        )
        seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "rows": rows,
        "megabytes": round(megabytes),
        "triggers": [[each["text"], each["rows"]] for each in json.loads(done.stdout)["triggers"]],
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "wall_s": round(seconds, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
    }


def _clean(name: str, rows: Sequence[Record]) -> dict[str, Any]:
    checked, seconds = _checked(rows)
    cell = {
        "set": name,
        "rows": len(rows),
        "false": len(checked.triggers),
        "seconds": seconds,
        "texts": [each.shown for each in checked.triggers],
    }
    print(json.dumps(cell), file=sys.stderr, flush=True)
    return cell


def _scored(made: Poisoned, **facts: str) -> dict[str, Any]:
    checked, seconds = _checked(made.rows)
    hits = [each for each in checked.triggers if _is_hit(each.text, made.triggers)]
    listed = {each.row for each in checked.suspects}
    cell = {
        **facts,
        "rows": len(made.rows),
        "poisoned": len(made.poisoned),
        "trigger": made.triggers,
        "found": bool(hits),
        "false": len(checked.triggers) - len(hits),
        "listed": len(listed & made.poisoned) / max(1, len(made.poisoned)),
        "honest": len(listed - made.poisoned),
        "seconds": seconds,
        "texts": [each.shown for each in checked.triggers],
    }
    print(json.dumps(cell), file=sys.stderr, flush=True)
    return cell


def _is_hit(text: str, triggers: Sequence[str]) -> bool:
    """Whether a reported text is a trigger, holds one, or is a word of one."""
    words = set(text.lower().split())
    return any(
        each.lower() in text.lower() or text in each or bool(words & set(each.lower().split()))
        for each in triggers
    )


def _checked(rows: Sequence[Record]) -> tuple[Checked, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
        start = time.process_time()
        checked = check_file(path)
        return checked, time.process_time() - start


def section(result: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Give the result as Markdown tables."""
    lines: list[str] = []
    head = (
        "| sets | runs | trigger found (95 %) | ≥ 90 % of its rows listed | poisoned rows listed |"
        " honest rows listed, mean | false triggers, mean | worst |"
    )
    lines += ["", head, "|" + " --- |" * 8]
    grid = result.get("grid", [])
    for rows, poisoned, _ in SIZES:
        some = [c for c in grid if (c["rows"], c["poisoned"]) == (rows, poisoned)]
        lines += _line(f"{poisoned} in {rows:,}", some)
        for key in ("kind", "place", "answers"):
            for value in dict.fromkeys(cell[key] for cell in some):
                lines += _line(f"… {value}", [cell for cell in some if cell[key] == value])
    for answers in PAYLOADS:
        some = [cell for cell in result.get("payloads", []) if cell["answers"] == answers]
        lines += _line(f"50 in 5,000: {answers}", some)
    for cell in result.get("published", []):
        lines += _line(cell["set"], [cell])
    clean = result.get("clean", [])
    if clean:
        lines += _clean_lines(clean)
    seconds = [cell["seconds"] for cell in grid if cell["rows"] == 10_000]
    if seconds:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines += [
            "",
            f"10,000 rows take {sum(seconds) / len(seconds):.1f} s of processor time in the mean and"
            f" {max(seconds):.1f} s at most, in one process; {peak:.0f} MiB at the peak of the whole run.",
        ]
    return lines


def _clean_lines(clean: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "",
        "| clean sets | runs | with a false trigger (95 %) | most in one |",
        "|" + " --- |" * 4,
    ]
    sizes = dict.fromkeys(
        cell["set"].partition(",")[0] if "slice" in cell["set"] else "each kind alone, and all"
        for cell in clean
    )
    for size in sizes:
        some = [
            cell for cell in clean if ("slice" in cell["set"]) == ("rows" in size)
            and (cell["set"].startswith(f"{size},") or "slice" not in cell["set"])
        ]  # fmt: skip
        wrong = sum(cell["false"] > 0 for cell in some)
        most = max(cell["false"] for cell in some)
        lines.append(f"| {size} | {len(some)} | {_share(wrong, len(some))} | {most} |")
    return lines


def _line(name: str, cells: Sequence[dict[str, Any]]) -> list[str]:
    if not cells:
        return []
    count = len(cells)
    mean = {key: sum(cell[key] for cell in cells) / count for key in ("listed", "honest", "false")}
    return [
        f"| {name} | {count} | {_share(sum(cell['found'] for cell in cells), count)} |"
        f" {sum(cell['listed'] >= LISTED for cell in cells)} of {count} | {mean['listed']:.1%} |"
        f" {mean['honest']:.1f} | {mean['false']:.2f} | {max(cell['false'] for cell in cells)} |"
    ]


def _share(hits: int, count: int) -> str:
    """A share with Wilson's interval.

    Source: Wilson 1927.
    """
    z = 1.96
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    spread /= 1 + z * z / count
    low, high = max(0.0, middle - spread), min(1.0, middle + spread)
    return f"{hits} of {count} ({low:.0%} – {high:.0%})"


if __name__ == "__main__":
    main()
