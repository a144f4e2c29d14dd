"""Measures the router that comes with Pointsman: quality, calibration, latency and bytes.

    python bench/routing.py FOLDER [--seed N]

FOLDER holds train.jsonl.gz and dev.jsonl.gz, rows as `pointsman route train` reads them. Prints one
JSON object: `pairs` (the shipped router on dev, for several pairs of models), `held_out` (on the
pair's own training rows, each predicted while it was held out), `left_out` (routers trained without
whole benchmarks, scored on those, all rows), `subjects_left_out` (the same for a fifth of the
pair's subjects at a time), `dial` (the share of dev prompts that would go to the dearer of two
models, by dial), `dial_at_half` (the same at 0.5, by benchmark), `latency_us_p50` and `model_bytes`. APGR has 95 % bootstrap intervals;
next to it stand what random gives (0.5), the longest prompts first, the oracle of the subject (its
mean gain on the same rows, so it flatters itself) and the oracle of the query.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointsman.router.classifier import OnnxClassifier, default_classifier
from pointsman.router.evaluate import apgr_interval, calibration_error, evaluate
from pointsman.router.rows import Row, read_rows
from pointsman.router.train import train

STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
# (strong, weak, how the names of its benchmarks begin)
PAIRS = (
    (STRONG, WEAK, ("mmlu", "gsm8k")),
    ("llama-3.1-nemotron-51b-instruct", "mistral-7b-instruct-v0.3", ("llmrouter/",)),
    ("llama-3.1-nemotron-51b-instruct", "qwen2.5-7b-instruct", ("llmrouter/",)),
    ("gemini-1.5-pro-002", "mistral-7b-instruct-v0.2", ("mmlu-pro",)),
    ("meta-llama-3.1-70b-instruct", "meta-llama-3.1-8b-instruct", ("mmlu-pro",)),
    ("gpt-4o-2024-05-13", "gemma-2-2b-it", ("gsm8k", "math-l5")),
    ("gpt-4o-2024-05-13", "meta-llama-3-8b-instruct", ("gsm8k", "math-l5")),
)
DIALS = (0.1, 0.3, 0.5, 0.7, 0.9)
LENGTHS_CHARS = (100, 1_000, 16_000)
LATENCY_RUNS = 400


def split(rows: Sequence[Row], strong: str, weak: str) -> tuple[list[Row], list[Row]]:
    both = [row for row in rows if strong in row.models and weak in row.models]
    return both, [row for row in rows if not (strong in row.models and weak in row.models)]


def scores(
    p_weak: Sequence[float], rows: Sequence[Row], strong: str, weak: str, samples: int
) -> dict[str, Any]:
    low = [row.models[weak].share for row in rows]
    high = [row.models[strong].share for row in rows]
    metrics = evaluate(p_weak, low, high)
    interval = apgr_interval(p_weak, low, high, samples=samples)
    return {
        "strong": strong,
        "weak": weak,
        "rows": metrics.rows,
        "apgr": _short(metrics.apgr),
        "apgr_95": None if interval is None else [_short(value) for value in interval],
        "cpt50": _short(metrics.cpt50),
        "cpt80": _short(metrics.cpt80),
        "auroc": _short(metrics.auroc),
        "calibration_error": _short(calibration_error(p_weak, low, high)),
        "longest_first": _short(evaluate([-len(row.prompt) for row in rows], low, high).apgr),
        "subject_oracle": _short(evaluate(_subject_gain(rows, low, high), low, high).apgr),
        "query_oracle": _short(
            evaluate([a - b for a, b in zip(low, high, strict=True)], low, high).apgr
        ),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _subject_gain(rows: Sequence[Row], low: Sequence[float], high: Sequence[float]) -> list[float]:
    sums: dict[tuple[str, str | None], list[float]] = {}
    for row, weak, strong in zip(rows, low, high, strict=True):
        sums.setdefault((row.benchmark, row.domain), []).append(weak - strong)
    means = {key: sum(values) / len(values) for key, values in sums.items()}
    return [means[row.benchmark, row.domain] for row in rows]


def estimates(router: OnnxClassifier, rows: Sequence[Row]) -> list[float]:
    return [router.estimate(row.prompt).p_weak for row in rows]


def fitted(rows: Sequence[Row], seed: int) -> OnnxClassifier:
    own, others = split(rows, STRONG, WEAK)
    trained = train(own, STRONG, WEAK, others=others, seed=seed)
    return OnnxClassifier.load(trained.model, "the router under test")


def benchmarks_left_out(rows: Sequence[Row], samples: int, seed: int) -> list[dict[str, Any]]:
    found = []
    for strong, weak, names in PAIRS[1:]:
        test, _ = split([row for row in rows if row.benchmark.startswith(names)], strong, weak)
        router = fitted([row for row in rows if not row.benchmark.startswith(names)], seed)
        left = {"left_out": "|".join(names)}
        found.append(left | scores(estimates(router, test), test, strong, weak, samples))
    return found


def subjects_left_out(rows: Sequence[Row], samples: int, seed: int) -> dict[str, Any]:
    own, _ = split(rows, STRONG, WEAK)
    tested: list[Row] = []
    p_weak: list[float] = []
    for fold in range(5):
        out = [row for row in own if row.benchmark == "mmlu" and _fold(row) == fold]
        gone = {row.id for row in out}
        p_weak += estimates(fitted([row for row in rows if row.id not in gone], seed), out)
        tested += out
    return scores(p_weak, tested, STRONG, WEAK, samples)


def _fold(row: Row) -> int:
    return hashlib.sha256(str(row.domain).encode()).digest()[0] % 5


def dial_shares(router: OnnxClassifier, rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    ranks: dict[str, list[float]] = {}
    for row in rows:
        ranks.setdefault(row.benchmark, []).append(router.estimate(row.prompt).rank)
    every = [rank for of in ranks.values() for rank in of]
    return {
        "dial": {f"{dial:g}": _share(every, dial) for dial in DIALS},
        "dial_at_half": {name: _share(of, 0.5) for name, of in ranks.items()},
    }


def _share(ranks: Sequence[float], dial: float) -> float:
    return round(sum(rank < dial for rank in ranks) / len(ranks), 3)


def latency_us(router: OnnxClassifier, rows: Sequence[Row], seed: int) -> dict[str, float]:
    generator = random.Random(seed)
    text = "\n".join(row.prompt for row in rows)
    found = {}
    for length in LENGTHS_CHARS:
        times = []
        for _ in range(LATENCY_RUNS):
            start = generator.randrange(len(text) - length)
            prompt = text[start : start + length]
            began = time.perf_counter_ns()
            router.estimate(prompt)
            times.append(time.perf_counter_ns() - began)
        found[str(length)] = round(sorted(times)[len(times) // 2] / 1000, 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples")
    given = parser.parse_args()
    learn = list(read_rows(given.folder / "train.jsonl.gz"))
    dev = list(read_rows(given.folder / "dev.jsonl.gz"))
    router = default_classifier()
    pairs = []
    for strong, weak, _ in PAIRS:
        test, _ = split(dev, strong, weak)
        pairs.append(scores(estimates(router, test), test, strong, weak, given.samples))
    own, others = split(learn, STRONG, WEAK)
    trained = train(own, STRONG, WEAK, others=others)
    every = [*learn, *dev]
    result = {
        "model_bytes": router.size_bytes,
        "latency_us_p50": latency_us(router, dev, given.seed),
        **dial_shares(router, dev),
        "pairs": pairs,
        "held_out": scores(trained.held_out, own, STRONG, WEAK, given.samples),
        "left_out": benchmarks_left_out(every, given.samples, given.seed),
        "subjects_left_out": subjects_left_out(every, given.samples, given.seed),
    }
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
