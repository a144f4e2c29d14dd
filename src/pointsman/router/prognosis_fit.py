"""Learns the model of trajectories from recorded runs: a few signs, priors with a sign, no search.

Each run counts once, however many of its beginnings are rows, and half of that, since several trials of
one task resemble each other. The weights are the most probable ones under normal priors, kept from
changing their sign; the covariance is Laplace's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.optimize import minimize

from pointsman.router.prognosis import SIGNS, TRUSTED_SD, PrognosisModel, signs_of
from pointsman.router.trajectory import Trajectory

__all__ = ["PRIORS", "RunRow", "fit_prognosis"]

# Sign → the prior's mean and sd of its weight. Those above 0 are set by hand: no recorded runs were at
# hand in which they could be learned well, and each says that trouble raises the risk a little.
PRIORS = {
    "load": (0.0, 0.5),
    "errors": (0.3, 0.2),
    "repeats": (0.4, 0.25),
    "corrections": (0.3, 0.2),
    "tests": (0.5, 0.3),
    "stalled": (0.15, 0.15),
    "compactions": (0.2, 0.2),
}
RUN_WEIGHT = 0.5

Floats = NDArray[np.float64]


class RunRow(Struct, frozen=True):
    """The beginning of a run: `run` says of which, `failed` how that ended."""

    run: str
    trajectory: Trajectory
    failed: bool


def fit_prognosis(rows: Sequence[RunRow], card: dict[str, str | int | float]) -> PrognosisModel:
    """Give the model learned from beginnings of runs; the same rows give the same model."""
    raw = np.array([signs_of(row.trajectory) for row in rows])
    messages = np.log([max(row.trajectory.messages, 1) for row in rows])
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.run] = counts.get(row.run, 0) + 1
    weight = np.array([RUN_WEIGHT / counts[row.run] for row in rows])
    share = weight / weight.sum()
    mean = float(share @ raw[:, 0])
    sd = float(np.sqrt(share @ (raw[:, 0] - mean) ** 2)) or 1.0
    at = float(share @ messages)
    slope = float(share @ ((messages - at) * (raw[:, 0] - mean))) / (
        float(share @ (messages - at) ** 2) or 1.0
    )
    line = (mean - slope * at, slope)
    spread = raw[:, 0] - line[0] - line[1] * messages
    x = raw.copy()
    x[:, 0] = np.clip((raw[:, 0] - mean) / sd, -TRUSTED_SD, TRUSTED_SD)
    failed = np.array([row.failed for row in rows], dtype=float)
    found, covariance = _most_probable(x, failed, weight)
    return PrognosisModel(
        intercept=_short(found[0]),
        weights=tuple(map(_short, found[1:])),
        covariance=tuple(tuple(map(_short, line)) for line in covariance),
        learned=tuple(bool(column.any()) for column in x.T),
        load_mean=_short(mean),
        load_sd=_short(sd),
        usual=(_short(line[0]), _short(line[1])),
        usual_sd=_short(math.sqrt(float(share @ spread**2)) or 1.0),
        max_messages=max(row.trajectory.messages for row in rows),
        card=card,
    )


def _most_probable(x: Floats, failed: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The intercept and weights, and their covariance."""
    mu = np.array([0.0, *(PRIORS[sign][0] for sign in SIGNS)])
    precision = np.array([1e-4, *(PRIORS[sign][1] ** -2 for sign in SIGNS)])
    full = np.column_stack([np.ones(len(x)), x])

    def loss(w: Floats) -> tuple[float, Floats]:
        logit = full @ w
        fit = float(weight @ (np.logaddexp(0.0, logit) - failed * logit))
        p = 1.0 / (1.0 + np.exp(-logit))
        off = w - mu
        gradient = full.T @ (weight * (p - failed)) + precision * off
        return fit + 0.5 * float(precision @ off**2), gradient

    bounds = [(None, None), *[(0.0, None)] * len(SIGNS)]
    w: Floats = minimize(loss, mu, jac=True, method="L-BFGS-B", bounds=bounds).x
    p = 1.0 / (1.0 + np.exp(-(full @ w)))
    hessian = full.T @ (full * (weight * p * (1.0 - p))[:, None]) + np.diag(precision)
    covariance: Floats = np.linalg.inv(hessian).astype(np.float64)
    return w, covariance


def _short(value: float) -> float:
    return float(f"{value:.5g}")
