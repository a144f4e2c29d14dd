"""Learns a router from recorded outcomes of any number of models, into one small ONNX file.

How easy a prompt is, is learned from all models; what two of them (the pair) find easier than that,
from their own outcomes. Each model's ability is then fitted on what these heads say of prompts that
were held out, so that its probabilities are calibrated. Needs the extra `train`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.abilities_fit import abilities_of
from pointsman.router.card import Card, Curve
from pointsman.router.export import Heads, export
from pointsman.router.features import VERSION, look
from pointsman.router.heads import Observations, difficulty, expected_length, residual, sigmoid
from pointsman.router.matrix import BUCKETS, Scaling, word_matrix
from pointsman.router.rows import Row
from pointsman.router.thetas import fit_thetas, logits

__all__ = ["Trained", "train"]

SURFACE_SCALE = 0.1
FOLDS = 5
MIN_ROWS = 50
# The curve never falls, even where held-out rows show nothing.
MIN_SLOPE = 0.05
# Without recorded lengths an answer is taken for this long.
ANSWER_TOKENS = 300.0
# Pairs of outcomes from which the curve for any pair is fitted, drawn with the seed.
CURVE_PAIRS = 60_000


class Trained(Struct, frozen=True):
    """A router's file, and its `p_weak` on the pair's own rows when they were held out."""

    model: bytes
    card: Card
    held_out: tuple[float, ...]


class _Data(Struct, frozen=True):
    features: Any
    seen: Observations
    shares: Any
    """(rows, models), NaN where there is no outcome."""
    names: list[str]
    strong: int
    weak: int

    def take(self, chosen: Any) -> _Data:
        return _Data(
            self.features[chosen], self.seen.of(chosen), self.shares[chosen], self.names,
            self.strong, self.weak,
        )  # fmt: skip

    def both(self) -> Any:
        import numpy as np

        return ~np.isnan(self.shares[:, self.strong]) & ~np.isnan(self.shares[:, self.weak])


def train(
    rows: Sequence[Row],
    strong: str | None = None,
    weak: str | None = None,
    *,
    licence: str = "",
    created: str = "",
    seed: int = 0,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Trained:
    """Learn a router from rows of outcomes. The same rows give the same bytes.

    `strong` and `weak` are the pair whose difference is learned by itself; without them it is the
    two models with the most rows in common, the better one as the strong. `licence` and `created`
    go into the card as they are. `progress` gets (steps done, steps in all).

    Raises:
        MissingExtra: numpy, scipy or onnx is not installed.
        RouteError: under 50 rows with both of the pair, or a pair of which one is never worse than
            the other.
    """
    _require_extra()
    import numpy as np

    data, scaling = _data(rows, strong, weak)
    _check(data)
    loadings = np.zeros((len(rows), 4))
    folds = _folds(rows, seed)
    for fold in range(FOLDS):
        progress(fold, FOLDS + 2)
        out = folds == fold
        if out.any() and not out.all():
            loadings[out] = _loadings(data.features[out], _heads(data.take(~out)))
    progress(FOLDS, FOLDS + 2)
    heads = _heads(data)
    thetas = fit_thetas(loadings, data.seen, len(data.names), (data.weak, data.strong))
    chances = sigmoid(np.stack([logits(loadings, theta) for theta in thetas], axis=1))
    table = _table(data, rows, heads)
    own = data.both()
    gain = chances[:, data.strong] - chances[:, data.weak]
    will_do = (data.shares[:, data.weak] >= data.shares[:, data.strong])[own]
    curve = _curve(gain[own], will_do.astype(float))
    p_weak = sigmoid(curve.offset - curve.slope * gain)
    card = Card(
        features=VERSION,
        strong=data.names[data.strong],
        weak=data.names[data.weak],
        rows=int(own.sum()),
        other_rows=int((~own).sum()),
        data_sha256=_digest(rows),
        licence=licence,
        created=created,
        curve=curve,
        any_curve=_any_curve(data, chances, seed),
        quantiles=_quantiles(p_weak, rows),
        surface_means=tuple(round(float(value), 6) for value in scaling.mean),
        known=table.known,
        abilities=abilities_of(data.names, thetas, table.verbosity, loadings, created),
    )
    progress(FOLDS + 2, FOLDS + 2)
    return Trained(export(table.heads, scaling, card), card, tuple(map(float, p_weak[own])))


def _require_extra() -> None:
    try:
        import numpy  # noqa: F401
        import onnx  # noqa: F401  # needed at the end, missed at the start
        import scipy  # noqa: F401
    except ImportError as error:
        raise MissingExtra("training a router", "train") from error


def _data(rows: Sequence[Row], strong: str | None, weak: str | None) -> tuple[_Data, Scaling]:
    import numpy as np
    import scipy.sparse as sparse

    names = sorted({name for row in rows for name in row.models})
    number = {name: place for place, name in enumerate(names)}
    kinds = {name: place for place, name in enumerate(sorted({row.benchmark for row in rows}))}
    found = [
        (place, number[name], kinds[row.benchmark], outcome.share)
        for place, row in enumerate(rows)
        for name, outcome in row.models.items()
    ]
    prompt, model, benchmark, share = (
        (np.array(each) for each in zip(*found, strict=True))
        if (found)
        else (np.zeros(0, int),) * 4
    )
    shares = np.full((len(rows), max(len(names), 1)), np.nan)
    shares[prompt, model] = share
    sights = [look(row.prompt) for row in rows]
    scaling = Scaling.of(sights, np.ones(len(rows)))
    surface = sparse.csr_matrix(scaling.apply(sights) * SURFACE_SCALE)
    features = sparse.hstack([word_matrix(sights), surface]).tocsr()
    seen = Observations(prompt, model, benchmark, share)
    first, second = _pair(shares, names, strong, weak)
    return _Data(features, seen, shares, names, first, second), scaling


def _pair(shares: Any, names: list[str], strong: str | None, weak: str | None) -> tuple[int, int]:
    """The numbers of the strong and of the weak model."""
    import numpy as np

    if strong is not None and weak is not None:
        for name in (strong, weak):
            if name not in names:
                raise RouteError(f"no row has an outcome of '{name}'")
        return names.index(strong), names.index(weak)
    known = (~np.isnan(shares)).astype(float)
    common = np.triu(known.T @ known, 1)
    if not common.any():
        raise RouteError("no row has the outcomes of two models: there is nothing to compare")
    first, second = divmod(int(common.argmax()), len(names))
    both = known[:, first] * known[:, second] > 0
    better = shares[both, first].mean() >= shares[both, second].mean()
    return (first, second) if better else (second, first)


def _check(data: _Data) -> None:
    own = data.both()
    if own.sum() < MIN_ROWS:
        raise RouteError(f"{own.sum()} rows are too few to learn from; {MIN_ROWS} are the least")
    will_do = (data.shares[:, data.weak] >= data.shares[:, data.strong])[own]
    if will_do.min() == will_do.max():
        better = data.names[data.weak if will_do[0] else data.strong]
        raise RouteError(f"'{better}' is as good or better on all rows: there is nothing to learn")


def _heads(data: _Data) -> Any:
    """Weights (columns, 3): the prompt's ease, then what sets the weak and the strong apart."""
    import numpy as np

    ease = difficulty(data.features, data.seen, len(data.names))
    own = data.both()
    part = data.features[own]
    level = part @ ease
    found = [ease]
    for model in (data.weak, data.strong):
        found.append(residual(part, level, data.shares[own, model]))
    return np.stack(found, axis=1)


def _loadings(features: Any, heads: Any) -> Any:
    import numpy as np

    said = features @ heads
    return np.column_stack([np.ones(len(said)), said])


class _Table(Struct, frozen=True):
    """All heads in the form that is exported, and what is known of lengths and of familiar words."""

    heads: Heads
    known: tuple[float, float]
    verbosity: dict[str, float]


def _table(data: _Data, rows: Sequence[Row], heads: Any) -> _Table:
    import numpy as np

    words = data.features[:, :BUCKETS]
    common = np.log1p(np.asarray((words > 0).sum(0)).ravel())
    present = words.copy()
    present.data[:] = 1.0
    known = (present @ common) / np.maximum(np.asarray(present.sum(1)).ravel(), 1)
    length = np.zeros(data.features.shape[1])
    level = float(np.log(ANSWER_TOKENS))
    verbosity: dict[str, float] = {}
    found = [
        (place, data.names.index(name), outcome.ot)
        for place, row in enumerate(rows)
        for name, outcome in row.models.items()
        if outcome.ot is not None
    ]
    if len(found) >= MIN_ROWS:
        prompt, model, tokens = (np.array(each) for each in zip(*found, strict=True))
        length, level, own = expected_length(data.features, prompt, model, tokens, len(data.names))
        spoken = set(model.tolist())
        verbosity = {data.names[m]: round(float(np.exp(own[m])), 3) for m in sorted(spoken)}
    every = np.column_stack([heads, length])
    return _Table(
        Heads(
            table=np.column_stack([every[:BUCKETS], common]),
            weights=np.column_stack(
                [every[BUCKETS:] * SURFACE_SCALE, np.zeros(len(every) - BUCKETS)]
            ),
            bias=np.array([0.0, 0.0, 0.0, level, 0.0]),
        ),
        (
            round(float(np.quantile(known, 0.005)) - 0.5, 4),
            round(float(np.quantile(known, 0.05)), 4),
        ),
        verbosity,
    )


def _curve(gain: Any, will_do: Any) -> Curve:
    """Platt's curve from the gain to the probability that the weaker model will do."""
    import numpy as np
    from scipy.optimize import minimize

    def loss(t: Any) -> tuple[float, Any]:
        z = t[0] - t[1] * gain
        fault = sigmoid(z) - will_do
        value = float(np.sum(np.logaddexp(0, z) - will_do * z)) + 5e-4 * float(t @ t)
        return value, np.array([fault.sum(), -(fault * gain).sum()]) + 1e-3 * t

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B").x
    return Curve(round(max(float(found[1]), MIN_SLOPE), 5), round(float(found[0]), 5))


def _any_curve(data: _Data, chances: Any, seed: int) -> Curve:
    """The curve for two models of any name, from pairs of outcomes on the same prompts."""
    import numpy as np

    generator = np.random.default_rng(seed)
    seen = data.seen
    starts = np.searchsorted(seen.prompt, np.arange(len(chances)))
    ends = np.append(starts[1:], len(seen.prompt))
    wide = np.flatnonzero(ends - starts >= 2)
    rows = generator.choice(wide, CURVE_PAIRS)
    span = (ends - starts)[rows]
    first = (generator.random(CURVE_PAIRS) * span).astype(int)
    second = (first + 1 + (generator.random(CURVE_PAIRS) * (span - 1)).astype(int)) % span
    one, two = seen.model[starts[rows] + first], seen.model[starts[rows] + second]
    level = np.nanmean(chances, axis=0)
    stronger = level[one] >= level[two]
    strong, weak = np.where(stronger, one, two), np.where(stronger, two, one)
    gain = chances[rows, strong] - chances[rows, weak]
    will_do = data.shares[rows, weak] >= data.shares[rows, strong]
    return _curve(gain, will_do.astype(float))


def _folds(rows: Sequence[Row], seed: int) -> Any:
    """By the prompt's own bytes, so that equal prompts never lie on both sides."""
    import numpy as np

    def fold(row: Row) -> int:
        key = f"{seed}\n{row.prompt}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(key).digest()[0] % FOLDS

    return np.array([fold(row) for row in rows])


def _digest(rows: Sequence[Row]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(msgspec.json.encode([row.prompt, sorted(row.models)]))
    return found.hexdigest()


def _quantiles(p_weak: Any, rows: Sequence[Row]) -> tuple[float, ...]:
    """101 quantiles. Every benchmark counts alike, so that none sets the dial by its size."""
    import numpy as np

    names = [row.benchmark for row in rows]
    sizes = {name: names.count(name) for name in set(names)}
    weight = np.array([1 / sizes[name] for name in names])
    order = np.argsort(p_weak, kind="stable")
    place = np.cumsum(weight[order])
    place = (place - weight[order] / 2) / place[-1]
    values = np.interp(np.linspace(0, 1, 101), place, p_weak[order])
    return tuple(round(float(value), 6) for value in values)
