"""Rows in, a classifier's file out: learns, calibrates on rows held out, and writes the graph.

Needs the extra `train`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.calibrate import Calibration, calibrate
from pointsman.distill.examples import Examples, examples, held_out
from pointsman.distill.facts import Learning
from pointsman.distill.fit import matrix
from pointsman.distill.graph import Head, write
from pointsman.distill.learn import Lesson, Recipe, Student, learn, lesson
from pointsman.distill.metrics import Scores, score
from pointsman.distill.ngrams import Scheme, scheme
from pointsman.distill.outliers import outliers
from pointsman.distill.recipe import Measure, layout, measure, recipe
from pointsman.distill.rows import Row
from pointsman.distill.shrink import CODES, Packed
from pointsman.errors import DistillError, MissingExtra

__all__ = ["HeldOut", "TrainSettings", "Trained", "train"]

MIN_BUCKETS = 1024
OUTLIERS_MEASURED = 400
VERSION = "1"

Progress = Callable[[str, int, int], None]


class TrainSettings(Struct, frozen=True, kw_only=True):
    """How to train. `size_bytes` is the most that the file may take; `other` adds a label `other`
    for texts that belong to none of the rest (single-label only). `quick` learns without the
    ensemble: some tenths of the time, for a point or so of accuracy. Where a machine would take more
    than `budget_s` seconds, about, fewer networks are in the ensemble and epochs are left out."""

    size_bytes: int = 256 * 1024
    seed: int = 0
    other: bool = False
    quick: bool = False
    budget_s: float = 120.0


class HeldOut(Struct, frozen=True):
    """The rows held out, by their places, and what a classifier that never saw them told of each.

    `probabilities` is an array (rows, labels).
    """

    places: tuple[int, ...]
    told: tuple[tuple[str, ...], ...]
    probabilities: Any


class Trained(Struct, frozen=True):
    """A classifier's file and what is known of it.

    `held_out` are the scores on rows that were not learned from, at the same settings. `thresholds`
    are per label for multi-label, else empty; `temperature` is 1 for multi-label. With an other
    class `rejected` is the share of made-up outliers, none of them learned from, that are told to
    be other; `reject` is the probability below which a text is.
    """

    onnx: bytes
    labels: tuple[str, ...]
    multi: bool
    held_out: Scores
    thresholds: tuple[float, ...]
    temperature: float
    seconds: float
    rows: int
    held_out_rows: HeldOut | None = None
    reject: float | None = None
    rejected: float | None = None
    learning: Learning | None = None


def train(
    rows: Sequence[Row],
    settings: TrainSettings = TrainSettings(),  # noqa: B008  # a frozen value
    progress: Progress = lambda stage, done, total: None,
) -> Trained:
    """Learn a classifier. The same rows and settings give the same bytes on the same machine.

    `progress` gets (stage, done, total).

    Raises:
        DistillError: rows that nothing can be learned from, or a size that no classifier fits into.
        MissingExtra: numpy, scipy or onnx is not installed.
    """
    _require_extra()
    began = time.monotonic()
    progress("read", 0, 1)
    data = examples(rows, other=settings.other, seed=settings.seed)
    out = held_out(data, settings.seed)
    how, plan = _shape(measure(data.encoded()), data.labels, settings)
    progress("read", 1, 1)
    trial, final, taught = _both(data, out, how, plan, settings, progress)
    held = data.take(out)
    seen = trial.logits(held.encoded())
    found = calibrate(seen, held.targets, multi=data.multi, other=settings.other)
    p = found.probabilities(seen)
    told = found.told(p, data.labels)
    places = tuple(map(int, out.nonzero()[0]))
    truth = [rows[place].labels for place in places]
    rejected = _rejected(trial, found, data, settings) if settings.other else None
    return Trained(
        onnx=_file(how, final, found, data, settings),
        labels=data.labels,
        multi=data.multi,
        held_out=score(truth, told, data.labels, p.tolist(), multi=data.multi, seed=settings.seed),
        thresholds=() if found.thresholds is None else tuple(map(float, found.thresholds)),
        temperature=found.temperature,
        seconds=time.monotonic() - began,
        rows=len(rows),
        held_out_rows=HeldOut(places, tuple(told), p),
        reject=found.reject,
        rejected=rejected,
        learning=Learning(
            settings.budget_s, taught.teachers, plan.teachers, taught.epochs, plan.epochs
        ),
    )


def _both(
    data: Examples,
    out: Any,
    how: Scheme,
    plan: Recipe,
    settings: TrainSettings,
    progress: Progress,
) -> tuple[Student, Student, Lesson]:
    """One network learned without the rows held out, to measure and calibrate by, and one from all.

    They learn side by side on two threads, from what one ensemble says that has not seen those rows.
    """
    import numpy as np

    taught = lesson(
        data.texts, data.targets, data.weights, ~out, plan, multi=data.multi, seed=settings.seed,
        budget_s=settings.budget_s, progress=lambda done, total: progress("teach", done, total),
    )  # fmt: skip
    plan = msgspec.structs.replace(plan, epochs=taught.epochs)
    features = matrix(taught.texts, how)
    done = [0, 0]

    def run(which: int, rows: Any) -> Student:
        def tell(count: int, total: int) -> None:
            done[which] = count
            progress("learn", sum(done), 2 * total)

        # No copy of all: the counts are most of what a training holds in memory.
        whole = len(rows) == len(taught.texts)
        return learn(
            features if whole else features[rows],
            taught.targets[rows], taught.weights[rows], how, plan,
            rows=int((rows < len(out)).sum()), multi=data.multi, seed=settings.seed, progress=tell,
        )  # fmt: skip

    kept = np.flatnonzero(~np.pad(out, (0, len(taught.texts) - len(out))))
    with ThreadPoolExecutor(2) as pool:
        both = pool.submit(run, 0, kept), pool.submit(run, 1, np.arange(len(taught.texts)))
        return both[0].result(), both[1].result(), taught


def _rejected(trial: Student, found: Calibration, data: Examples, settings: TrainSettings) -> float:
    texts = outliers(data.texts[: data.rows], OUTLIERS_MEASURED, settings.seed, measuring=True)
    seen = trial.logits([text.encode("utf-8", "surrogatepass") for text in texts])
    told = found.told(found.probabilities(seen), data.labels)
    return sum(each == data.labels[-1:] for each in told) / len(told)


def _file(
    how: Scheme, student: Student, found: Calibration, data: Examples, settings: TrainSettings
) -> bytes:
    network = student.network
    head = Head(
        table=student.packed,
        shift=network.shift,
        weights=network.weights * found.slope,
        bias=network.bias * found.slope + found.offset,
        thresholds=found.thresholds,
        reject=found.reject,
    )
    facts = _facts(
        data.labels, data.multi, found.thresholds, found.temperature, data.rows, settings
    )
    onnx = write(how, head, data.labels, multi=data.multi, facts=facts)
    if len(onnx) > settings.size_bytes:
        raise DistillError(f"the file takes {len(onnx)} bytes, over {settings.size_bytes}")
    return onnx


def _require_extra() -> None:
    try:
        import numpy  # noqa: F401
        import onnx  # noqa: F401  # needed at the end, missed at the start
        import scipy  # noqa: F401
    except ImportError as error:
        raise MissingExtra("training a classifier", "train") from error


def _shape(seen: Measure, labels: Sequence[str], settings: TrainSettings) -> tuple[Scheme, Recipe]:
    """The scheme and the recipe that fill the size."""
    for leanest in (False, True):
        spare = settings.size_bytes - _empty_bytes(64, 1, labels, settings)
        width, parts = (16, 1) if leanest else layout(seen, len(labels), spare)
        left = settings.size_bytes - _empty_bytes(width, parts, labels, settings)
        if left >= MIN_BUCKETS * parts:
            return scheme(left // parts), recipe(seen, width, parts, quick=settings.quick)
    raise DistillError(
        f"{settings.size_bytes} bytes are too few for {len(labels)} labels: give"
        f" {settings.size_bytes - left + MIN_BUCKETS} or more"
    )


def _empty_bytes(width: int, parts: int, labels: Sequence[str], settings: TrainSettings) -> int:
    """The size of a file but for its codes."""
    import numpy as np

    count = len(labels)
    packed = Packed(
        codes=np.zeros((2, parts), np.uint8),
        books=np.zeros((CODES * parts, width // parts), np.int8),
        scale=np.zeros(width),
    )
    thresholds = np.full(count, 0.123456789, np.float32)
    head = Head(packed, np.zeros(width), np.zeros((width, count)), np.zeros(count), thresholds)
    facts = _facts(labels, True, thresholds, 1.23456789, 10**9, settings)
    # The few bytes more are for lengths that take more digits in the whole file.
    return len(write(scheme(2), head, labels, multi=True, facts=facts)) + 64


def _facts(
    labels: Sequence[str],
    multi: bool,
    thresholds: Any,
    heat: float,
    rows: int,
    settings: TrainSettings,
) -> dict[str, str]:
    encode = msgspec.json.encode
    cuts = [] if thresholds is None else [round(float(cut), 6) for cut in thresholds]
    return {
        "pointsman.version": VERSION,
        "pointsman.kind": "multi" if multi else "single",
        "pointsman.labels": encode(labels).decode(),
        "pointsman.thresholds": encode(cuts).decode(),
        "pointsman.training": encode(
            {"rows": rows, "seed": settings.seed, "temperature": round(heat, 6)}
        ).decode(),
    }
