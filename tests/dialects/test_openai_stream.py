"""OpenAI's stream, read and written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from pointsman._sse import Event, Parser
from pointsman._stream import accumulate
from pointsman.dialects._shared import seal
from pointsman.dialects.base import Target
from pointsman.dialects.openai import OPENAI, OpenAI
from pointsman.errors import BadAnswer, ProviderError, RouteError, StreamCut
from pointsman.types import (
    Chat,
    Choice,
    Finished,
    Reasoning,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    Started,
    Text,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UsageReported,
)

TARGET = Target("acme", "acme-1")
DONE = "[DONE]"


def chunk(delta=None, finish=None, index=0, **more):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c-1", "created": 5, "model": "acme-1-x", "choices": [choice], **more}


def fragment(index=0, identity=None, name=None, arguments=None, **more):
    function = {"name": name, "arguments": arguments}
    function = {key: value for key, value in function.items() if value is not None}
    body = {"index": index, "id": identity, "function": function, **more}
    return {key: value for key, value in body.items() if value is not None}


def calls(*fragments):
    return chunk({"tool_calls": list(fragments)})


def read(*events, finish=True):
    reader = OPENAI.stream_reader(TARGET)
    out = []
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event)
        out += reader.read(Event("", data))
    return out + (reader.finish() if finish else [])


def calls_of(*events):
    return accumulate(read(*events, chunk(finish="tool_calls"), DONE)).tool_calls


# Read from an upstream


def test_openais_own_stream_is_read():
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    chunks = read(
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "A"}),
        chunk({"content": "B"}),
        chunk(finish="stop"),
        {"id": "c-1", "choices": [], "usage": usage},
        DONE,
    )
    assert chunks == [
        Started("c-1", "acme-1-x", 5),
        TextDelta("A"),
        TextDelta("B"),
        Finished("stop", native="stop"),
        UsageReported(Usage(3, 2)),
    ]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_ends_signed_with_the_field_it_came_in(field):
    chunks = read(chunk({field: "H"}), chunk({field: "m"}), chunk({"content": "A"}, "stop"))
    assert chunks[1:] == [
        ReasoningDelta("H"),
        ReasoningDelta("m"),
        ReasoningDelta(signature=Signature(field, "acme")),
        TextDelta("A"),
        Finished("stop", native="stop"),
    ]


def test_thinking_to_the_very_end_is_signed_too():
    done = accumulate(read(chunk({"reasoning": "Hm."}), chunk(finish="length")))
    assert done.choices[0].parts == (Reasoning("Hm.", Signature("reasoning", "acme")),)


def test_content_in_parts_is_read():
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    done = accumulate(read(chunk({"content": [thought]}), chunk({"content": "A"}, "stop")))
    assert done.choices[0].parts == (Reasoning("Hm."), Text("A"))


def test_refusals_and_logprobs_are_read():
    event = chunk({"content": "A"})
    event["choices"][0]["logprobs"] = {"content": [{"token": "A", "logprob": -0.5}]}
    chunks = read(event, chunk({"refusal": "no"}, "stop"))
    assert chunks[1:3] == [
        TextDelta("A", logprobs=(TokenLogprob("A", -0.5),)),
        RefusalDelta("no"),
    ]


def test_fragments_of_two_calls_are_read():
    chunks = read(
        calls(fragment(0, "a", "f", "")),
        calls(fragment(0, arguments='{"x":')),
        calls(fragment(0, arguments="1}")),
        calls(fragment(1, "b", "g", "")),
        calls(fragment(1, arguments="{}")),
        chunk(finish="tool_calls"),
    )
    assert chunks[1:] == [
        ToolCallStarted(0, "a", "f"),
        ToolCallDelta(0, '{"x":'),
        ToolCallDelta(0, "1}"),
        ToolCallStarted(1, "b", "g"),
        ToolCallDelta(1, "{}"),
        Finished("tool_calls", native="tool_calls"),
    ]


def test_an_id_or_a_name_on_each_fragment_is_still_one_call():
    assert calls_of(calls(fragment(0, "a", "f", '{"x":')), calls(fragment(0, "a", "f", "1}"))) == (
        ToolCall("a", "f", '{"x":1}'),
    )
    assert calls_of(calls(fragment(0, "a", "f", '{"x":')), calls(fragment(0, None, "f", "1}"))) == (
        ToolCall("a", "f", '{"x":1}'),
    )
    assert calls_of(
        calls(fragment(0, "a", "f", '{"x":')), calls(fragment(0, "other", None, "1}"))
    ) == (ToolCall("a", "f", '{"x":1}'),)


def test_whole_calls_that_all_count_0_are_told_apart_by_their_ids():
    event = calls(fragment(0, "a", "f", "{}"), fragment(0, "b", "g", '{"x":1}'))
    assert calls_of(event) == (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x":1}'))


def test_calls_without_an_index_go_by_id_and_then_by_name():
    assert calls_of(
        calls(fragment(None, "a", "f", '{"x":')),
        calls(fragment(None, arguments="1}")),
        calls(fragment(None, "b", "g", "{}")),
    ) == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g"))


def test_calls_without_an_id_get_one_each():
    first, second = calls_of(calls(fragment(0, None, "f", "{}"), fragment(1, None, "f", "{}")))
    assert first.id != second.id
    assert first.id and second.id


def test_an_index_that_starts_anywhere_is_counted_from_0():
    chunks = read(calls(fragment(3, "a", "f", "{}")), chunk(finish="tool_calls"))
    assert chunks[1] == ToolCallStarted(0, "a", "f")


def test_arguments_as_an_object_become_their_text():
    event = {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}
    assert calls_of(chunk(event)) == (ToolCall("a", "f", '{"x":1}'),)


def test_the_old_function_call_is_one_call():
    [call] = calls_of(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"x":1}'}}),
    )
    assert (call.name, call.arguments) == ("f", '{"x":1}')


def test_a_calls_signature_is_read():
    extra = {"google": {"thought_signature": "raw"}}
    [call] = calls_of(calls(fragment(0, "a", "f", "{}", extra_content=extra)))
    assert call.signature == Signature("raw", "acme")


def test_stop_after_calls_means_calls_and_a_reason_said_twice_counts_once():
    chunks = read(
        calls(fragment(0, "a", "f", "{}")), chunk(finish="stop"), chunk(finish="stop"), DONE
    )
    ends = [each for each in chunks if isinstance(each, Finished)]
    assert ends == [Finished("tool_calls", native="stop")]


def test_choices_are_kept_apart():
    done = accumulate(
        read(
            chunk({"content": "A"}, index=0),
            chunk({"content": "B"}, index=1),
            chunk(finish="stop", index=1),
            chunk({"content": "C"}, "length", index=0),
            DONE,
        )
    )
    assert done.choices == (
        Choice((Text("AC"),), "length", 0, "length"),
        Choice((Text("B"),), "stop", 1, "stop"),
    )


def test_groqs_usage_is_read():
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    chunks = read(chunk({"content": "A"}, "stop", x_groq={"usage": usage}))
    assert chunks[-1] == UsageReported(Usage(3, 2))


def test_azures_first_chunk_has_no_name_yet():
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": []}
    assert read(first, chunk({"content": "A"}, "stop"))[0] == Started("c-1", "acme-1-x", 5)


def test_done_or_every_finish_reason_completes_a_stream():
    assert read(chunk({"content": "A"}, "stop"))
    assert read(chunk({"content": "A"}), DONE)[-1] == Finished("stop")
    assert read(calls(fragment(0, "a", "f", "{}")), DONE)[-1] == Finished("tool_calls")


@pytest.mark.parametrize(
    "events",
    [
        [],
        [chunk({"role": "assistant", "content": ""})],
        [chunk({"content": "A"})],
        [chunk({"content": "A"}, "stop", index=0), chunk({"content": "B"}, index=1)],
    ],
)
def test_a_stream_without_its_end_is_cut(events):
    with pytest.raises(StreamCut):
        read(*events)


def test_a_stream_of_nothing_is_a_bad_answer():
    with pytest.raises(BadAnswer):
        read(DONE)


def test_nothing_counts_after_the_end():
    assert read(chunk({"content": "A"}, "stop"), DONE, chunk({"content": "B"}), "?") == read(
        chunk({"content": "A"}, "stop"), DONE
    )


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"error": {"message": "busy", "code": 529}}, 529),
        ({"error": {"message": "busy", "type": "invalid_request_error"}}, 400),
        ({"error": "busy"}, 502),
        ({"choices": [{"index": 0, "delta": {}, "error": {"message": "busy", "code": 429}}]}, 429),
        (chunk(finish="error"), 502),
    ],
)
def test_an_error_in_the_stream_is_an_error(event, status):
    with pytest.raises(ProviderError) as raised:
        read(chunk({"content": "A"}), event)
    assert raised.value.status == status
    assert raised.value.provider == "acme"


def test_an_error_event_is_an_error():
    with pytest.raises(ProviderError) as raised:
        OPENAI.stream_reader(TARGET).read(Event("error", '{"message":"busy"}'))
    assert "busy" in raised.value.message


@pytest.mark.parametrize(
    "data",
    ["{", "5", "null", json.dumps(calls({"index": 0})), json.dumps(chunk({"audio": {"id": "a"}}))],
)
def test_an_event_that_breaks_the_dialect_is_a_bad_answer(data):
    with pytest.raises(BadAnswer):
        OPENAI.stream_reader(TARGET).read(Event("", data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "choices",
                        "delta",
                        "index",
                        "content",
                        "tool_calls",
                        "function",
                        "id",
                        "error",
                    ),
                    *("name", "arguments", "finish_reason", "usage", "reasoning", "refusal"),
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["choices", "id", "usage"]), JSON), max_size=4))
def test_odd_events_give_chunks_or_a_named_error(events):
    try:
        accumulate(read(*events))
    except ProviderError as error:
        assert error.provider == "acme"


# Written for a client


def written(*chunks, include_usage=False):
    writer = OpenAI(clock=lambda: 77.5).stream_writer(
        Chat(model="m", messages=(), dialect="openai", include_usage=include_usage)
    )
    data = b"".join(writer.write(each) for each in chunks) + writer.finish()
    *events, last = Parser().feed(data)
    assert last.data == DONE
    bodies = [json.loads(event.data) for event in events]
    for body in bodies:
        ChatCompletionChunk.model_validate(body, strict=True)
    return bodies


def deltas(*chunks):
    return [body["choices"][0]["delta"] for body in written(*chunks)]


def test_a_text_is_written():
    bodies = written(Started("c-1", "x", 5), TextDelta("A"), TextDelta("B"), Finished("stop"))
    head = {"id": "c-1", "object": "chat.completion.chunk", "created": 5, "model": "x"}
    choices = [body.pop("choices") for body in bodies]
    assert bodies == [head, head, head]
    assert choices == [
        [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "A"},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
        [{"index": 0, "delta": {"content": "B"}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
    ]


def test_a_stream_without_a_start_has_one_id_one_date_and_the_clients_model():
    bodies = written(TextDelta("A"), Finished("stop"))
    assert bodies[0]["id"].startswith("chatcmpl-")
    assert len({(body["id"], body["created"], body["model"]) for body in bodies}) == 1
    assert (bodies[0]["created"], bodies[0]["model"]) == (77, "m")


def test_calls_count_from_0_and_name_themselves_once():
    started = ToolCallStarted(0, "a", "f")
    assert deltas(
        started,
        ToolCallDelta(0, '{"x":'),
        ToolCallDelta(0, "1}"),
        ToolCallStarted(1, "b", "g"),
        ToolCallDelta(1, "{}"),
        Finished("tool_calls"),
    ) == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "index": 0,
                    "id": "a",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ],
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {
            "tool_calls": [
                {
                    "index": 1,
                    "id": "b",
                    "type": "function",
                    "function": {"name": "g", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]


def test_a_call_without_arguments_is_an_empty_object():
    bodies = deltas(ToolCallStarted(0, "a", "f"), ToolCallDelta(0, ""), Finished("tool_calls"))
    assert bodies[1] == {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}


def test_a_choice_has_one_role_and_one_finish_reason():
    bodies = written(
        TextDelta("A", 0),
        TextDelta("B", 1),
        Finished("stop", 0),
        Finished("length", 0),
        TextDelta("C", 1),
    )
    choices = [body["choices"][0] for body in bodies]
    for index in (0, 1):
        mine = [choice for choice in choices if choice["index"] == index]
        assert [each["finish_reason"] for each in mine if each["finish_reason"]] == ["stop"]
        assert [each["delta"].get("role") for each in mine].count("assistant") == 1
        assert mine[0]["delta"]["role"] == "assistant"


def test_an_empty_answer_still_has_its_role():
    assert deltas(Finished("content_filter")) == [{"role": "assistant", "content": ""}]


def test_thinking_refusals_and_logprobs_are_written():
    logprob = TokenLogprob("A", -0.5, (65,))
    bodies = written(
        ReasoningDelta("Hm."),
        ReasoningDelta(signature=Signature("secret", "anthropic")),
        ReasoningDelta(redacted=Signature("secret", "anthropic")),
        RefusalDelta("no"),
        TextDelta("A", logprobs=(logprob,)),
        Finished("stop"),
    )
    assert "secret" not in json.dumps(bodies)
    first, second, third, _ = (body["choices"][0] for body in bodies)
    assert first["delta"]["reasoning_content"] == "Hm."
    assert second["delta"] == {"refusal": "no"}
    assert third["logprobs"]["content"] == [
        {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": []}
    ]


def test_geminis_signatures_are_sealed():
    signature = Signature("raw", "gemini")
    extra = {"google": {"thought_signature": seal(signature)}}
    text, call, *_ = deltas(
        TextDelta("A", signature=signature),
        ToolCallStarted(0, "a", "f", signature=signature),
        Finished("tool_calls"),
    )
    assert text["extra_content"] == extra
    assert call["tool_calls"][0]["extra_content"] == extra


def test_usage_comes_last_and_only_when_asked_for():
    chunks = (
        Started("c-1", "x", 5, Usage(3)),
        TextDelta("A"),
        UsageReported(Usage(3, 2)),
        Finished("stop"),
    )
    assert all("usage" not in body for body in written(*chunks))
    *bodies, last = written(*chunks, include_usage=True)
    assert all(body["usage"] is None for body in bodies)
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (3, 2)
    assert last["id"] == "c-1"


def test_a_usage_that_nobody_counted_is_not_made_up():
    assert all(body["choices"] for body in written(TextDelta("A"), include_usage=True))


def test_a_failure_is_said_in_the_stream_and_never_looks_complete():
    writer = OPENAI.stream_writer(Chat(model="m", messages=(), dialect="openai"))
    writer.write(TextDelta("A"))
    [event] = Parser().feed(writer.fail(RouteError("gone")))
    assert json.loads(event.data) == {
        "error": {
            "message": "gone",
            "type": "server_error",
            "param": None,
            "code": "route_exhausted",
        }
    }


def test_the_official_client_adds_the_chunks_up():
    state = ChatCompletionStreamState()
    for body in written(
        Started("c-1", "x", 5),
        TextDelta("A"),
        TextDelta("B"),
        ToolCallStarted(0, "a", "f"),
        ToolCallDelta(0, '{"x":'),
        ToolCallDelta(0, "1}"),
        ToolCallStarted(1, "b", "g"),
        Finished("tool_calls"),
        UsageReported(Usage(3, 2)),
        include_usage=True,
    ):
        state.handle_chunk(ChatCompletionChunk.model_validate(body))
    completion = state.get_final_completion()
    message = completion.choices[0].message
    assert message.content == "AB"
    assert [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls] == [
        ("a", "f", '{"x":1}'),
        ("b", "g", "{}"),
    ]
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage.total_tokens == 5
