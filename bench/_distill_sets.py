"""The data sets of bench/distill.py: folders with labelled rows to learn from and rows to be tried on."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Sets that a language model wrote have no test of their own: they are tried on real rows of the same task.
CROSS = {"synthetic_spam": "sms_spam"}
LATENCY_BYTES = 100
LATENCY_TEXTS = 200
QUICK_ROWS = {"train": 1200, "test": 300}

Record = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """A set: where its rows are. Without `test` it is only learned from."""

    name: str
    train: Path
    test: Path | None


def find_sets(folder: Path, only: Sequence[str] = ()) -> list[DataSet]:
    """Give the sets of a folder by name: its sub-folders with train.jsonl or train.jsonl.gz.

    Raises:
        ValueError: there is none, or none of a name that is asked for.
    """
    found = []
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        train = _file(each, "train")
        if train is None:
            continue
        test = _file(each, "test")
        if test is None and each.name in CROSS:
            test = _file(folder / CROSS[each.name], "test")
        found.append(DataSet(each.name, train, test))
    names = [each.name for each in found]
    missing = sorted(set(only).difference(names))
    if not found or missing:
        raise ValueError(f"{folder} has {', '.join(names) or 'no sets'}; missing: {missing}")
    return [each for each in found if not only or each.name in only]


def _file(folder: Path, name: str) -> Path | None:
    return next(
        (f for f in (folder / f"{name}.jsonl.gz", folder / f"{name}.jsonl") if f.exists()), None
    )


def read(path: Path) -> list[Record]:
    """The rows of a file: each with `text`, and `label` or `labels`."""
    with path.open("rb") as file:
        lines = gzip.open(file) if path.suffix == ".gz" else file  # noqa: SIM115  # closed with it
        return [json.loads(line) for line in lines if line.strip()]


def write(path: Path, rows: Iterable[Record]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def cut(rows: list[Record], kind: str, *, quick: bool, seed: int) -> list[Record]:
    """All rows, or for a quick run some hundreds, drawn by the seed."""
    if not quick or len(rows) <= QUICK_ROWS[kind]:
        return rows
    return random.Random(seed).sample(rows, QUICK_ROWS[kind])


def labels_of(row: Record) -> list[str]:
    """A row's labels: one, or for multi-label rows any number."""
    return [row["label"]] if "label" in row else list(row["labels"])


def is_multi(rows: Iterable[Record]) -> bool:
    return any("labels" in row for row in rows)


def timed_texts(rows: Sequence[Record]) -> list[str]:
    """The texts nearest to 100 bytes, up to 200 of them, to be timed on."""
    texts = [row["text"] for row in rows]
    texts.sort(key=lambda text: abs(len(text.encode("utf-8", "replace")) - LATENCY_BYTES))
    return texts[:LATENCY_TEXTS]
