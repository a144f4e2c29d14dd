"""Calls whose arguments come in pieces: `partialArgs` and `willContinue`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman._sse import Event
from pointsman._stream import accumulate
from pointsman.dialects.base import Target
from pointsman.dialects.gemini import GEMINI
from pointsman.errors import BadAnswer
from pointsman.types import Finished, Signature, Text, ToolCall

TARGET = Target("vertex", "gemini-3-pro")


def event(*parts, finish=None, index=0):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    return {"candidates": [{**candidate, "finishReason": finish} if finish else candidate]}


def call(name=None, *pieces, more=True, **fields):
    body = {**({"name": name} if name else {}), **fields}
    if pieces:
        body["partialArgs"] = list(pieces)
    if more:
        body["willContinue"] = True
    return {"functionCall": body}


def piece(path, **value):
    return {"jsonPath": path, **value}


END = call(more=False)


def read(*bodies):
    reader = GEMINI.stream_reader(TARGET)
    chunks = [chunk for body in bodies for chunk in reader.read(Event("", json.dumps(body)))]
    return [*chunks, *reader.finish()]


def parts(*bodies):
    return accumulate(read(*bodies)).choices[0].parts


def arguments(*pieces):
    bodies = [event(call("f", id="c"))]
    bodies += [event(call(None, each)) for each in pieces]
    (found,) = parts(*bodies, event(END), event(finish="STOP"))
    return json.loads(found.arguments)


def test_a_call_in_pieces_is_one_whole_call():
    chunks = read(
        event({**call("f", id="c"), "thoughtSignature": "c2ln"}),
        event(call(None, piece("$.city", stringValue="Bos", willContinue=True))),
        event(call(None, piece("$.city", stringValue="ton"), piece("$.days", numberValue=3))),
        event(END),
        event(finish="STOP"),
    )
    choice = accumulate(chunks).choices[0]
    expected = ToolCall("c", "f", '{"city":"Boston","days":3}', Signature("c2ln", "vertex"))
    assert choice.parts == (expected,)
    assert chunks[-1] == Finished("tool_calls", 0, "STOP")


def test_every_kind_of_value_at_every_kind_of_path():
    assert arguments(
        piece("$.a.b[0].c", stringValue="x"),
        piece("$.a.b[1]", boolValue=False),
        piece("$['it\\'s']", nullValue="NULL_VALUE"),
        piece('$["d.e"][0]', numberValue=0),
        piece("$.f", structValue={"g": 1}),
        piece("$.h", listValue=[1]),
        piece("$.empty", stringValue=""),
    ) == {
        "a": {"b": [{"c": "x"}, False]},
        "it's": None,
        "d.e": [0],
        "f": {"g": 1},
        "h": [1],
        "empty": "",
    }


def test_calls_in_pieces_count_from_0_beside_whole_ones():
    found = parts(
        event({"functionCall": {"id": "c0", "name": "whole", "args": {"a": 1}}}),
        event(call("f", id="c1")),
        event(call(None, piece("$.a", numberValue=1), more=False)),
        event(call("g", id="c2")),
        event({"text": "between"}),
        event(call("h", id="c3")),  # That g has ended is said by the call after it only.
        event(END),
        event(finish="STOP"),
    )
    assert [(each.id, each.arguments) for each in found if isinstance(each, ToolCall)] == [
        ("c0", '{"a":1}'),
        ("c1", '{"a":1}'),
        ("c2", "{}"),
        ("c3", "{}"),
    ]
    assert Text("between") in found


def test_candidates_grow_their_calls_apart():
    chunks = read(
        event(call("f", id="a"), index=0),
        event(call("f", id="b"), index=1),
        event(call(None, piece("$.x", stringValue="1")), index=1),
        event(call(None, piece("$.x", stringValue="0")), index=0),
        event(END, finish="STOP", index=0),
        event(END, finish="STOP", index=1),
    )
    assert [choice.parts for choice in accumulate(chunks).choices] == [
        (ToolCall("a", "f", '{"x":"0"}'),),
        (ToolCall("b", "f", '{"x":"1"}'),),
    ]


def test_a_call_that_the_limit_cut_off_is_none():
    cut = [event(call("f", id="c")), event(call(None, piece("$.a", stringValue="x")))]
    choice = accumulate(read(*cut, event(finish="MAX_TOKENS"))).choices[0]
    assert (choice.parts, choice.finish_reason) == ((), "length")
    choice = accumulate(read(*cut, event(finish="STOP"))).choices[0]
    assert (choice.parts, choice.finish_reason) == (
        (ToolCall("c", "f", '{"a":"x"}'),),
        "tool_calls",
    )


@pytest.mark.parametrize(
    "path",
    ["", "$", "a", "$.", "$..a", "$.a[", "$.a[x]", "$.a[1]", "$[0]", "$.s.t", "$.a b]", "$" + ".a" * 65],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_named(path):
    with pytest.raises(BadAnswer, match="argument"):
        arguments(piece("$.s", stringValue="x"), piece(path, numberValue=1))


@pytest.mark.parametrize("odd", [None, 5, [], {}, "x", [None], [5], [{}], [{"jsonPath": 5}]])
def test_odd_pieces_give_only_named_errors(odd):
    body = {"functionCall": {"name": "f", "partialArgs": odd, "willContinue": True}}
    try:
        read(event(body), event(END), event(finish="STOP"))
    except BadAnswer:
        pass


KEYS = st.text("ab.[]'\"\\ é", min_size=1, max_size=4)
VALUES = st.recursive(
    st.text(max_size=6) | st.integers(-5, 5) | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)


def quoted(key):
    return "['" + key.replace("\\", "\\\\").replace("'", "\\'") + "']"


def pieces_of(value, path):
    """The value as Vertex AI would send it, its strings one character at a time."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from pieces_of(inner, path + quoted(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from pieces_of(inner, f"{path}[{index}]")
    elif isinstance(value, str):
        for letter in value or [""]:
            yield piece(path, stringValue=letter)
    elif isinstance(value, bool):
        yield piece(path, boolValue=value)
    elif value is None:
        yield piece(path, nullValue="NULL_VALUE")
    else:
        yield piece(path, numberValue=value)


@settings(deadline=None, max_examples=60)
@given(value=st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_arguments_come_through_in_pieces(value):
    assert arguments(*pieces_of(value, "$")) == value
