"""Writes a trained router as one ONNX graph of standard operators, its card within.

Inputs: `buckets` (n,) int64, each once, as `matrix.bucketed` makes them; `surface` (22,) float32 and
`at_once` () int64, as `features.look` does. Output: `p` (3,) float32: the weaker model is right, the
stronger one is right, the weaker one will do. Finding the distinct buckets is left outside: the
operator for it takes longer than all the rest.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pointsman.router.classifier import Card
from pointsman.router.features import SURFACE
from pointsman.router.matrix import BUCKETS, CLIP, Scaling

__all__ = ["Heads", "export"]

# The lowest that the operators allow, so that old runtimes can run it.
OPSET, IR_VERSION = 13, 7


class Heads(Struct, frozen=True):
    """Two heads for each way of asking (0 with working, 1 at once), as arrays of numpy.

    `table` is (2, BUCKETS, 2), `weights` (2, 22, 2) on the standardised surface, `bias` (2, 2);
    the last axis is (weak, strong). `signs` (2,) and `offset` turn the two probabilities of being
    right into the logit of `the weaker one will do`.
    """

    table: Any
    weights: Any
    bias: Any
    signs: Any
    offset: float


def export(heads: Heads, scaling: Scaling, card: Card) -> bytes:
    """Give the bytes of the ONNX file. The word table is int8 with one scale for each head."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    scale = np.abs(heads.table).max(1) / 127 + 1e-12
    table = np.round(heads.table / scale[:, None, :]).astype(np.int8)
    constants = {
        "table": table.reshape(2 * BUCKETS, 2),
        "scales": scale.astype(np.float32),
        "mean": scaling.mean.astype(np.float32),
        "inverse": (1 / scaling.spread).astype(np.float32),
        "low": np.array(-CLIP, np.float32),
        "high": np.array(CLIP, np.float32),
        "weights": heads.weights.astype(np.float32),
        "bias": heads.bias.astype(np.float32),
        "signs": heads.signs.astype(np.float32),
        "offset": np.array(heads.offset, np.float32),
        "size": np.array(BUCKETS, np.int64),
        "one": np.array([1], np.int64),
        "first_axis": np.array([0], np.int64),
    }
    graph = helper.make_graph(
        [*_word_nodes(helper, TensorProto), *_surface_nodes(helper), *_head_nodes(helper)],
        "router",
        [
            helper.make_tensor_value_info("buckets", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("surface", TensorProto.FLOAT, [len(SURFACE)]),
            helper.make_tensor_value_info("at_once", TensorProto.INT64, []),
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


def _word_nodes(helper: Any, kinds: Any) -> list[Any]:
    node = helper.make_node
    return [
        node("Mul", ["at_once", "size"], ["half"]),
        node("Add", ["buckets", "half"], ["places"]),
        node("Gather", ["table", "places"], ["quantised"], axis=0),
        node("Cast", ["quantised"], ["rows"], to=kinds.FLOAT),
        node("ReduceSum", ["rows", "first_axis"], ["summed"], keepdims=0),
        node("Shape", ["buckets"], ["count"]),
        node("Cast", ["count"], ["counted"], to=kinds.FLOAT),
        node("Sqrt", ["counted"], ["length"]),
        node("Div", ["summed", "length"], ["unscaled"]),
        node("Gather", ["scales", "at_once"], ["scale"], axis=0),
        node("Mul", ["unscaled", "scale"], ["from_words"]),
    ]


def _surface_nodes(helper: Any) -> list[Any]:
    node = helper.make_node
    return [
        node("Sub", ["surface", "mean"], ["centred"]),
        node("Mul", ["centred", "inverse"], ["standardised"]),
        node("Clip", ["standardised", "low", "high"], ["clipped"]),
        node("Gather", ["weights", "at_once"], ["chosen"], axis=0),
        node("MatMul", ["clipped", "chosen"], ["from_surface"]),
    ]


def _head_nodes(helper: Any) -> list[Any]:
    node = helper.make_node
    return [
        node("Gather", ["bias", "at_once"], ["level"], axis=0),
        node("Add", ["from_words", "from_surface"], ["both"]),
        node("Add", ["both", "level"], ["logits"]),
        node("Sigmoid", ["logits"], ["right"]),
        node("Mul", ["right", "signs"], ["signed"]),
        # The axis is an input since opset 13; the default sums over all.
        node("ReduceSum", ["signed"], ["gain"], keepdims=0),
        node("Add", ["gain", "offset"], ["curve"]),
        node("Sigmoid", ["curve"], ["scalar"]),
        node("Reshape", ["scalar", "one"], ["will_do"]),
        node("Concat", ["right", "will_do"], ["p"], axis=0),
    ]
