"""Equal dialects pass byte for byte, but for the model, the credentials and the usage asked for."""

from __future__ import annotations

import json

import pytest
from gateway_site import KEY, chat_body

from pointsman.testing import Answer, Call

ODD = (
    b'{ "messages" : [{"role":"user","content":"h\\u00e9 \\"model\\": 1"}],\n'
    b'"unknown":{"model":"x", "n":1.50}, "model" : "o:real/name:1" }'
)


def test_an_openai_body_goes_on_as_it_is(make_site):
    site = make_site([Answer(text="hi")])
    reply = site.send("/v1/chat/completions", ODD)
    sent = site.fake.requests[0]
    assert sent.raw == ODD.replace(b'"o:real/name:1"', b'"real/name:1"')
    assert sent.path == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["accept-encoding"] == "identity"
    assert reply.json["id"] == "chatcmpl-fake1"
    assert reply.headers["x-pointsman-model"] == "o:real/name:1"
    assert reply.headers["x-pointsman-route"] == "direct"
    assert reply.headers["x-pointsman-attempts"] == "1"
    assert float(reply.headers["x-pointsman-overhead-ms"]) >= 0
    assert reply.headers["x-request-id"].startswith("req_")


def test_an_anthropic_body_goes_on_with_its_headers_and_query(make_site):
    site = make_site([Answer(text="hi")])
    body = b'{"model":"a:claude","max_tokens":5,"messages":[{"role":"user","content":"x"}],"new":1}'
    headers = {
        "x-api-key": "client-key",
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "one,two",
    }
    reply = site.send("/v1/messages?beta=true", body, headers)
    sent = site.fake.requests[0]
    assert sent.raw == body.replace(b"a:claude", b"claude")
    assert sent.path == "/v1/messages?beta=true"
    assert sent.headers["x-api-key"] == KEY
    assert sent.headers["anthropic-beta"] == "one,two"
    assert reply.json["content"][0]["text"] == "hi"


def test_a_gemini_body_goes_on_with_the_model_in_the_path(make_site):
    site = make_site([Answer(text="hi")])
    body = b'{"contents":[{"parts":[{"text":"x"}]}],"newField":{}}'
    reply = site.send("/v1beta/models/g:gemini-x:generateContent?key=client", body)
    sent = site.fake.requests[0]
    assert sent.raw == body
    assert sent.path == "/v1beta/models/gemini-x:generateContent"
    assert sent.headers["x-goog-api-key"] == KEY
    assert reply.json["candidates"][0]["content"]["parts"][0]["text"] == "hi"


@pytest.mark.parametrize(
    ("path", "model", "end"),
    [
        ("/v1/chat/completions", "o:m", "[DONE]"),
        ("/v1/messages", "a:m", {"type": "message_stop"}),
    ],
)
def test_a_stream_is_relayed_as_it_comes(make_site, path, model, end):
    site = make_site([Answer(text="one two three", pieces=3)])
    reply = site.send(path, chat_body(model, stream=True, max_tokens=9))
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.events[-1] == end


def test_gemini_streams_as_events_or_as_an_array(make_site):
    site = make_site([Answer(text="one two three", pieces=3)])
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    events = site.send("/v1beta/models/g:m:streamGenerateContent?alt=sse", body).events
    array = site.send("/v1beta/models/g:m:streamGenerateContent", body).json

    def text(parts):
        return "".join(p["candidates"][0]["content"]["parts"][0]["text"] for p in parts)

    assert text(events) == text(array) == "one two three"


def test_usage_is_asked_for_and_hidden_from_a_client_that_did_not_ask(make_site):
    site = make_site([Answer(text="one two", input_tokens=7, output_tokens=3)])
    reply = site.chat("o:m", stream=True)
    assert site.fake.requests[0].body["stream_options"] == {"include_usage": True}
    assert all(event["choices"] for event in reply.events[:-1])
    assert reply.events[-1] == "[DONE]"
    counts = site.gateway.gateway.meter.counts["o", "m"]
    assert (counts.input_tokens, counts.output_tokens) == (7, 3)


def test_usage_is_left_in_for_a_client_that_asked(make_site):
    site = make_site([Answer(text="one two", input_tokens=7, output_tokens=3)])
    reply = site.chat("o:m", stream=True, stream_options={"include_usage": True})
    assert reply.events[-2]["usage"]["total_tokens"] == 10
    assert reply.events[-2]["choices"] == []


def test_the_cost_stands_in_a_header_when_the_price_is_known(make_site):
    extra = '[models.mine]\nref = "o:m"\nprice = { input = 1.0, output = 2.0, cached = 0.5 }\n'
    site = make_site([Answer(text="x", input_tokens=1000, output_tokens=100)], extra)
    assert float(site.chat("mine").headers["x-pointsman-cost-usd"]) == pytest.approx(0.0012)
    assert "x-pointsman-cost-usd" not in site.chat("o:m").headers


def test_a_vendor_that_departs_from_openai_gets_what_it_takes(make_site):
    extra = (
        '[providers.m]\nbase_url = "URL"\nauth = "none"\n'
        '[providers.m.quirks]\nmax_tokens_field = "max_tokens"\nrequired_word = "any"\n'
        'tool_id_pattern = "mistral"\n'
    )
    first = make_site()
    site = make_site([Answer(text="x")], extra.replace("URL", first.fake.url + "/v1"))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    fields = {"max_completion_tokens": 5, "tools": [tool], "tool_choice": "required"}
    assert site.chat("m:x", **fields, frequency_penalty=0.5).status == 200
    sent = first.fake.requests[0].body
    assert sent["max_tokens"] == 5 and "max_completion_tokens" not in sent
    assert sent["tool_choice"] == "any"
    assert sent["frequency_penalty"] == 0.5


def test_a_tool_call_passes_with_its_arguments_as_they_were(make_site):
    site = make_site([Answer(calls=(Call("f", {"a": [1, "x"]}),))])
    call = site.chat("o:m").json["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"a": [1, "x"]}
