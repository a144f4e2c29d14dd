"""Turns logits into probabilities that hold, and probabilities into labels, from held-out rows."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

__all__ = ["Platt", "best_thresholds", "platt", "probabilities", "temperature"]

TEMPERATURES = (0.05, 20.0)
# A label seen on fewer held-out rows than about this is drawn to what holds for all labels.
PRIOR_ROWS = 10
RIDGE = 1.0


class Platt(Struct, frozen=True):
    """Per label: probability = sigmoid(slope x logit + offset); arrays (C,)."""

    slope: Any
    offset: Any


def probabilities(logits: Any, *, multi: bool) -> Any:
    """Give (rows, C): a sigmoid for each label, or a softmax over them."""
    from scipy.special import expit, softmax

    return expit(logits) if multi else softmax(logits, axis=1)


def temperature(logits: Any, targets: Any) -> float:
    """Give what to divide logits by so that the held-out rows' loss is least.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_t: float) -> float:
        return -float((targets * log_softmax(logits / np.exp(log_t), axis=1)).sum())

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
