from __future__ import annotations

import pytest

from pointsman._stream import explode
from pointsman.recall import Outline, Recall
from pointsman.types import (
    Chat,
    Choice,
    Completion,
    Message,
    Reasoning,
    Signature,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
)

SIGNED = Reasoning("hm", Signature("s1", "anthropic"))
SEALED = Reasoning(redacted=Signature("r1", "anthropic"))


def answer(*parts):
    return Completion("i", "m", (Choice(parts, "tool_calls"),))


def chat(*parts):
    return Chat(
        model="m",
        messages=(
            Message("user", (Text("q"),)),
            Message("assistant", parts),
            Message("tool", (ToolResult("c1"),)),
        ),
    )


ONE, TWO = ToolCall("c1", "f"), ToolCall("c2", "g")


@pytest.mark.parametrize(
    ("said", "carried"),
    [
        # Anthropic refuses a turn that thought and begins with something else.
        ((SIGNED, SEALED, Text("so"), ONE, TWO), (Text("so"), ONE, TWO)),
        ((Text("so"), SIGNED, SEALED, ONE, TWO), (Text("so"), ONE, TWO)),
        ((SIGNED, Text("so"), SEALED, ONE, TWO), (Text("so"), ONE, TWO)),
        ((SIGNED, Text("so"), ONE, SEALED, TWO), (Text("so"), ONE, TWO)),
        ((SIGNED, Text("so"), ONE, SEALED, TWO), (Reasoning("hm"), Text("so"), ONE, TWO)),
    ],
)
def test_signed_thoughts_come_back_where_they_stood(said, carried):
    recall = Recall()
    recall.remember(answer(*said))
    assert recall.restore(chat(*carried)).messages[1].parts == said


def test_an_outline_keeps_places_and_not_the_text():
    outline = Outline()
    said = (SIGNED, Text("so " * 1000), SEALED, ONE, Text("and"), TWO)
    for chunk in explode(answer(*said)):
        pieces = (
            [TextDelta(word) for word in chunk.text.split()]
            if type(chunk) is TextDelta
            else [chunk]
        )
        for piece in pieces:
            outline.feed(piece)
    assert outline.completion().choices[0].parts == (
        SIGNED,
        Text("so"),
        SEALED,
        ONE,
        Text("and"),
        TWO,
    )


def test_unsigned_copies_make_way_and_signed_ones_stay():
    recall = Recall()
    recall.remember(answer(SIGNED, ToolCall("c1", "f")))
    assert recall.restore(chat(Reasoning("hm"), ToolCall("c1", "f"))).messages[1].parts == (
        SIGNED,
        ToolCall("c1", "f"),
    )
    carried = chat(SIGNED, ToolCall("c1", "f"))
    assert recall.restore(carried) == carried


def test_a_calls_own_signature_is_put_back():
    recall = Recall()
    signature = Signature("g1", "gemini")
    recall.remember(answer(ToolCall("c1", "f", signature=signature)))
    part = recall.restore(chat(ToolCall("c1", "f"))).messages[1].parts[0]
    assert part == ToolCall("c1", "f", signature=signature)


def test_unknown_calls_are_left_alone_and_memory_is_bounded():
    recall = Recall(max_bytes=1000)
    for number in range(50):
        recall.remember(
            answer(Reasoning("x" * 90, Signature("s", "a")), ToolCall(f"c{number}", "f"))
        )
    assert recall.restore(chat(ToolCall("c0", "f"))) == chat(ToolCall("c0", "f"))
    assert recall.restore(chat(ToolCall("c49", "f"))) != chat(ToolCall("c49", "f"))
