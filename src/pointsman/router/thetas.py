"""The abilities of recorded models, fitted on what the prompt model says of held-out prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.router.ability import Line
from pointsman.router.heads import Observations, sigmoid

__all__ = ["SKILLS", "fit_line", "fit_thetas", "logits"]

# A constant, the prompt's ease, and what sets each of the pair apart.
SKILLS = 4
# In observations: a model's own level and slopes are believed from so many on.
L2_LEVEL, L2_SLOPE = 1.0, 20.0
# How much more an abler model gains on easy prompts does not carry over to other benchmarks: with one
# slope for all, every benchmark that is left out is ranked better.
L2_EASE = 300.0
# What sets the pair apart is learned from their prompts alone, and says little of other models.
L2_FOREIGN = 100.0
NEWTON_STEPS = 30
# Fewer models than this make no line.
MIN_LINE_MODELS = 5


def logits(loadings: Any, theta: Any) -> Any:
    """Give theta·loadings + ease for rows of (1, ease, first, second)."""
    return loadings @ theta + loadings[:, 1]


def fit_thetas(loadings: Any, seen: Observations, models: int, pair: Sequence[int]) -> Any:
    """Give (models, SKILLS): each model's ability, drawn to that of all where it has few outcomes.

    `pair` are the numbers of the two models whose own heads the last two loadings are.
    """
    import numpy as np

    every = loadings[seen.prompt]
    first = np.array([1.0, 1e9, 1e9, 1e9])
    pooled = _newton(every, seen.share, np.zeros(SKILLS), first)
    found = np.tile(pooled, (models, 1))
    foreign = np.array([L2_LEVEL, L2_EASE, L2_FOREIGN, L2_FOREIGN])
    for model in range(models):
        own = seen.model == model
        l2, prior = foreign, pooled.copy()
        if model in pair:
            l2 = np.array([L2_LEVEL, L2_EASE, L2_SLOPE, L2_SLOPE])
            prior[2 + list(pair).index(model)] = 1.0
        if own.any():
            found[model] = _newton(every[own], seen.share[own], prior, l2)
    return found


def _newton(x: Any, share: Any, prior: Any, l2: Any) -> Any:
    """Logistic regression with ease as offset and a normal prior."""
    import numpy as np

    theta = prior.copy()
    for _ in range(NEWTON_STEPS):
        p = sigmoid(logits(x, theta))
        slope = x.T @ (p - share) + l2 * (theta - prior)
        curve = (x * (p * (1 - p))[:, None]).T @ x + np.diag(l2 + 1e-6)
        step = np.linalg.solve(curve, slope)
        theta = theta - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return theta


def fit_line(
    places: Mapping[str, float], thetas: Mapping[str, Sequence[float]], average: Any
) -> Line | None:
    """Give the line from a number to the level, by least squares over the models that have both.

    The slopes of such models are 0: no number tells them. `average` are the mean loadings. The error is that of the logit on the average prompt, of each
    model by the line through the others. None if there are too few models.
    """
    import numpy as np

    names = sorted(set(places) & set(thetas))
    if len(names) < MIN_LINE_MODELS:
        return None
    x = np.array([[1.0, places[name]] for name in names])
    # A recorded ability as one level: what it comes to on the average prompt.
    y = np.array([np.dot(thetas[name], average) for name in names])
    if x[:, 1].std() < 1e-6:
        return None
    found = _least_squares(x, y)
    off = []
    for number in range(len(names)):
        kept = np.arange(len(names)) != number
        off.append(float(y[number] - x[number] @ _least_squares(x[kept], y[kept])))
    rest = (0.0,) * (len(average) - 1)
    return Line(
        (round(float(found[0]), 4), *rest),
        (round(float(found[1]), 4), *rest),
        round(float(np.sqrt(np.mean(np.square(off)))), 3),
        (round(float(x[:, 1].min()), 3), round(float(x[:, 1].max()), 3)),
    )


def _least_squares(x: Any, y: Any) -> Any:
    import numpy as np

    return np.linalg.solve(x.T @ x + 1e-3 * np.eye(2), x.T @ y)
