"""Learns a router: two calibrated heads on one set of features, in one small ONNX file.

One head predicts whether the weaker model is right, the other whether the stronger one is; each in
two forms, for prompts that leave room for working and for those that want the answer at once (a
model that may think is another model). Their difference ranks prompts by what the stronger model
would gain, and a logistic curve fitted on held-out rows turns it into the probability that the
weaker one will do. Needs the extra `train`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.classifier import Card
from pointsman.router.export import Heads, export
from pointsman.router.features import VERSION, look
from pointsman.router.matrix import BUCKETS, Scaling, word_matrix
from pointsman.router.rows import Row
from pointsman.router.standins import stand_ins

__all__ = ["Trained", "train"]

# Chosen by cross-validation on the training rows; docs/routing.md has the figures.
L2_WORDS, L2_SURFACE, L2_OFFSET = 3.0, 2.0, 1e-3
SURFACE_SCALE = 0.1
# As much as the pair's own. Against a tenth of that it costs 0.003 APGR on the pair's own prompts,
# cross-validated, and gains up to 0.1 on other pairs' benchmarks.
STAND_IN_WEIGHT = 1.0
# How far the stronger model's head is believed. On benchmarks left out the weaker one's failures
# carry over better than the stronger one's: 1 is best in domain and below chance out of it.
STRONG_TRUST = 0.9
FOLDS = 5
MIN_ROWS = 50
# A way of asking with fewer rows than this borrows the heads of all rows.
MIN_SIDE_ROWS = 200
# The curve never falls, even where held-out rows show nothing.
MIN_SLOPE = 0.05


class Trained(Struct, frozen=True):
    """A router's file, and its `p_weak` on the pair's own rows when they were held out."""

    model: bytes
    card: Card
    held_out: tuple[float, ...]


class _Table(Struct, frozen=True):
    """All that is learned from, as arrays with an entry for each row; the pair's own rows first."""

    features: Any
    at_once: Any
    weak: Any
    strong: Any
    weight: Any

    def take(self, mask: Any) -> _Table:
        return _Table(*(each[mask] for each in msgspec.structs.astuple(self)))


def train(
    rows: Sequence[Row],
    strong: str,
    weak: str,
    *,
    others: Sequence[Row] = (),
    stand_in_weight: float = STAND_IN_WEIGHT,
    licence: str = "",
    created: str = "",
    seed: int = 0,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Trained:
    """Learn a router from rows that have both models' outcomes. The same rows give the same bytes.

    `others` are rows without the pair's outcomes; those with four models or more are learned from
    at `stand_in_weight`, 0 to 1 (see `standins`). `licence` and `created` go into the card as they
    are. `progress` gets (steps done, steps in all).

    Raises:
        MissingExtra: numpy, scipy or onnx is not installed.
        RouteError: under 50 rows, a weight out of range, or a pair of which one is never worse than
            the other.
    """
    _require_extra()
    will_do = _will_do(rows, strong, weak)
    _check(will_do, strong, weak, stand_in_weight)
    substitutes = stand_ins(others, strong, weak) if stand_in_weight > 0 else []
    every = [*rows, *(each.row for each in substitutes)]
    low = [row.models[weak].share for row in rows] + [each.weak for each in substitutes]
    high = [row.models[strong].share for row in rows] + [each.strong for each in substitutes]
    weights = [1.0] * len(rows) + [stand_in_weight] * len(substitutes)
    table, scaling = _table(every, low, high, weights)
    gain = _held_out_gain(table, _folds(every, seed), progress)
    slope, offset = _curve(gain[: len(rows)], will_do)
    p_weak = _sigmoid(slope * gain + offset)
    card = Card(
        features=VERSION,
        strong=strong,
        weak=weak,
        rows=len(rows),
        stand_in_rows=len(substitutes),
        data_sha256=_digest(every),
        licence=licence,
        created=created,
        quantiles=_quantiles(p_weak, every, table.at_once),
        surface_means=tuple(round(float(value), 6) for value in scaling.mean),
    )
    heads = _export_form(_sides(table), slope, offset)
    progress(FOLDS + 1, FOLDS + 1)
    return Trained(export(heads, scaling, card), card, tuple(map(float, p_weak[: len(rows)])))


def _require_extra() -> None:
    try:
        import numpy  # noqa: F401
        import onnx  # noqa: F401  # needed at the end, missed at the start
        import scipy  # noqa: F401
    except ImportError as error:
        raise MissingExtra("training a router", "train") from error


def _will_do(rows: Sequence[Row], strong: str, weak: str) -> Any:
    import numpy as np

    return np.array([row.models[weak].share >= row.models[strong].share for row in rows], float)


def _check(will_do: Any, strong: str, weak: str, stand_in_weight: float) -> None:
    if not 0 <= stand_in_weight <= 1:
        raise RouteError("the weight of stand-ins is a number from 0 to 1")
    if len(will_do) < MIN_ROWS:
        raise RouteError(f"{len(will_do)} rows are too few to learn from; {MIN_ROWS} are the least")
    if will_do.min() == will_do.max():
        better = strong if will_do[0] == 0 else weak
        raise RouteError(f"'{better}' is as good or better on all rows: there is nothing to learn")


def _table(
    rows: Sequence[Row], weak: Sequence[float], strong: Sequence[float], weights: Sequence[float]
) -> tuple[_Table, Scaling]:
    import numpy as np

    sights = [look(row.prompt) for row in rows]
    weight = np.array(weights)
    scaling = Scaling.of(sights, weight)
    at_once = np.array([sight.at_once for sight in sights])
    features = _features(sights, scaling)
    return _Table(features, at_once, np.array(weak), np.array(strong), weight), scaling


def _features(sights: Sequence[Any], scaling: Scaling) -> Any:
    import scipy.sparse as sparse

    surface = sparse.csr_matrix(scaling.apply(sights) * SURFACE_SCALE)
    return sparse.hstack([word_matrix(sights), surface]).tocsr()


def _held_out_gain(table: _Table, folds: Any, progress: Callable[[int, int | None], None]) -> Any:
    import numpy as np

    gain = np.zeros(len(folds))
    for fold in range(FOLDS):
        progress(fold, FOLDS + 1)
        out = folds == fold
        if out.any() and not out.all():
            gain[out] = _gain(table.take(out), _sides(table.take(~out)))
    return gain


def _sides(table: _Table) -> list[tuple[Any, Any]]:
    """The (weak, strong) heads for each way of asking."""
    import numpy as np

    found = []
    for side in (0, 1):
        own = table.at_once == side
        part = table.take(own) if own.sum() >= MIN_SIDE_ROWS else table
        l2 = np.full(part.features.shape[1], L2_SURFACE)
        l2[:BUCKETS] = L2_WORDS
        found.append(
            (
                _fit(part.features, part.weak, l2, part.weight),
                _fit(part.features, part.strong, l2, part.weight),
            )
        )
    return found


def _gain(table: _Table, sides: Sequence[tuple[Any, Any]]) -> Any:
    import numpy as np

    gain = np.zeros(len(table.weight))
    for side, (weak, strong) in enumerate(sides):
        own = table.at_once == side
        part = table.features[own]
        gain[own] = _sigmoid(part @ weak[:-1] + weak[-1]) - STRONG_TRUST * _sigmoid(
            part @ strong[:-1] + strong[-1]
        )
    return gain


def _fit(features: Any, labels: Any, l2: Any, weight: Any) -> Any:
    """Logistic regression by L-BFGS; gives the weights and, last, the offset."""
    import numpy as np
    from scipy.optimize import minimize

    penalty = np.r_[l2, L2_OFFSET]
    transposed = features.T.tocsr()

    def loss(theta: Any) -> tuple[float, Any]:
        z = features @ theta[:-1] + theta[-1]
        fault = (_sigmoid(z) - labels) * weight
        value = np.sum(weight * (np.logaddexp(0, z) - labels * z))
        slope = np.r_[transposed @ fault, fault.sum()] + penalty * theta
        return value + 0.5 * np.sum(penalty * theta**2), slope

    start = np.zeros(features.shape[1] + 1)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x


def _curve(gain: Any, will_do: Any) -> tuple[float, float]:
    """Platt's curve from gain to the probability that the weaker model will do."""
    import numpy as np
    from scipy.sparse import csr_matrix

    spread = max(float(gain.std()), 1e-6)
    fitted = _fit(
        csr_matrix(gain[:, None] / spread), will_do, np.array([L2_OFFSET]), np.ones(len(gain))
    )
    return max(float(fitted[0]), MIN_SLOPE) / spread, float(fitted[1])


def _sigmoid(z: Any) -> Any:
    from scipy.special import expit

    return expit(z)


def _folds(rows: Sequence[Row], seed: int) -> Any:
    """Rows in folds by a hash of their prompt, so that equal prompts stay together."""
    import numpy as np

    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(
                    f"{seed}|{row.prompt}".encode("utf-8", "surrogatepass"), digest_size=4
                ).digest(),
                "big",
            )
            % FOLDS
            for row in rows
        ]
    )


def _digest(rows: Sequence[Row]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(msgspec.json.encode([row.prompt, sorted(row.models)]))
    return found.hexdigest()


def _quantiles(
    p_weak: Any, rows: Sequence[Row], at_once: Any
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """101 quantiles for each way of asking; a way with too few rows has those of all.

    Every benchmark counts alike, so that none sets the dial by its size.
    """
    import numpy as np

    found = []
    for side in (0, 1):
        own = at_once == side
        if own.sum() < MIN_SIDE_ROWS:
            own = np.ones(len(rows), bool)
        names = [row.benchmark for row, mine in zip(rows, own, strict=True) if mine]
        sizes = {name: names.count(name) for name in set(names)}
        weight = np.array([1 / sizes[name] for name in names])
        order = np.argsort(p_weak[own], kind="stable")
        place = np.cumsum(weight[order])
        place = (place - weight[order] / 2) / place[-1]
        values = np.interp(np.linspace(0, 1, 101), place, p_weak[own][order])
        found.append(tuple(round(float(value), 6) for value in values))
    return found[0], found[1]


def _export_form(sides: Sequence[tuple[Any, Any]], slope: float, offset: float) -> Heads:
    import numpy as np

    stacked = np.stack([np.stack(pair, axis=1) for pair in sides])
    return Heads(
        table=stacked[:, :BUCKETS],
        weights=stacked[:, BUCKETS:-1] * SURFACE_SCALE,
        bias=stacked[:, -1],
        signs=np.array([slope, -slope * STRONG_TRUST]),
        offset=offset,
    )
