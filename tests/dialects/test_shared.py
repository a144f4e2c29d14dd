"""What the dialects share: field checks, data URLs, arguments, the seal, masking."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.dialects import _shared
from pointsman.dialects._shared import (
    SEAL_PREFIX,
    arguments_object,
    arguments_text,
    at,
    carried,
    error_message,
    mask_secrets,
    optional,
    parse_data_url,
    required,
    seal,
    unseal,
)
from pointsman.dialects.base import Target
from pointsman.errors import RequestError
from pointsman.types import Signature

ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))


def test_paths_are_written_as_a_client_would():
    assert at(at(at("", "messages"), 2), "content") == "messages[2].content"


@pytest.mark.parametrize(
    ("want", "good", "wrong"),
    [
        ("want_object", [{}], [[], None, "a"]),
        ("want_list", [[]], [{}, None, "a"]),
        ("want_string", ["", "a"], [None, 5, []]),
        ("want_boolean", [True, False], [0, 1, None, "true"]),
        ("want_integer", [0, -5], [1.5, True, None, "5"]),
        ("want_number", [0, 1.5], [True, None, "5"]),
    ],
)
def test_a_field_of_a_wrong_type_is_named(want, good, wrong):
    check = getattr(_shared, want)
    for value in good:
        assert check(value, "a.b") is value
    for value in wrong:
        with pytest.raises(RequestError, match=r"'a\.b' must be") as raised:
            check(value, "a.b")
        assert raised.value.param == "a.b"


def test_json_has_one_kind_of_number():
    assert _shared.want_integer(5.0, "n") == 5


def test_a_required_field_may_be_wrong_and_an_optional_one_missing():
    assert optional({"a": None}, "a", _shared.want_string) is None
    assert optional({}, "a", _shared.want_string) is None
    with pytest.raises(RequestError, match="required"):
        required({}, "a", _shared.want_string, "b")
    with pytest.raises(RequestError, match="null"):
        required({"a": None}, "a", _shared.want_string, "b")


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("data:image/png;base64,AAAA", ("image/png", "AAAA")),
        ("DATA:Image/PNG;BASE64,AAAA", ("image/png", "AAAA")),
        ("data:text/plain;charset=utf-8;base64,AAAA", ("text/plain", "AAAA")),
        ("data:;base64,", ("", "")),
        ("https://example.com/a.png", None),
    ],
)
def test_data_urls_are_taken_apart(url, parsed):
    assert parse_data_url(url, "u") == parsed


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png,AAAA",
        "data:image/png;base64,A",
        "data:a/b;base64,A A=",
        "data:a/b;base64,ÄÄ==",
    ],
)
def test_a_broken_data_url_is_named(url):
    with pytest.raises(RequestError) as raised:
        parse_data_url(url, "u")
    assert raised.value.param == "u"


def test_arguments_are_text_on_one_side_and_an_object_on_the_other():
    assert arguments_object(" ", "p") == {}
    assert arguments_object('{"a": 1}', "p") == {"a": 1}
    assert arguments_text(None) == "{}"
    assert arguments_text({"a": 1}) == '{"a":1}'
    for text in ("[]", "{", "5"):
        with pytest.raises(RequestError) as raised:
            arguments_object(text, "p")
        assert raised.value.param == "p"


@settings(deadline=None)
@given(value=ANY_TEXT, origin=st.text("abcdefgh-_.", min_size=1))
def test_a_seal_is_base64_that_opens_to_the_same_signature(value, origin):
    signature = Signature(value, origin)
    sealed = seal(signature)
    assert base64.b64decode(sealed, validate=True).startswith(b"pm1|" + origin.encode() + b"|")
    assert sealed.startswith(SEAL_PREFIX)
    assert unseal(sealed, "other") == signature
    anew = base64.urlsafe_b64encode(base64.b64decode(sealed)).decode().rstrip("=")
    assert unseal(anew, "other") == signature


@settings(deadline=None)
@given(ANY_TEXT)
def test_what_is_no_seal_is_raw(text):
    assert unseal(text, "gemini") == Signature(text, "gemini")
    broken = SEAL_PREFIX + "?" + text
    assert unseal(broken, "gemini") == Signature(broken, "gemini")


def test_a_signature_is_carried_to_its_provider_or_its_dialect_only():
    target = Target("acme", "m")
    assert carried(Signature("v", "acme"), target, "gemini") == "v"
    assert carried(Signature("v", "gemini"), target, "gemini") == "v"
    assert carried(Signature("v", "other"), target, "gemini") is None
    assert carried(None, target, "gemini") is None


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-0123456789abcdef",
        "sk-ant-api03-0123456789",
        "sk-**********cdef",
        "gsk_0123456789abcdef",
        "AIzaSyA0123456789abcdef",
        "Bearer 0123456789abcdef",
        "api_key=0123456789abcdef",
        '"api_key": "0123456789abcdef"',
        "x-goog-api-key: 0123456789abcdef",
        "Basic dXNlcjpwYXNzd29yZDEyMw==",
    ],
)
def test_keys_are_masked(secret):
    masked = mask_secrets(f"Bad key {secret} given")
    assert "cdef" not in masked
    assert "0123456789" not in masked
    assert "dXNl" not in masked
    assert masked.startswith("Bad key ")
    assert masked.endswith("given")


@pytest.mark.parametrize(
    "text", ["a sketchbook-and-paper task", "basic understanding of it", "max_tokens must be 5"]
)
def test_plain_words_are_not_masked(text):
    assert mask_secrets(text) == text


def test_a_message_is_one_line_and_short():
    assert error_message("a\n  b") == "a b"
    assert len(error_message("x" * 1000)) == 300
