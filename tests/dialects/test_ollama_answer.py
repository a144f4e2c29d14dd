"""Ollama's answers: whole and streamed alike, with their times, and an error that never looks done."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman._stream import explode
from pointsman.dialects.ollama import Ollama
from pointsman.dialects.ollama.answer import Stopwatch, rfc3339
from pointsman.errors import BadAnswer, ProviderError, UnknownModel
from pointsman.types import (
    Chat,
    Choice,
    Completion,
    Finished,
    Reasoning,
    Refusal,
    Text,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)

CHAT = Chat(model="asked:latest", messages=(), dialect="ollama")
LOGPROB = TokenLogprob("A", -0.5, (65,), (TokenLogprob("A", -0.5), TokenLogprob("B", -1.0)))


def ticking(step_ns=1000):
    """A clock that is asked for the time and goes on by a step each time."""
    return Stopwatch(itertools.count(1_700_000_000_000_000_000, step_ns).__next__)


def completion(*parts, finish="stop", **fields):
    return Completion("id", "theirs", (Choice(parts, finish, **fields),), Usage(3, 5))


def whole(answer, form="chat"):
    return json.loads(json.dumps(Ollama(form, ticking()).write_completion(answer, CHAT)))


def lines(answer, form="chat"):
    writer = Ollama(form, ticking()).stream_writer(CHAT)
    data = b"".join(map(writer.write, explode(answer))) + writer.finish()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_a_time_is_written_as_go_writes_it():
    assert rfc3339(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"


def test_a_whole_chat():
    body = whole(completion(Reasoning("hm"), Text("A"), Text("B")))
    assert body["model"] == "asked:latest"
    assert body["message"] == {"role": "assistant", "content": "AB", "thinking": "hm"}
    assert (body["done"], body["done_reason"]) == (True, "stop")
    assert (body["prompt_eval_count"], body["eval_count"]) == (3, 5)
    assert body["total_duration"] >= body["eval_duration"] > 0
    assert body["load_duration"] == 0


def test_a_whole_text():
    body = whole(completion(Reasoning("hm"), Refusal("no"), finish="length"), "generate")
    assert (body["response"], body["thinking"], body["done_reason"]) == ("no", "hm", "length")
    assert "message" not in body


def test_calls_have_objects_as_arguments():
    calls = (ToolCall("c1", "f", '{"x": 1}'), ToolCall("c2", "g"))
    body = whole(completion(*calls, finish="tool_calls"))
    assert body["message"]["tool_calls"] == [
        {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
        {"id": "c2", "function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    assert body["done_reason"] == "stop"


@pytest.mark.parametrize("finish", ["tool_calls", "length"])
def test_a_call_that_is_no_object_is_a_fault_unless_the_answer_was_cut(finish):
    answer = completion(ToolCall("c1", "f", '{"x'), finish=finish)
    if finish == "length":
        assert whole(answer)["message"]["tool_calls"] == []
        assert lines(answer)[-1]["done_reason"] == "length"
        return
    with pytest.raises(BadAnswer, match="'f'"):
        whole(answer)
    with pytest.raises(BadAnswer, match="'f'"):
        lines(answer)


def test_what_was_filtered_does_not_look_whole():
    assert whole(completion(finish="content_filter"))["done_reason"] == "content_filter"


def test_log_probabilities():
    (logprob,) = whole(completion(Text("A"), logprobs=(LOGPROB,)))["logprobs"]
    assert logprob == {
        "token": "A",
        "logprob": -0.5,
        "bytes": [65],
        "top_logprobs": [{"token": "A", "logprob": -0.5}, {"token": "B", "logprob": -1.0}],
    }
    assert lines(completion(Text("A"), logprobs=(LOGPROB,)))[0]["logprobs"] == [logprob]


# Streams

TEXTS = st.text(min_size=1, max_size=5)
ARGUMENTS = st.dictionaries(st.text("ab", max_size=2), st.integers(), max_size=2).map(json.dumps)
PARTS = st.lists(
    TEXTS.map(Text) | TEXTS.map(Reasoning) | ARGUMENTS.map(lambda text: ToolCall("c", "f", text)),
    max_size=5,
)


@given(parts=PARTS, form=st.sampled_from(["chat", "generate"]))
def test_a_stream_adds_up_to_the_whole_answer(parts, form):
    if form == "generate":
        parts = [part for part in parts if not isinstance(part, ToolCall)]
    answer = completion(*parts)
    expected, found = whole(answer, form), lines(answer, form)
    *pieces, last = found
    assert [line["done"] for line in found] == [False] * len(pieces) + [True]
    where = [line["message"] if form == "chat" else line for line in found]
    text = "content" if form == "chat" else "response"
    target = expected["message"] if form == "chat" else expected
    assert "".join(each[text] for each in where) == target[text]
    assert "".join(each.get("thinking", "") for each in where) == target.get("thinking", "")
    calls = [call for each in where for call in each.get("tool_calls", ())]
    assert calls == target.get("tool_calls", [])
    assert (last["prompt_eval_count"], last["eval_count"]) == (3, 5)
    assert last["done_reason"] == expected["done_reason"]


def test_calls_whose_fragments_are_mixed():
    writer = Ollama("chat", ticking()).stream_writer(CHAT)
    chunks = [
        ToolCallStarted(0, "a", "f"),
        ToolCallStarted(1, "b", "g"),
        ToolCallDelta(0, '{"x"'),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, ":1}"),
        Finished("tool_calls"),
    ]
    data = b"".join(map(writer.write, chunks))
    (line,) = map(json.loads, data.splitlines())
    arguments = [call["function"]["arguments"] for call in line["message"]["tool_calls"]]
    assert arguments == [{"x": 1}, {}]


def test_only_the_first_choice_is_told():
    writer = Ollama("chat", ticking()).stream_writer(CHAT)
    assert writer.write(TextDelta("B", choice=1)) == b""


def test_an_error_is_the_last_line_and_nothing_says_done():
    writer = Ollama("chat", ticking()).stream_writer(CHAT)
    data = writer.write(TextDelta("A")) + writer.fail(
        ProviderError("it broke", provider="p", status=502)
    )
    *_, last = map(json.loads, data.splitlines())
    assert last == {"error": "it broke"}
    assert b'"done":true' not in data


# Times


def test_the_times_of_a_stream_are_those_of_its_pieces():
    clock = iter([0, 10_000, 50_000, 60_000, 90_000, 95_000, 99_000, 99_000])
    watch = Stopwatch(clock.__next__)
    watch.loaded()
    watch.said()
    watch.said()
    watch.said()
    assert watch.metrics(Usage(3, 5)) == {
        "total_duration": 95_000,
        "load_duration": 10_000,
        "prompt_eval_count": 3,
        "prompt_eval_duration": 40_000,
        "eval_count": 5,
        "eval_duration": 40_000,
    }


def test_the_engines_own_times_go_before():
    found = ticking().metrics(Usage(3, 5), Timings(1.5, 2.0))
    assert (found["prompt_eval_duration"], found["eval_duration"]) == (1_500_000, 2_000_000)


def test_a_duration_that_clients_divide_by_is_never_0():
    assert Stopwatch(lambda: 5).metrics(None)["eval_duration"] == 1


# Errors


def test_an_error_is_one_text_with_its_status():
    assert Ollama().write_error(UnknownModel("no model 'x'")) == (404, {"error": "no model 'x'"})
