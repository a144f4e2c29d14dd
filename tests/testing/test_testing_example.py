"""Values made from schemas fit them."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from pointsman.testing import example
from pointsman.testing.example import quoted


class Node(BaseModel):
    name: str
    children: list[Node] = Field(default_factory=list)
    next: Node | None


class Wide(BaseModel):
    kind: Literal["a", "b"]
    fixed: Literal[7]
    ratio: Annotated[float, Field(gt=0, lt=1)]
    count: Annotated[int, Field(ge=10, le=20)]
    even: Annotated[int, Field(multiple_of=4, ge=6)]
    below: Annotated[float, Field(lt=-3)]
    text: Annotated[str, Field(min_length=30, max_length=32)]
    pair: tuple[int, str]
    rows: Annotated[list[dict[str, int]], Field(min_length=2, max_length=3)]
    maybe: int | None = None
    union: list[str] | int
    flag: bool
    nothing: None


@pytest.mark.parametrize("model", [Wide, Node])
@pytest.mark.parametrize("hint", ["", "take 3, -4.5 and 1000000", "'x' and \"y\" 2 2 2 2"])
def test_a_value_fits_its_schema(model, hint):
    schema = model.model_json_schema()
    model.model_validate(example(schema, hint))
    assert example(schema, hint) == example(schema, hint)


@given(
    low=st.integers(-50, 50),
    span=st.integers(0, 9),
    strict=st.booleans(),
    hint=st.integers(-99, 99),
)
def test_an_integer_is_within_its_bounds(low, span, strict, hint):
    names = ("exclusiveMinimum", "exclusiveMaximum") if strict else ("minimum", "maximum")
    bounds = (low - 1, low + span + 1) if strict else (low, low + span)
    value = example({"type": "integer", **dict(zip(names, bounds, strict=True))}, f"{hint}")
    assert isinstance(value, int) and low <= value <= low + span
    if low <= hint <= low + span:
        assert value == hint


@given(low=st.floats(-9, 9), span=st.floats(0.01, 9), hint=st.floats(-20, 20))
def test_a_number_is_within_its_bounds(low, span, hint):
    schema = {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + span}
    assert low < example(schema, f"{hint:f}") < low + span


def test_the_hints_numbers_and_words_are_used_in_order():
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "who": {"type": "string"},
            "b": {"type": "number"},
            "rest": {"type": "string"},
        },
    }
    value = example(schema, "f(3) of '你好' and 2.5, not gpt-4")
    assert value == {"a": 3, "who": "你好", "b": 2.5, "rest": "example rest"}


def test_quotation_marks_are_not_apostrophes():
    assert quoted("it's 'one' and “two”, the dogs' bone \"three\"") == ["one", "two", "three"]


def test_geminis_upper_case_types_and_refs_with_siblings():
    schema = {
        "type": "OBJECT",
        "properties": {"n": {"$ref": "#/$defs/a~1b", "minimum": 5}},
        "$defs": {"a/b": {"type": "INTEGER"}},
    }
    assert example(schema) == {"n": 5}


def test_all_of_is_merged():
    schema = {
        "allOf": [
            {"properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"b": {"enum": ["x", "y"]}}, "required": ["b"]},
        ]
    }
    assert example(schema) == {"a": 1, "b": "x"}


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "#/gone"}, {"anyOf": [{"$ref": "#"}]}])
def test_a_schema_that_leads_nowhere_ends(schema):
    example(schema)
