"""Writes a trained router as one ONNX graph of standard operators, its card within.

Inputs: `buckets` (n,) int64, each once, as `matrix.bucketed` makes them; `surface` (23,) float32, as
`features.look` does. Output: `heads` (5,) float32: the prompt's ease, what the weak and the strong of
the pair find easier than that, the natural log of the answer's tokens, and the sum of how common its
words are, over √n. Finding the distinct buckets is left outside: the operator for it takes longer
than all the rest.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from pointsman.router.card import Card
from pointsman.router.features import SURFACE
from pointsman.router.matrix import CLIP, Scaling

__all__ = ["HEADS", "Heads", "export"]

# The lowest that the operators allow, so that old runtimes can run it.
OPSET, IR_VERSION = 13, 7
HEADS = 5


class Heads(Struct, frozen=True):
    """The heads, as arrays of numpy: `table` (BUCKETS, 5) by words, `weights` (23, 5) on the
    standardised surface, `bias` (5,).
    """

    table: Any
    weights: Any
    bias: Any


def export(heads: Heads, scaling: Scaling, card: Card) -> bytes:
    """Give the bytes of the ONNX file. The word table is int8 with one scale for each head."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    scale = np.abs(heads.table).max(0) / 127 + 1e-12
    constants = {
        "table": np.round(heads.table / scale).astype(np.int8),
        "scale": scale.astype(np.float32),
        "mean": scaling.mean.astype(np.float32),
        "inverse": (1 / scaling.spread).astype(np.float32),
        "low": np.array(-CLIP, np.float32),
        "high": np.array(CLIP, np.float32),
        "weights": heads.weights.astype(np.float32),
        "bias": heads.bias.astype(np.float32),
        "first_axis": np.array([0], np.int64),
    }
    graph = helper.make_graph(
        _nodes(helper, TensorProto),
        "router",
        [
            helper.make_tensor_value_info("buckets", TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info("surface", TensorProto.FLOAT, [len(SURFACE)]),
        ],
        [helper.make_tensor_value_info("heads", TensorProto.FLOAT, [HEADS])],
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


def _nodes(helper: Any, kinds: Any) -> list[Any]:
    node = helper.make_node
    return [
        node("Gather", ["table", "buckets"], ["quantised"], axis=0),
        node("Cast", ["quantised"], ["rows"], to=kinds.FLOAT),
        node("ReduceSum", ["rows", "first_axis"], ["summed"], keepdims=0),
        node("Shape", ["buckets"], ["count"]),
        node("Cast", ["count"], ["counted"], to=kinds.FLOAT),
        node("Sqrt", ["counted"], ["length"]),
        node("Div", ["summed", "length"], ["unscaled"]),
        node("Mul", ["unscaled", "scale"], ["from_words"]),
        node("Sub", ["surface", "mean"], ["centred"]),
        node("Mul", ["centred", "inverse"], ["standardised"]),
        node("Clip", ["standardised", "low", "high"], ["clipped"]),
        node("MatMul", ["clipped", "weights"], ["from_surface"]),
        node("Add", ["from_words", "from_surface"], ["both"]),
        node("Add", ["both", "bias"], ["heads"]),
    ]
