"""Rows in, a classifier's file out: fits, calibrates on rows held out, and writes the graph.

Needs the extra `train`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.calibrate import best_thresholds, platt, probabilities, temperature
from pointsman.distill.graph import Head, write
from pointsman.distill.learn import Recipe, Student, learn
from pointsman.distill.metrics import Scores, score
from pointsman.distill.ngrams import Scheme, scheme
from pointsman.distill.recipe import Measure, layout, measure, recipe
from pointsman.distill.rows import Row, label_set
from pointsman.distill.shrink import CODES, Packed
from pointsman.errors import DistillError, MissingExtra

__all__ = ["HeldOut", "TrainSettings", "Trained", "train"]

MIN_BUCKETS = 1024
HELD_OUT_SHARE = 0.1
MAX_HELD_OUT_ROWS = 4000
VERSION = "1"

Progress = Callable[[str, int, int], None]


class TrainSettings(Struct, frozen=True, kw_only=True):
    """How to train. `size_bytes` is the most that the file may take; `other` adds a label for texts
    that belong to none of the others (single-label only)."""

    size_bytes: int = 256 * 1024
    seed: int = 0
    other: bool = False


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
    are per label for multi-label, else empty; `temperature` is 1 for multi-label.
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
    names = label_set(rows)
    labels, multi = names.names, names.multi
    progress("read", 0, 1)
    texts = [row.text for row in rows]
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    seen = measure(data)
    targets, weights = _targets(rows, labels, multi)
    how, plan = _shape(seen, labels, settings)
    progress("read", 1, 1)
    out = _held_out(data, settings.seed)
    trial, final = _both(texts, targets, weights, out, how, plan, multi, settings, progress)
    held = trial.logits([each for each, held_out in zip(data, out, strict=True) if held_out])
    slope, offset, thresholds, heat = _calibration(held, targets[out], multi)
    p = probabilities(held * slope + offset, multi=multi)
    truth = [rows[index].labels for index in out.nonzero()[0]]
    scores = score(truth, _told(p, labels, thresholds, multi), labels, p.tolist(), multi=multi)
    facts = _facts(labels, multi, thresholds, heat, len(rows), settings)
    head = _head(final, slope, offset, thresholds)
    data_out = write(how, head, labels, multi=multi, facts=facts)
    if len(data_out) > settings.size_bytes:
        raise DistillError(f"the file takes {len(data_out)} bytes, over {settings.size_bytes}")
    return Trained(
        onnx=data_out,
        labels=labels,
        multi=multi,
        held_out=scores,
        thresholds=() if thresholds is None else tuple(map(float, thresholds)),
        temperature=heat,
        seconds=time.monotonic() - began,
        rows=len(rows),
    )


def _both(
    texts: Sequence[str],
    targets: Any,
    weights: Any,
    out: Any,
    how: Scheme,
    plan: Recipe,
    multi: bool,
    settings: TrainSettings,
    progress: Progress,
) -> tuple[Student, Student]:
    """One network learned without the rows held out, to measure and calibrate by, and one from all.

    They learn side by side on two threads.
    """
    done = {"trial": 0, "final": 0}

    def told(which: str) -> Callable[[int, int], None]:
        def tell(count: int, total: int) -> None:
            done[which] = count
            progress("learn", sum(done.values()), 2 * total)

        return tell

    kept = ~out
    some = [text for text, keep in zip(texts, kept, strict=True) if keep]
    with ThreadPoolExecutor(2) as pool:
        trial = pool.submit(
            learn, some, targets[kept], weights[kept], how, plan, multi=multi,
            seed=settings.seed, progress=told("trial"),
        )  # fmt: skip
        final = pool.submit(
            learn, texts, targets, weights, how, plan, multi=multi,
            seed=settings.seed, progress=told("final"),
        )  # fmt: skip
        return trial.result(), final.result()


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
            return scheme(left // parts), recipe(seen, width, parts)
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


def _targets(rows: Sequence[Row], labels: Sequence[str], multi: bool) -> tuple[Any, Any]:
    import numpy as np

    place = {label: index for index, label in enumerate(labels)}
    targets = np.zeros((len(rows), len(labels)), np.float32)
    for index, row in enumerate(rows):
        for label in row.labels:
            targets[index, place[label]] = 1
        if row.soft:
            told = np.zeros(len(labels), np.float32)
            for label, p in row.soft.items():
                if label in place:
                    told[place[label]] = p
            if multi or told.sum() > 0:
                targets[index] = told if multi else told / told.sum()
    weights = np.array([row.weight for row in rows], np.float32)
    return targets, weights / weights.mean()


def _held_out(texts: Sequence[bytes], seed: int) -> Any:
    """Which rows are held out, by a hash of the text, so that equal texts stay together."""
    import numpy as np

    key = str(seed).encode()
    draw = np.array(
        [
            int.from_bytes(hashlib.blake2b(text.lower(), digest_size=4, key=key).digest())
            for text in texts
        ]
    )
    share = min(HELD_OUT_SHARE, MAX_HELD_OUT_ROWS / len(texts))
    out = draw < np.quantile(draw, max(share, 2 / len(texts)))
    out[np.argmin(draw)] = True
    return out


def _calibration(logits: Any, targets: Any, multi: bool) -> tuple[Any, Any, Any, float]:
    """Slope and offset of each label's logit, thresholds (None for single-label), temperature."""
    import numpy as np

    if multi:
        curve = platt(logits, targets)
        p = probabilities(logits * curve.slope + curve.offset, multi=True)
        return curve.slope, curve.offset, best_thresholds(p, targets), 1.0
    heat = temperature(logits, targets)
    count = targets.shape[1]
    return np.full(count, 1 / heat), np.zeros(count), None, heat


def _told(p: Any, labels: Sequence[str], thresholds: Any, multi: bool) -> list[tuple[str, ...]]:
    if not multi:
        return [(labels[int(best)],) for best in p.argmax(axis=1)]
    return [tuple(labels[c] for c in range(len(labels)) if row[c] >= thresholds[c]) for row in p]


def _head(student: Student, slope: Any, offset: Any, thresholds: Any) -> Head:
    network = student.network
    return Head(
        table=student.packed,
        shift=network.shift,
        weights=network.weights * slope,
        bias=network.bias * slope + offset,
        thresholds=thresholds,
    )


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
