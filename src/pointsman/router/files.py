"""`route train` and `route eval`: from files to files and figures. The input and output are here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from pointsman.errors import RouteError
from pointsman.router.classifier import OnnxClassifier, default_classifier
from pointsman.router.evaluate import apgr_interval, calibration_error, evaluate
from pointsman.router.recorded import pair_rows, recorded_rows
from pointsman.router.rows import Row
from pointsman.router.train import train

__all__ = ["Scores", "TrainScores", "eval_file", "train_file"]

LATENCY_ROWS = 500


class Scores(Struct, frozen=True):
    """A router's figures on recorded outcomes; see `evaluate`. Latency is of one estimate, with
    features, on this machine. `strong_from` and `weak_from` say where the models' abilities are from.
    """

    rows: int
    apgr: float | None
    apgr_95: tuple[float, float] | None
    cpt50: float | None
    cpt80: float | None
    auroc: float | None
    calibration_error: float | None
    latency_us_p50: float
    model_bytes: int
    strong: str
    weak: str
    strong_from: str
    weak_from: str


class TrainScores(Struct, frozen=True):
    """The figures on the training rows, each predicted while it was held out."""

    rows: int
    other_rows: int
    models: int
    strong: str
    weak: str
    apgr: float | None
    cpt50: float | None
    cpt80: float | None
    auroc: float | None
    model_bytes: int
    train_s: float
    out: str


def train_file(
    data: Path,
    strong: str | None,
    weak: str | None,
    out: Path,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    *,
    licence: str = "as the data's",
) -> TrainScores:
    """Learn a router from a file of outcomes and write it to `out`.

    All models' outcomes are learned from; the figures are the pair's. See `train` for what a pair
    of None means.

    Raises:
        RouteError: the data cannot be read or learned from, or `out` cannot be written.
        MissingExtra: as `train`.
    """
    started = time.perf_counter()
    if strong is not None and weak is not None:
        both, others = pair_rows(data, strong, weak)
        rows = [*both, *others]
    else:
        rows = list(recorded_rows(data))
    trained = train(
        rows,
        strong,
        weak,
        licence=licence,
        created=time.strftime("%Y-%m-%d", time.gmtime()),
        progress=progress,
    )
    card = trained.card
    own = [row for row in rows if card.strong in row.models and card.weak in row.models]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = out.with_name(f".{out.name}.new")
        scratch.write_bytes(trained.model)
        scratch.replace(out)
    except OSError as error:
        raise RouteError(f"{out} cannot be written: {error.strerror or error}") from error
    metrics = evaluate(trained.held_out, *_scores(own, card.weak, card.strong))
    return TrainScores(
        rows=metrics.rows,
        other_rows=card.other_rows,
        models=len(card.abilities.recorded),
        strong=card.strong,
        weak=card.weak,
        apgr=metrics.apgr,
        cpt50=metrics.cpt50,
        cpt80=metrics.cpt80,
        auroc=metrics.auroc,
        model_bytes=len(trained.model),
        train_s=round(time.perf_counter() - started, 2),
        out=str(out),
    )


def eval_file(data: Path, strong: str, weak: str, router: Path | None) -> Scores:
    """Score a router (the shipped one if `router` is None) on a file of outcomes.

    Raises:
        RouteError: the data or the router cannot be read.
        MissingExtra: onnxruntime is not installed.
    """
    rows, _ = pair_rows(data, strong, weak)
    classifier = default_classifier() if router is None else OnnxClassifier.open(router)
    comparison = classifier.comparison(strong, weak)
    p_weak = [comparison.p_weak(row.prompt) for row in rows]
    weak_scores, strong_scores = _scores(rows, weak, strong)
    metrics = evaluate(p_weak, weak_scores, strong_scores)
    return Scores(
        rows=metrics.rows,
        apgr=metrics.apgr,
        apgr_95=apgr_interval(p_weak, weak_scores, strong_scores),
        cpt50=metrics.cpt50,
        cpt80=metrics.cpt80,
        auroc=metrics.auroc,
        calibration_error=calibration_error(p_weak, weak_scores, strong_scores),
        latency_us_p50=_latency_us(classifier, rows[:LATENCY_ROWS]),
        model_bytes=classifier.size_bytes,
        strong=strong,
        weak=weak,
        strong_from=comparison.strong.source,
        weak_from=comparison.weak.source,
    )


def _scores(rows: Sequence[Row], weak: str, strong: str) -> tuple[list[float], list[float]]:
    return [row.models[weak].share for row in rows], [row.models[strong].share for row in rows]


def _latency_us(classifier: OnnxClassifier, rows: Sequence[Row]) -> float:
    times = []
    for row in rows:
        started = time.perf_counter_ns()
        classifier.estimate(row.prompt)
        times.append(time.perf_counter_ns() - started)
    return round(sorted(times)[len(times) // 2] / 1000, 1)
