"""Scores a classifier on rows: what it tells of each, how right that is, and how fast it is told."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from pointsman.distill.metrics import Scores, score
from pointsman.distill.rows import Row

__all__ = ["Evaluation", "evaluate", "latency_us"]

LATENCY_ROWS = 500
WARM_UP_ROWS = 20
BATCH_ROWS = 256


class _Prediction(Protocol):
    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def scores(self) -> tuple[float, ...]: ...


class _Model(Protocol):
    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def multi(self) -> bool: ...

    def classify(self, text: str | bytes) -> _Prediction: ...

    def classify_many(self, texts: Sequence[str]) -> Iterable[_Prediction]: ...


class Evaluation(Struct, frozen=True):
    """A model's figures on rows, and what it told of each, with the probability of each label.

    `unknown` are labels of the rows that the model does not know: they count as missed.
    """

    scores: Scores
    labels: tuple[str, ...]
    multi: bool
    truth: tuple[tuple[str, ...], ...]
    told: tuple[tuple[str, ...], ...]
    probabilities: tuple[Sequence[float], ...]
    latency_us_p50: float
    unknown: tuple[str, ...] = ()


def evaluate(
    model: _Model,
    rows: Sequence[Row],
    *,
    seed: int = 0,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Evaluation:
    """Give how a model does on rows, of which there is at least one."""
    labels = tuple(model.labels)
    told: list[tuple[str, ...]] = []
    probabilities: list[Sequence[float]] = []
    for start in range(0, len(rows), BATCH_ROWS):
        texts = [row.text for row in rows[start : start + BATCH_ROWS]]
        for prediction in model.classify_many(texts):
            told.append(tuple(prediction.labels))
            # As 32-bit numbers, which they are: with many labels a tuple would take ten times as much.
            probabilities.append(array("f", prediction.scores))
        progress(len(told), len(rows))
    truth = tuple(row.labels for row in rows)
    return Evaluation(
        scores=score(truth, told, labels, probabilities, multi=model.multi, seed=seed),
        labels=labels,
        multi=model.multi,
        truth=truth,
        told=tuple(told),
        probabilities=tuple(probabilities),
        latency_us_p50=latency_us(model, rows),
        unknown=tuple(sorted({label for each in truth for label in each}.difference(labels))),
    )


def latency_us(model: _Model, rows: Sequence[Row]) -> float:
    """Give the median time from a text to its label, in microseconds, one text at a time."""
    texts = [row.text for row in rows[:LATENCY_ROWS]]
    for text in texts[:WARM_UP_ROWS]:
        model.classify(text)
    times = []
    for text in texts:
        started = time.perf_counter_ns()
        model.classify(text)
        times.append(time.perf_counter_ns() - started)
    return round(sorted(times)[len(times) // 2] / 1000, 1)
