"""Texts in place of chats, as llama.cpp's server has them, and what else it has beyond OpenAI."""

from __future__ import annotations

import json

import pytest

from pointsman._sse import Parser
from pointsman._stream import accumulate
from pointsman.dialects import get_dialect
from pointsman.dialects.base import Quirks, Target
from pointsman.dialects.openai.text import TextForm, write_text
from pointsman.errors import BadAnswer, ProviderError, StreamCut, UnsupportedParameter
from pointsman.types import Chat, ResponseFormat, Text, Timings, Usage

TARGET = Target("local", "m", Quirks(llama_cpp=True))
TIMINGS = {"prompt_ms": 1.5, "predicted_ms": 2.5}
LOGPROBS = [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}]


def chat(**fields):
    return Chat(model="m", messages=(), dialect="ollama", **fields)


def sse(*events):
    return b"".join(
        b"data: %s\n\n" % (e.encode() if isinstance(e, str) else json.dumps(e).encode())
        for e in events
    )


def read(data):
    reader = TextForm().stream_reader(TARGET)
    chunks = [chunk for event in Parser().feed(data) for chunk in reader.read(event)]
    return accumulate(chunks + reader.finish())


# Requests


def test_a_prompt_as_it_is_with_its_sampling():
    asked = chat(
        max_tokens=9, temperature=0, top_k=1, min_p=0.1, stop=("E",), stream=True, logprobs=True,
        top_logprobs=3, extra={"repeat_penalty": 1.1, "n_keep": 4},
    )  # fmt: skip
    assert write_text(asked, TARGET, "hello", None) == {
        "model": "m", "prompt": "hello", "stream": True, "stream_options": {"include_usage": True},
        "logprobs": 3, "n_predict": 9, "temperature": 0, "top_k": 1, "min_p": 0.1, "stop": ["E"],
        "repeat_penalty": 1.1, "n_keep": 4,
    }  # fmt: skip


def test_what_stands_before_and_after():
    body = write_text(chat(logprobs=True), TARGET, "def f(", "return 1")
    assert body == {
        "input_prefix": "def f(",
        "input_suffix": "return 1",
        "prompt": "",
        "n_probs": 1,
    }


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        (ResponseFormat("json_object"), {"type": "object"}),
        (ResponseFormat("json_schema", {"type": "string"}), {"type": "string"}),
    ],
)
def test_the_form_of_the_answer(form, schema):
    assert write_text(chat(response_format=form), TARGET, "x", None)["json_schema"] == schema


def test_what_has_no_place_is_named():
    with pytest.raises(UnsupportedParameter) as raised:
        write_text(chat(extra={"frobnicate": 1}), TARGET, "x", None)
    assert raised.value.param == "frobnicate"


# Answers

USAGE = {"prompt_tokens": 5, "completion_tokens": 2}
CHOICE = {"index": 0, "text": "ab", "finish_reason": "length", "logprobs": {"content": LOGPROBS}}
INFILL = {
    "content": "ab", "stop": True, "stop_type": "limit", "tokens_evaluated": 5,
    "tokens_predicted": 2, "timings": TIMINGS, "completion_probabilities": LOGPROBS,
}  # fmt: skip


@pytest.mark.parametrize(
    "body", [{"choices": [CHOICE], "usage": USAGE, "timings": TIMINGS, "id": "c"}, INFILL]
)
def test_a_whole_answer(body):
    found = TextForm().read_completion(body, TARGET)
    (choice,) = found.choices
    assert (choice.parts, choice.finish_reason) == ((Text("ab"),), "length")
    assert choice.logprobs[0].token == "a"
    assert (found.usage, found.timings) == (Usage(5, 2), Timings(1.5, 2.5))


@pytest.mark.parametrize(
    "data",
    [
        sse(
            {"choices": [{"text": "a", "index": 0, "finish_reason": None}]},
            {"choices": [{"text": "b", "index": 0, "finish_reason": None}]},
            {"choices": [{"text": "", "index": 0, "finish_reason": "length"}]},
            {"choices": [], "usage": USAGE},
            "[DONE]",
        ),
        sse(
            {"content": "a", "stop": False, "tokens_predicted": 1, "tokens_evaluated": 5},
            {"content": "b", "stop": False, "tokens_predicted": 2, "tokens_evaluated": 5},
            {**INFILL, "content": "", "completion_probabilities": []},
        ),
    ],
)
def test_a_stream(data):
    found = read(data)
    assert (found.text, found.choices[0].finish_reason, found.usage) == (
        "ab",
        "length",
        Usage(5, 2),
    )


def test_a_stream_that_is_cut():
    with pytest.raises(StreamCut):
        read(sse({"content": "a", "stop": False}))


@pytest.mark.parametrize(
    "data", [sse({"error": {"code": 400, "message": "no"}}), b"event: error\ndata: {}\n\n"]
)
def test_an_error_in_a_stream(data):
    with pytest.raises(ProviderError):
        read(data)


@pytest.mark.parametrize("data", [sse("{"), sse("[]"), sse({"x": 1}), sse({"choices": [3]})])
def test_what_is_neither_form(data):
    with pytest.raises(BadAnswer):
        read(data)


def test_an_error_with_a_good_status():
    with pytest.raises(ProviderError):
        TextForm().read_completion({"error": {"message": "no"}}, TARGET)


# The rest


@pytest.mark.parametrize(
    ("status", "message", "meant"),
    [
        (501, "Infill is not supported by this model", 400),
        (500, "input (602 tokens) is too large to process. increase the physical batch size", 400),
        (500, "something broke", 500),
        (503, "Loading model", 503),
    ],
)
def test_whose_fault_an_error_of_the_server_is(status, message, meant):
    body = json.dumps({"error": {"code": status, "message": message}}).encode()
    dialect = get_dialect("openai")
    assert dialect.read_error(status, {}, body, TARGET).status == meant
    assert dialect.read_error(status, {}, body, Target("other", "m")).status == status


@pytest.mark.parametrize("timings", [None, 3, {}, {"prompt_ms": "1", "predicted_ms": 2}])
def test_an_answer_without_timings(timings):
    body = {"choices": [{"message": {"content": "a"}}], "timings": timings}
    assert get_dialect("openai").read_completion(body, TARGET).timings is None
