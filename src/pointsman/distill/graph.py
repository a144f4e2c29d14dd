"""Writes a trained classifier as one ONNX graph of standard operators: UTF-8 bytes in, labels out.

Input `text`: uint8 (n,), any bytes, n from 0. Outputs `scores`: float32 (C,), calibrated
probabilities in the order of the labels; `chosen`: int64 (k,), the labels that hold; `labels`:
string (k,), their names; `names`: string (C,), all the labels, since few runtimes can read a model's
metadata. The first half computes what `ngrams` does, step by step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from pointsman.distill.folding import BLOCK, BLOCKS, SINGLE, SPACE, WORD, tables
from pointsman.distill.ngrams import END, LAST_CODE, PAST_END, START, WORD_CHARS, WORD_PRIME, Scheme
from pointsman.distill.shrink import CODES, Packed

__all__ = ["IR_VERSION", "OPSET", "Head", "write"]

# 13 is the first with ReduceSum's and Squeeze's axes as inputs, and is run by every onnxruntime
# since 1.6; nothing here needs a later one. IR 7 is the one that came with it.
OPSET, IR_VERSION = 13, 7


class Head(Struct, frozen=True):
    """What follows the n-grams; arrays of numpy.

    `table` is what `shrink` packed. `shift` (width,), `weights` (width, C) and `bias` (C,) are
    numbers, `weights` stored in 16 bits; calibration is part of the last two. `thresholds` (C,) are for multi-label; `reject` is
    the probability below which `labels[-1]` is chosen instead, for single-label with an other class.
    """

    table: Packed
    shift: Any
    weights: Any
    bias: Any
    thresholds: Any = None
    reject: float | None = None


class _Graph:
    """Nodes and constants as they are added; each operator gives the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._count = 0
        self._counted: dict[str, str] = {}

    def constant(self, value: Any, dtype: str = "int64", name: str = "") -> str:
        """Give the name of a constant; equal ones are kept once."""
        import numpy as np

        array = np.asarray(value, None if dtype == "string" else dtype)
        key = f"c_{dtype}_{array.shape}_{array.ravel().tolist()}" if array.size <= 4 else ""
        for other, known in self.constants.items():
            if key and known[0] == key and not name:
                return other
        name = name or f"c{len(self.constants)}"
        self.constants[name] = (key, array)
        return name

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add an operator; give its output."""
        from onnx import helper

        self._count += 1
        output = name or f"t{self._count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def cast(self, value: str, kind: str) -> str:
        """Add a cast to `INT32`, `INT64`, `FLOAT` or `BOOL`."""
        from onnx import TensorProto

        return self.add("Cast", value, to=getattr(TensorProto, kind))

    def length(self, value: str) -> str:
        """Add what gives a vector's length as a scalar int64."""
        return self.add("Squeeze", self.add("Shape", value))

    def count_up(self, size: str) -> str:
        """Add what gives 0, 1, ... below a scalar."""
        if size not in self._counted:
            self._counted[size] = self.add("Range", self.constant(0), size, self.constant(1))
        return self._counted[size]

    def windows(self, values: str, size: str, width: int, dtype: str) -> str:
        """Add what gives (n, width): each value and those after it, 0 past the end."""
        import numpy as np

        padded = self.add("Concat", values, self.constant(np.zeros(width), dtype), axis=0)
        column = self.add("Reshape", self.count_up(size), self.constant([-1, 1]))
        places = self.add("Add", column, self.constant(np.arange(width)[None]))
        return self.add("Gather", padded, places, axis=0)


def write(
    how: Scheme, head: Head, labels: Sequence[str], *, multi: bool, facts: Mapping[str, str]
) -> bytes:
    """Give the bytes of the ONNX file; equal arguments give equal bytes.

    `facts` go into `metadata_props` as they are.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = _Graph()
    code = _codes(graph)
    buckets = _buckets(graph, code, how)
    logits = _logits(graph, buckets, head)
    _choice(graph, logits, head, labels, multi)
    info = helper.make_tensor_value_info
    proto = helper.make_graph(
        graph.nodes,
        "pointsman_classifier",
        [info("text", TensorProto.UINT8, ["n"])],
        [
            info("scores", TensorProto.FLOAT, [len(labels)]),
            info("chosen", TensorProto.INT64, ["k"]),
            info("labels", TensorProto.STRING, ["k"]),
            info("names", TensorProto.STRING, [len(labels)]),
        ],
        [numpy_helper.from_array(value, name) for name, (_, value) in graph.constants.items()],
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="pointsman"
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, dict(sorted(facts.items())))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _codes(graph: _Graph) -> str:
    """UTF-8 bytes to folded characters between START and END; int32."""
    table, add, constant = tables(), graph.add, graph.constant
    # A byte past the end looks like the rest of a character, so it never starts one.
    ends = constant([32], "uint8"), constant([32, *PAST_END], "uint8")
    framed = add("Concat", ends[0], "text", ends[1], axis=0)
    whole = graph.cast(framed, "INT32")
    is_lead = add("Gather", constant(table.lead, "bool"), whole, axis=0)
    starts = add("Compress", graph.count_up(graph.length(framed)), is_lead, axis=0)
    column = add("Reshape", starts, constant([-1, 1]))
    places = add("Add", column, constant([[0, 1, 2, 3]]))
    four = add("Gather", whole, places, axis=0)
    lead = add("Gather", whole, starts, axis=0)
    # Tables of all bytes from small ones: a runtime computes these once, when it loads the file.
    more = graph.cast(constant(table.more, "uint8"), "INT32")
    steps = add("Gather", constant(table.steps, "int32"), more, axis=0)
    base = add("Gather", constant(table.base, "int32"), more, axis=0)
    weighted = add("Mul", four, add("Gather", steps, lead, axis=0))
    summed = add("ReduceSum", weighted, constant([1]), keepdims=0)
    unclipped = add("Add", summed, add("Gather", base, lead, axis=0))
    low, high = constant(0, "int32"), constant(LAST_CODE, "int32")
    point = add("Clip", unclipped, low, high)
    block = add("Min", add("Div", point, constant(BLOCK, "int32")), constant(BLOCKS - 1, "int32"))
    row = graph.cast(add("Gather", constant(table.rows, "uint8"), block, axis=0), "INT32")
    inner = add("Mod", point, constant(BLOCK, "int32"))
    place = add("Add", add("Mul", row, constant(BLOCK, "int32")), inner)
    target = graph.cast(add("Gather", constant(table.targets, "uint16"), place, axis=0), "INT32")
    code = add("Where", add("Greater", target, low), target, point)
    return _frame(graph, code)


def _frame(graph: _Graph, code: str) -> str:
    """Spaces in a row become one; START before, END after."""
    add, constant = graph.add, graph.constant
    blank = add("Equal", code, constant(32, "int32"))
    shifted = add("Slice", blank, constant([0]), constant([-1]), constant([0]))
    before = add("Concat", constant([False], "bool"), shifted, axis=0)
    kept = add("Compress", code, add("Not", add("And", blank, before)), axis=0)
    return add("Concat", constant([START], "int32"), kept, constant([END], "int32"), axis=0)


def _buckets(graph: _Graph, code: str, how: Scheme) -> str:
    """All n-grams of characters and of words; int64."""
    add, constant = graph.add, graph.constant
    size = graph.length(code)
    wide = graph.cast(code, "INT64")
    flat = constant([-1])
    found = []
    if how.chars.shape[1]:
        windows = graph.windows(wide, size, len(how.chars), "int64")
        hashed = add("MatMul", windows, constant(how.chars))
        found.append(add("Reshape", add("Mod", hashed, constant(how.buckets)), flat))
    if how.words.shape[1]:
        words = _words(graph, code, wide, size, how)
        windows = graph.windows(words, graph.length(words), len(how.words), "int64")
        hashed = add("Mod", add("MatMul", windows, constant(how.words)), constant(WORD_PRIME))
        found.append(add("Reshape", add("Mod", hashed, constant(how.buckets)), flat))
    return add("Concat", *found, axis=0) if len(found) > 1 else found[0]


def _words(graph: _Graph, code: str, wide: str, size: str, how: Scheme) -> str:
    """The number of each word: the weighted sum of its characters, from running sums."""
    add, constant = graph.add, graph.constant
    block = add("Min", add("Div", code, constant(BLOCK, "int32")), constant(BLOCKS - 1, "int32"))
    far = add("Add", block, constant(128, "int32"))
    place = add("Where", add("Less", code, constant(128, "int32")), code, far)
    # onnxruntime 1.20 and older have no Equal of uint8.
    kind = graph.cast(add("Gather", constant(tables().classes, "uint8"), place, axis=0), "INT32")
    wordy = add("Equal", kind, constant(WORD, "int32"))
    shifted = add("Slice", wordy, constant([0]), constant([-1]), constant([0]))
    before = add("Concat", constant([False], "bool"), shifted, axis=0)
    opens = add("And", wordy, add("Not", before))
    start = add("Or", opens, add("Equal", kind, constant(SINGLE, "int32")))
    begins = add("Compress", graph.count_up(size), start, axis=0)
    number = add("CumSum", graph.cast(start, "INT64"), constant(0))
    of_word = add("Sub", number, constant(1))
    inner = add("Sub", graph.count_up(size), add("Gather", begins, of_word, axis=0))
    capped = add("Min", inner, constant(WORD_CHARS - 1))
    weighted = add("Mul", wide, add("Gather", constant(how.places), capped, axis=0))
    solid = add("Not", add("Equal", kind, constant(SPACE, "int32")))
    part = add("Mul", weighted, graph.cast(solid, "INT64"))
    running = add("CumSum", part, constant(0), exclusive=1)
    total = add("ReduceSum", part, keepdims=1)
    left = add("Gather", running, begins, axis=0)
    right = add(
        "Concat", add("Slice", left, constant([1]), constant([2**31]), constant([0])), total, axis=0
    )
    return add("Mod", add("Sub", right, left), constant(WORD_PRIME))


def _logits(graph: _Graph, buckets: str, head: Head) -> str:
    """The rows of all n-grams, summed in whole numbers, and the layers after them."""
    import numpy as np

    add, constant = graph.add, graph.constant
    packed = head.table
    parts = packed.codes.shape[1]
    rows = graph.cast(add("Gather", constant(packed.codes, "uint8"), buckets, axis=0), "INT32")
    places = add("Add", rows, constant(CODES * np.arange(parts)[None], "int32"))
    vectors = add("Gather", constant(packed.books, "int8"), places, axis=0)
    # Floats hold sums of whole numbers exactly up to 2^24, that of 132,000 n-grams or more, so they
    # do not depend on a runtime's order; past that they differ in the seventh digit.
    summed = add("ReduceSum", graph.cast(vectors, "FLOAT"), constant([0]), keepdims=0)
    flat = add("Reshape", summed, constant([-1]))
    count = graph.cast(add("Shape", buckets), "FLOAT")
    mean = add("Div", flat, add("Sqrt", count))
    scaled = add("Mul", mean, constant(packed.scale, "float32"))
    hidden = add("Relu", add("Add", scaled, constant(head.shift, "float32")))
    # 16-bit whole numbers and one scale: half the bytes, and computed once, at load.
    step = max(float(np.abs(head.weights).max()) / 32767, 1e-30)
    small = graph.cast(constant(np.rint(head.weights / step), "int16"), "FLOAT")
    weights = add("Mul", small, constant(step, "float32"))
    product = add("MatMul", hidden, weights)
    return add("Add", product, constant(head.bias, "float32"))


def _choice(graph: _Graph, logits: str, head: Head, labels: Sequence[str], multi: bool) -> None:
    import numpy as np

    add, constant = graph.add, graph.constant
    # Also an output: a constant costs nothing where it is not asked for.
    names = graph.constant(np.array(list(labels), object), "string", "names")
    if multi:
        scores = add("Sigmoid", logits, name="scores")
        # GreaterOrEqual of opset 13 is a function of others; Not(Less) is the same in one step less.
        holds = add("Not", add("Less", scores, constant(head.thresholds, "float32")))
        add("Compress", graph.count_up(constant(len(labels))), holds, axis=0, name="chosen")
    else:
        scores = add("Softmax", logits, axis=-1, name="scores")
        best = add(
            "ArgMax", scores, axis=0, keepdims=1, name="chosen" if head.reject is None else ""
        )
        if head.reject is not None:
            sure = add(
                "Not",
                add("Less", add("ReduceMax", scores, axes=[0]), constant([head.reject], "float32")),
            )
            add("Where", sure, best, constant([len(labels) - 1]), name="chosen")
    add("Gather", names, "chosen", axis=0, name="labels")
