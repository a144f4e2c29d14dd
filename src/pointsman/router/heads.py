"""The heads of the prompt model, fitted: how hard a prompt is, and what sets two models apart on it.

All are logistic regressions on one set of features, with a ridge penalty, by L-BFGS. Arrays are
numpy's, features a sparse matrix with a row for each prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from pointsman.router.matrix import BUCKETS

__all__ = ["Observations", "difficulty", "expected_length", "residual", "sigmoid"]

# Chosen on the training rows: in domain by five folds, and by leaving whole benchmarks out.
L2_WORDS, L2_SURFACE = 6.0, 2.0
L2_RESIDUAL_WORDS, L2_RESIDUAL_SURFACE = 3.0, 2.0
L2_LENGTH = 5.0
L2_LEVEL = 0.05
# How freely a model may be better or worse in one benchmark than its ability says: what is put
# down to such a habit (a form of answer that it misses) does not make the prompts hard.
L2_HABIT = 1.0
# Prompts that many models answered say more, but not by as much as they have models.
CROWD_POWER = 0.5
STEPS = 200


class Observations(Struct, frozen=True):
    """Outcomes: in prompt `prompt`, model `model` of benchmark `benchmark` got `share`, 0 to 1.

    All are arrays of one length; the first three hold numbers from 0.
    """

    prompt: Any
    model: Any
    benchmark: Any
    share: Any

    def of(self, chosen: Any) -> Observations:
        """Give those of a mask of prompts, numbered anew."""
        import numpy as np

        kept = chosen[self.prompt]
        number = np.cumsum(chosen) - 1
        return Observations(
            number[self.prompt[kept]], self.model[kept], self.benchmark[kept], self.share[kept]
        )


def sigmoid(z: Any) -> Any:
    """Give the logistic curve."""
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(z, -40, 40)))


def penalty(columns: int, words: float, surface: float) -> Any:
    """Give a column's penalty for each column: the words' first, then the surface's."""
    import numpy as np

    found = np.full(columns, surface)
    found[:BUCKETS] = words
    return found


def difficulty(features: Any, seen: Observations, models: int) -> Any:
    """Give the weights of the ease of a prompt: a Rasch model with one level for each model.

    logit = level of the model + habit of the model in the benchmark + ease of the prompt.
    """
    import numpy as np

    rows, columns = features.shape
    counts = np.bincount(seen.prompt, minlength=rows)
    weight = (2 / np.maximum(counts, 2)[seen.prompt]) ** CROWD_POWER
    pairs = seen.model * (int(seen.benchmark.max(initial=0)) + 1) + seen.benchmark
    _, habit = np.unique(pairs, return_inverse=True)
    habits = int(habit.max(initial=-1)) + 1
    l2 = penalty(columns, L2_WORDS, L2_SURFACE)
    l2 = np.concatenate([l2, np.full(models, L2_LEVEL), np.full(habits, L2_HABIT)])
    first, second = columns, columns + models
    transposed = features.T.tocsr()

    def loss(t: Any) -> tuple[float, Any]:
        z = (features @ t[:first])[seen.prompt] + t[first:second][seen.model] + t[second:][habit]
        value, fault = _fault(z, seen.share, weight)
        slope = np.concatenate(
            [
                transposed @ np.bincount(seen.prompt, fault, rows),
                np.bincount(seen.model, fault, models),
                np.bincount(habit, fault, habits),
            ]
        )
        return value + 0.5 * float(l2 @ (t * t)), slope + l2 * t

    return _least(loss, second + habits)[:columns]


def residual(features: Any, ease: Any, share: Any) -> Any:
    """Give the weights of what one model finds easier than its level and the prompt's ease say.

    `ease` is added to the logit as it is.
    """
    import numpy as np

    l2 = np.r_[penalty(features.shape[1], L2_RESIDUAL_WORDS, L2_RESIDUAL_SURFACE), 0.0]
    transposed = features.T.tocsr()
    weight = np.ones(len(share))

    def loss(t: Any) -> tuple[float, Any]:
        value, fault = _fault(features @ t[:-1] + t[-1] + ease, share, weight)
        slope = np.r_[transposed @ fault, fault.sum()]
        return value + 0.5 * float(l2 @ (t * t)), slope + l2 * t

    return _least(loss, features.shape[1] + 1)[:-1]


def expected_length(features: Any, prompt: Any, model: Any, tokens: Any, models: int) -> Any:
    """Give (weights, level, each model's own part) of the natural log of an answer's tokens.

    Least squares on the log, which gives the median rather than the mean of a long tail.
    """
    import numpy as np

    rows, columns = features.shape
    target = np.log(np.maximum(tokens, 1.0))
    level = float(target.mean())
    l2 = np.concatenate([np.full(columns, L2_LENGTH), np.full(models, 1.0)])
    transposed = features.T.tocsr()

    def loss(t: Any) -> tuple[float, Any]:
        off = (features @ t[:columns])[prompt] + t[columns:][model] + level - target
        slope = np.concatenate(
            [transposed @ np.bincount(prompt, off, rows), np.bincount(model, off, models)]
        )
        return 0.5 * float(off @ off) + 0.5 * float(l2 @ (t * t)), slope + l2 * t

    found = _least(loss, columns + models)
    return found[:columns], level, found[columns:]


def _fault(z: Any, share: Any, weight: Any) -> tuple[float, Any]:
    """The logistic loss, and its slope by the logit."""
    import numpy as np

    value = float(weight @ (np.logaddexp(0, z) - share * z))
    return value, (sigmoid(z) - share) * weight


def _least(loss: Callable[[Any], tuple[float, Any]], size: int) -> Any:
    import numpy as np
    from scipy.optimize import minimize

    options = {"maxiter": STEPS}
    return minimize(loss, np.zeros(size), jac=True, method="L-BFGS-B", options=options).x
