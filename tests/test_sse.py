"""The parser must not care where the bytes are cut, nor how lines end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman._sse import Event, EventTooLarge, Parser, frame

TEXTS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
EVENTS = st.lists(
    st.tuples(TEXTS.map(str.strip), st.lists(TEXTS, min_size=1, max_size=3)), max_size=6
)


def serialise(events: list[tuple[str, list[str]]], end: str) -> bytes:
    lines: list[str] = []
    for name, data in events:
        if name:
            lines.append(f"event: {name}")
        lines.append(": a comment")
        lines += [f"data: {line}" for line in data]
        lines.append("")
    return end.join([*lines, ""]).encode()


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(1, 7), max_size=60))
def test_events_survive_any_chunk_boundary(events, end, cuts):
    data = serialise(events, end)
    expected = [Event(name, "\n".join(lines)) for name, lines in events]
    parser = Parser()
    found = []
    position = 0
    for size in cuts:
        found += parser.feed(data[position : position + size])
        position += size
    found += parser.feed(data[position:])
    assert found == expected


def test_one_byte_at_a_time_with_a_byte_order_mark():
    data = b"\xef\xbb\xbfdata: h\xc3\xa9\r\ndata:x\r\n\r\ndata: last\r\n\r\n"
    parser = Parser()
    found = [event for i in range(len(data)) for event in parser.feed(data[i : i + 1])]
    assert found == [Event("", "hé\nx"), Event("", "last")]


def test_an_unfinished_event_is_dropped():
    assert list(Parser().feed(b"data: a\n\ndata: b")) == [Event("", "a")]


def test_an_event_without_data_is_dropped_and_its_name_forgotten():
    assert list(Parser().feed(b"event: ping\n\ndata: a\n\n")) == [Event("", "a")]


def test_other_fields_are_ignored():
    assert list(Parser().feed(b"id: 1\nretry: 5\nnonsense\ndata: a\n\n")) == [Event("", "a")]


def test_an_event_over_the_limit_is_refused_whether_in_one_line_or_many():
    with pytest.raises(EventTooLarge):
        list(Parser(max_event_bytes=100).feed(b"data: " + b"x" * 200))
    with pytest.raises(EventTooLarge):
        list(Parser(max_event_bytes=100).feed(b"data: 12345678\n" * 20))


def test_frame_is_read_back():
    assert list(Parser().feed(frame(b"{}", "a") + frame(b"1"))) == [
        Event("a", "{}"),
        Event("", "1"),
    ]
