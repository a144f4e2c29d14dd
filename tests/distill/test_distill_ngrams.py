from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.distill.graph import Head, write
from pointsman.distill.ngrams import Scheme, bags, codes, scheme
from pointsman.distill.shrink import CODES, Packed


def head(buckets: int, labels: int = 3, parts: int = 2, width: int = 8) -> Head:
    rng = np.random.default_rng(0)
    packed = Packed(
        codes=rng.integers(0, 256, (buckets, parts)).astype(np.uint8),
        books=rng.integers(-127, 128, (CODES * parts, width // parts)).astype(np.int8),
        scale=np.full(width, 0.01, np.float32),
    )
    weights = rng.standard_normal((width, labels)).astype(np.float32)
    return Head(packed, np.zeros(width, np.float32), weights, np.zeros(labels, np.float32))


def session_of_buckets(how: Scheme) -> tuple[onnxruntime.InferenceSession, str]:
    """A session whose output is the buckets, the tensor that indexes the table of codes."""
    model = onnx.load_from_string(
        write(how, head(how.buckets), ["a", "b", "c"], multi=False, facts={})
    )
    shape = [how.buckets, 2]
    table = next(each.name for each in model.graph.initializer if list(each.dims) == shape)
    buckets = next(
        node.input[1]
        for node in model.graph.node
        if node.op_type == "Gather" and node.input[0] == table
    )
    del model.graph.output[:]
    model.graph.output.append(helper_info(buckets))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options), buckets


def helper_info(name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["m"])


HOW = scheme(4096)
SESSION, BUCKETS = session_of_buckets(HOW)


def in_graph(text: bytes) -> list[int]:
    (found,) = SESSION.run([BUCKETS], {"text": np.frombuffer(text, np.uint8)})
    return sorted(found.tolist())


def in_twin(texts: list[bytes]) -> list[list[int]]:
    found = bags(texts, HOW)
    return [
        sorted(found.buckets[low:high].tolist())
        for low, high in zip(found.starts, found.starts[1:], strict=False)
    ]


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_the_twin_and_the_graph_agree_on_any_bytes(texts: list[bytes]) -> None:
    assert in_twin(texts) == [in_graph(text) for text in texts]


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_the_twin_and_the_graph_agree_on_any_text(texts: list[str]) -> None:
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    assert in_twin(data) == [in_graph(text) for text in data]


def test_a_long_text_agrees_too() -> None:
    text = "Ünïcode, 日本語 and plain. ".encode() * 4000
    assert in_twin([text]) == [in_graph(text)]


def characters(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    code, _ = codes([data])
    return "".join(chr(each) for each in code if each > 3)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("", " "),
        ("Hello", " hello "),
        ("  a \t\r\n b  ", " a b "),
        ("ÀÉ ŻÓŁĆ ẞ", " àé żółć ß "),
        ("ПРИВЕТ ΓΕΙΆ ԲԱՐԵՎ", " привет γειά բարեվ "),
        ("ＡＢＣ１！", " abc1! "),
        ("“q” ‘s’ a–b…", " \"q\" 's' a-b. "),
        ("日本、中国。", " 日本,中国. "),
        ("a\u00a0b\u3000c\u200bd\x00e", " a b c d e "),
        ("🙂👍🏽", " 🙂👍🏽 "),
        (b"a\x80\x80b\xbfc", " abc "),
    ],
)
def test_characters_are_folded(text: str | bytes, folded: str) -> None:
    assert characters(text) == folded


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc3", b"\xe6\x97", b"\xf0\x9f\x99", b"\xf8\x88\x80\x80"]
)
def test_a_character_cut_short_is_one_character(text: bytes) -> None:
    assert len(characters(b"a" + text)) == len(" a? ")


def test_texts_do_not_mix() -> None:
    alone = [in_twin([text])[0] for text in (b"one two", b"", b"three")]
    assert in_twin([b"one two", b"", b"three"]) == alone


def test_words_in_another_order_share_their_words_and_no_pair() -> None:
    how = scheme(65536, orders=(), words=((1,), (1, 1)))
    found = bags([b"red green", b"green red"], how)
    first, second = (set(part) for part in np.split(found.buckets, found.starts[1:-1]))
    words = set(bags([b"red green"], scheme(65536, orders=(), words=((1,),))).buckets.tolist())
    # What the last word, the text's end, makes with the nothing after it is shared too.
    assert words < first & second
    assert len(first & second) == len(words) + 1
    assert len(first - second) == len(second - first) == 3  # Start, pair, end.


def test_a_scheme_is_the_same_each_time_and_its_buckets_are_a_prime() -> None:
    one, other = scheme(1000, seed=5), scheme(1000, seed=5)
    assert one.buckets == 997
    assert np.array_equal(one.chars, other.chars)
    assert not np.array_equal(one.chars, scheme(1000, seed=6).chars)


def test_no_product_can_leave_64_bits() -> None:
    how = scheme(2**22)
    most_code, longest_text = 0x10FFFF, 2**18
    assert int(how.chars.max()) * most_code * len(how.chars) < 2**63
    assert int(how.places.max()) * most_code * longest_text < 2**63
    assert int(how.words.max()) * (2**31 - 1) * len(how.words) < 2**63
