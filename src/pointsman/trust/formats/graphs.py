"""Checks ONNX, TensorFlow and TFLite files: what reaches outside, and operators of others."""

from __future__ import annotations

import re

from pointsman.trust.formats.context import Fault, Scan
from pointsman.trust.formats.names import escapes
from pointsman.trust.formats.protobuf import Field, fields
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.weights import (
    ONNX_CUSTOM_OPERATOR,
    ONNX_EXTERNAL_DATA,
    ONNX_MALFORMED,
    TENSORFLOW_OPERATOR,
)

__all__ = ["check_onnx", "check_tensorflow", "check_tflite"]

MAX_NODES = 500_000
MAX_DEPTH = 8
_DOMAINS = (
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training",
    "com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental", "com.microsoft.dml",
    "com.ms.internal.nhwc", "org.pytorch.aten", "pkg.onnxscript.torch_lib",
    "pkg.onnxscript.torch_lib.common", "pkg.torch", "local",
)  # fmt: skip
_OPERATORS = re.compile(
    rb"\b(ReadFile|WriteFile|MatchingFiles|PyFunc|PyFuncStateless|EagerPyFunc|ShellExecute|MergeV2Checkpoints"
    rb"|SaveV2|PrintV2|DebugIdentityV[23]|FlexWriteFile|FlexReadFile|FlexPyFunc|FlexEagerPyFunc)\b"
)
# Checkpoints are saved by every training graph.
_USUAL = {b"SaveV2", b"MergeV2Checkpoints", b"PrintV2"}
SEARCHED_BYTES = 1024**3


class _Onnx:
    """Reads what matters of an ONNX model: operators' domains, and where tensors' data lies.

    Source: onnx/onnx.proto (IR version 12): ModelProto.graph 7, .opset_import 8, .functions 25;
    GraphProto.node 1, .initializer 5, .sparse_initializer 15; NodeProto.domain 7, .attribute 5;
    AttributeProto.t 5, .g 6, .tensors 10, .graphs 11; TensorProto.external_data 13;
    FunctionProto.node 7.
    """

    def __init__(self, source: Source, scan: Scan) -> None:
        self.source = source
        self.scan = scan
        self.left = MAX_NODES

    def text(self, field: Field) -> str:
        return self.source.read(field.at, min(field.size, 4_096)).decode(
            "utf-8", "backslashreplace"
        )

    def parts(self, parent: Field | None) -> list[Field]:
        start, size = (parent.at, parent.size) if parent else (0, self.source.size)
        found = list(fields(self.source, start, size))
        self.left -= len(found)
        if self.left < 0:
            raise Fault(f"it has over {MAX_NODES} fields", start)
        return found

    def model(self) -> None:
        for field in self.parts(None):
            if field.number == 7 and field.wire == 2:
                self.graph(field, 0)
            elif field.number == 25 and field.wire == 2:
                for inner in self.parts(field):
                    if inner.number == 7 and inner.wire == 2:
                        self.node(inner, 0)

    def graph(self, graph: Field, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Fault(f"its graphs are nested over {MAX_DEPTH} deep", graph.at)
        for field in self.parts(graph):
            if field.wire != 2:
                continue
            if field.number == 1:
                self.node(field, depth)
            elif field.number == 5:
                self.tensor(field)
            elif field.number == 15:
                for inner in self.parts(field):
                    if inner.number in (1, 2) and inner.wire == 2:
                        self.tensor(inner)

    def node(self, node: Field, depth: int) -> None:
        for field in self.parts(node):
            if field.number == 7 and field.wire == 2:
                domain = self.text(field)
                if domain not in _DOMAINS:
                    self.scan.add(
                        ONNX_CUSTOM_OPERATOR,
                        self.source.name,
                        f"It has operators of the domain {domain[:80]!a}.",
                        offset=field.at,
                    )
            elif field.number == 5 and field.wire == 2:
                for inner in self.parts(field):
                    if inner.wire == 2 and inner.number in (5, 10):
                        self.tensor(inner)
                    elif inner.wire == 2 and inner.number in (6, 11):
                        self.graph(inner, depth + 1)

    def tensor(self, tensor: Field) -> None:
        # The raw data is one field, so that large weights cost nothing.
        for field in self.parts(tensor):
            if field.number != 13 or field.wire != 2:
                continue
            entry = {each.number: self.text(each) for each in self.parts(field) if each.wire == 2}
            if entry.get(1) == "location" and escapes(entry.get(2, "")):
                self.scan.add(
                    ONNX_EXTERNAL_DATA,
                    self.source.name,
                    f"It takes weights from {entry[2][:200]!a}.",
                    offset=field.at,
                )


def check_onnx(source: Source, scan: Scan) -> None:
    """Check an ONNX model's external data and operators."""
    try:
        _Onnx(source, scan).model()
    except Fault as fault:
        scan.add(
            ONNX_MALFORMED,
            source.name,
            f"It breaks the format: {fault.message}.",
            offset=fault.offset,
        )


def check_tensorflow(source: Source, scan: Scan) -> None:
    """Search a SavedModel or graph for operators that reach outside; the rest is not checked."""
    _search_operators(source, scan)
    scan.cannot_check(
        source.name, "TensorFlow's format is searched for dangerous operators, not parsed"
    )


def check_tflite(source: Source, scan: Scan) -> None:
    """Search a TFLite file for operators that reach outside; the rest is not checked."""
    _search_operators(source, scan)
    scan.cannot_check(source.name, "TFLite is searched for dangerous operators, not parsed")


def _search_operators(source: Source, scan: Scan) -> None:
    seen = set()
    for base, piece in source.chunks(limit=SEARCHED_BYTES, overlap=64):
        for match in _OPERATORS.finditer(piece):
            if match[1] not in _USUAL and match[1] not in seen:
                seen.add(match[1])
                scan.add(
                    TENSORFLOW_OPERATOR,
                    source.name,
                    f"It has the operator {match[1].decode()}.",
                    offset=base + match.start(),
                )
