from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from pointsman.distill.graph import IR_VERSION, OPSET, Head, write
from pointsman.distill.ngrams import bags, scheme
from pointsman.distill.shrink import CODES, Packed, unpack
from pointsman.distill.untrusted import OPERATORS

LABELS = ["alpha", "beta", "other"]
TEXTS = ["", "a", "Where is my card?", "日本語のテキスト", "Привет мир", "🙂" * 50, "word " * 2000]


def head(buckets: int, **changes: object) -> Head:
    rng = np.random.default_rng(1)
    packed = Packed(
        codes=rng.integers(0, 256, (buckets, 2)).astype(np.uint8),
        books=rng.integers(-127, 128, (CODES * 2, 4)).astype(np.int8),
        scale=rng.random(8, np.float32) / 100,
    )
    weights = rng.standard_normal((8, 3)).astype(np.float32)
    shift = rng.standard_normal(8).astype(np.float32)
    return Head(packed, shift, weights, np.array([0.1, -0.2, 0.3], np.float32), **changes)  # type: ignore[arg-type]


def run(data: bytes, text: str) -> tuple[np.ndarray, list[int], list[str]]:
    session = onnxruntime.InferenceSession(data)
    scores, chosen, labels = session.run(
        ["scores", "chosen", "labels"], {"text": np.frombuffer(text.encode(), np.uint8)}
    )
    return scores, chosen.tolist(), labels.tolist()


def expected(how, given: Head, text: str) -> np.ndarray:
    buckets = bags([text.encode()], how).buckets
    summed = unpack(given.table)[buckets].astype(np.float64).sum(axis=0) / np.sqrt(len(buckets))
    return np.maximum(summed + given.shift, 0) @ given.weights + given.bias


@pytest.mark.parametrize("text", TEXTS)
def test_single_label_scores_are_the_softmax_of_what_the_twin_gives(text: str) -> None:
    how = scheme(2000)
    given = head(how.buckets)
    scores, chosen, labels = run(write(how, given, LABELS, multi=False, facts={}), text)
    logits = expected(how, given, text)
    wanted = np.exp(logits - logits.max())
    assert scores == pytest.approx(wanted / wanted.sum(), abs=1e-3)
    assert chosen == [int(scores.argmax())]
    assert labels == [LABELS[chosen[0]]]


@pytest.mark.parametrize("text", TEXTS)
def test_multi_label_chooses_all_that_reach_their_thresholds(text: str) -> None:
    how = scheme(2000)
    given = head(how.buckets, thresholds=np.array([0.2, 0.5, 0.9], np.float32))
    scores, chosen, labels = run(write(how, given, LABELS, multi=True, facts={}), text)
    assert scores == pytest.approx(1 / (1 + np.exp(-expected(how, given, text))), abs=1e-3)
    assert chosen == [place for place in range(3) if scores[place] >= given.thresholds[place]]
    assert labels == [LABELS[place] for place in chosen]


def test_a_multi_label_text_may_have_no_label() -> None:
    how = scheme(500)
    given = head(how.buckets, thresholds=np.full(3, 1.1, np.float32))
    assert run(write(how, given, LABELS, multi=True, facts={}), "text")[1:] == ([], [])


@pytest.mark.parametrize(("reject", "label"), [(1.1, "other"), (0.0, None)])
def test_what_is_not_sure_enough_is_other(reject: float, label: str | None) -> None:
    how = scheme(500)
    given = head(how.buckets, reject=reject)
    scores, _, labels = run(write(how, given, LABELS, multi=False, facts={}), "some text")
    assert labels == [label or LABELS[int(scores.argmax())]]


def test_the_file_asks_for_little_of_a_runtime() -> None:
    data = write(scheme(500), head(499), LABELS, multi=False, facts={"b": "2", "a": "1"})
    model = onnx.load_from_string(data)
    assert (model.ir_version, [(x.domain, x.version) for x in model.opset_import]) == (
        IR_VERSION,
        [("", OPSET)],
    )
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    assert {prop.key: prop.value for prop in model.metadata_props} == {"a": "1", "b": "2"}
    assert [each.name for each in model.graph.input] == ["text"]
    assert [each.name for each in model.graph.output] == ["scores", "chosen", "labels", "names"]


def test_equal_arguments_give_equal_bytes() -> None:
    how = scheme(500)
    one, other = (
        write(how, head(how.buckets), LABELS, multi=False, facts={"a": "1"}) for _ in range(2)
    )
    assert one == other
