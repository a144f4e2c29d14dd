"""How much asking a cheap model first is worth over routing by the prompt alone, with real local models.

    python bench/routing_cascade.py ask FOLDER --work DIR --smollm2 A.gguf --gemma B.gguf [--tiny DIR]
    python bench/routing_cascade.py score FOLDER --work DIR [--write-docs] [--write-verifier FILE]

FOLDER holds the labelled sets of bench/distill.py. `ask` writes what each model answered to DIR, and goes
on where it was; `score` runs no model. `--tiny` names the folder that bench/_cascade_tiny.py wrote.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _cascade_ask
import _cascade_labels
import numpy as np
from _cascade_cases import Case, fit_many, make_cases, rows_of, score_case, together
from _cascade_plot import curves_svg
from _cascade_score import (
    BOTH,
    RATIO,
    Scored,
    along,
    areas,
    asked_first,
    at_budgets,
    auroc,
    bootstrap,
    budgets,
    calibration_error,
    closed,
    interval,
    oracle_at,
    sent_curve,
)
from _cascade_tasks import Prompt, bare_sums, make_tasks
from _docs import write_section

from pointsman.router.answer import FEATURES
from pointsman.router.verify import write_verifier

ROOT = Path(__file__).parent.parent
SEED = 0
RATIOS = (5.0, 10.0, 25.0)
DRAWS = 500
SHIPPED, FITTED = "router shipped", "router trained"
# Like with like: what a route has on a task that it knows nothing of, and on one that it was fitted to.
NEW = f"{SHIPPED} > cascade other tasks"
KNOWN, KNOWN_BOTH = f"{FITTED} > cascade own", f"{FITTED} > {BOTH}"
MOST, TINY, LABELLED, ALSO_ASKED = 600, 800, 800, 400
ASKED = "asked.jsonl"
TINY_FILE = "tiny.jsonl"
LABELS_FILE = "labels.jsonl"


def main() -> int:
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.step == "ask":
        ask(options)
        return 0
    cases = make_cases(
        rows_of(options.work / name for name in (ASKED, TINY_FILE, LABELS_FILE)),
        every_prompt(options.folder),
    )
    if not cases:
        raise SystemExit(f"{options.work} has no answers yet: run the step ask first")
    found = measured(cases)
    (options.work / "cascade.json").write_text(json.dumps(found["json"], indent=1), "utf-8")
    text = report(found)
    print(text)
    if options.write_docs:
        write_section(
            ROOT / "docs/benchmarks.md", "routing-cascade", "bench/routing_cascade.py", text
        )
        (ROOT / "docs/img/cascade.svg").write_text(curves_svg(found["panels"]), "utf-8")
    if options.write_verifier:
        names = sorted({case.family for case in cases})
        source = f"bench/routing_cascade.py: {', '.join(names)}; started from weights set by hand"
        write_verifier(options.write_verifier, fit_many(cases, source))
    return 0


def ask(options: argparse.Namespace) -> None:
    """Put every question to every model that is named, and to the label classifiers."""
    home, work = options.work / "home", options.work
    tasks = make_tasks(options.folder, MOST, SEED)
    if options.tiny:
        models = [
            _cascade_ask.Model("tiny-cheap", options.tiny / "tiny-cheap.gguf", 1),
            _cascade_ask.Model("tiny-strong", options.tiny / "tiny-strong.gguf"),
        ]
        _cascade_ask.run(models, bare_sums(TINY, SEED), work / TINY_FILE, home)
    also = {name: prompts[:ALSO_ASKED] for name, prompts in tasks.items()}
    _cascade_labels.run(options.folder, also, LABELLED, SEED, work / LABELS_FILE)
    models = [
        _cascade_ask.Model(name, path, samples)
        for name, path, samples in (("smollm2", options.smollm2, 1), ("gemma", options.gemma, 0))
        if path
    ]
    for begin in range(0, options.count, 40):  # All tasks grow alike, should it be broken off.
        end = min(begin + 40, options.count)
        prompts = [each for task in tasks.values() for each in task[begin:end]]
        _cascade_ask.run(models, prompts, work / ASKED, home)


def every_prompt(folder: Path) -> list[Prompt]:
    tasks = make_tasks(folder, MOST, SEED)
    found = [prompt for prompts in tasks.values() for prompt in prompts]
    found += bare_sums(TINY, SEED)
    for name in _cascade_labels.SETS:
        asked = tasks.get(name, [])[:ALSO_ASKED]
        found += _cascade_labels.split(folder, name, asked, LABELLED, SEED)[0]
    return found


def measured(cases: Sequence[Case]) -> dict[str, Any]:
    """Score each case and each group; intervals by drawing prompts again."""
    scored: list[Scored] = []
    lines: list[dict[str, Any]] = []
    trust: list[dict[str, Any]] = []
    for case in cases:
        one, by_verifier = score_case(case, cases, SEED)
        scored.append(one)
        lines.append({"group": case.group, "task": case.task, **_summary(one)})
        trust.append(
            {
                "group": case.group,
                "task": case.task,
                "mean_logprob_auroc": auroc(
                    case.plain[:, FEATURES.index("mean_logprob")], case.cheap
                ),
                **{
                    name: [auroc(p, case.cheap), calibration_error(p, case.cheap)]
                    for name, p in by_verifier.items()
                },
            }
        )
    groups = list(dict.fromkeys(case.group for case in cases))
    pooled, panels = [], {}
    for group in groups:
        parts = [one for one, case in zip(scored, cases, strict=True) if case.group == group]
        whole = together(parts)
        pooled.append({"group": group, "tasks": len(parts), **_summary(whole, RATIOS)})
        panels[group] = _panel(whole)
    whole = together(scored)
    pooled.append({"group": "all of them", "tasks": len(scored), **_summary(whole, RATIOS)})
    return {
        "lines": lines,
        "pooled": pooled,
        "trust": trust,
        "panels": panels,
        "json": {"lines": lines, "pooled": pooled, "trust": trust},
    }


def _summary(scored: Scored, ratios: Sequence[float] = (RATIO,)) -> dict[str, Any]:
    found: dict[str, Any] = {"prompts": len(scored.cheap), "areas": areas(scored, RATIO)}
    for ratio in ratios:
        base = areas(scored, ratio)
        drawn = bootstrap(scored, ratio, DRAWS, SEED)
        found[f"closed_{ratio:g}"] = {
            f"{router} > {name}": [
                closed(base, name, router),
                *interval([closed(each, name, router) for each in drawn]),
            ]
            for router in (SHIPPED, FITTED)
            for name in (*scored.orders, *([BOTH] if ratio == RATIO else []))
            if asked_first(name)
        }
    return found


def _panel(scored: Scored) -> dict[str, Any]:
    curves = {
        name: at_budgets(
            sent_curve(order, scored.cheap, scored.strong), RATIO, asked_first(name)
        ).tolist()
        for name, order in scored.orders.items()
    }
    curves[BOTH] = along(scored.spent, scored.gained, RATIO).tolist()
    curves["oracle"] = oracle_at(scored.cheap, scored.strong, RATIO).tolist()
    return {"budgets": budgets(RATIO).tolist(), "curves": curves}


def report(found: dict[str, Any]) -> str:
    """The section of the page."""
    parts = [
        f"A strong call costs {RATIO:g} cheap ones. Cheap and strong: share of right answers of each model"
        " alone; then the mean over all budgets.",
        "",
        "| cheap → strong, task | prompts | cheap | strong | lots | shipped router | cascade, other"
        " tasks | fitted router | cascade, own | where it pays | oracle |",
        "|---|" + "---:|" * 10,
    ]
    shares = [
        "Closed: the share of the way from a router by the prompt to the oracle, with 95 % intervals. *A new"
        " task*: from the shipped router to a cascade whose verifier saw other tasks only. *A known one*:"
        " from the router fitted to the task to the cascade fitted to the same rows; *where it pays* asks"
        " the cheap model first only where the prompt leaves hope for its answer, and else the strong one"
        " outright. A *perfect verifier* knows whether the cheap answer is right, not whether the strong"
        " one will be.",
        "",
        "| cheap → strong, task | a new task | a known one | the same, where it pays | perfect verifier |",
        "|---|" + "---:|" * 4,
    ]
    last = ""
    for row in found["lines"]:
        if row["group"] != last:
            last = row["group"]
            whole = next(each for each in found["pooled"] if each["group"] == last)
            parts.append(_line(f"**{last}**", whole))
            shares.append(_shares(f"**{last}**", whole))
        parts.append(_line(row["task"], row))
        shares.append(_shares(row["task"], row))
    parts.append(_line("**all of them**", found["pooled"][-1]))
    shares.append(_shares("**all of them**", found["pooled"][-1]))
    prices = [
        "Closed at other prices:",
        "",
        "| | " + " | ".join(f"strong = {ratio:g} cheap" for ratio in RATIOS) + " |",
        "|---|" + "---:|" * len(RATIOS),
    ]
    for row in found["pooled"]:
        for name, label in ((NEW, "a new task"), (KNOWN, "a known one")):
            cells = [_share(row[f"closed_{ratio:g}"][name]) for ratio in RATIOS]
            prices.append(f"| {row['group']}, {label} | " + " | ".join(cells) + " |")
    plot = "![Quality against cost](img/cascade.svg)"
    return "\n".join([*parts, "", plot, "", *shares, "", *prices, "", *_extras(found)])


def _line(label: str, row: dict[str, Any]) -> str:
    names = ("cheap", "strong", "lots", SHIPPED, "cascade other tasks", FITTED, "cascade own", BOTH)
    cells = [f"{row['areas'][name]:.3f}" for name in (*names, "oracle")]
    return f"| {label} | {row['prompts']:,} | " + " | ".join(cells) + " |"


def _shares(label: str, row: dict[str, Any]) -> str:
    share = row[f"closed_{RATIO:g}"]
    cells = [_share(share[name]) for name in (NEW, KNOWN, KNOWN_BOTH)]
    cells.append(f"{share[f'{FITTED} > cascade perfect'][0]:+.2f}")
    return f"| {label} | " + " | ".join(cells) + " |"


def _share(found: Sequence[float]) -> str:
    value, low, high = found
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _extras(found: dict[str, Any]) -> list[str]:
    """What the verifier is worth: which answers are right, and whether its probability is one."""
    parts = [
        "Whether the cheap answer is right, from the answer: AUROC, and calibration error in brackets.",
        "",
        "| cheap → strong, task | mean log-probability | set by hand | other tasks | own |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in found["trust"]:
        cells = [f"{row['mean_logprob_auroc']:.2f}"]
        cells += [f"{row[n][0]:.2f} ({row[n][1]:.2f})" for n in ("by hand", "other tasks", "own")]
        parts.append(f"| {row['group']}, {row['task']} | " + " | ".join(cells) + " |")
    logprob = float(np.mean([row["mean_logprob_auroc"] for row in found["trust"]]))
    cells = [
        f"{np.mean([row[n][0] for row in found['trust']]):.2f}"
        f" ({np.mean([row[n][1] for row in found['trust']]):.2f})"
        for n in ("by hand", "other tasks", "own")
    ]
    parts.append(f"| mean of the tasks | {logprob:.2f} | " + " | ".join(cells) + " |")
    return parts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("ask", "score"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, default=Path(".bench/cascade"))
    parser.add_argument("--count", type=int, default=200)
    for name in ("smollm2", "gemma", "tiny", "write-verifier"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--write-docs", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
