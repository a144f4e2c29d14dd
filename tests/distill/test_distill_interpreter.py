"""Each operator of the report's interpreter, alone and against onnxruntime."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from golden_tools import call, program
from onnx import TensorProto, helper, numpy_helper

from pointsman.distill import report

INTERPRETER = Path(report.__file__).parent.parent / "data" / "report" / "onnx.js"
BIG = 2**40 + 7

# Of 64-bit numbers these are exact, past 2^53 as well.
EXACT = {
    "Add",
    "Concat",
    "CumSum",
    "Div",
    "Gather",
    "MatMul",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Pad",
    "Sub",
}

RUN = """
import { readFileSync } from "node:fs";
const found = JSON.parse(readFileSync(process.argv[2])).map((model) => {
  try {
    return loadClassifier(new Uint8Array(Buffer.from(model, "base64")))(new Uint8Array()).scores;
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(found, (_, value) =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value));
"""


class Case(NamedTuple):
    op: str
    inputs: list[Any]
    attributes: Mapping[str, Any] = MappingProxyType({})
    opset: int = 13
    outputs: int = 1


def f(*dims: int) -> Any:
    rng = np.random.default_rng(len(dims) + sum(dims))
    return rng.normal(0, 2, dims).astype(np.float32)


def i(*values: int) -> Any:
    return np.array(values, np.int64)


def b(*values: int) -> Any:
    return np.array(values, bool)


def u8(*values: int) -> Any:
    return np.array(values, np.uint8)


def of(value: float, dtype: Any = np.int64) -> Any:
    return np.array(value, dtype)


def one_input() -> Iterator[Case]:
    for op in ("Abs", "Ceil", "Exp", "Floor", "Identity", "Neg", "Reciprocal", "Relu", "Round"):
        yield Case(op, [f(2, 3)])
    for op in ("Sigmoid", "Tanh"):
        yield Case(op, [f(4)])
    yield Case("Round", [np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4], np.float32)])
    yield Case("Log", [np.abs(f(5)) + 0.1])
    yield Case("Sqrt", [np.abs(f(5))])
    yield Case("Not", [b(1, 0, 1)])
    yield Case("Shape", [f(2, 0, 4)])
    yield Case("Transpose", [f(2, 3, 4)])
    yield Case("Transpose", [f(2, 3, 4)], {"perm": [1, 0, 2]})
    yield Case("Flatten", [f(2, 3, 4)])
    yield Case("Flatten", [f(2, 3, 4)], {"axis": -1})
    yield Case("Softmax", [f(2, 3, 4)])
    yield Case("Softmax", [f(2, 3, 4)], {"axis": 1})
    yield Case("Softmax", [np.array([1000.0, 999.0, -1000.0], np.float32)])
    yield Case("NonZero", [np.array([[0, 3], [1, 0]], np.int64)])
    yield Case("NonZero", [i(0, 0)])
    for op in ("ArgMax", "ArgMin"):
        yield Case(op, [f(3, 4)], {"axis": 1})
        yield Case(op, [i(2, 2, 1, 1)], {"axis": -1, "keepdims": 0})
    yield Case("ArgMax", [i(2, 2, 1)], {"axis": 0, "select_last_index": 1})


def two_inputs() -> Iterator[Case]:
    for op in ("Add", "Sub", "Mul", "Div"):
        yield Case(op, [f(2, 1, 3), f(4, 1)])
        yield Case(op, [i(7, -7, 5, BIG * 3), i(2, 2, -3, BIG)])
        yield Case(op, [np.array([7, -7], np.int32), np.array([2, -2], np.int32)])
    # Past 2^53: wrong in the last digits where doubles are used.
    yield Case("Mod", [i(3**39, -(3**39), BIG * 2**20), i(1_000_003, 1_000_003, 97)])
    yield Case("Mod", [i(7, -7, 7, -7, 0, 6), i(3, 3, -3, -3, 5, 3)])
    yield Case("Mod", [f(6), np.full(6, 0.7, np.float32)], {"fmod": 1})
    yield Case("Pow", [np.abs(f(3)) + 0.1, np.array([2, 0.5, -1], np.float32)])
    for op in ("Max", "Min"):
        yield Case(op, [f(2, 3), f(3), f(1)])
        yield Case(op, [i(1, 5, -3), i(2, 2, 2)])
    yield Case("Sum", [f(2, 3), f(3), f(1)])
    for op in ("Equal", "Less", "Greater", "GreaterOrEqual", "LessOrEqual"):
        yield Case(op, [i(1, 2, 3, 2**60, 2**60), i(2, 2, 2, 2**60 + 1, 2**60)])
        yield Case(op, [f(2, 3), f(3)])
    for op in ("And", "Or"):
        yield Case(op, [b(1, 1, 0, 0), b(1, 0, 1, 0)])
    for direction in ("LEFT", "RIGHT"):
        yield Case("BitShift", [u8(1, 200, 255, 16), u8(4, 1, 7, 4)], {"direction": direction})
    yield Case("Clip", [f(6), of(-1, np.float32), of(1.5, np.float32)])
    yield Case("Where", [b(1, 0, 1), i(1, 2, 3), i(9)])
    yield Case("Where", [b(1, 0), i(BIG * 2**20, 1), i(1, -(2**61))])
    for to in (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.FLOAT):
        yield Case("Cast", [np.array([1.9, -1.9, 0, 250], np.float32)], {"to": to})
        yield Case("Cast", [i(0, 5, -5, 2**40)], {"to": to})
    yield Case("Cast", [np.array([-1, 256, 300], np.int32)], {"to": TensorProto.UINT8})
    yield Case("Cast", [i(2**53 + 1, -1)], {"to": TensorProto.INT32})


def places() -> Iterator[Case]:
    yield Case("Gather", [f(4, 9), np.array([[0, -1], [2, 2]], np.int64)])
    yield Case("Gather", [f(4, 5), i(1, 3)], {"axis": 1})
    yield Case("Gather", [f(4, 5), of(2)])
    yield Case("Gather", [i(BIG * 2**20, 5), i(1, 0)])
    yield Case("GatherElements", [f(3, 3), np.array([[0, 2], [1, -1]], np.int64)], {"axis": 1})
    yield Case("Compress", [f(4, 3), b(1, 0, 1)], {"axis": 0})
    yield Case("Compress", [f(2, 3), b(0, 1, 0, 0, 1)])
    yield Case("Slice", [f(5, 6), i(1, -3), i(4, 2**62), i(0, 1)])
    yield Case("Slice", [f(7), i(-1), i(-(2**62)), i(0), i(-2)])
    yield Case("Slice", [f(7), i(5), i(2)])
    yield Case("Concat", [f(2, 3), f(2, 1), f(2, 0)], {"axis": 1})
    yield Case("Concat", [i(1), i(2**62)], {"axis": 0})
    yield Case("Split", [f(2, 5), i(2, 3)], {"axis": 1}, 13, 2)
    yield Case("Pad", [f(2, 3), i(1, 0, 0, 2), of(7, np.float32)])
    yield Case("Pad", [i(1, 2), i(2, 1)])
    yield Case("Expand", [f(3, 1), i(2, 1, 4)])
    yield Case("Tile", [f(2, 3), i(2, 2)])
    yield Case("Reshape", [f(2, 6), i(0, -1, 2)])
    yield Case("Reshape", [f(0, 3), i(-1, 3)])
    yield Case("Squeeze", [f(1, 3, 1)])
    yield Case("Squeeze", [f(1, 3, 1), i(-1)])
    yield Case("Unsqueeze", [f(3), i(0, -1)])
    yield Case("Range", [of(2), of(11), of(3)])
    yield Case("Range", [of(5), of(0), of(-2)])
    yield Case("ConstantOfShape", [i(2, 3)], {"value": numpy_helper.from_array(i(7))})
    yield Case("ConstantOfShape", [i(0)])
    yield Case("Constant", [], {"value": numpy_helper.from_array(f(2, 2))})
    yield Case("Constant", [], {"value_ints": [3, 4]})
    yield Case("Constant", [], {"value_float": 2.5})
    spots = np.array([[0, 1], [2, 0]], np.int64)
    yield Case("ScatterElements", [f(3, 2), spots, f(2, 2)], {"axis": 0})
    yield Case("ScatterElements", [f(3, 2), spots, f(2, 2)], {"axis": 0, "reduction": "add"}, 16)
    yield Case("ScatterND", [f(3, 2), np.array([[2], [0]], np.int64), f(2, 2)])
    at = np.array([[0, 1], [0, 1]], np.int64)
    yield Case("ScatterND", [f(3, 2), at, f(2)], {"reduction": "add"}, 16)
    yield Case("TopK", [f(3, 5), i(2)], {"axis": 1}, 13, 2)
    yield Case("TopK", [i(3, 1, 3, 2), i(3)], {"largest": 0}, 13, 2)


def sums() -> Iterator[Case]:
    for op in ("ReduceMax", "ReduceMin", "ReduceMean"):
        yield Case(op, [f(2, 3, 4)], {"axes": [1]})
        yield Case(op, [f(2, 3)], {"axes": [0, 1], "keepdims": 0})
    yield Case("ReduceSum", [f(2, 3, 4), i(0, 2)], {"keepdims": 0})
    yield Case("ReduceSum", [f(2, 3)])
    yield Case("ReduceSum", [f(2, 3)], {"noop_with_empty_axes": 1})
    # onnxruntime itself sums 64-bit numbers as doubles here, so past 2^53 there is nothing to hold to.
    yield Case("ReduceSum", [i(2**50, 2**50 + 3, -7), i(0)])
    yield Case("CumSum", [f(2, 4), of(1)])
    yield Case("CumSum", [i(2**60, 5, -(2**60), 7), of(0)], {"exclusive": 1, "reverse": 1})
    yield Case("CumSum", [i(2**60, 5, 2**60, 7), of(0)])
    yield Case("MatMul", [f(2, 3), f(3, 4)])
    yield Case("MatMul", [f(3), f(3)])
    yield Case("MatMul", [f(5, 2, 3), f(3, 2)])
    yield Case("MatMul", [f(2, 1, 2, 3), f(4, 3, 2)])
    yield Case("MatMul", [i(2**31 - 1, 2**31 - 5)[None], np.array([[2**30 - 1], [2**29 + 3]])])
    yield Case("MatMulInteger", [u8(1, 200)[None], np.array([[3], [-4]], np.int8)])
    yield Case("MatMulInteger", [u8(1, 200)[None], u8(9, 4)[:, None], of(2, np.uint8), of(5, np.uint8)])  # fmt: skip
    yield Case("Gemm", [f(3, 2), f(4, 3), f(4)], {"transA": 1, "transB": 1, "alpha": 0.5})
    yield Case("DequantizeLinear", [u8(0, 128, 255), of(0.1, np.float32), of(128, np.uint8)])
    grid = np.array([[-3, 4], [5, -6]], np.int8)
    scales, zeros = np.array([0.5, 2], np.float32), np.array([1, -1], np.int8)
    yield Case("DequantizeLinear", [grid, scales, zeros], {"axis": 0})
    yield Case("QuantizeLinear", [f(6), of(0.05, np.float32), of(3, np.int8)])


CASES = [*one_input(), *two_inputs(), *places(), *sums()]


def model_of(case: Case) -> bytes:
    """A classifier whose scores are the values and the shape of what the operator gives."""
    node = helper.make_node
    names = [f"in{number}" for number in range(len(case.inputs))]
    outputs = [f"out{number}" for number in range(case.outputs)]
    nodes = [node(case.op, names, outputs, **case.attributes)]
    parts = []
    for each in outputs:
        nodes += [
            node("Cast", [each], [f"{each}_d"], to=TensorProto.DOUBLE),
            node("Reshape", [f"{each}_d", "flat"], [f"{each}_flat"]),
            node("Shape", [each], [f"{each}_shape"]),
            node("Cast", [f"{each}_shape"], [f"{each}_dims"], to=TensorProto.DOUBLE),
        ]
        parts += [f"{each}_flat", f"{each}_dims"]
        if case.op in EXACT and all(value.dtype == np.int64 for value in case.inputs):
            # The last digits, which a double does not hold.
            nodes += [
                node("Mod", [each, "thousand"], [f"{each}_rest"]),
                node("Cast", [f"{each}_rest"], [f"{each}_rest_d"], to=TensorProto.DOUBLE),
                node("Reshape", [f"{each}_rest_d", "flat"], [f"{each}_rest_flat"]),
            ]
            parts.append(f"{each}_rest_flat")
    nodes.append(node("Concat", parts, ["scores"], axis=0))
    info = helper.make_tensor_value_info
    strings = numpy_helper.from_array(np.array(["a"], object), "names")
    graph = helper.make_graph(
        nodes,
        "case",
        [info("text", TensorProto.UINT8, ["n"])],
        [
            info("scores", TensorProto.DOUBLE, ["s"]),
            info("names", TensorProto.STRING, [1]),
            info("labels", TensorProto.STRING, [1]),
        ],
        [
            strings,
            numpy_helper.from_array(np.array(["a"], object), "labels"),
            numpy_helper.from_array(i(-1), "flat"),
            numpy_helper.from_array(of(1000), "thousand"),
            *(numpy_helper.from_array(np.asarray(each), name) for name, each in zip(names, case.inputs, strict=True)),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", case.opset)])
    model.ir_version = 8
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("interpreter")
    (folder / "run.mjs").write_text(INTERPRETER.read_text("utf-8") + RUN)
    models = [base64.b64encode(model_of(case)).decode() for case in CASES]
    (folder / "models.json").write_text(json.dumps(models))
    answers: list[Any] = json.loads(call([program("node"), "run.mjs", "models.json"], cwd=folder))
    return answers


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda at: f"{CASES[at].op}-{at}")
def test_an_operator_agrees_with_onnxruntime(number: int, found: list[Any]) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model_of(CASES[number]), options, providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(["scores"], {"text": np.empty(0, np.uint8)})
    assert isinstance(found[number], list), found[number]
    np.testing.assert_allclose(
        np.array(found[number], np.float64), expected, rtol=1e-5, atol=1e-6, strict=True
    )


def test_no_operator_is_untried() -> None:
    text = INTERPRETER.read_text("utf-8")
    table = text[text.index("const OPERATORS") :]
    known = set(re.findall(r"(?:^  |, )([A-Z]\w+):", table, re.MULTILINE))
    assert known == {case.op for case in CASES}
