"""Writes the public scores that come with Pointsman from tables of LiveBench.

    python scripts/make_abilities.py FOLDER

FOLDER holds `table_YYYY_MM_DD.csv` files of LiveBench's site (github.com/LiveBench/livebench.github.io,
folder `public` or root). A model's score is the mean of the five tasks that all editions have in
nearly the same form; of several editions the latest counts, of several settings of a model the name
as the table has it. Writes src/pointsman/data/router/abilities.json.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

TASKS = ("connections", "math_comp", "plot_unscrambling", "tablejoin", "typos")
OUT = Path(__file__).resolve().parent.parent / "src/pointsman/data/router/abilities.json"
PAGE = "https://github.com/LiveBench/livebench.github.io"


def scores(folder: Path) -> list[dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for path in sorted(folder.glob("table_*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                mean = sum(float(row[task]) for task in TASKS) / len(TASKS) / 100
                found[row["model"]] = {
                    "model": row["model"],
                    "benchmark": "LiveBench, five tasks",
                    "score": round(mean, 4),
                    "date": path.stem.removeprefix("table_").replace("_", "-"),
                    "url": f"{PAGE} ({path.name})",
                }
    return [found[name] for name in sorted(found)]


def main() -> None:
    rows = scores(Path(sys.argv[1]))
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    about = "Public scores of models, facts only; see router/card.md"
    OUT.write_text(f'{{"about": {json.dumps(about)}, "scores": [\n  {lines}\n]}}\n', "utf-8")
    print(f"{len(rows)} scores in {OUT.name}")


if __name__ == "__main__":
    main()
