"""An answer's features, the checks of its form, and the verifier over them."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_kit import ASKED, sure, verifier

from pointsman.errors import RouteError
from pointsman.router.answer import (
    FEATURES,
    agreement,
    answer_features,
    final_answer,
    format_ok,
    refuses,
)
from pointsman.router.schema import fits
from pointsman.router.steps import Attempt
from pointsman.router.verify import (
    default_verifier,
    load_verifier,
    read_verifier,
    train_verifier,
    write_verifier,
)
from pointsman.types import ResponseFormat, TokenLogprob, Tool, ToolCall, Usage

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
AS_SCHEMA = msgspec.structs.replace(
    ASKED, response_format=ResponseFormat(kind="json_schema", schema=SCHEMA)
)
WITH_TOOL = msgspec.structs.replace(ASKED, tools=(Tool("weather", parameters=SCHEMA),))


def features(attempt: Attempt, chat=ASKED, **more) -> dict[str, float]:
    return dict(zip(FEATURES, answer_features(attempt, chat, 0.5, **more), strict=True))


def test_what_cannot_be_had_has_a_flag_and_stands_at_zero():
    found = features(Attempt("", text="42"))
    for name in ("has_logprobs", "mean_logprob", "min_logprob", "has_agreement", "agreement"):
        assert found[name] == 0.0
    assert found["prior"] == 0.5


def test_likelihoods_are_bounded_whatever_an_upstream_writes():
    odd = (-9999.0, float("-inf"), float("nan"), 0.7, -0.5)
    tokens = tuple(TokenLogprob("x", value) for value in odd)
    found = features(Attempt("", text="x", logprobs=tokens))
    assert found["has_logprobs"] == 1.0
    assert found["min_logprob"] == -10.0
    assert found["mean_logprob"] == pytest.approx(-30.5 / 5)
    assert found["low_share"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("attempt", "name"),
    [
        (Attempt("", text="  "), "empty"),
        (Attempt("", text="a", finish_reason="length"), "truncated"),
        (Attempt("", text="I'm sorry, but I can't help with that."), "refused"),
        (Attempt("", refusal="No."), "refused"),
        (Attempt("", text="Es tut mir leid, ich kann dabei nicht helfen."), "refused"),
        (Attempt("", text="a", finish_reason="content_filter"), "filtered"),
        (Attempt("", text="the cat sat on " * 20), "repeated"),
        (Attempt("", text="I think it is 3"), "hedged"),
        (Attempt("", text="half an", whole=False), "head"),
    ],
)
def test_signs_against_an_answer(attempt, name):
    assert features(attempt)[name] > 0.0
    assert features(sure("The capital of France is Paris."))[name] == 0.0


def test_a_long_answer_that_begins_with_regret_is_no_refusal():
    assert refuses("Sorry, but I can't do that.")
    assert not refuses("Sorry, but I can't do that. " + "Here is how it works instead. " * 30)
    assert not refuses("I can see why: it is 4.")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('{"city": "Oslo", "days": 3}', True),
        ('```json\n{"city": "Oslo"}\n```', True),
        ('{"city": 3}', False),
        ('{"days": 3}', False),
        ('{"city": "Oslo", "more": 1}', False),
        ("Oslo", False),
        ("[" * 100_000, False),
        ('{"city": "\ud800"}', False),
    ],
)
def test_the_form_that_was_asked_for(text, good):
    assert format_ok(text, AS_SCHEMA) is good
    found = features(Attempt("", text=text), AS_SCHEMA)
    assert (found["format_asked"], found["format_wrong"]) == (1.0, float(not good))


def test_the_form_of_a_streams_head_is_not_judged():
    assert features(Attempt("", text='{"ci', whole=False), AS_SCHEMA)["format_wrong"] == 0.0


@pytest.mark.parametrize(
    ("name", "arguments", "wrong"),
    [
        ("weather", '{"city": "Oslo"}', 0.0),
        ("weather", '{"town": "Oslo"}', 1.0),
        ("weather", "{broken", 1.0),
        ("weather", "[]", 1.0),
        ("other", "{}", 1.0),
    ],
)
def test_a_call_fits_its_tool(name, arguments, wrong):
    attempt = Attempt("", tool_calls=(ToolCall("1", name, arguments),))
    found = features(attempt, WITH_TOOL)
    assert (found["called"], found["call_wrong"], found["empty"]) == (1.0, wrong, 0.0)


def test_tokens_come_from_the_usage_else_from_the_length():
    counted = features(Attempt("", text="a", usage=Usage(1, 99)))["log_tokens"]
    assert counted == pytest.approx(4.60517, abs=1e-4)
    assert features(Attempt("", text="a" * 396))["log_tokens"] == pytest.approx(counted)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It follows.\n**B**", "B"),
        ("Answer: (c)", "C"),
        ("So 1,200 + 34 = 1,234.", "1234"),
        ("Yes, it is.", "yes it is"),
    ],
)
def test_what_an_answer_comes_to(text, answer):
    assert final_answer(text) == answer


def test_agreement_is_of_the_first_with_the_rest():
    assert agreement(["so 4", "it is 4", "4"]) == 1.0
    assert agreement(["so 4", "no 5"]) < 0.5
    assert agreement(["alone"]) == 1.0


@given(st.text(max_size=300), st.lists(st.floats(), max_size=20), st.booleans())
def test_features_of_anything_are_finite_numbers(text, values, whole):
    tokens = tuple(TokenLogprob("x", value) for value in values)
    found = features(Attempt("", text=text, logprobs=tokens, whole=whole), AS_SCHEMA)
    assert all(abs(value) <= 20 for value in found.values())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
KEYWORDS = st.sampled_from(
    ["type", "enum", "const", "required", "properties", "items", "anyOf", "allOf", "$ref"]
)


@given(json_values, st.dictionaries(KEYWORDS, json_values, max_size=4))
def test_no_schema_and_no_value_breaks_the_check(value, schema):
    assert fits(value, schema) in (True, False)


def test_a_schema_that_names_itself_ends():
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert fits({}, loop) is True
    wide = {"anyOf": [{"$ref": "#"}] * 50, "type": "object"}
    assert fits({}, wide) is True
    assert fits(10**400, {"type": "integer"}) is True


# The verifier


def rows(count: int = 400):
    draw = random.Random(3)
    found, good = [], []
    for _ in range(count):
        right = draw.random() < 0.6
        logprob = draw.gauss(-0.3 if right else -1.0, 0.4)
        found.append(
            answer_features(sure("The answer is 4", logprob=min(logprob, 0.0)), ASKED, 0.0)
        )
        good.append(right)
    return found, good


def test_a_verifier_learns_to_tell_answers_apart_and_is_calibrated(tmp_path):
    x, y = rows()
    found = train_verifier(x, y, source="a test", date="2026-11-24")
    p = [found.p_good(row) for row in x]
    assert sum(p) / len(p) == pytest.approx(sum(y) / len(y), abs=0.01)
    likely = [good for value, good in zip(p, y, strict=True) if value > 0.8]
    unlikely = [good for value, good in zip(p, y, strict=True) if value < 0.4]
    assert sum(likely) / len(likely) > 0.75 > 0.5 > sum(unlikely) / len(unlikely)
    assert found.weights[FEATURES.index("refused")] == 0.0
    assert load_verifier(msgspec.json.encode(found), "again") == found
    write_verifier(tmp_path / "v.json", found)
    assert read_verifier(tmp_path / "v.json") == found
    with pytest.raises(RouteError, match="cannot be written"):
        write_verifier(tmp_path / "no" / "v.json", found)


def test_it_says_what_speaks_for_an_answer_and_what_against_it():
    values = answer_features(sure("I'm sorry, but I can't.", logprob=-1.0), ASKED, 2.0)
    told = verifier(refused=-1.0, prior=1.0, mean_logprob=0.5)
    assert told.why(values, good=True) == "prior for it"
    assert told.why(values, good=False) == "refused against it"
    assert verifier(prior=1.0).why(values, good=False) == "nothing in particular"


@pytest.mark.parametrize(
    ("x", "y"), [([], []), (rows(60)[0], [True] * 60), ([[1.0]] * 60, [True, False] * 30)]
)
def test_a_verifier_is_not_fitted_to_nothing(x, y):
    with pytest.raises(RouteError):
        train_verifier(x, y, source="a test", date="2026-11-24")


def test_the_shipped_verifier_can_be_read():
    assert 0.0 <= default_verifier().p_good(answer_features(sure(), ASKED, 0.0)) <= 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"features": ["prior"]},
        {"weights": [0.0]},
        {"scales": [0.0] * len(FEATURES)},
        {"bias": 1e9},
        {"bias": "x"},
    ],
)
def test_a_file_that_is_no_verifier_is_refused(change, tmp_path):
    tree = json.loads(msgspec.json.encode(verifier())) | change
    file = tmp_path / "v.json"
    file.write_text(json.dumps(tree))
    with pytest.raises(RouteError, match=r"v\.json"):
        read_verifier(file)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path):
    with pytest.raises(RouteError, match="cannot be read"):
        read_verifier(tmp_path / "none.json")
    with pytest.raises(RouteError, match="over"):
        load_verifier(b" " * 100_000, "large")
