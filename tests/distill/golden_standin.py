"""A small classifier of the same inputs and outputs as a trained one, made in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def standin(labels: Sequence[str], *, multi: bool, seed: int = 0) -> bytes:
    """Hashed pairs of bytes into a random int8 table: it knows nothing and reads every byte."""
    rng = np.random.default_rng(seed)
    node = helper.make_node
    constants = {
        "edges": np.array([1, 1], np.int64),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "minus_one": np.array([-1], np.int64),
        "end": np.array([np.iinfo(np.int64).max], np.int64),
        "multiplier": np.array(769, np.int64),
        "buckets": np.array(1021, np.int64),
        "table": rng.integers(-127, 128, (1021, len(labels))).astype(np.int8),
        "axis": np.array([0], np.int64),
        "scale": np.array(0.03, np.float32),
        "names": np.array(labels, dtype=object),
    }
    if multi:
        constants["half"] = np.array(0.5, np.float32)
    nodes = [
        node("Cast", ["text"], ["bytes"], to=TensorProto.INT64),
        node("Pad", ["bytes", "edges"], ["padded"]),
        node("Slice", ["padded", "first", "minus_one"], ["left"]),
        node("Slice", ["padded", "second", "end"], ["right"]),
        node("Mul", ["left", "multiplier"], ["mixed"]),
        node("Add", ["mixed", "right"], ["hashed"]),
        node("Mod", ["hashed", "buckets"], ["places"]),
        node("Gather", ["table", "places"], ["rows"]),
        node("Cast", ["rows"], ["floats"], to=TensorProto.FLOAT),
        node("ReduceSum", ["floats", "axis"], ["summed"], keepdims=0),
        node("Shape", ["places"], ["count"]),
        node("Cast", ["count"], ["counted"], to=TensorProto.FLOAT),
        node("Sqrt", ["counted"], ["length"]),
        node("Div", ["summed", "length"], ["level"]),
        node("Mul", ["level", "scale"], ["logits"]),
        node("Sigmoid" if multi else "Softmax", ["logits"], ["scores"]),
    ]
    if multi:
        nodes += [
            node("Greater", ["scores", "half"], ["applies"]),
            node("NonZero", ["applies"], ["found"]),
            node("Reshape", ["found", "minus_one"], ["chosen"]),
        ]
    else:
        nodes.append(node("ArgMax", ["scores"], ["chosen"], axis=0, keepdims=1))
    nodes.append(node("Gather", ["names", "chosen"], ["labels"]))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "standin",
        [info("text", TensorProto.UINT8, ["n"])],
        [
            info("scores", TensorProto.FLOAT, [len(labels)]),
            info("chosen", TensorProto.INT64, ["k"]),
            info("labels", TensorProto.STRING, ["k"]),
            info("names", TensorProto.STRING, [len(labels)]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    helper.set_model_props(
        model,
        {
            "pointsman.labels": json.dumps(list(labels)),
            "pointsman.kind": "multi" if multi else "single",
            "pointsman.version": "1",
        },
    )
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data
