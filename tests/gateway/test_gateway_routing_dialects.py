"""Cascades where client and provider speak Anthropic's or Gemini's format, or not the same one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from route_reader import Reader, by_likelihood

from pointsman.gateway.likelihood import ask_logprobs, hide_in_events, hide_logprobs
from pointsman.testing import Answer

SURE = Answer(text="The answer is 42.", logprob=-0.01, pieces=6)
UNSURE = Answer(text="Hmm, it may be 41, 40 or 39.", logprob=-4.0, pieces=6)
REFUSED = Answer(text="I'm sorry, but I can't help with that.")
STRONG = Answer(text="It is 7.")
PATHS = {
    "openai": ("/v1/chat/completions", {"model": "r"}),
    "anthropic": ("/v1/messages", {"model": "r", "max_tokens": 100}),
    "gemini": ("/v1beta/models/r:generateContent", {}),
}


@pytest.fixture
def make_cascade(make_site, monkeypatch):
    """Gives a function (provider, cheap answers in turn) → a site with the cascade `r`."""
    monkeypatch.setattr("pointsman.routing.default_classifier", lambda: Reader("sum", -0.5))
    monkeypatch.setattr("pointsman.routing.default_verifier", by_likelihood)

    def make(provider: str, *cheap: Answer):
        answers = iter(cheap)
        # Gemini gives log-probabilities with its last piece alone: a shorter part has none to judge by.
        held = 100 if provider == "g" else 3

        def reply(request):
            body = request.body
            config = body.get("generationConfig", {})
            asked = body.get("logprobs") or config.get("responseLogprobs")
            found = next(answers) if request.model == "cheap" else STRONG
            return msgspec.structs.replace(found, logprobs=bool(asked))

        return make_site(
            reply,
            f"""
[models.cheap]
ref = "{provider}:cheap"
price = {{ input = 0.1, output = 0.4 }}
[models.dear]
ref = "{provider}:dear"
price = {{ input = 5.0, output = 20.0 }}
[routes.r]
candidates = ["cheap", "dear"]
policy = "cascade"
dial = 0.6
holdback_tokens = {held}
""",
        )

    return make


def ask(site, dialect: str, *, stream: bool = False):
    path, body = PATHS[dialect]
    headers = {"anthropic-version": "2023-06-01"} if dialect == "anthropic" else {}
    if dialect == "gemini":
        contents = [{"role": "user", "parts": [{"text": "The sum?"}]}]
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse" if stream else path
        return site.send(path, {**body, "contents": contents}, headers)
    messages = [{"role": "user", "content": "The sum?"}]
    return site.send(path, {**body, "messages": messages, "stream": stream}, headers)


def said(reply, dialect: str, *, stream: bool = False) -> str:
    trees: list[Any] = [e for e in reply.events if isinstance(e, dict)] if stream else [reply.json]
    text = ""
    for tree in trees:
        if dialect == "openai":
            for choice in tree.get("choices", ()):
                text += choice.get("delta", choice.get("message", {})).get("content") or ""
        elif dialect == "anthropic":
            text += tree.get("delta", {}).get("text", "")
            text += "".join(each.get("text", "") for each in tree.get("content", ()))
        else:
            for candidate in tree.get("candidates", ()):
                parts = candidate.get("content", {}).get("parts", ())
                text += "".join(part.get("text", "") for part in parts)
    return text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("provider", ["o", "a", "g"])
def test_any_client_over_any_provider(make_cascade, provider, dialect, stream):
    # Anthropic's format has no log-probabilities: there the refusal is what tells.
    poor = REFUSED if provider == "a" else UNSURE
    site = make_cascade(provider, SURE, poor)
    for model, text in (("cheap", SURE.text), ("dear", STRONG.text)):
        reply = ask(site, dialect, stream=stream)
        assert reply.status == 200
        assert reply.headers["x-pointsman-model"] == model
        assert said(reply, dialect, stream=stream) == text
        for word in (b"top_logprobs", b"logprobsResult", b"avgLogprobs", b"logProbability"):
            assert word not in reply.body
        first = json.dumps(site.fake.requests[0].body)
        assert ("ogprobs" in first) == (provider != "a")


def test_a_gemini_client_without_events_goes_by_the_prompt(make_cascade):
    site = make_cascade("g", UNSURE)
    body = {"contents": [{"role": "user", "parts": [{"text": "The sum?"}]}]}
    reply = site.send("/v1beta/models/r:streamGenerateContent", body)
    assert reply.status == 200
    assert isinstance(reply.json, list)
    assert len(site.fake.requests) == 1


def test_what_cannot_be_judged_goes_by_the_prompt(make_cascade):
    site = make_cascade("o", UNSURE)
    counted = site.send(
        "/v1/messages/count_tokens",
        {"model": "r", "messages": [{"role": "user", "content": "sum"}]},
    )
    assert counted.status == 200
    assert site.fake.requests == []


# The bytes


def test_asking_changes_nothing_else_and_leaves_a_clients_own_word():
    assert ask_logprobs("openai", b'{"model": "m"}') == b'{"logprobs":true,"model": "m"}'
    assert ask_logprobs("openai", b'{"logprobs": false}') is None
    asked = ask_logprobs("gemini", b'{"contents": [], "generationConfig": {"seed": 3}}')
    assert json.loads(asked)["generationConfig"] == {"seed": 3, "responseLogprobs": True}
    snake = ask_logprobs("gemini", b'{"generation_config": {"seed": 3}}')
    assert json.loads(snake) == {"generation_config": {"seed": 3, "responseLogprobs": True}}
    assert ask_logprobs("gemini", b'{"generationConfig": {"responseLogprobs": false}}') is None
    assert ask_logprobs("gemini", b'{"generationConfig": 7}') is None
    assert ask_logprobs("anthropic", b"{}") is None


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"logprobs"', b'{"choices": "logprobs"}'])
@pytest.mark.parametrize("dialect", ["openai", "gemini", "anthropic"])
def test_what_cannot_be_read_stays_as_it_is(dialect, body):
    hide_in_events(dialect, body)
    if b"{" not in body[:1]:
        assert hide_logprobs(dialect, body) == body


def test_events_without_them_are_not_touched():
    plain = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    told = b'data: {"choices":[{"delta":{"content":"b"},"logprobs":{"content":[]}}]}\r\n\r\n'
    found = hide_in_events("openai", plain + told + b"data: [DONE]\n\n")
    assert found.startswith(plain)
    assert found.endswith(b'"logprobs":null}]}\r\n\r\ndata: [DONE]\n\n')
