from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman._stream import accumulate, explode
from pointsman.types import (
    Choice,
    Completion,
    Finished,
    Reasoning,
    ReasoningDelta,
    Signature,
    Started,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

SIGNATURES = st.builds(Signature, st.text(min_size=1, max_size=5), st.just("anthropic"))
WORDS = st.text(min_size=1, max_size=8)
PARTS = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Reasoning, WORDS, SIGNATURES),
    st.builds(lambda s: Reasoning(redacted=s), SIGNATURES),
    st.builds(ToolCall, WORDS, WORDS, st.just('{"a":1}'), st.none() | SIGNATURES),
)


def no_two_texts(parts):
    """Adjacent texts are one text in a stream: nothing marks where one ends."""
    kept = []
    for part in parts:
        if not (kept and isinstance(part, Text) and isinstance(kept[-1], Text)):
            kept.append(part)
    return tuple(kept)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(PARTS, min_size=1, max_size=6).map(no_two_texts), min_size=1, max_size=3))
def test_a_completion_survives_its_stream(choices):
    completion = Completion(
        "id",
        "model",
        tuple(Choice(parts, "stop", i, "end_turn") for i, parts in enumerate(choices)),
        Usage(1, 2),
        7,
    )
    assert accumulate(explode(completion)) == completion


def test_interleaved_tool_calls_keep_their_arguments_apart():
    completion = accumulate(
        [
            Started("i", "m"),
            ToolCallStarted(0, "a", "f"),
            ToolCallStarted(1, "b", "g"),
            ToolCallDelta(1, '{"y"'),
            ToolCallDelta(0, '{"x":1}'),
            ToolCallDelta(1, ":2}"),
            Finished("tool_calls"),
        ]
    )
    assert completion.tool_calls == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", '{"y":2}'))


def test_a_signature_ends_its_reasoning_part_and_no_arguments_are_an_empty_object():
    signature = Signature("s", "anthropic")
    completion = accumulate(
        [
            ReasoningDelta("one "),
            ReasoningDelta("two"),
            ReasoningDelta(signature=signature),
            ReasoningDelta("three"),
            TextDelta("a"),
            TextDelta(""),
            ToolCallStarted(0, "a", "f"),
            UsageReported(Usage(1, 1)),
            UsageReported(Usage(1, 5)),
        ]
    )
    assert completion.choices[0].parts == (
        Reasoning("one two", signature),
        Reasoning("three"),
        Text("a"),
        ToolCall("a", "f", "{}"),
    )
    assert completion.usage == Usage(1, 5)
