"""What else the gateway answers: models, counts, embeddings, health, keys, thinking kept for later."""

from __future__ import annotations

import pytest
from gateway_site import chat_body

from pointsman.config import parse_config
from pointsman.errors import ConfigError
from pointsman.gateway.app import create_app
from pointsman.testing import Answer, Call

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_models_are_listed_in_the_callers_form(make_site):
    site = make_site(None, '[models.mine]\nref = "o:m"\n')
    openai = site.send("/v1/models", method="GET")
    refs = [row["id"] for row in openai.json["data"]]
    assert refs[:2] == ["mine", "auto"]
    assert {"o:fake-1", "a:fake-1", "g:fake-1"} <= set(refs)
    anthropic = site.send("/v1/models", method="GET", headers={"anthropic-version": "2023-06-01"})
    assert anthropic.json["data"][0]["type"] == "model"
    gemini = site.send("/v1beta/models", method="GET")
    assert "models/g:fake-1" in [row["name"] for row in gemini.json["models"]]
    assert site.send("/v1/models/o:fake-1", method="GET").json["id"] == "o:fake-1"
    assert site.send("/v1/models/none", method="GET").status == 404


def test_a_provider_that_does_not_list_is_named(make_site, unused_tcp_port):
    extra = f'[providers.gone]\nbase_url = "http://127.0.0.1:{unused_tcp_port}/v1"\nauth = "none"\n'
    reply = make_site(None, extra).send("/v1/models", method="GET")
    assert reply.headers["x-pointsman-incomplete"] == "gone"


@pytest.mark.parametrize(("model", "estimated"), [("a:m", False), ("g:m", False), ("o:m", True)])
def test_tokens_are_counted_or_estimated_and_it_is_said(make_site, model, estimated):
    site = make_site()
    reply = site.send("/v1/messages/count_tokens", chat_body(model))
    assert reply.json["input_tokens"] > 0
    assert ("x-pointsman-estimate" in reply.headers) is estimated
    reply = site.send(
        f"/v1beta/models/{model}:countTokens", {"contents": [{"parts": [{"text": "hello you"}]}]}
    )
    assert reply.json["totalTokens"] > 0
    wrapped = {"generateContentRequest": {"contents": [{"parts": [{"text": "hello you"}]}]}}
    reply = site.send(f"/v1beta/models/{model}:countTokens", wrapped)
    assert reply.json["totalTokens"] > 0
    bad = site.send(f"/v1beta/models/{model}:countTokens", {"generateContentRequest": 5})
    assert bad.status == 400


@pytest.mark.parametrize("model", ["o:e", "g:e"])
@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_embeddings(make_site, model, encoding):
    body = {"model": model, "input": ["a", "b"]}
    if encoding:
        body["encoding_format"] = encoding
    reply = make_site().send("/v1/embeddings", body)
    rows = reply.json["data"]
    assert [row["index"] for row in rows] == [0, 1]
    assert isinstance(rows[0]["embedding"], str if encoding == "base64" else list)


@pytest.mark.parametrize("model", ["o:e", "g:e"])
def test_gemini_embeddings(make_site, model):
    site = make_site()
    content = {"parts": [{"text": "a"}]}
    one = site.send(f"/v1beta/models/{model}:embedContent", {"content": content})
    many = site.send(
        f"/v1beta/models/{model}:batchEmbedContents",
        {"requests": [{"model": f"models/{model}", "content": content}] * 2},
    )
    if "embedding" in one.json:
        assert len(one.json["embedding"]["values"]) == 8
    assert len(many.json["embeddings"]) == 2


def test_anthropic_has_no_embeddings_and_says_so(make_site):
    reply = make_site().send("/v1/embeddings", {"model": "a:m", "input": "x"})
    assert reply.status == 400 and "embeddings" in reply.json["error"]["message"]


def test_health_readiness_and_counters(make_site):
    site = make_site([Answer(text="x")])
    assert site.send("/healthz", method="GET").json["status"] == "ok"
    assert site.send("/readyz", method="GET").json["status"] == "ready"
    site.chat("o:m")
    metrics = site.send("/metrics", method="GET").body.decode()
    assert 'pointsman_requests_total{provider="o",model="m"} 1' in metrics


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"authorization": "Bearer let-me-in"}, ""),
        ({"x-api-key": "let-me-in"}, ""),
        ({"x-goog-api-key": "let-me-in"}, ""),
        ({}, "?key=let-me-in"),
    ],
)
def test_the_admin_key_is_asked_for(make_site, headers, path):
    site = make_site([Answer(text="x")], '[server]\nadmin_key_env = "ADMIN_KEY"\n')
    assert site.chat("o:m").status == 401
    assert site.send("/healthz", method="GET").status == 200
    reply = site.send(f"/v1/chat/completions{path}", chat_body("o:m"), headers)
    assert reply.status == 200


def test_beyond_loopback_a_key_is_needed():
    config = parse_config('[server]\nhost = "0.0.0.0"\n')
    with pytest.raises(ConfigError, match="admin_key_env"):
        create_app(config)
    with pytest.raises(ConfigError, match="NOT_SET"):
        create_app(parse_config('[server]\nadmin_key_env = "NOT_SET"\n'))


def test_a_clients_request_id_is_kept_if_it_is_sane(make_site):
    site = make_site([Answer(text="x")])
    headers = {"x-request-id": "mine-1"}
    reply = site.send("/v1/chat/completions", chat_body("o:m"), headers)
    assert reply.headers["x-request-id"] == "mine-1"
    reply = site.send("/v1/chat/completions", chat_body("o:m"), {"x-request-id": "x" * 500})
    assert reply.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("a:m", Answer(reasoning="hm", signature="sig-1", redacted="r-1",
                       calls=(Call("f", {"x": 1}, id="toolu_1"),))),
        ("g:m", Answer(calls=(Call("f", {"x": 1}, id="c-1", signature="sig-1"),))),
    ],
)  # fmt: skip
def test_thoughts_that_openai_cannot_carry_come_back_signed(make_site, model, answer, stream):
    site = make_site([answer, Answer(text="done")])
    first = site.chat(model, tools=[TOOL], stream=stream)
    if stream:
        deltas = [e["choices"][0]["delta"] for e in first.events[:-1] if e["choices"]]
        identity = next(d["tool_calls"][0]["id"] for d in deltas if d.get("tool_calls"))
    else:
        identity = first.json["choices"][0]["message"]["tool_calls"][0]["id"]
    call = {"id": identity, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    messages = [
        {"role": "user", "content": "hello there"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": identity, "content": "42"},
    ]
    assert site.chat(model, tools=[TOOL], messages=messages).status == 200
    sent = site.fake.requests[1].body
    if model == "a:m":
        blocks = sent["messages"][1]["content"]
        assert blocks[0] == {"type": "thinking", "thinking": "hm", "signature": "sig-1"}
        assert blocks[1] == {"type": "redacted_thinking", "data": "r-1"}
        assert blocks[2]["type"] == "tool_use"
    else:
        part = sent["contents"][1]["parts"][0]
        assert part["functionCall"]["name"] == "f"
        assert part["thoughtSignature"] == "c2lnLTE="


def test_a_signature_goes_back_to_its_maker_and_to_no_other(make_site):
    site = make_site([Answer(reasoning="hm", signature="sig-1", text="x"), Answer(text="y")])
    first = site.send("/v1/messages", chat_body("a:m", max_tokens=9)).json["content"]
    assert first[0]["signature"] == "sig-1"
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "b"},
    ]
    for model in ("a:m", "o:m", "g:m"):
        assert (
            site.send("/v1/messages", chat_body(model, max_tokens=9, messages=turns)).status == 200
        )
    same, other, third = (request.raw for request in site.fake.requests[1:])
    assert b"sig-1" in same
    assert b"sig-1" not in other and b"sig-1" not in third


@pytest.mark.parametrize("stream", [False, True])
def test_between_two_providers_of_one_dialect_a_signature_goes_to_its_maker_only(make_site, stream):
    other = make_site([Answer(text="y")])
    extra = (
        f'[providers.b]\ndialect = "anthropic"\nbase_url = "{other.fake.url}/v1"\nauth = "none"\n'
    )
    answer = Answer(reasoning="hm", signature="sig-1", redacted="r-1", text="x")
    site = make_site([answer, Answer(text="y")], extra)
    site.send("/v1/messages", chat_body("a:m", max_tokens=9, stream=stream))
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig-1"}
    content = [thought, {"type": "redacted_thinking", "data": "r-1"}, {"type": "text", "text": "x"}]
    turns = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "assistant", "content": content},
        {"role": "user", "content": "b"},
    ]
    for model in ("a:m", "b:m"):
        reply = site.send("/v1/messages", chat_body(model, max_tokens=9, messages=turns))
        assert reply.status == 200
    assert site.fake.requests[1].body["messages"][1]["content"] == content
    sent = other.fake.requests[0]
    assert sent.body["messages"][1]["content"] == [{"type": "text", "text": "x"}]
    assert b"sig-1" not in sent.raw and b"cG0xf" not in sent.raw
    # All else is as it was, cache marks too.
    assert sent.body["messages"][0] == turns[0]


@pytest.mark.parametrize("stream", [False, True])
def test_at_most_one_call_is_held_where_the_provider_cannot_be_told(make_site, stream):
    calls = (Call("f", {"a": 1}, id="c1"), Call("f", {"a": 2}, id="c2"))
    site = make_site(lambda request: Answer(text="so", calls=calls))
    for parallel, count in ((True, 2), (False, 1)):
        reply = site.chat("g:m", stream=stream, tools=[TOOL], parallel_tool_calls=parallel)
        if stream:
            choices = [e["choices"][0] for e in reply.events[:-1] if e["choices"]]
            found = [
                c["id"] for d in choices for c in d["delta"].get("tool_calls", ()) if "id" in c
            ]
            finish = choices[-1]["finish_reason"]
        else:
            choice = reply.json["choices"][0]
            found = [call["id"] for call in choice["message"]["tool_calls"]]
            finish = choice["finish_reason"]
        assert found == ["c1", "c2"][:count]
        assert finish == "tool_calls"


def test_a_hint_that_is_left_out_is_named(make_site):
    site = make_site([Answer(text="x")])
    reply = site.chat("a:m", prompt_cache_key="k")
    assert reply.headers["x-pointsman-ignored"] == "prompt_cache_key"


def test_explain_gives_the_decision(make_site):
    route = '[routes.auto]\ncandidates = ["o:cheap", "o:dear"]\n'
    route += '[models.x]\nref = "o:cheap"\n'
    site = make_site(None, route)
    reply = site.send("/pointsman/v1/routes/explain", {"prompt": "What is 2+2?", "quality": 1})
    assert reply.json["chosen"] in ("o:cheap", "o:dear")
    assert reply.json["reasons"][0] == "dial at best"
    assert site.send("/pointsman/v1/routes/explain", {"prompt": 5}).status == 400


def test_the_dial_of_a_request(make_site):
    route = '[routes.auto]\ncandidates = ["cheap", "dear"]\n'
    for name, price in (("cheap", 1), ("dear", 9)):
        route += (
            f'[models.{name}]\nref = "o:{name}"\nprice = {{ input = {price}, output = {price} }}\n'
        )
    site = make_site([Answer(text="x")], route)
    assert site.chat("auto:0").headers["x-pointsman-model"] == "cheap"
    assert site.chat("auto:1").headers["x-pointsman-model"] == "dear"
    reply = site.send("/v1/chat/completions", chat_body("auto"), {"x-pointsman-quality": "1"})
    assert reply.headers["x-pointsman-model"] == "dear"
    assert "dial=1" in reply.headers["x-pointsman-route"]
    bad = site.send("/v1/chat/completions", chat_body("auto"), {"x-pointsman-quality": "best"})
    assert bad.status == 400
