"""Measures the router that comes with Pointsman: quality, calibration, latency and bytes.

    python bench/routing.py FOLDER                 measure, print one JSON object
    python bench/routing.py FOLDER --write-docs    and put the result into docs/benchmarks.md
    python bench/routing.py FOLDER --no-rivals     without the environment for MiniLM

FOLDER holds train.jsonl.gz and dev.jsonl.gz, rows as `pointsman route train` reads them. The result
goes to .bench/routing.json as well: `pairs` (the shipped router on dev, for several pairs of models),
`held_out` (on the pair's own training rows, each predicted while it was held out), `left_out` (routers
trained without whole benchmarks, scored on those, training rows), `subjects_left_out` (the same for a
fifth of the pair's subjects at a time), `hulls` (many models, quality against cost), `calibration` (over
all recorded outcomes of dev), `abilities` (models left out), `dial`, `dial_at_half`, `latency_us_p50`,
`cpu_us` and `model_bytes`. APGR has 95 % bootstrap intervals; next to it stand random (0.5), the
longest prompts first, nearest neighbours and matrix factorisation on MiniLM embeddings, the oracle of
the subject (its mean gain on the same rows, so it flatters itself) and the oracle of the query.
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

import numpy as np
from _envs import HOME, ROOT, EnvironmentFailed, make_env, say
from _routing_hull import way
from _routing_report import write_docs
from _routing_rivals import Factorised, neighbours

from pointsman.router.abilities_fit import blended_prices
from pointsman.router.ability import canonical
from pointsman.router.classifier import OnnxClassifier, default_classifier
from pointsman.router.evaluate import apgr_interval, calibration_error, evaluate
from pointsman.router.outlook import probability, success_logit
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
HULLS = (("gsm8k", "math-l5"), ("mmlu-pro",), ("llmrouter/",))
HULL_SAMPLES = 100
MIN_HULL_ROWS = 60
MIN_MODEL_ROWS = 100


def both(rows: Sequence[Row], strong: str, weak: str) -> list[Row]:
    return [row for row in rows if strong in row.models and weak in row.models]


class Rivals:
    """MiniLM embeddings of all prompts by their text; none without its environment."""

    def __init__(self, rows: Sequence[Row], wanted: bool) -> None:
        self.by_prompt: dict[str, Any] = {}
        self._fitted: dict[str, Factorised] = {}
        if not wanted:
            return
        texts = sorted({row.prompt for row in rows})
        stored = HOME / "routing-minilm.npy"
        given = HOME / "routing-texts.json"
        if not stored.exists() or json.loads(given.read_text("utf-8")) != texts:
            try:
                python = make_env("routing", "bench-routing.txt")
            except (EnvironmentFailed, OSError) as error:
                raise SystemExit(f"no MiniLM: {error}; --no-rivals measures without") from error
            embed(python, texts, given, stored)
        self.by_prompt = dict(zip(texts, np.load(stored), strict=True))

    def of(self, rows: Sequence[Row]) -> Any:
        return np.array([self.by_prompt[row.prompt] for row in rows])

    def scores(
        self, learn: Sequence[Row], test: Sequence[Row], strong: str, weak: str
    ) -> dict[str, Any]:
        """APGR of both rivals, learned from `learn`; those of nobody without embeddings."""
        if not self.by_prompt:
            return {}
        low, high = shares(test, strong, weak)
        found = {}
        if both(learn, strong, weak):
            near = neighbours(self.of(learn), learn, self.of(test), strong, weak)
            found["minilm_neighbours"] = _short(evaluate(near, low, high).apgr)
        key = hashlib.sha256("".join(row.id for row in learn).encode()).hexdigest()
        if key not in self._fitted:
            self._fitted[key] = Factorised(self.of(learn), learn)
        said = self._fitted[key].p_weak(self.of(test), strong, weak)
        if len(set(said)) > 1:
            found["minilm_factorised"] = _short(evaluate(said, low, high).apgr)
        return found


def embed(python: Path, texts: list[str], given: Path, out: Path) -> None:
    import subprocess

    HOME.mkdir(exist_ok=True)
    given.write_text(json.dumps(texts), "utf-8")
    say(f"MiniLM reads {len(texts)} prompts (minutes) ...")
    program = ROOT / "bench" / "_routing_embed.py"
    subprocess.run([str(python), str(program), str(given), str(out)], check=True)


def shares(rows: Sequence[Row], strong: str, weak: str) -> tuple[list[float], list[float]]:
    return [row.models[weak].share for row in rows], [row.models[strong].share for row in rows]


def scores(
    p_weak: Sequence[float], rows: Sequence[Row], strong: str, weak: str, samples: int
) -> dict[str, Any]:
    low, high = shares(rows, strong, weak)
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


def estimates(router: OnnxClassifier, rows: Sequence[Row], strong: str, weak: str) -> list[float]:
    comparison = router.comparison(strong, weak)
    return [comparison.p_weak(row.prompt) for row in rows]


def fitted(rows: Sequence[Row], seed: int) -> OnnxClassifier:
    trained = train(rows, STRONG, WEAK, seed=seed)
    return OnnxClassifier.load(trained.model, "the router under test")


def benchmarks_left_out(
    rows: Sequence[Row], rivals: Rivals, samples: int, seed: int
) -> list[dict[str, Any]]:
    found = []
    routers: dict[tuple[str, ...], OnnxClassifier] = {}
    for strong, weak, names in PAIRS[1:]:
        kept = [row for row in rows if not row.benchmark.startswith(names)]
        test = both([row for row in rows if row.benchmark.startswith(names)], strong, weak)
        if names not in routers:
            say(f"training without {', '.join(names)} ...")
            routers[names] = fitted(kept, seed)
        ranked = estimates(routers[names], test, strong, weak)
        left = {"left_out": "|".join(names)}
        left |= scores(ranked, test, strong, weak, samples)
        found.append(left | rivals.scores(kept, test, strong, weak))
    return found


def subjects_left_out(rows: Sequence[Row], samples: int, seed: int) -> dict[str, Any]:
    own = both(rows, STRONG, WEAK)
    tested: list[Row] = []
    p_weak: list[float] = []
    for fold in range(5):
        out = [row for row in own if row.benchmark == "mmlu" and _fold(row) == fold]
        gone = {row.id for row in out}
        say(f"training without a fifth of MMLU's subjects ({fold + 1} of 5) ...")
        router = fitted([row for row in rows if row.id not in gone], seed)
        p_weak += estimates(router, out, STRONG, WEAK)
        tested += out
    return scores(p_weak, tested, STRONG, WEAK, samples)


def _fold(row: Row) -> int:
    return hashlib.sha256(str(row.domain).encode()).digest()[0] % 5


def hulls(router: OnnxClassifier, rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
    """Many models on the benchmarks that they all answered, with today's prices where known."""
    prices = blended_prices()
    found = []
    for names in HULLS:
        part = [row for row in rows if row.benchmark.startswith(names)]
        counts: dict[str, int] = {}
        for row in part:
            for name in row.models:
                counts[name] = counts.get(name, 0) + 1
        models = sorted(
            m for m, n in counts.items() if n > 0.9 * len(part) and canonical(m) in prices
        )
        part = [row for row in part if all(name in row.models for name in models)]
        if len(models) >= 3 and len(part) >= MIN_HULL_ROWS:
            found.append(_hull(router, part, models, prices, "|".join(names), seed))
    return found


def _hull(
    router: OnnxClassifier, rows: Sequence[Row], models: Sequence[str],
    prices: dict[str, float], name: str, seed: int,
) -> dict[str, Any]:  # fmt: skip
    abilities = [router.ability(model) for model in models]
    readings = [router.read(row.prompt) for row in rows]
    expected = np.array(
        [[probability(success_logit(each, one), 0.0) for one in abilities] for each in readings]
    )
    share = np.array([[row.models[model].share for model in models] for row in rows])
    # What a call costs is told by the price and the answer's expected length.
    tokens = np.array(
        [
            [len(row.prompt) / 4 + each.answer_tokens * one.verbosity for one in abilities]
            for row, each in zip(rows, readings, strict=True)
        ]
    )
    costs = tokens * np.array([prices[canonical(model)] for model in models]) / 1e6
    value, curves = way(expected, share, costs)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(HULL_SAMPLES):
        pick = generator.integers(0, len(rows), len(rows))
        drawn.append(way(expected[pick], share[pick], costs[pick])[0])
    return {
        "benchmarks": name,
        "rows": len(rows),
        "models": list(models),
        "way": _short(value),
        "way_95": [_short(float(np.quantile(drawn, q))) for q in (0.025, 0.975)],
        "best_fixed": models[int(share.mean(0).argmax())],
        "best_fixed_score": _short(float(share.mean(0).max())),
        "curves": {
            key: [[round(float(v), 8) for v in values] for values in curve]
            for key, curve in curves.items()
        },
    }


def calibration(router: OnnxClassifier, rows: Sequence[Row]) -> dict[str, Any]:
    """Expected calibration error of P(a model answers well), of all outcomes and of each model."""
    said: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        reading = router.read(row.prompt)
        for name, outcome in row.models.items():
            ability = router.ability(name)
            p = probability(success_logit(reading, ability), 0.0)
            said.setdefault(name, []).append((p, outcome.share))
    every = [pair for of in said.values() for pair in of]
    own = {name: _ece(of) for name, of in said.items() if len(of) >= MIN_MODEL_ROWS}
    ordered = sorted(own.values())
    return {
        "outcomes": len(every),
        "error": _ece(every),
        "models": len(own),
        "model_median": ordered[len(ordered) // 2],
        "model_worst": ordered[-1],
        "model_worst_name": max(own, key=lambda name: own[name]),
        "curve": _reliability(every),
    }


def _ece(pairs: Sequence[tuple[float, float]], bins: int = 10) -> float:
    ordered = sorted(pairs)
    error = 0.0
    for number in range(bins):
        part = ordered[number * len(ordered) // bins : (number + 1) * len(ordered) // bins]
        error += abs(sum(p - share for p, share in part))
    return round(error / len(ordered), 3)


def _reliability(pairs: Sequence[tuple[float, float]], bins: int = 10) -> list[list[float]]:
    ordered = sorted(pairs)
    found = []
    for number in range(bins):
        part = ordered[number * len(ordered) // bins : (number + 1) * len(ordered) // bins]
        found.append([round(sum(each[k] for each in part) / len(part), 3) for k in (0, 1)])
    return found


def abilities(router: OnnxClassifier) -> dict[str, Any]:
    known = router.abilities
    return {
        "recorded": len(known.recorded),
        "public_sd": known.public.sd if known.public else None,
        "price_sd": known.price.sd if known.price else None,
        "mean_sd": known.mean_sd,
    }


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


def latency_us(router: OnnxClassifier, rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """Of one reading with its features, by the clock (median) and in processor time (mean)."""
    generator = random.Random(seed)
    text = "\n".join(row.prompt for row in rows)
    clock, cpu = {}, {}
    for length in LENGTHS_CHARS:
        starts = [generator.randrange(len(text) - length) for _ in range(LATENCY_RUNS)]
        prompts = [text[start : start + length] for start in starts]
        times = []
        spent = time.process_time_ns()
        for prompt in prompts:
            began = time.perf_counter_ns()
            router.estimate(prompt)
            times.append(time.perf_counter_ns() - began)
        cpu[str(length)] = round((time.process_time_ns() - spent) / len(prompts) / 1000, 1)
        clock[str(length)] = round(sorted(times)[len(times) // 2] / 1000, 1)
    return {"latency_us_p50": clock, "cpu_us": cpu}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    learn = list(read_rows(given.folder / "train.jsonl.gz"))
    dev = list(read_rows(given.folder / "dev.jsonl.gz"))
    router = default_classifier()
    rivals = Rivals([*learn, *dev], not given.no_rivals)
    say("the shipped router on dev ...")
    pairs = []
    for strong, weak, _ in PAIRS:
        test = both(dev, strong, weak)
        found = scores(estimates(router, test, strong, weak), test, strong, weak, given.samples)
        pairs.append(found | rivals.scores(learn, test, strong, weak))
    say("training with five folds ...")
    trained = train(learn, STRONG, WEAK)
    own = both(learn, STRONG, WEAK)
    return {
        "model_bytes": router.size_bytes,
        **latency_us(router, dev, given.seed),
        **dial_shares(router, dev),
        "pairs": pairs,
        "held_out": scores(trained.held_out, own, STRONG, WEAK, given.samples),
        "hulls": hulls(router, dev, given.seed),
        "calibration": calibration(router, dev),
        "abilities": abilities(router),
        "left_out": benchmarks_left_out(learn, rivals, given.samples, given.seed),
        "subjects_left_out": subjects_left_out(learn, given.samples, given.seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap samples")
    parser.add_argument("--no-rivals", action="store_true", help="leave MiniLM out")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()
    result = measure(given)
    HOME.mkdir(exist_ok=True)
    (HOME / "routing.json").write_text(json.dumps(result, indent=1), "utf-8")
    if given.write_docs:
        for path in write_docs(result, ROOT / "docs"):
            say(f"wrote {path.relative_to(ROOT)}")
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
