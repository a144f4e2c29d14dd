"""Learns a table of n-grams and the layers after it, touching only what a batch has.

Pure functions of arrays. The same arrays and seed give the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from pointsman.distill.ngrams import Bags, Scheme, bags
from pointsman.distill.product import product

__all__ = ["Network", "Plan", "fit", "logits", "matrix", "scales", "start"]

BETA_1, BETA_2, EPSILON = 0.9, 0.99, 1e-8
FIRST_SPREAD = 0.05
# Rows made into counts at a time: what lies between texts and counts takes many times their memory.
CHUNK_ROWS = 4096

# Given the table at the start of an epoch, what to add to it in the forward pass.
Residual = Callable[[Any], Any]


class Plan(Struct, frozen=True, kw_only=True):
    """How to learn. `dropout` is the share of a text's n-grams left out at each sight of it,
    `smoothing` the share of probability spread over all labels. The rate falls to 0 in a line."""

    epochs: int
    rate: float = 0.01
    batch_rows: int = 128
    dropout: float = 0.6
    smoothing: float = 0.1
    learn_table: bool = True
    seed: int = 0


class Network(Struct, frozen=True):
    """Arrays of float32: `table` (buckets, width), `shift` (width,), `weights` (width, C), `bias` (C,).

    A text's logits are relu(sum of its rows / sqrt(their number) + shift) x weights + bias.
    """

    table: Any
    shift: Any
    weights: Any
    bias: Any


def matrix(texts: Sequence[bytes], how: Scheme) -> Any:
    """Give the counts of buckets, a sparse float32 row for each text."""
    from scipy.sparse import csr_matrix, vstack

    if not len(texts):
        return csr_matrix((0, how.buckets), dtype="float32")
    parts = [
        _counts(bags(texts[begin : begin + CHUNK_ROWS], how), how.buckets)
        for begin in range(0, len(texts), CHUNK_ROWS)
    ]
    return vstack(parts, format="csr") if len(parts) > 1 else parts[0]


def _counts(found: Bags, buckets: int) -> Any:
    import numpy as np
    from scipy.sparse import csr_matrix

    ones = np.ones(len(found.buckets), np.float32)
    counts = csr_matrix(
        (ones, found.buckets.astype(np.int32), found.starts.astype(np.int32)),
        shape=(len(found.starts) - 1, buckets),
    )
    counts.sum_duplicates()
    return counts


def start(buckets: int, labels: int, width: int, seed: int) -> Network:
    """Give a network that has learned nothing."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return Network(
        table=rng.standard_normal((buckets, width), np.float32) * np.float32(FIRST_SPREAD),
        shift=np.zeros(width, np.float32),
        weights=rng.standard_normal((width, labels), np.float32) / np.float32(width**0.5),
        bias=np.zeros(labels, np.float32),
    )


def logits(network: Network, features: Any, scales: Any) -> Any:
    """Give (rows, C) for counts and their texts' `scales`."""
    import numpy as np

    inner = (features @ network.table) * scales + network.shift
    return product(np.maximum(inner, 0), network.weights) + network.bias


def fit(
    network: Network,
    features: Any,
    scales: Any,
    targets: Any,
    row_weights: Any,
    plan: Plan,
    *,
    multi: bool,
    residual: Residual | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Learn, in place, from counts (rows, buckets), their texts' `scales` and targets (rows, C),
    probabilities 0 to 1."""
    import numpy as np

    rng = np.random.default_rng(plan.seed)
    rows = len(targets)
    smooth = _smoothed(targets, plan.smoothing, multi)
    table = _RowSteps(network.table) if plan.learn_table else None
    layers = [_Adam(each) for each in (network.shift, network.weights, network.bias)]
    steps = plan.epochs * -(-rows // plan.batch_rows)
    step = 0
    for epoch in range(plan.epochs):
        progress(epoch, plan.epochs)
        off = residual(network.table) if residual else None
        order = rng.permutation(rows)
        for begin in range(0, rows, plan.batch_rows):
            batch = order[begin : begin + plan.batch_rows]
            lengths = scales[batch] / np.float32(1 - plan.dropout)
            seen, touched = _thinned(features[batch], plan.dropout, rng)
            part = network.table[touched]
            used = part if off is None else part + off[touched]
            slopes = _slopes(network, used, seen, lengths, smooth[batch], row_weights[batch], multi)
            rate = plan.rate * (1 - step / steps)
            step += 1
            if table is not None:
                table.step(touched, part, slopes[0](), rate, step)
            for layer, slope in zip(layers, slopes[1:], strict=True):
                layer.step(slope, rate, step)
    progress(plan.epochs, plan.epochs)


def _smoothed(targets: Any, share: float, multi: bool) -> Any:
    base = targets.mean(axis=0) if multi else 1 / targets.shape[1]
    return (targets * (1 - share) + share * base).astype("float32")


def _thinned(batch: Any, dropout: float, rng: Any) -> tuple[Any, Any]:
    """The batch with some n-grams left out, over only the buckets that it has, and which those are."""
    import numpy as np
    from scipy.sparse import csr_matrix

    if dropout:
        batch.data = batch.data * (rng.random(len(batch.data), np.float32) > dropout)
        batch.eliminate_zeros()
    touched, places = np.unique(batch.indices, return_inverse=True)
    shape = (batch.shape[0], len(touched))
    return csr_matrix((batch.data, places.astype(np.int32), batch.indptr), shape=shape), touched


def scales(features: Any) -> Any:
    """Give 1 / sqrt(the number of n-grams) of texts, (rows, 1), from the counts of all their buckets."""
    import numpy as np

    counts = np.asarray(features.sum(axis=1), np.float32)
    return 1 / np.sqrt(np.maximum(counts, 1))


def _slopes(
    network: Network,
    table: Any,
    seen: Any,
    lengths: Any,
    targets: Any,
    row_weights: Any,
    multi: bool,
) -> list[Any]:
    """The loss's slopes by table (what gives it, since it may not be needed), shift, weights, bias."""
    import numpy as np
    from scipy.special import expit

    inner = (seen @ table) * lengths + network.shift
    hidden = np.maximum(inner, 0)
    told = product(hidden, network.weights) + network.bias
    if multi:
        told = expit(told)
    else:
        told = np.exp(told - told.max(axis=1, keepdims=True))
        told /= told.sum(axis=1, keepdims=True)
    fault = (told - targets) * (row_weights / np.float32(len(targets)))[:, None]
    back = product(fault, network.weights.T) * (inner > 0)
    return [
        lambda: seen.T @ (back * lengths),
        back.sum(axis=0),
        product(hidden.T, fault),
        fault.sum(axis=0),
    ]


class _Adam:
    """Adam; Source: Kingma and Ba, arXiv:1412.6980v9, algorithm 1."""

    def __init__(self, array: Any) -> None:
        import numpy as np

        self._array = array
        self._first = np.zeros_like(array)
        self._second = np.zeros_like(array)

    def step(self, slope: Any, rate: float, step: int) -> None:
        import numpy as np

        self._first += np.float32(1 - BETA_1) * (slope - self._first)
        self._second += np.float32(1 - BETA_2) * (slope * slope - self._second)
        self._array -= _scale(rate, step) * self._first / (np.sqrt(self._second) + EPSILON)


class _RowSteps:
    """Steps of the rows of a batch, each by one second moment of all its numbers, without a first.

    What most batches lack has no use for momentum, and this takes a third of Adam's time.
    """

    def __init__(self, array: Any) -> None:
        import numpy as np

        self._array = array
        self._second = np.zeros(len(array), np.float32)

    def step(self, rows: Any, values: Any, slope: Any, rate: float, step: int) -> None:
        import numpy as np

        second = self._second[rows]
        square = np.einsum("ij,ij->i", slope, slope) / np.float32(slope.shape[1])
        second += np.float32(1 - BETA_2) * (square - second)
        self._second[rows] = second
        size = np.float32(rate * (1 - BETA_2**step) ** 0.5) / (np.sqrt(second) + EPSILON)
        self._array[rows] = values - slope * size[:, None]


def _scale(rate: float, step: int) -> Any:
    import numpy as np

    return np.float32(rate * (1 - BETA_2**step) ** 0.5 / (1 - BETA_1**step))
