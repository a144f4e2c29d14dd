"""Choose the demo's prompts from recorded outcomes: src/pointsman/data/demo/prompts.jsonl.

    python scripts/choose_demo_prompts.py FOLDER

FOLDER holds train.jsonl.gz and dev.jsonl.gz: rows with `id`, `benchmark`, `prompt` and `models`
(name → {"s": score, "scale": its maximum where not 1}). Only benchmarks whose questions are under the
MIT licence are taken (TriviaQA is not: its repository's Apache-2.0 covers the code alone), only
prompts of at most 700 characters, and of each benchmark ten that lie evenly from its easiest to its
hardest. The same folder gives the same file.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "src" / "pointsman" / "data" / "demo"
PER_BENCHMARK = 10
MAX_CHARS = 700

# Benchmark in the file → (name, licence, where it comes from).
BENCHMARKS = {
    "llmrouter/commonsense_qa": ("CommonsenseQA", "MIT", "tau/commonsense_qa (Hugging Face)"),
    "mmlu": ("MMLU", "MIT", "hendrycks/test"),
    "gsm8k": ("GSM8K", "MIT", "openai/grade-school-math"),
    "mmlu-pro": ("MMLU-Pro", "MIT", "TIGER-AI-Lab/MMLU-Pro"),
    "math-l5": ("MATH", "MIT", "hendrycks/math"),
}
OUTCOMES = {
    "llmrouter/commonsense_qa": "ulab-uiuc/LLMRouter (MIT)",
    "mmlu": "lm-sys/RouteLLM (Apache-2.0)",
    "gsm8k": "lm-sys/RouteLLM and WildEval/ZeroEval (Apache-2.0)",
    "mmlu-pro": "TIGER-AI-Lab/MMLU-Pro (Apache-2.0)",
    "math-l5": "WildEval/ZeroEval (Apache-2.0)",
}


def difficulty(row: dict[str, Any]) -> float:
    """The share of the recorded models that got the prompt wrong, 0 to 1."""
    scores = [each["s"] / each.get("scale", 1) for each in row["models"].values()]
    return 1 - sum(score >= 0.5 for score in scores) / len(scores)


def main() -> None:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in BENCHMARKS}
    for name in ("train", "dev"):
        with gzip.open(Path(sys.argv[1]) / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if row["benchmark"] in found and len(row["prompt"]) <= MAX_CHARS:
                    found[row["benchmark"]].append(row)
    chosen: list[dict[str, Any]] = []
    for benchmark, rows in found.items():
        # Equal difficulties are put into an order that has nothing to do with the prompts.
        rows.sort(key=lambda r: (difficulty(r), hashlib.sha256(r["prompt"].encode()).hexdigest()))
        name, licence, origin = BENCHMARKS[benchmark]
        for number in range(PER_BENCHMARK):
            row = rows[number * (len(rows) - 1) // (PER_BENCHMARK - 1)]
            chosen.append(
                {
                    "id": str(row["id"]),
                    "prompt": row["prompt"].strip(),
                    "benchmark": name,
                    "licence": licence,
                    "origin": origin,
                    "difficulty": round(difficulty(row), 3),
                }
            )
    order = list(BENCHMARKS.values())
    names = [each[0] for each in order]
    chosen.sort(key=lambda row: (row["difficulty"], names.index(row["benchmark"]), row["id"]))
    OUT.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
    (OUT / "prompts.jsonl").write_text(text, "utf-8")
    lines = [
        "# The demo's prompts",
        "",
        "Chosen by `scripts/choose_demo_prompts.py`; prompts only, no answers. `difficulty` is the",
        "share of the models with a recorded outcome that got the prompt wrong.",
        "",
        "| benchmark | origin | licence | outcomes from |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {origin} | {licence} | {OUTCOMES[key]} |"
            for key, (name, licence, origin) in BENCHMARKS.items()
        ),
        "",
    ]
    (OUT / "ORIGIN.md").write_text("\n".join(lines), "utf-8")
    print(f"{len(chosen)} prompts in {OUT / 'prompts.jsonl'}")


if __name__ == "__main__":
    main()
