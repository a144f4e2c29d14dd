"""What is known of a classifier once it is made: what its report, card and manifest tell."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pointsman.distill.evaluate import Evaluation, latency_us
from pointsman.distill.metrics import Scores

if TYPE_CHECKING:
    from pointsman.distill.folder import Run
    from pointsman.distill.train import Trained

__all__ = ["Facts", "Learning", "Told", "facts_of", "machine", "mix_ups", "versions"]

PACKAGES = ("pointsman", "numpy", "onnx", "onnxruntime", "scipy")


class Told(Struct, frozen=True):
    """Rows that a classifier had not learned from, what is true of them and what it told.

    `probabilities` holds for each row one for each of `Facts.labels`.
    """

    texts: Sequence[str]
    truth: Sequence[tuple[str, ...]]
    told: Sequence[tuple[str, ...]]
    probabilities: Sequence[Sequence[float]]


class Learning(Struct, frozen=True):
    """How much was learned in the time at hand, and how much was planned.

    `networks` are those of the ensemble, `epochs` how often the small network saw all rows.
    """

    budget_s: float
    networks: int
    networks_planned: int
    epochs: int
    epochs_planned: int

    @property
    def cut(self) -> bool:
        """Whether the time was up before all was learned."""
        return self.networks < self.networks_planned or self.epochs < self.epochs_planned

    def told(self) -> str:
        """Give it as a sentence."""
        text = (
            f"An ensemble of {self.networks} networks taught this one, which saw all rows"
            f" {self.epochs} times"
            if self.networks
            else f"It saw all rows {self.epochs} times, without an ensemble that teaches it"
        )
        if not self.cut:
            return f"{text}; the time that was set, {self.budget_s:g} s, cut nothing off."
        return (
            f"{text}: less than the {self.networks_planned} networks and {self.epochs_planned} times"
            f" that were planned, for the time that was set, {self.budget_s:g} s, was up. A faster"
            " machine, or more time (--max-seconds), makes it better."
        )


class Facts(Struct, frozen=True, kw_only=True):
    """Everything that is told of a classifier. Values only: the same facts give the same files.

    `measured_on` says in words which rows `scores` and `told` are of. `rows_sha256` is of the rows
    learned from, `counts` are numbers of rows by what became of them, `teacher` is `teacher.summary.Summary` as plain values, `created` a date. With an other
    class `rejected` is the share of made-up texts of no class that are told to be other.
    """

    name: str
    labels: tuple[str, ...]
    multi: bool
    onnx: bytes
    scores: Scores
    measured_on: str
    told: Told
    latency_us_p50: float
    train_s: float
    data: str
    rows_sha256: str
    counts: Mapping[str, int]
    label_counts: Mapping[str, int]
    settings: Mapping[str, Any]
    thresholds: tuple[float, ...] = ()
    temperature: float = 1.0
    test_data: str | None = None
    teacher: Mapping[str, Any] | None = None
    task: str | None = None
    licence: str | None = None
    rejected: float | None = None
    learning: Learning | None = None
    created: str = ""
    machine: str = ""
    versions: Mapping[str, str] = {}

    @property
    def sha256(self) -> str:
        """The hash of the model's file, in hex."""
        return hashlib.sha256(self.onnx).hexdigest()

    @property
    def too_weak(self) -> bool:
        """Whether the rows are from a teacher that does not know its own classes apart."""
        return bool(self.teacher and self.teacher.get("too_weak"))


def facts_of(trained: Trained, run: Run, *, name: str, created: str) -> Facts:
    """Gather the facts of a training. Loads the model, to measure how fast it is.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    told, measured_on = _told(trained, run)
    sample, rows = run.sample, run.sample.rows
    counts = {
        "in the data": sample.seen,
        "without a text": sample.empty,
        "not drawn": sample.seen - sample.empty - len(rows),
        "learned from": trained.rows,
        "repeat another": sample.duplicates,
        "same text, other labels": sample.contradictions,
        "measured on": len(told.truth),
    }
    label_counts = dict.fromkeys(trained.labels, 0)
    for row in rows:
        for label in row.labels:
            label_counts[label] = label_counts.get(label, 0) + 1
    return Facts(
        name=name,
        labels=trained.labels,
        multi=trained.multi,
        onnx=trained.onnx,
        scores=trained.held_out if run.test is None else run.test.scores,
        measured_on=measured_on,
        told=told,
        latency_us_p50=_latency_us(trained, run),
        train_s=run.train_s,
        # A report is passed on: it names files, not the folders of whoever made it.
        data=PurePath(run.data).name,
        rows_sha256=_rows_sha256(run),
        counts={what: count for what, count in counts.items() if count},
        label_counts=label_counts,
        settings=msgspec.to_builtins(run.settings),
        thresholds=trained.thresholds,
        temperature=trained.temperature,
        test_data=None if run.test_data is None else PurePath(run.test_data).name,
        teacher=run.teacher,
        task=run.task,
        licence=run.licence,
        rejected=trained.rejected,
        learning=trained.learning,
        created=created,
        machine=machine(),
        versions=versions(),
    )


def _rows_sha256(run: Run) -> str:
    """The hash of what was learned from, a JSON line for each row: files differ where rows do not."""
    encoder, digest = msgspec.json.Encoder(), hashlib.sha256()
    for row in run.sample.rows:
        text = row.text.encode("utf-8", "replace").decode()
        digest.update(encoder.encode((text, row.labels, row.soft, row.weight)) + b"\n")
    return digest.hexdigest()


def _told(trained: Trained, run: Run) -> tuple[Told, str]:
    if run.test is not None and run.test_sample is not None:
        found: Evaluation = run.test
        texts = [row.text for row in run.test_sample.rows]
        return Told(texts, found.truth, found.told, found.probabilities), "test rows"
    held = trained.held_out_rows
    if held is None:
        return Told((), (), (), ()), "rows held out of the training data"
    rows = [run.sample.rows[place] for place in held.places]
    told = Told(
        [row.text for row in rows],
        [row.labels for row in rows],
        held.told,
        held.probabilities.tolist(),
    )
    return told, "rows held out of the training data"


def _latency_us(trained: Trained, run: Run) -> float:
    if run.test is not None:
        return run.test.latency_us_p50
    from pointsman.distill.model import TextClassifier

    return latency_us(TextClassifier.load(trained.onnx), run.sample.rows)


def mix_ups(facts: Facts, most: int = 20) -> list[tuple[str, str, int]]:
    """Give the pairs of labels that are mixed up most: what is true, what was told, how often.

    Of a row with several labels, each that was missed counts against each that was wrongly told.
    """
    found: Counter[tuple[str, str]] = Counter()
    for right, given in zip(facts.told.truth, facts.told.told, strict=True):
        missed = [label for label in right if label not in given]
        found.update((label, wrong) for label in missed for wrong in given if wrong not in right)
    order = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    return [(true, told, count) for (true, told), count in order[:most]]


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages that training depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> str:
    """Give the kind of machine in words: figures of speed mean nothing without it."""
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    return f"{platform.system()} on {platform.machine()}, {cores} cores"
