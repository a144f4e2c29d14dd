"""The verifier: how likely an answer is good, by what it looks like. A calibrated logistic model.

Its weights are a small JSON file. `train_verifier` fits them to answers of which it is known whether
they were right; `load_verifier` reads them, and refuses what is not a verifier of these features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.answer import FEATURES

__all__ = [
    "Verifier",
    "default_verifier",
    "load_verifier",
    "read_verifier",
    "train_verifier",
    "write_verifier",
]

SHIPPED = "data/router/verifier.json"
MAX_FILE_BYTES = 64 * 1024
MAX_WEIGHT = 1e3
MIN_ROWS = 50
ITERATIONS = 50


class Verifier(Struct, frozen=True):
    """A logistic model over `FEATURES`: logit = bias + Σ weight × (value − mean) / scale.

    `source` says what it was fitted to, `rows` how many answers, `date` (ISO 8601) when.
    """

    features: tuple[str, ...]
    weights: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    bias: float
    source: str
    rows: int
    date: str

    def p_good(self, values: Sequence[float]) -> float:
        """Give the probability that an answer with these features is good, 0 to 1."""
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, self._logit(values)))))

    def why(self, values: Sequence[float], good: bool) -> str:
        """Give the feature that speaks most for an answer (or against it, if it is not held good)."""
        sign = 1.0 if good else -1.0
        pushes = [
            (sign * weight * (value - mean) / scale, name)
            for name, weight, value, mean, scale in zip(
                self.features, self.weights, values, self.means, self.scales, strict=True
            )
        ]
        push, name = max(pushes)
        if push <= 0.0:
            return "nothing in particular"
        return f"{name} {'for' if good else 'against'} it"

    def _logit(self, values: Sequence[float]) -> float:
        return self.bias + sum(
            weight * (value - mean) / scale
            for weight, value, mean, scale in zip(
                self.weights, values, self.means, self.scales, strict=True
            )
        )


def load_verifier(data: bytes, name: str) -> Verifier:
    """Read a verifier from the bytes of its file.

    Raises:
        RouteError: it is none, is of other features, or has numbers that are none.
    """
    if len(data) > MAX_FILE_BYTES:
        raise RouteError(f"{name} is over {MAX_FILE_BYTES} bytes: no verifier is")
    try:
        found = msgspec.json.decode(data, type=Verifier)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RouteError(f"{name} is no verifier: {error}") from error
    if found.features != FEATURES:
        raise RouteError(f"{name} is of other features than this version's: train it anew")
    rows = (found.weights, found.means, found.scales)
    if any(len(row) != len(FEATURES) for row in rows):
        raise RouteError(f"{name} has not one number for each feature")
    numbers = [number for row in (*rows, (found.bias,)) for number in row]
    if not all(math.isfinite(n) and abs(n) <= MAX_WEIGHT for n in numbers) or min(rows[2]) <= 0:
        raise RouteError(f"{name} has numbers out of their range")
    return found


def read_verifier(path: Path) -> Verifier:
    """Read a verifier's file.

    Raises:
        RouteError: it cannot be read, or as `load_verifier`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RouteError(f"{path} cannot be read: {error.strerror or error}") from error
    return load_verifier(data, str(path))


def write_verifier(path: Path, verifier: Verifier) -> None:
    """Write a verifier's file, which `read_verifier` reads.

    Raises:
        RouteError: it cannot be written.
    """
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(verifier), indent=1) + b"\n")
    except OSError as error:
        raise RouteError(f"{path} cannot be written: {error.strerror or error}") from error


@cache
def default_verifier() -> Verifier:
    """The verifier that comes with Pointsman. Reads the package's data.

    Raises:
        RouteError: the file is damaged.
    """
    return load_verifier(files("pointsman").joinpath(SHIPPED).read_bytes(), SHIPPED)


def train_verifier(
    rows: Sequence[Sequence[float]],
    good: Sequence[bool | float],
    *,
    source: str,
    date: str,
    ridge: float = 1.0,
) -> Verifier:
    """Fit a verifier to answers' features and whether (or how far, 0 to 1) each was good.

    Features are scaled to unit spread, one that never varies gets no weight; the fit is penalised
    maximum likelihood, by Newton's method. `ridge` is the penalty on each scaled weight.

    Raises:
        RouteError: fewer than 50 rows, a row of another length, or outcomes all alike.
        MissingExtra: NumPy is not installed.
    """
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("training a verifier", "router") from error
    if len(rows) < MIN_ROWS or len(rows) != len(good):
        raise RouteError(f"a verifier needs at least {MIN_ROWS} answers, not {len(rows)}")
    if any(len(row) != len(FEATURES) for row in rows):
        raise RouteError(f"an answer has {len(FEATURES)} features")
    x = numpy.asarray(rows, dtype="float64")
    y = numpy.asarray(good, dtype="float64")
    if not 0.0 < float(y.mean()) < 1.0:
        raise RouteError("a verifier needs good answers and bad ones")
    means, scales, weights = _fitted(x, y, ridge, numpy)
    rounded = [round(float(weight), 6) for weight in weights]
    return Verifier(
        features=FEATURES,
        weights=tuple(rounded[1:]),
        means=tuple(round(float(mean), 6) for mean in means),
        scales=tuple(round(float(scale), 6) for scale in scales),
        bias=rounded[0],
        source=source,
        rows=len(rows),
        date=date,
    )


def _fitted(x: Any, y: Any, ridge: float, numpy: Any) -> tuple[Any, Any, Any]:
    """Means and scales of the features, and the weights, the bias first: Newton's method."""
    means = x.mean(axis=0)
    scales = x.std(axis=0)
    still = scales < 1e-9
    scales[still] = 1.0
    design = numpy.column_stack([numpy.ones(len(x)), (x - means) / scales])
    penalty = numpy.diag([0.0, *numpy.where(still, 1e6, ridge)])
    weights = numpy.zeros(design.shape[1])
    for _ in range(ITERATIONS):
        p = 1.0 / (1.0 + numpy.exp(-numpy.clip(design @ weights, -30, 30)))
        gradient = design.T @ (y - p) - penalty @ weights
        curvature = (design * (p * (1 - p))[:, None]).T @ design + penalty
        step = numpy.linalg.solve(curvature + 1e-9 * numpy.eye(len(weights)), gradient)
        # A step is kept short: with separable data the first ones would leap.
        weights += step * min(1.0, 4.0 / max(float(numpy.abs(step).max()), 1e-12))
        if float(numpy.abs(step).max()) < 1e-8:
            break
    return means, scales, weights
