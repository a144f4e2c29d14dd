"""Learns a router: two calibrated heads on one set of features, in one small ONNX file.

One head predicts whether the weaker model is right, the other whether the stronger one is. Their
difference ranks prompts by what the stronger model would gain, and a logistic curve fitted on held
out rows turns it into the probability that the weaker one will do. Needs the extra `train`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import MissingExtra, RouteError
from pointsman.router.classifier import Card
from pointsman.router.features import BUCKETS, SURFACE, VERSION, hashed, surface
from pointsman.router.rows import Row

__all__ = ["Trained", "train"]

# L2 on the hashed words (their values are at most 1) and on the standardised surface, which is
# scaled down so that both are punished alike. Chosen on dev from 0.3 to 80.
L2_WORDS = 1.0
L2_SURFACE = 0.1
SURFACE_SCALE = 0.1
FOLDS = 5
MIN_ROWS = 50
OPSET, IR_VERSION = 13, 7
RIGHT = 0.5


class Trained(Struct, frozen=True):
    """A router's file, and its probabilities on its own rows when they were held out."""

    model: bytes
    card: Card
    held_out: tuple[float, ...]


def train(
    rows: Sequence[Row],
    strong: str,
    weak: str,
    *,
    licence: str = "",
    seed: int = 0,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Trained:
    """Learn a router from rows that have both models' outcomes. The same rows give the same bytes.

    `progress` gets (steps done, steps in all).

    Raises:
        MissingExtra: numpy, scipy or onnx is not installed.
        RouteError: under 50 rows, or a model that is always right or always wrong.
    """
    try:
        import numpy as np
        import onnx  # noqa: F401  # needed at the end, missed at the start
        import scipy.sparse as sparse
    except ImportError as error:
        raise MissingExtra("training a router", "train") from error
    if len(rows) < MIN_ROWS:
        raise RouteError(f"{len(rows)} rows are too few to learn from; {MIN_ROWS} are the least")
    weak_right = np.array([row.models[weak].share >= RIGHT for row in rows], float)
    strong_right = np.array([row.models[strong].share >= RIGHT for row in rows], float)
    will_do = np.array([row.models[weak].share >= row.models[strong].share for row in rows], float)
    for name, labels in ((weak, weak_right), (strong, strong_right)):
        if labels.min() == labels.max():
            raise RouteError(f"'{name}' is alike on all rows: there is nothing to learn")
    words, plain = _matrix(rows, np, sparse)
    mean, spread = plain.mean(0), plain.std(0) + 1e-6
    scaled = (plain - mean) / spread * SURFACE_SCALE
    features = sparse.hstack([words, sparse.csr_matrix(scaled)]).tocsr()
    folds = _folds(rows, seed)
    gain = np.zeros(len(rows))
    for fold in range(FOLDS):
        progress(fold, FOLDS + 1)
        out = folds == fold
        if out.any() and not out.all():
            heads = _heads(features[~out], weak_right[~out], strong_right[~out])
            gain[out] = _gain(features[out], heads, np)
    curve = _fit(gain[:, None] / gain.std(), will_do, np.array([1e-3]))
    slope, offset = curve[0] / gain.std(), curve[1]
    held_out = _sigmoid(slope * gain + offset, np)
    heads = _heads(features, weak_right, strong_right)
    progress(FOLDS + 1, FOLDS + 1)
    digest = hashlib.sha256(b"".join(row.prompt.encode() + b"\0" for row in rows)).hexdigest()
    card = Card(
        features=VERSION,
        strong=strong,
        weak=weak,
        rows=len(rows),
        data_sha256=digest,
        licence=licence,
        quantiles=tuple(round(float(q), 6) for q in np.quantile(held_out, np.linspace(0, 1, 101))),
    )
    model = _export(heads, mean, spread, float(slope), float(offset), card)
    return Trained(model, card, tuple(map(float, held_out)))


def _matrix(rows: Sequence[Row], np: Any, sparse: Any) -> tuple[Any, Any]:
    indptr = [0]
    indices: list[int] = []
    values: list[float] = []
    plain: list[list[float]] = []
    for row in rows:
        buckets, counts = hashed(row.prompt)
        indices += buckets
        values += counts
        indptr.append(len(indices))
        plain.append(surface(row.prompt))
    words = sparse.csr_matrix((values, indices, indptr), shape=(len(rows), BUCKETS))
    return words, np.array(plain)


def _folds(rows: Sequence[Row], seed: int) -> Any:
    """Rows in folds by a hash of their prompt, so that equal prompts stay together."""
    import numpy as np

    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(f"{seed}|{row.prompt}".encode(), digest_size=4).digest(), "big"
            )
            % FOLDS
            for row in rows
        ]
    )


def _heads(features: Any, weak_right: Any, strong_right: Any) -> tuple[Any, Any]:
    import numpy as np

    l2 = np.r_[np.full(BUCKETS, L2_WORDS), np.full(len(SURFACE), L2_SURFACE)]
    return _fit(features, weak_right, l2), _fit(features, strong_right, l2)


def _fit(features: Any, labels: Any, l2: Any) -> Any:
    """Logistic regression by L-BFGS; gives the weights and, last, the offset."""
    import numpy as np
    from scipy.optimize import minimize

    def loss(theta: Any) -> tuple[float, Any]:
        z = features @ theta[:-1] + theta[-1]
        fault = _sigmoid(z, np) - labels
        value = np.sum(np.logaddexp(0, z) - labels * z) + 0.5 * np.sum(l2 * theta[:-1] ** 2)
        return value, np.r_[features.T @ fault + l2 * theta[:-1], fault.sum()]

    start = np.zeros(features.shape[1] + 1)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x


def _gain(features: Any, heads: tuple[Any, Any], np: Any) -> Any:
    weak, strong = (_sigmoid(features @ head[:-1] + head[-1], np) for head in heads)
    return weak - strong


def _sigmoid(z: Any, np: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-z))


def _export(
    heads: tuple[Any, Any], mean: Any, spread: Any, slope: float, offset: float, card: Card
) -> bytes:
    """Write the graph. The word table is int8 with one scale for each head."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.stack([head[:BUCKETS] for head in heads], axis=1)
    scale = np.abs(table).max(0) / 127 + 1e-12
    plain = np.stack([head[BUCKETS:-1] for head in heads], axis=1)
    # Standardising is linear, so it goes into the weights and the offset.
    weights = plain * (SURFACE_SCALE / spread)[:, None]
    bias = np.array([head[-1] for head in heads]) - mean @ weights
    constants = {
        "table": np.round(table / scale).astype(np.int8),
        "scale": scale.astype(np.float32),
        "weights": weights.astype(np.float32),
        "bias": bias.astype(np.float32),
        "signs": np.array([slope, -slope], np.float32),
        "offset": np.array([offset], np.float32),
    }
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Gather", ["table", "buckets"], ["quantised"], axis=0),
            node("Cast", ["quantised"], ["rows"], to=TensorProto.FLOAT),
            node("MatMul", ["values", "rows"], ["unscaled"]),
            node("Mul", ["unscaled", "scale"], ["from_words"]),
            node("MatMul", ["surface", "weights"], ["from_surface"]),
            node("Add", ["from_words", "from_surface"], ["both"]),
            node("Add", ["both", "bias"], ["logits"]),
            node("Sigmoid", ["logits"], ["right"]),
            node("Mul", ["right", "signs"], ["signed"]),
            # The axis is an input since opset 13; the default sums over all.
            node("ReduceSum", ["signed"], ["gain"], keepdims=0),
            node("Add", ["gain", "offset"], ["curve"]),
            node("Sigmoid", ["curve"], ["will_do"]),
            node("Concat", ["right", "will_do"], ["p"], axis=0),
        ],
        "router",
        [
            helper.make_tensor_value_info("buckets", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("values", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("surface", TensorProto.FLOAT, [len(SURFACE)]),
        ],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="pointsman"
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {"pointsman": msgspec.json.encode(card).decode()})
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
