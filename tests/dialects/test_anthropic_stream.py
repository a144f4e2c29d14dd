"""Anthropic's stream, read and written."""

from __future__ import annotations

import json

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pointsman._sse import Event, Parser
from pointsman._stream import accumulate, explode
from pointsman.dialects._shared import seal
from pointsman.dialects.anthropic import ANTHROPIC
from pointsman.dialects.anthropic.blocks import UNSIGNED
from pointsman.dialects.base import Target
from pointsman.errors import BadAnswer, ProviderError, StreamCut
from pointsman.types import (
    Chat,
    Choice,
    Completion,
    Finished,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
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

TARGET = Target("anthropic", "claude")
CHAT = Chat(model="m", messages=(), dialect="anthropic")


def start(**usage):
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1, **usage},
    }
    return {"type": "message_start", "message": message}


def opened(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, **fields):
    return {"type": "content_block_delta", "index": index, "delta": fields}


def closed(index):
    return {"type": "content_block_stop", "index": index}


def ended(reason="end_turn", sequence=None, **usage):
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": sequence},
        "usage": {"output_tokens": 7, **usage},
    }


STOP = {"type": "message_stop"}


def read(*bodies, target=TARGET):
    reader = ANTHROPIC.stream_reader(target)
    chunks = []
    for body in bodies:
        chunks += reader.read(Event(body["type"], json.dumps(body)))
    return chunks + reader.finish()


# Read


def test_a_text_is_read():
    assert read(
        start(),
        opened(0, type="text", text=""),
        {"type": "ping"},
        delta(0, type="text_delta", text="He"),
        delta(0, type="text_delta", text="y"),
        closed(0),
        ended(),
        STOP,
    ) == [
        Started("msg_1", "claude-x", usage=Usage(9, 1)),
        TextDelta("He"),
        TextDelta("y"),
        Finished("stop", native="end_turn"),
        UsageReported(Usage(9, 7)),
    ]


def test_calls_are_counted_from_nought_whatever_their_block():
    chunks = read(
        start(),
        opened(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="s"),
        closed(0),
        opened(1, type="text", text=""),
        delta(1, type="text_delta", text="so"),
        closed(1),
        opened(2, type="tool_use", id="t1", name="f", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"x"'),
        delta(2, type="input_json_delta", partial_json=": 1}"),
        closed(2),
        opened(3, type="tool_use", id="t2", name="g", input={}),
        closed(3),
        opened(4, type="tool_use", id="t3", name="h", input={"y": 2}),
        closed(4),
        ended("tool_use"),
        STOP,
    )
    assert chunks[1:-2] == [
        ReasoningDelta("hm"),
        ReasoningDelta(signature=Signature("s", "anthropic")),
        TextDelta("so"),
        ToolCallStarted(0, "t1", "f"),
        ToolCallDelta(0, '{"x"'),
        ToolCallDelta(0, ": 1}"),
        ToolCallStarted(1, "t2", "g"),
        ToolCallDelta(1, "{}"),
        ToolCallStarted(2, "t3", "h"),
        ToolCallDelta(2, '{"y":2}'),
    ]
    assert chunks[-2] == Finished("tool_calls", native="tool_use")


def test_thinking_in_all_its_forms():
    parts = accumulate(
        read(
            start(),
            opened(0, type="redacted_thinking", data="dark"),
            closed(0),
            opened(1, type="thinking", thinking="", signature=""),
            delta(1, type="signature_delta", signature="omitted"),
            closed(1),
            opened(2, type="thinking", thinking="whole", signature="given"),
            closed(2),
            ended(),
            STOP,
            target=Target("minimax", "m2"),
        )
    )
    assert parts.choices[0].parts == (
        Reasoning(redacted=Signature("dark", "minimax")),
        Reasoning("", Signature("omitted", "minimax")),
        Reasoning("whole", Signature("given", "minimax")),
    )


def test_counts_are_totals_and_what_is_left_out_stays():
    chunks = read(
        start(cache_read_input_tokens=30, cache_creation_input_tokens=20),
        ended("end_turn", None, cache_read_input_tokens=None, input_tokens=10),
        ended(None, None, output_tokens=11, output_tokens_details={"thinking_tokens": 4}),
        STOP,
    )
    assert chunks[0].usage == Usage(59, 1, 30, 20)
    assert chunks[1:] == [
        Finished("stop", native="end_turn"),
        UsageReported(Usage(60, 11, 30, 20, 4)),
    ]


def test_what_is_unknown_breaks_nothing_and_its_text_is_kept():
    chunks = read(
        start(),
        opened(0, type="server_tool_use", id="s", name="web_search", input={}),
        delta(0, type="input_json_delta", partial_json='{"q": 1}'),
        closed(0),
        opened(1, type="web_search_tool_result", tool_use_id="s", content=[]),
        closed(1),
        opened(2, type="text", text="a"),
        delta(2, type="citations_delta", citation={"type": "char_location"}),
        delta(2, type="text_delta", text="b"),
        closed(2),
        opened(3, type="hologram", text="c"),
        delta(3, type="hologram_delta", text="d"),
        closed(3),
        {"type": "message_novelty"},
        opened(4, type="tool_use", id="t", name="f", input={}),
        closed(4),
        ended("pause_turn"),
        STOP,
        {"type": "content_block_delta"},
    )
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta)) == "abcd"
    assert ToolCallStarted(0, "t", "f") in chunks
    assert Finished("stop", native="pause_turn") in chunks


def test_blocks_left_open_are_ended_with_the_message():
    chunks = read(start(), opened(0, type="tool_use", id="t", name="f", input={}), STOP)
    assert chunks[2:-1] == [ToolCallDelta(0, "{}"), Finished("tool_calls")]


def test_the_kind_may_stand_in_the_events_name_alone():
    reader = ANTHROPIC.stream_reader(TARGET)
    body = {key: value for key, value in start().items() if key != "type"}
    assert reader.read(Event("message_start", json.dumps(body)))


@pytest.mark.parametrize("last", [(), (ended(),)], ids=["no delta", "delta"])
def test_a_stream_without_message_stop_is_cut(last):
    with pytest.raises(StreamCut):
        read(start(), opened(0, type="text", text="x"), *last)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("novel_error", 502),
    ],
)
def test_an_error_in_the_stream(kind, status):
    with pytest.raises(ProviderError, match="Oh") as caught:
        read(start(), {"type": "error", "error": {"type": kind, "message": "Oh"}})
    assert (caught.value.status, caught.value.kind) == (status, kind)


@pytest.mark.parametrize(
    "body",
    [
        opened(0, type="text", text=""),
        delta(0, type="text_delta", text="x"),
        STOP,
        {"type": "message_start"},
    ],
)
def test_a_stream_that_does_not_begin_at_its_beginning(body):
    with pytest.raises(BadAnswer):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        delta(7, type="input_json_delta", partial_json="{"),
        delta(0, type="text_delta", text=None),
        delta(0, type="thinking_delta"),
        opened("x", type="text", text=""),
        opened(0, type="tool_use", name="f", input={}),
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_stop"},
        {"type": "message_delta"},
    ],
)
def test_an_event_that_breaks_the_format(body):
    with pytest.raises(BadAnswer):
        read(start(), body)


@pytest.mark.parametrize("data", ["{", "[]", '"x"', "\ud800"])
def test_data_that_is_no_object(data):
    with pytest.raises(BadAnswer):
        ANTHROPIC.stream_reader(TARGET).read(Event("message_start", data))


# Written


def written(*chunks, finish=True):
    writer = ANTHROPIC.stream_writer(CHAT)
    data = b"".join(writer.write(chunk) for chunk in chunks)
    if finish:
        data += writer.finish()
    bodies = []
    for event in Parser().feed(data):
        body = json.loads(event.data)
        assert event.event == body["type"]
        bodies.append(body)
    return bodies


BEGIN = Started("id", "m", usage=Usage(50, 1, 30, 10))


def test_a_text_is_written_in_anthropics_order():
    assert written(
        BEGIN,
        TextDelta("He"),
        TextDelta(""),
        TextDelta("y"),
        Finished("stop", native="stop"),
        UsageReported(Usage(50, 8, 30, 10, 3)),
    ) == [
        {
            "type": "message_start",
            "message": {
                "id": "id",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 10,
                    "cache_creation_input_tokens": 10,
                    "cache_read_input_tokens": 30,
                    "output_tokens": 1,
                },
            },
        },
        opened(0, type="text", text=""),
        delta(0, type="text_delta", text="He"),
        delta(0, type="text_delta", text="y"),
        closed(0),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 10,
                "cache_read_input_tokens": 30,
                "output_tokens": 8,
                "output_tokens_details": {"thinking_tokens": 3},
            },
        },
        STOP,
    ]


def test_each_block_is_closed_before_the_next():
    other = Signature("sig", "google")
    assert written(
        Started("id", "m"),
        ReasoningDelta("hm"),
        ReasoningDelta(signature=other),
        ReasoningDelta("more"),
        ReasoningDelta(redacted=Signature("dark", "anthropic")),
        TextDelta("a"),
        RefusalDelta("b"),
        ToolCallStarted(0, "t1", "f"),
        ToolCallDelta(0, '{"x":'),
        ToolCallDelta(0, "1}"),
        ToolCallStarted(1, "t2", "g"),
        Finished("tool_calls"),
    )[1:-2] == [
        opened(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature=seal(other)),
        closed(0),
        opened(1, type="thinking", thinking="", signature=""),
        delta(1, type="thinking_delta", thinking="more"),
        delta(1, type="signature_delta", signature=UNSIGNED),
        closed(1),
        opened(2, type="redacted_thinking", data="dark"),
        closed(2),
        opened(3, type="text", text=""),
        delta(3, type="text_delta", text="a"),
        delta(3, type="text_delta", text="b"),
        closed(3),
        opened(4, type="tool_use", id="t1", name="f", input={}),
        delta(4, type="input_json_delta", partial_json='{"x":'),
        delta(4, type="input_json_delta", partial_json="1}"),
        closed(4),
        opened(5, type="tool_use", id="t2", name="g", input={}),
        delta(5, type="input_json_delta", partial_json="{}"),
        closed(5),
    ]


def test_mixed_fragments_of_several_calls_are_put_in_order():
    bodies = written(
        Started("id", "m"),
        ToolCallStarted(0, "t1", "f"),
        ToolCallStarted(1, "t2", "g"),
        ToolCallDelta(1, '{"b":'),
        ToolCallDelta(0, '{"a":'),
        TextDelta("late"),
        ToolCallDelta(1, "2}"),
        ToolCallDelta(0, "1}"),
        Finished("tool_calls"),
    )
    assert bodies[1:-2] == [
        opened(0, type="tool_use", id="t1", name="f", input={}),
        delta(0, type="input_json_delta", partial_json='{"a":'),
        delta(0, type="input_json_delta", partial_json="1}"),
        closed(0),
        opened(1, type="tool_use", id="t2", name="g", input={}),
        delta(1, type="input_json_delta", partial_json='{"b":'),
        delta(1, type="input_json_delta", partial_json="2}"),
        closed(1),
        opened(2, type="text", text=""),
        delta(2, type="text_delta", text="late"),
        closed(2),
    ]


def test_a_fragment_for_a_call_that_is_complete_is_not_swallowed():
    with pytest.raises(BadAnswer):
        written(
            Started("id", "m"),
            ToolCallStarted(0, "t1", "f"),
            ToolCallDelta(0, "{}"),
            TextDelta("x"),
            ToolCallDelta(0, '{"x": 1}'),
        )


def test_a_refusal_set_apart_is_its_own_reason():
    bodies = written(Started("id", "m"), RefusalDelta("No."), Finished("stop", native="stop"))
    assert bodies[-2]["delta"]["stop_reason"] == "refusal"


def test_an_empty_answer_and_one_that_never_began_are_whole_messages():
    for chunks in ((), (Started("id", "m"), Finished("stop"))):
        assert [body["type"] for body in written(*chunks)] == [
            "message_start",
            "message_delta",
            "message_stop",
        ]


def test_other_choices_are_left_out():
    bodies = written(Started("id", "m"), TextDelta("a"), TextDelta("b", 1), Finished("length", 1))
    assert [body["delta"].get("text") for body in bodies if "delta" in body] == ["a", None]
    assert bodies[-2]["delta"]["stop_reason"] == "end_turn"


def test_a_failure_is_an_error_event_and_no_end():
    writer = ANTHROPIC.stream_writer(CHAT)
    writer.write(Started("id", "m"))
    writer.write(TextDelta("a"))
    (event,) = Parser().feed(writer.fail(StreamCut("cut", provider="p")))
    assert event.event == "error"
    assert json.loads(event.data) == {
        "type": "error",
        "error": {"type": "api_error", "message": "cut"},
    }


# Both


EVENTS = TypeAdapter(RawMessageStreamEvent)
SIGNATURES = st.builds(
    Signature, st.text(min_size=1, max_size=8), st.sampled_from(("anthropic", "google"))
)
TEXTS = st.text(min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(TEXTS, st.integers() | TEXTS | st.none(), max_size=2).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
)
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Reasoning, st.text(max_size=8), SIGNATURES),
    st.builds(lambda value: Reasoning(redacted=value), SIGNATURES),
    st.builds(ToolCall, TEXTS, TEXTS, ARGUMENTS),
)
ANSWERS = st.builds(
    lambda parts, usage, finish: Completion(
        "id", "m", (Choice(tuple(parts), finish[0], native_finish=finish[1]),), usage
    ),
    st.lists(PARTS, max_size=6),
    st.builds(
        lambda fresh, out, cached, made: Usage(fresh + cached + made, out, cached, made, out // 2),
        *[st.integers(0, 99)] * 4,
    ),
    st.sampled_from((("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"))),
)


def _unsealed(completion):
    """The client sends signatures back as they came: sealed ones are opened then."""
    body = ANTHROPIC.write_completion(completion, CHAT)
    chat = {"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", **body}]}
    messages = ANTHROPIC.read_chat(chat).messages
    return messages[0].parts if messages else ()


@settings(deadline=None)
@given(ANSWERS)
def test_a_stream_adds_up_to_the_whole_answer(answer):
    writer = ANTHROPIC.stream_writer(CHAT)
    data = b"".join(writer.write(chunk) for chunk in explode(answer)) + writer.finish()
    reader = ANTHROPIC.stream_reader(TARGET)
    chunks = [chunk for event in Parser().feed(data) for chunk in reader.read(event)]
    streamed = accumulate(chunks + reader.finish())
    whole = ANTHROPIC.read_completion(ANTHROPIC.write_completion(answer, CHAT), TARGET)
    assert streamed == whole
    assert whole.usage == answer.usage


@settings(deadline=None)
@given(ANSWERS)
def test_what_a_client_sends_back_is_what_was_answered(answer):
    assert _unsealed(answer) == answer.choices[0].parts


@settings(deadline=None, max_examples=40)
@given(ANSWERS)
def test_the_official_client_reads_the_same_from_both_forms(answer):
    writer = ANTHROPIC.stream_writer(CHAT)
    data = b"".join(writer.write(chunk) for chunk in explode(answer)) + writer.finish()
    snapshot, buffers = None, {}
    for event in Parser().feed(data):
        if event.event == "message_stop":
            continue
        body = EVENTS.validate_json(event.data)
        snapshot = accumulate_event(event=body, current_snapshot=snapshot, json_bufs=buffers)
    whole = Message.model_validate(ANTHROPIC.write_completion(answer, CHAT))
    streamed, plain = (each.model_dump(exclude_none=True) for each in (snapshot, whole))
    # A stream's neighbouring texts are one block.
    assert _joined(streamed.pop("content")) == _joined(plain.pop("content"))
    assert streamed == plain


def _joined(blocks):
    out = []
    for block in blocks:
        if out and block["type"] == "text" == out[-1]["type"]:
            out[-1] = {**out[-1], "text": out[-1]["text"] + block["text"]}
        else:
            out.append(block)
    return out
