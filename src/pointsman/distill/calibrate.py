"""Turns logits into probabilities that hold, and probabilities into labels, from held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

__all__ = [
    "Calibration",
    "Platt",
    "best_thresholds",
    "calibrate",
    "platt",
    "probabilities",
    "temperature",
]

# With an other class, this share of the held-out rows of all other classes is given up as other.
REJECTED_SHARE = 0.03
MOST_REJECT = 0.95
# The lowest of so few rows are chance: the cut is then so many standard deviations down at least.
MANY_ROWS, FEW_DEVIATIONS = 200, 2.5

TEMPERATURES = (0.1, 20.0)
# A label seen on fewer held-out rows than about this is drawn to what holds for all labels.
PRIOR_ROWS = 10
RIDGE = 1.0


class Platt(Struct, frozen=True):
    """Per label: probability = sigmoid(slope x logit + offset); arrays (C,)."""

    slope: Any
    offset: Any


class Calibration(Struct, frozen=True):
    """What turns logits into probabilities and these into labels.

    `slope` and `offset` (C,) are applied to logits. `thresholds` (C,) are for multi-label, else None;
    `temperature` is 1 there. `reject` is the probability below which the last label is chosen.
    """

    multi: bool
    slope: Any
    offset: Any
    thresholds: Any
    temperature: float
    reject: float | None

    def probabilities(self, logits: Any) -> Any:
        """Give (rows, C)."""
        return probabilities(logits * self.slope + self.offset, multi=self.multi)

    def told(self, p: Any, labels: Sequence[str]) -> list[tuple[str, ...]]:
        """Give the labels chosen for each row of probabilities."""
        if self.multi:
            return [
                tuple(
                    label
                    for label, x, cut in zip(labels, row, self.thresholds, strict=True)
                    if x >= cut
                )
                for row in p
            ]
        best = p.argmax(axis=1)
        if self.reject is not None:
            best[p.max(axis=1) < self.reject] = len(labels) - 1
        return [(labels[int(place)],) for place in best]


def calibrate(logits: Any, targets: Any, *, multi: bool, other: bool = False) -> Calibration:
    """Give what fits held-out logits (rows, C) to their targets; with `other` the last label is it."""
    import numpy as np

    count = targets.shape[1]
    if multi:
        # A teacher's soft labels fit the curve; a threshold needs yes or no.
        curve = platt(logits, targets)
        p = probabilities(logits * curve.slope + curve.offset, multi=True)
        cuts = best_thresholds(p, (targets >= 0.5).astype(np.float32))
        return Calibration(True, curve.slope, curve.offset, cuts, 1.0, None)
    heat = temperature(logits, targets)
    reject = None
    if other:
        inside = targets[:, :-1].sum(axis=1) > 0.5
        p = probabilities(logits[inside] / heat, multi=False)[:, :-1]
        reject = min(_cut(p.max(axis=1)), MOST_REJECT) if len(p) else 0.5
    return Calibration(False, np.full(count, 1 / heat), np.zeros(count), None, heat, reject)


def _cut(p: Any) -> float:
    """The probability that all but a small share of texts are above; of few, with room to spare."""
    import numpy as np
    from scipy.special import expit, logit

    cut = float(np.quantile(p, REJECTED_SHARE))
    if len(p) >= MANY_ROWS:
        return cut
    odds = logit(np.clip(p, 1e-6, 1 - 1e-6))
    return min(cut, float(expit(odds.mean() - FEW_DEVIATIONS * odds.std())))


def probabilities(logits: Any, *, multi: bool) -> Any:
    """Give (rows, C): a sigmoid for each label, or a softmax over them."""
    from scipy.special import expit, softmax

    return expit(logits) if multi else softmax(logits, axis=1)


def temperature(logits: Any, targets: Any) -> float:
    """Give what to divide logits by so that the held-out rows' loss is least.

    Targets are drawn in by one part in the number of rows, as Platt's are, so that rows that are all
    told right do not make the classifier sure of everything.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    doubt = 1 / (len(targets) + 2)
    soft = targets * (1 - doubt) + doubt / targets.shape[1]

    def loss(log_t: float) -> float:
        return -float((soft * log_softmax(logits / np.exp(log_t), axis=1)).sum())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def platt(logits: Any, targets: Any) -> Platt:
    """Give each label's logistic curve, drawn to the curve that fits all labels at once.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999; the pull is a ridge.
    """
    import numpy as np

    common = _logistic(logits.ravel(), targets.ravel(), (1.0, 0.0))
    found = [_logistic(logits[:, c], targets[:, c], common) for c in range(logits.shape[1])]
    slope, offset = np.array(found).T
    return Platt(slope, offset)


def _logistic(logit: Any, target: Any, start: tuple[float, float]) -> tuple[float, float]:
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(theta: Any) -> tuple[float, Any]:
        away = theta - np.array(start)
        z = theta[0] * logit + theta[1]
        fault = expit(z) - target
        value = float((np.logaddexp(0, z) - target * z).sum() + RIDGE / 2 * (away @ away))
        return value, np.array([fault @ logit, fault.sum()]) + RIDGE * away

    bounds = [(0.05, 20.0), (None, None)]
    found = minimize(loss, np.array(start), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[0]), float(found[1])


def best_thresholds(scores: Any, targets: Any) -> Any:
    """Give each label's threshold (C,) with the best F1 on held-out rows, rare labels smoothed.

    The count of each label is drawn to the common threshold's figures, so that a handful of rows
    cannot set a threshold alone.
    """
    import numpy as np

    common = _best(scores.ravel(), targets.ravel(), None)
    own = [_best(scores[:, c], targets[:, c], common) for c in range(scores.shape[1])]
    return np.array(own, np.float32)


def _best(score: Any, target: Any, prior: float | None) -> float:
    import numpy as np

    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(target[order])
    told = np.arange(1, len(score) + 1)
    total = float(target.sum())
    if total == 0:
        return 0.5 if prior is None else prior
    f1 = 2 * hits / (told + total)
    # Neighbouring cuts say nearly the same; the mean over some of them is what to rely on.
    reach = max(1, int(total) // 20)
    smooth = np.convolve(np.pad(f1, reach, mode="edge"), np.ones(2 * reach + 1), "valid")
    place = int(np.argmax(smooth))
    after = score[order[min(place + 1, len(score) - 1)]]
    cut = float((score[order[place]] + after) / 2)
    if prior is None:
        return cut
    share = total / (total + PRIOR_ROWS)
    return share * cut + (1 - share) * prior
