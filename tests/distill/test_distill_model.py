from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from pointsman.distill import model as model_module
from pointsman.distill.graph import Head, write
from pointsman.distill.model import MAX_TEXT_BYTES, TextClassifier
from pointsman.distill.ngrams import scheme
from pointsman.distill.shrink import CODES, Packed
from pointsman.errors import DistillError

FACTS = {
    "pointsman.version": "1",
    "pointsman.kind": "single",
    "pointsman.labels": '["a","b"]',
}


def file(facts: dict[str, str] = FACTS, **changes: object) -> bytes:
    how = scheme(600)
    rng = np.random.default_rng(2)
    packed = Packed(
        codes=rng.integers(0, 256, (how.buckets, 1)).astype(np.uint8),
        books=rng.integers(-127, 128, (CODES, 4)).astype(np.int8),
        scale=np.full(4, 0.02, np.float32),
    )
    weights = rng.standard_normal((4, 2)).astype(np.float32)
    head = Head(packed, np.zeros(4, np.float32), weights, np.zeros(2, np.float32), **changes)  # type: ignore[arg-type]
    return write(how, head, ["a", "b"], multi="thresholds" in changes, facts=facts)


MODEL = TextClassifier.load(file())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "plain",
        "日本語",
        "שלום",
        "🙂",
        "\ud800",
        "\x00",
        b"",
        b"\xff\xfe",
        b"\x80" * 50,
        "x" * 100_000,
    ],
)
def test_any_text_gets_a_label(text: str | bytes) -> None:
    found = MODEL.classify(text)
    assert len(found.labels) == 1
    assert found.labels[0] == "ab"[int(np.argmax(found.scores))]
    assert sum(found.scores) == pytest.approx(1, abs=1e-6)


def test_a_text_and_its_bytes_are_the_same() -> None:
    assert MODEL.classify("Grüße, мир") == MODEL.classify("Grüße, мир".encode())


def test_of_a_very_long_text_the_ends_are_read() -> None:
    half = MAX_TEXT_BYTES // 2
    head, tail = b"start " * half, b" end" * half
    found = MODEL.classify(head + b"middle" * 1000 + tail)
    assert found == MODEL.classify(head[:half] + tail[-half:])


def test_many_texts_are_told_in_order() -> None:
    texts = ["one", "two", "three"]
    assert MODEL.classify_many(texts) == [MODEL.classify(text) for text in texts]


def test_several_labels_come_in_the_order_in_which_the_graph_gives_them() -> None:
    facts = {**FACTS, "pointsman.kind": "multi"}
    data = file(facts, thresholds=np.zeros(2, np.float32))
    model = TextClassifier.load(data)
    assert model.multi
    session = onnxruntime.InferenceSession(data)
    seen = set()
    for text in ("one", "two", "a third text", "four", "and five", "six of them"):
        found = model.classify(text)
        (labels,) = session.run(["labels"], {"text": np.frombuffer(text.encode(), np.uint8)})
        assert list(found.labels) == labels.tolist() == ["a", "b"]
        seen.add(found.scores[0] > found.scores[1])
    # Else it would be no wonder.
    assert False in seen


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(file())
    model = TextClassifier.load(path)
    assert model.classify("x") == MODEL.classify("x")
    assert model.size_bytes == path.stat().st_size
    with pytest.raises(DistillError, match="cannot be read: No such file"):
        TextClassifier.load(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "its metadata says nothing"),
        ({**FACTS, "pointsman.version": "99"}, "is of version 99"),
        ({**FACTS, "pointsman.labels": "["}, "no labels that can be read"),
        ({**FACTS, "pointsman.kind": "triple"}, "does not say what kind"),
        ({**FACTS, "pointsman.labels": '["a"]'}, "a score for each of its labels"),
    ],
)
def test_a_file_that_says_something_else_is_refused(facts: dict[str, str], message: str) -> None:
    with pytest.raises(DistillError, match=message):
        TextClassifier.load(file(facts))


def test_a_file_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "MAX_MODEL_BYTES", 100)
    with pytest.raises(DistillError, match="is over 100 bytes"):
        TextClassifier.load(file())


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"not a model", b"\xff" * 40, file()[:-9], file()[:900]]
)
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(DistillError):
        TextClassifier.load(data)


def changed(change) -> bytes:
    proto = onnx.load_from_string(file())
    change(proto)
    data: bytes = proto.SerializeToString()
    return data


def external(proto: onnx.ModelProto) -> None:
    tensor = max(proto.graph.initializer, key=lambda each: len(each.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_attribute(proto: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32))
    tensor.data_location = TensorProto.EXTERNAL
    proto.graph.node.append(helper.make_node("Cast", ["text"], ["more"], to=1, value=tensor))


def custom(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("Evil", ["text"], ["more"], domain="com.example"))


def custom_opset(proto: onnx.ModelProto) -> None:
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def loop(proto: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    proto.graph.node.append(helper.make_node("Add", ["text"], ["more"], body=body))


def unknown(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("RandomNormal", [], ["more"], shape=[2]))


def function(proto: onnx.ModelProto) -> None:
    opsets = [helper.make_opsetid("", 13)]
    proto.functions.append(helper.make_function("own", "f", [], [], [], opsets))


def sparse(proto: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3]))


def many(proto: onnx.ModelProto) -> None:
    proto.graph.node.extend(
        helper.make_node("Shape", ["text"], [f"more{number}"]) for number in range(1000)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external, "some of its data are in another file"),
        (external_attribute, "some of its data are in another file"),
        (custom, "operators of 'com.example'|the operator 'Evil'"),
        (custom_opset, "operators of 'com.microsoft'"),
        (loop, "graphs within its graph"),
        (unknown, "the operator 'RandomNormal'"),
        (function, "functions of its own"),
        (sparse, "sparse tensors"),
        (many, "over 1000 operators"),
    ],
)
def test_what_a_classifier_does_not_need_is_refused(change, message: str) -> None:
    with pytest.raises(DistillError, match=message):
        TextClassifier.load(changed(change))


def test_other_inputs_are_refused() -> None:
    def rename(proto: onnx.ModelProto) -> None:
        proto.graph.output.pop()

    with pytest.raises(DistillError, match="other inputs and outputs"):
        TextClassifier.load(changed(rename))
