"""Looks at a model file before a runtime does: one flat graph of known operators, all data within.

onnxruntime would follow a tensor's reference to another file, run functions and loops, and take
operators of any domain; nothing that a classifier of ours needs, so all of it is refused.

Source: onnx.proto3 of ONNX 1.18 (field numbers), protobuf wire format.
"""

from __future__ import annotations

from collections.abc import Iterator

from pointsman.errors import DistillError

__all__ = ["OPERATORS", "check"]

OPERATORS = frozenset(
    [
        "Add",
        "And",
        "ArgMax",
        "BitShift",
        "Cast",
        "Clip",
        "Compress",
        "Concat",
        "CumSum",
        "Div",
        "Equal",
        "Gather",
        "Greater",
        "Less",
        "MatMul",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "NonZero",
        "Not",
        "Or",
        "Pad",
        "Range",
        "ReduceMax",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Where",
    ]
)
MAX_NODES = 1000

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_LISTS = 5, frozenset((6, 10, 11, 22, 23))
_TENSOR_ELSEWHERE = frozenset((13, 14))
_OPSET_DOMAIN = 1

Field = tuple[int, int | memoryview]


def check(data: bytes, name: str) -> None:
    """Pass a file that is one flat graph of known operators with all of its data within.

    Raises:
        DistillError: it is not, or no ONNX file at all.
    """
    try:
        fault = _model_fault(memoryview(data))
    except (ValueError, UnicodeDecodeError) as error:
        raise DistillError(f"{name} is no ONNX file: {error}") from error
    if fault:
        raise DistillError(f"{name} is no classifier of Pointsman's: {fault}")


def _model_fault(data: memoryview) -> str:
    graphs = 0
    for number, value in _fields(data):
        if number in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
            return "it has functions of its own"
        if number == _MODEL_OPSET:
            for inner, domain in _fields(_within(value)):
                if inner == _OPSET_DOMAIN and _text(domain) not in ("", "ai.onnx"):
                    return f"it needs operators of '{_text(domain)[:40]}'"
        if number == _MODEL_GRAPH:
            graphs += 1
            if fault := _graph_fault(_within(value)):
                return fault
    return "" if graphs == 1 else "it has no graph, or several"


def _graph_fault(data: memoryview) -> str:
    nodes = 0
    for number, value in _fields(data):
        if number == _GRAPH_NODE:
            nodes += 1
            if fault := _node_fault(_within(value)):
                return fault
        elif number == _GRAPH_TENSOR and _elsewhere(_within(value)):
            return "some of its data are in another file"
        elif number == _GRAPH_SPARSE:
            return "it has sparse tensors"
    return "" if nodes <= MAX_NODES else f"it has over {MAX_NODES} operators"


def _node_fault(data: memoryview) -> str:
    for number, value in _fields(data):
        if number == _NODE_DOMAIN and _text(value) not in ("", "ai.onnx"):
            return f"it needs operators of '{_text(value)[:40]}'"
        if number == _NODE_OPERATOR and _text(value) not in OPERATORS:
            return f"it has the operator '{_text(value)[:40]}'"
        if number == _NODE_ATTRIBUTE:
            for inner, part in _fields(_within(value)):
                if inner in _ATTRIBUTE_LISTS:
                    return "it has graphs within its graph"
                if inner == _ATTRIBUTE_TENSOR and _elsewhere(_within(part)):
                    return "some of its data are in another file"
    return ""


def _elsewhere(tensor: memoryview) -> bool:
    return any(number in _TENSOR_ELSEWHERE and value != 0 for number, value in _fields(tensor))


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of a protobuf message: a number for each, and its integer or its bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in (_FIXED_32, _FIXED_64):
            size = 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError(f"a field of kind {kind}")
        if place + size > len(data):
            raise ValueError("it is cut short")
        yield key >> 3, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("it is cut short, or damaged")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place


def _within(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _text(value: int | memoryview) -> str:
    return str(_within(value), "utf-8")
