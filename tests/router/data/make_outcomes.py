"""Choose the rows of outcomes.jsonl from recorded outcomes.

    python tests/router/data/make_outcomes.py FOLDER

FOLDER holds dev.jsonl.gz, rows as `pointsman route train` reads them. Short prompts only, of
benchmarks under the MIT licence, in the order of a hash of their text, so that the same folder gives
the same file.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path

COUNTS = {"mmlu": 120, "gsm8k": 30, "math-l5": 25, "mmlu-pro": 25}
MAX_CHARS = 350
# The pair, and enough others of different ability to stand in for it.
MODELS = (
    "gpt-4-1106-preview",
    "mixtral-8x7b-instruct-v0.1",
    "gemini-1.5-pro",
    "gemini-1.5-pro-002",
    "gemma-2-2b-it",
    "gpt-4o-2024-05-13",
    "meta-llama-3.1-70b-instruct",
    "meta-llama-3.1-8b-instruct",
    "yi-6b-chat",
)


def main() -> None:
    found: dict[str, list[dict[str, object]]] = {name: [] for name in COUNTS}
    with gzip.open(Path(sys.argv[1]) / "dev.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["benchmark"] in found and len(row["prompt"]) <= MAX_CHARS:
                models = {
                    name: {key: value for key, value in row["models"][name].items() if key != "it"}
                    for name in MODELS
                    if name in row["models"]
                }
                kept = {key: row[key] for key in ("id", "benchmark", "domain", "prompt")}
                found[row["benchmark"]].append({**kept, "models": models})
    lines = []
    for name, rows in found.items():
        rows.sort(key=lambda row: hashlib.sha256(str(row["prompt"]).encode()).digest())
        lines += [json.dumps(row, ensure_ascii=False) for row in rows[: COUNTS[name]]]
    Path(__file__).with_name("outcomes.jsonl").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
