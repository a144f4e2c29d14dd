"""Rows in, a classifier's file out: fits, calibrates on rows held out, and writes the graph.

Needs the extra `train`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.calibrate import best_thresholds, platt, probabilities, temperature
from pointsman.distill.fit import Network, Plan, fit, matrix
from pointsman.distill.graph import Head, write
from pointsman.distill.metrics import Scores, score
from pointsman.distill.ngrams import Scheme, bags, scheme
from pointsman.distill.rows import Row, label_set
from pointsman.distill.shrink import pack, scales
from pointsman.errors import DistillError, MissingExtra

__all__ = ["MIN_SIZE_BYTES", "HeldOut", "TrainSettings", "Trained", "train"]

MIN_SIZE_BYTES = 40 * 1024
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
    epochs: int | None = None


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
    how, width = _shape(labels, settings)
    progress("read", 0, 1)
    texts = [row.text.encode("utf-8", "surrogatepass") for row in rows]
    features = matrix(bags(texts, how), how.buckets)
    targets, weights = _targets(rows, labels, multi)
    progress("read", 1, 1)
    plan = Plan(width=width, epochs=settings.epochs or 20, seed=settings.seed)
    out = _held_out(texts, settings.seed)
    trial = fit(
        features[~out], targets[~out], weights[~out], plan, multi=multi,
        progress=lambda done, total: progress("try", done, total),
    )  # fmt: skip
    held = trial.logits(features[out])
    network = fit(
        features, targets, weights, plan, multi=multi,
        progress=lambda done, total: progress("fit", done, total),
    )  # fmt: skip
    slope, offset, thresholds, heat = _calibration(held, targets[out], multi)
    p = probabilities(held * slope + offset, multi=multi)
    places = tuple(out.nonzero()[0].tolist())
    truth = [rows[index].labels for index in places]
    told = _told(p, labels, thresholds, multi)
    scores = score(truth, told, labels, p.tolist(), multi=multi)
    data = write(
        how,
        _head(network, slope, offset, thresholds),
        labels,
        multi=multi,
        facts=_facts(labels, multi, thresholds, heat, len(rows), settings),
    )
    if len(data) > settings.size_bytes:
        raise DistillError(f"the file takes {len(data)} bytes, over {settings.size_bytes}")
    return Trained(
        onnx=data,
        labels=labels,
        multi=multi,
        held_out=scores,
        thresholds=() if thresholds is None else tuple(map(float, thresholds)),
        temperature=heat,
        seconds=time.monotonic() - began,
        rows=len(rows),
        held_out_rows=HeldOut(places, tuple(map(tuple, told)), p),
    )


def _require_extra() -> None:
    try:
        import numpy  # noqa: F401
        import onnx  # noqa: F401  # needed at the end, missed at the start
        import scipy  # noqa: F401
    except ImportError as error:
        raise MissingExtra("training a classifier", "train") from error


def _shape(labels: Sequence[str], settings: TrainSettings) -> tuple[Scheme, int]:
    """The scheme and the width of the table that fill the size."""
    width = 32 if len(labels) > 16 else 16
    empty = scheme(2)
    left = settings.size_bytes - len(_empty_file(empty, width, labels, settings)) - 64
    buckets = left // (width // 2)
    if buckets < 256:
        raise DistillError(
            f"{settings.size_bytes} bytes are too few for {len(labels)} labels: give"
            f" {settings.size_bytes - left + 4096 * width // 2} or more"
        )
    return scheme(buckets, seed=settings.seed), width


def _empty_file(how: Scheme, width: int, labels: Sequence[str], settings: TrainSettings) -> bytes:
    import numpy as np

    count = len(labels)
    network = Network(
        table=np.zeros((how.buckets, width), np.float32),
        shift=np.zeros(width, np.float32),
        weights=np.zeros((width, count), np.float32),
        bias=np.zeros(count, np.float32),
    )
    thresholds = np.full(count, 0.123456789, np.float32)
    one, none = np.ones(count), np.zeros(count)
    facts = _facts(labels, True, thresholds, 1.23456789, 10**9, settings)
    return write(how, _head(network, one, none, thresholds), labels, multi=True, facts=facts)


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


def _head(network: Network, slope: Any, offset: Any, thresholds: Any) -> Head:
    scale = scales(network.table)
    return Head(
        table=pack(network.table, scale),
        scale=scale,
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
