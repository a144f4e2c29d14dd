"""Learns the table and the layers after it: Adam on n-gram bags, with the 4-bit rounding in the loop.

Pure functions of arrays. The same arrays and seed give the same network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from pointsman.distill.ngrams import Bags
from pointsman.distill.shrink import rounded, scales

__all__ = ["Network", "Plan", "fit", "matrix"]

BETA_1, BETA_2, EPSILON = 0.9, 0.99, 1e-8
# From here on the forward pass sees the table as it will be stored.
ROUNDED_FROM = 0.5


class Plan(Struct, frozen=True):
    """How to learn. `dropout` is the share of a text's n-grams left out at each sight of it,
    `smoothing` the share of probability spread over all labels."""

    width: int
    epochs: int = 20
    rate: float = 0.02
    batch_rows: int = 128
    dropout: float = 0.5
    smoothing: float = 0.1
    seed: int = 0


class Network(Struct, frozen=True):
    """Arrays of float32: `table` (buckets, width), `shift` (width,), `weights` (width, C), `bias` (C,)."""

    table: Any
    shift: Any
    weights: Any
    bias: Any

    def logits(self, features: Any) -> Any:
        """Give (rows, C), with the table as it will be stored."""
        import numpy as np

        summed = features @ rounded(self.table, scales(self.table))
        return np.tanh(summed * _lengths(features)[:, None] + self.shift) @ self.weights + self.bias


def matrix(found: Bags, buckets: int) -> Any:
    """Give the counts of buckets, a sparse float32 row for each text."""
    import numpy as np
    from scipy.sparse import csr_matrix

    ones = np.ones(len(found.buckets), np.float32)
    counts = csr_matrix(
        (ones, found.buckets.astype(np.int32), found.starts),
        shape=(len(found.starts) - 1, buckets),
    )
    counts.sum_duplicates()
    return counts


def fit(
    features: Any,
    targets: Any,
    row_weights: Any,
    plan: Plan,
    *,
    multi: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Network:
    """Learn a network from counts (rows, buckets) and targets (rows, C), probabilities 0 to 1."""
    import numpy as np

    rng = np.random.default_rng(plan.seed)
    rows, labels = targets.shape
    network = _start(features.shape[1], labels, plan.width, rng)
    targets = _smoothed(targets, plan.smoothing, multi)
    adam = _Adam([network.table, network.shift, network.weights, network.bias])
    steps = plan.epochs * -(-rows // plan.batch_rows)
    step = 0
    for epoch in range(plan.epochs):
        progress(epoch, plan.epochs)
        order = rng.permutation(rows)
        for begin in range(0, rows, plan.batch_rows):
            batch = order[begin : begin + plan.batch_rows]
            seen = _thinned(features[batch], plan.dropout, rng)
            table = network.table
            if epoch >= plan.epochs * ROUNDED_FROM:
                table = rounded(table, scales(table))
            slopes = _slopes(network, table, seen, targets[batch], row_weights[batch], multi)
            adam.step(slopes, plan.rate * (1 - step / steps))
            step += 1
    progress(plan.epochs, plan.epochs)
    return network


def _start(buckets: int, labels: int, width: int, rng: Any) -> Network:
    import numpy as np

    return Network(
        table=0.05 * rng.standard_normal((buckets, width), np.float32),
        shift=np.zeros(width, np.float32),
        weights=rng.standard_normal((width, labels), np.float32) / np.float32(width**0.5),
        bias=np.zeros(labels, np.float32),
    )


def _smoothed(targets: Any, share: float, multi: bool) -> Any:
    base = targets.mean(axis=0) if multi else 1 / targets.shape[1]
    return (targets * (1 - share) + share * base).astype("float32")


def _thinned(features: Any, dropout: float, rng: Any) -> Any:
    if dropout:
        features.data = features.data * (rng.random(len(features.data), "float32") > dropout)
    return features


def _lengths(features: Any) -> Any:
    """1 / sqrt(the number of n-grams), (rows,)."""
    import numpy as np

    counts = np.asarray(features.sum(axis=1), np.float32).ravel()
    return 1 / np.sqrt(np.maximum(counts, 1))


def _slopes(
    network: Network, table: Any, seen: Any, targets: Any, row_weights: Any, multi: bool
) -> list[Any]:
    import numpy as np
    from scipy.special import expit

    lengths = _lengths(seen)[:, None]
    hidden = np.tanh((seen @ table) * lengths + network.shift)
    logits = hidden @ network.weights + network.bias
    if multi:
        told = expit(logits)
    else:
        told = np.exp(logits - logits.max(axis=1, keepdims=True))
        told /= told.sum(axis=1, keepdims=True)
    fault = (told - targets) * (row_weights / len(targets))[:, None]
    inner = (fault @ network.weights.T) * (1 - hidden * hidden)
    return [
        seen.T @ (inner * lengths),
        inner.sum(axis=0),
        hidden.T @ fault,
        fault.sum(axis=0),
    ]


class _Adam:
    """Adam without decay; Source: Kingma and Ba, arXiv:1412.6980v9, algorithm 1."""

    def __init__(self, arrays: list[Any]) -> None:
        import numpy as np

        self._arrays = arrays
        self._first = [np.zeros_like(array) for array in arrays]
        self._second = [np.zeros_like(array) for array in arrays]
        self._steps = 0

    def step(self, slopes: list[Any], rate: float) -> None:
        import numpy as np

        self._steps += 1
        scale = rate * (1 - BETA_2**self._steps) ** 0.5 / (1 - BETA_1**self._steps)
        for array, slope, first, second in zip(
            self._arrays, slopes, self._first, self._second, strict=True
        ):
            first *= np.float32(BETA_1)
            first += np.float32(1 - BETA_1) * slope
            second *= np.float32(BETA_2)
            second += np.float32(1 - BETA_2) * slope * slope
            array -= np.float32(scale) * first / (np.sqrt(second) + np.float32(EPSILON))
