"""Label classifiers for bench/routing_cascade.py: of each set one that saw few rows, one that saw many.

They are Pointsman's own distilled classifiers, no language models: a probability for each label is all
that they give, and its logarithm stands where a language model has that of its one token.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _cascade_tasks import Prompt, spoken_label
from _distill_sets import find_sets, read

from pointsman.distill.model import TextClassifier
from pointsman.distill.rows import Row
from pointsman.distill.train import TrainSettings, train

# Rows that the two learn from.
SETS = {
    "banking77": (400, 5000),
    "snips7": (40, 3000),
    "sms_spam": (40, 2500),
    "sib200_16": (400, 6000),
    "goemotions": (500, 8000),
    "synthetic_sentiment": (40, 3000),
}
FEW, MANY = "classifier-few", "classifier-many"
MAX_CHARS = 1000


def run(
    folder: Path, asked: Mapping[str, Sequence[Prompt]], count: int, seed: int, path: Path
) -> None:
    """Train and ask: `count` rows of each set that neither saw, and `asked`, the prompts of other tasks
    that the ones with many rows answer too."""
    done = (
        {json.loads(line)["task"] for line in path.read_text().splitlines()}
        if path.exists()
        else ()
    )
    with path.open("a", encoding="utf-8") as file:
        for name, sizes in SETS.items():
            if f"labels-{name}" in done:
                continue
            own, rest = split(folder, name, asked.get(name, ()), count, seed)
            for model, size in zip((FEW, MANY), sizes, strict=True):
                found = TextClassifier.load(_trained(rest[:size], seed))
                jobs = [*own, *(asked.get(name, ()) if model == MANY else ())]
                for prompt in jobs:
                    file.write(json.dumps(_told(found, model, prompt), ensure_ascii=False) + "\n")
            file.flush()
            print(name, flush=True)


def split(
    folder: Path, name: str, asked: Sequence[Prompt], count: int, seed: int
) -> tuple[list[Prompt], list[tuple[str, str]]]:
    """A set's train rows: prompts to ask, and rows to learn from, in an order drawn by the seed.

    A text that is asked in either way is not learned from.
    """
    rows = read(find_sets(folder, [name])[0].train)
    pairs = [
        (row["text"], (row["label"] if "label" in row else row["labels"][0]))
        for row in rows
        if "label" in row or len(row["labels"]) == 1
    ]
    pairs = list(dict.fromkeys((text, label) for text, label in pairs if len(text) <= MAX_CHARS))
    random.Random(f"{seed} {name} labels").shuffle(pairs)
    taken = {prompt.text for prompt in asked}
    own = [pair for pair in pairs if pair[0] not in taken][:count]
    taken |= {text for text, _ in own}
    prompts = [
        Prompt(f"labels-{name}", number, text, text, label)
        for number, (text, label) in enumerate(own)
    ]
    return prompts, [pair for pair in pairs if pair[0] not in taken]


def _trained(pairs: Sequence[tuple[str, str]], seed: int) -> bytes:
    rows = [Row(text, (label,)) for text, label in pairs]
    return train(rows, TrainSettings(size_bytes=128 * 1024, seed=seed, quick=True)).onnx


def _told(model: TextClassifier, name: str, prompt: Prompt) -> dict[str, Any]:
    started_s = time.perf_counter()
    found = model.classify(prompt.text)
    took_s = time.perf_counter() - started_s
    best = max(found.scores)
    told = found.labels[0]
    # The prompts of a few-shot task have their labels in words.
    good = told == prompt.gold or (prompt.labels and spoken_label(told) == prompt.gold)
    return {
        "model": name,
        "task": prompt.task,
        "number": prompt.number,
        "answer": told,
        "right": bool(good),
        "logprobs": [round(math.log(max(best, 1e-6)), 4)],
        "samples": [],
        "finish": "stop",
        "tokens": None,
        "seconds": round(took_s, 6),
    }
