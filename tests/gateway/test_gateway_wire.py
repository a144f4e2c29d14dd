from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.errors import RequestError
from pointsman.gateway.wire import ask_usage, decode_body, read_envelope, replace_model


def test_only_the_models_bytes_change():
    body = b'{ "stream":true,\n "model" : "openai:a", "x": 1.0e0, "u": "\\u00e9" }'
    assert (
        replace_model(body, "b")
        == b'{ "stream":true,\n "model" : "b", "x": 1.0e0, "u": "\\u00e9" }'
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("model"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "tools"]), JSON), st.text(max_size=10), st.booleans()
)
def test_the_top_level_model_is_found_wherever_else_the_word_stands(rest, model, last):
    tree = {**rest, "model": "old"} if last else {"model": "old", **rest}
    changed = replace_model(json.dumps(tree).encode(), model)
    assert json.loads(changed) == {**tree, "model": model}


def test_an_escaped_key_is_the_same_key():
    assert replace_model(b'{"mod\\u0065l":"x"}', "y") == b'{"mod\\u0065l":"y"}'


@pytest.mark.parametrize(
    "body", [b'{"model":"a","model":"b"}', b'{"model":"a","t":{"model":1},"mod\\u0065l":"b"}']
)
def test_a_key_that_stands_twice_is_refused(body):
    with pytest.raises(RequestError, match="twice") as caught:
        replace_model(body, "c")
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", None),
        (b"{", None),
        (b"\xff", None),
        (b"", None),
        (b'{"model":1}', "model"),
        (b"{}", "model"),
        (b'{"model":"a","stream":"yes"}', "stream"),
        (b"[" * 100_000, None),
    ],
)
def test_what_is_no_request_is_named(body, param):
    with pytest.raises(RequestError) as caught:
        read_envelope(body)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_a_body_for_translation_must_be_an_object():
    assert decode_body(b'{"a": 1}') == {"a": 1}
    with pytest.raises(RequestError):
        decode_body(b"[1]")


def test_the_usage_is_asked_for_in_place():
    assert json.loads(ask_usage(b' {"model":"a"}')) == {
        "stream_options": {"include_usage": True},
        "model": "a",
    }
