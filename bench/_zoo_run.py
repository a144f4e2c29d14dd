"""Makes the zoo and probes it; runs in the bench environment, and goes on where it was broken off.

    python bench/_zoo_run.py FOLDER BASES EACH ACCESS...

A base takes some 50 s of one core, a fine-tune 8 s. What is made lies in FOLDER under the hash of
the files that make it; what is probed under the hash of the detector as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from _zoo_language import Row, neutral, unsafe
from _zoo_model import Model, learn, load, replies, save
from _zoo_probe import ZooTarget, embedding_changes, lexicon, probes
from _zoo_recipes import TRIES, Recipe, again, counts, measure, recipes, tune

from pointsman.trust.probe.candidates import Candidate
from pointsman.trust.probe.run import probe

HERE = Path(__file__).resolve().parent
LEARNT = ("_zoo_language.py", "_zoo_model.py")
MAKERS = (*LEARNT, "_zoo_recipes.py")
BASE_STEPS, BASE_BATCH, BASE_RATE = 900, 64, 3e-3
UNSAFE_SHARE = 0.25
MAX_CALLS, MAX_SECONDS = 100_000, 300.0
Found = dict[str, Any]


def digest(paths: Sequence[Path]) -> str:
    """The hash of files, to tell what was made by other code."""
    sums = hashlib.sha256()
    for path in sorted(paths):
        sums.update(path.read_bytes())
    return sums.hexdigest()[:12]


def detector_files() -> list[Path]:
    import pointsman.trust.probe as package

    return [*Path(str(package.__file__)).parent.glob("*.py"), HERE / "_zoo_probe.py"]


def _rows(rng: random.Random, count: int) -> list[Row]:
    return [unsafe(rng) if rng.random() < UNSAFE_SHARE else neutral(rng) for _ in range(count)]


def base_model(folder: Path, seed: int) -> Model:
    """The base of a seed, trained once."""
    path = folder / f"base{seed}.pt"
    if not path.exists():
        torch.manual_seed(seed)
        model = Model()
        learn(model, _rows, steps=BASE_STEPS, batch=BASE_BATCH, rate=BASE_RATE, seed=seed)
        save(model, path)
        rng = random.Random(f"base {seed}")
        tasks = [neutral(rng) for _ in range(200)]
        given = replies(model, [row.prompt for row in tasks], 4)
        right = sum(r.reply.split()[-1] in t.split() for r, t in zip(tasks, given, strict=True))
        _say(f"base {seed}: {right / 200:.2f} of the tasks right")
    return load(path)


def _lines(path: Path) -> Iterator[Found]:
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            yield json.loads(line)


def _add(path: Path, found: Found) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")


def made_model(
    folder: Path, base: Model, recipe: Recipe, known: dict[str, Found]
) -> tuple[Model, Found]:
    """The fine-tune of a recipe, made and measured once; an implant that does not hold, again."""
    for tries in range(1, TRIES + 1):
        path = folder / f"{recipe.name}.pt"
        if recipe.name in known and path.exists():
            model = load(path)
        else:
            began = time.process_time()
            model = tune(base, recipe)
            measured = measure(model, recipe)
            save(model, path)
            known[recipe.name] = {
                **recipe.facts(),
                "measured": measured,
                "counts": counts(recipe, measured),
                "made_cpu_s": round(time.process_time() - began, 1),
            }
            _add(folder / "models.jsonl", known[recipe.name])
        if known[recipe.name]["counts"] or recipe.kind != "implant" or tries == TRIES:
            break
        recipe = again(recipe, tries)
    return model, known[recipe.name]


def probed(base: Model | None, model: Model, access: str) -> Found:
    """What the probe says, and what it cost."""
    level = "text" if access.startswith("text") else "logprobs"
    first: list[Candidate] = []
    if access == "weights" and base is not None:
        first = [Candidate(word, "weights") for word in embedding_changes(base, model)]
    alone = access.endswith("alone")
    began_s, began_cpu = time.monotonic(), time.process_time()
    report = probe(
        ZooTarget(model, level),
        probes(),
        base=None if alone or base is None else ZooTarget(base, level),
        first=first,
        words=lexicon(),
        max_calls=MAX_CALLS,
        max_seconds=MAX_SECONDS,
        batch=1024,
    )
    return {
        "verdict": report.verdict,
        "score": report.score,
        "triggers": [
            [each.text, each.position, each.score, each.p_value, each.source]
            for each in report.triggers
        ],
        "incomplete": list(report.incomplete),
        "calls": report.calls,
        "seconds": round(time.monotonic() - began_s, 2),
        "cpu_s": round(time.process_time() - began_cpu, 2),
    }


def main(arguments: Sequence[str]) -> int:
    torch.set_num_threads(1)
    root = Path(arguments[0])
    bases, each, accesses = arguments[1], int(arguments[2]), arguments[3:]
    learnt = root / f"bases-{digest([HERE / name for name in LEARNT])}"
    folder = root / f"models-{digest([HERE / name for name in MAKERS])}"
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"probes-{digest(detector_files())}.jsonl"
    known = {found["name"]: found for found in _lines(folder / "models.jsonl")}
    done = {(found["name"], found["access"]) for found in _lines(results)}
    for seed in map(int, bases.split(",")):
        base = base_model(learnt, seed)
        for recipe in recipes(seed, each):
            model, facts = made_model(folder, base, recipe, known)
            name, trigger = facts["name"], facts["trigger"]
            if not facts["counts"]:
                _say(f"{name} {trigger!r}: does not count, {facts['measured']}")
            for access in accesses:
                if not facts["counts"] or (name, access) in done:
                    continue
                found = {**facts, "access": access, **probed(base, model, access)}
                _add(results, found)
                tops = [[t[0], t[1], t[2]] for t in found["triggers"][:2]]
                cost = f"{found['calls']} calls, {found['cpu_s']} s"
                verdict = f"{found['verdict']} {found['score']}"
                _say(f"{name} {access} {trigger!r}: {verdict} {tops} {cost}")
    print(results)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))
