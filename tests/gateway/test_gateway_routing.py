"""Routes through the gateway: policies that ask first, held streams, conversations, and faults."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from gateway_site import chat_body
from route_reader import Reader, by_likelihood

from pointsman.testing import Answer, Fault

PRICED = """
[models.cheap]
ref = "{p}:cheap"
price = {{ input = 0.1, output = 0.4, cached = 0.01 }}
[models.dear]
ref = "{p}:dear"
price = {{ input = 5.0, output = 20.0, cached = 0.5 }}
[routes.r]
candidates = ["cheap", "dear"]
{more}
"""
SURE = Answer(text="The answer is 42.", logprob=-0.01, pieces=6, output_tokens=6)
UNSURE = Answer(text="Hmm, it may be 41, 40 or 39.", logprob=-4.0, pieces=6, output_tokens=6)


@pytest.fixture(autouse=True)
def reader(monkeypatch) -> Reader:
    found = Reader("hello there", -0.5)
    monkeypatch.setattr("pointsman.routing.default_classifier", lambda: found)
    monkeypatch.setattr("pointsman.routing.default_verifier", by_likelihood)
    return found


def toml(more: str, provider: str = "o") -> str:
    return PRICED.format(p=provider, more=more)


def script(cheap: Any, dear: Any = None):
    """Replies by model; log-probabilities only for who asks."""

    def reply(request):
        found = cheap if request.model.startswith("cheap") else dear or Answer(text="It is 7.")
        found = found(request) if callable(found) else found
        body = request.body
        asked = body.get("logprobs") or body.get("generationConfig", {}).get("responseLogprobs")
        if isinstance(found, Answer):
            return msgspec.structs.replace(found, logprobs=bool(asked))
        inner = msgspec.structs.replace(found.answer, logprobs=bool(asked))
        return msgspec.structs.replace(found, answer=inner)

    return reply


def route_of(reply) -> dict[str, str]:
    text = reply.headers["x-pointsman-route"]
    assert text.isascii()
    return dict(re.findall(r'(\w+)=("[^"]*"|[^;]+)', text))


def models(site) -> list[str]:
    return [request.model for request in site.fake.requests]


def test_a_cheap_answer_that_will_do_is_passed_on_as_it_came(make_site):
    site = make_site(script(SURE), toml('policy = "cascade"\ndial = 0.6'))
    reply = site.chat("r")
    assert reply.json["choices"][0]["message"]["content"] == "The answer is 42."
    assert reply.headers["x-pointsman-model"] == "cheap"
    assert models(site) == ["cheap"]
    # Asked for by the route, not by the client: taken out again.
    assert site.fake.requests[0].body["logprobs"] is True
    assert reply.json["choices"][0]["logprobs"] is None
    found = route_of(reply)
    assert (found["route"], found["policy"], found["choice"]) == ("r", "cascade", "o:cheap")
    assert found["why"].startswith('"its answer will do')


def test_a_poor_answer_goes_on_and_its_cost_is_counted(make_site):
    site = make_site(script(UNSURE), toml('policy = "cascade"\ndial = 0.6'))
    reply = site.chat("r")
    assert reply.json["choices"][0]["message"]["content"] == "It is 7."
    assert (reply.headers["x-pointsman-model"], models(site)) == ("dear", ["cheap", "dear"])
    assert reply.headers["x-pointsman-attempts"] == "2"
    found = route_of(reply)
    assert float(found["spent"]) > 0
    alone = site.chat("dear")
    assert float(reply.headers["x-pointsman-cost-usd"]) == pytest.approx(
        float(alone.headers["x-pointsman-cost-usd"]) + float(found["spent"]), rel=0.02
    )
    metrics = site.send("/metrics", method="GET").body.decode()
    assert 'pointsman_cost_usd_total{provider="o",model="cheap"} 0' not in metrics


def test_logprobs_that_the_client_asked_for_stay(make_site):
    site = make_site(script(SURE), toml('policy = "cascade"\ndial = 0.6'))
    reply = site.chat("r", logprobs=True)
    assert reply.json["choices"][0]["logprobs"]["content"]


def test_a_model_that_refuses_logprobs_is_asked_again_without_and_remembered(make_site):
    def cheap(request):
        if "logprobs" in request.body:
            return Fault(status=403, message="not allowed to request logprobs from this model")
        return SURE

    site = make_site(script(cheap), toml('policy = "cascade"\ndial = 0.6\naccept = 0.1'))
    for _ in range(2):
        assert site.chat("r").headers["x-pointsman-model"] == "cheap"
    assert ["logprobs" in r.body for r in site.fake.requests] == [True, False, False]


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(close=True), Fault(garbage_after=0)])
def test_a_cheap_candidate_that_fails_is_passed_over(make_site, fault):
    site = make_site(script(fault), toml('policy = "cascade"\ndial = 0.6'))
    reply = site.chat("r")
    assert (reply.status, reply.headers["x-pointsman-model"]) == (200, "dear")
    assert 'why="o:cheap would not do: it failed' in reply.headers["x-pointsman-route"]


def test_when_the_abler_one_is_down_the_answer_at_hand_is_given(make_site):
    site = make_site(script(UNSURE, Fault(status=500)), toml('policy = "cascade"\ndial = 0.6'))
    reply = site.chat("r")
    assert (reply.status, reply.headers["x-pointsman-model"]) == (200, "cheap")
    assert reply.json["choices"][0]["message"]["content"] == UNSURE.text
    assert "an abler one failed: the answer at hand" in reply.headers["x-pointsman-route"]


def test_when_all_fail_the_client_hears_of_it(make_site):
    down = Fault(status=503)
    site = make_site(script(down, down), toml('policy = "cascade"\ndial = 0.6'))
    assert site.chat("r").status == 503


# Streams


def text_of(reply) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for event in reply.events
        if isinstance(event, dict)
        for choice in event.get("choices", ())
    )


def test_a_stream_is_held_back_then_passed_on_whole(make_site):
    site = make_site(script(SURE), toml('policy = "cascade"\ndial = 0.6\nholdback_tokens = 3'))
    reply = site.chat("r", stream=True)
    assert text_of(reply) == SURE.text
    assert reply.events[-1] == "[DONE]"
    assert reply.headers["x-pointsman-model"] == "cheap"
    assert b"top_logprobs" not in reply.body
    assert models(site) == ["cheap"]


def test_a_stream_that_begins_badly_is_never_seen(make_site):
    site = make_site(script(UNSURE), toml('policy = "cascade"\ndial = 0.6\nholdback_tokens = 3'))
    reply = site.chat("r", stream=True)
    assert text_of(reply) == "It is 7."
    assert (reply.headers["x-pointsman-model"], models(site)) == ("dear", ["cheap", "dear"])


def test_a_stream_cut_while_it_is_held_goes_to_the_next(make_site):
    cut = Fault(cut_after=2, answer=SURE)
    site = make_site(script(cut), toml('policy = "cascade"\ndial = 0.6\nholdback_tokens = 9'))
    reply = site.chat("r", stream=True)
    assert (text_of(reply), reply.events[-1]) == ("It is 7.", "[DONE]")


def test_a_stream_cut_after_its_first_byte_never_looks_complete(make_site):
    cut = Fault(cut_after=5, answer=SURE)
    site = make_site(script(cut), toml('policy = "cascade"\ndial = 0.6\nholdback_tokens = 2'))
    reply = site.chat("r", stream=True)
    assert models(site) == ["cheap"]
    assert "[DONE]" not in reply.events
    assert reply.events[-1]["error"]["code"] == "stream_cut"


def test_a_slow_stream_is_let_go_after_its_time(make_site):
    slow = Fault(pause_after=3, pause_s=0.3, answer=SURE)
    more = 'policy = "cascade"\ndial = 0.6\nholdback_tokens = 50\nholdback_ms = 20'
    site = make_site(script(slow), toml(more))
    reply = site.chat("r", stream=True)
    assert (text_of(reply), reply.events[-1]) == (SURE.text, "[DONE]")
    assert reply.headers["x-pointsman-model"] == "cheap"


def test_no_holdback_no_asking_first(make_site):
    site = make_site(script(UNSURE), toml('policy = "cascade"\ndial = 0.01\nholdback_tokens = 0'))
    assert text_of(site.chat("r", stream=True)) == UNSURE.text


# Closer looks


def test_samples_and_a_judge_are_asked_by_the_gateway(make_site):
    site = make_site(script(SURE), toml('policy = "consistency"\nsamples = 3\ndial = 0.6'))
    assert site.chat("r").headers["x-pointsman-model"] == "cheap"
    assert models(site) == ["cheap"] * 3
    assert [r.body.get("temperature") for r in site.fake.requests] == [None, 0.7, 0.7]

    def reply(request):
        if request.model == "referee":
            return Answer(text="It is wrong.\nSCORE: 0")
        return SURE if request.model == "cheap" else Answer(text="It is 7.")

    more = 'policy = "judge"\njudge = "o:referee"\njudge_share = 1.0\ndial = 0.6'
    site = make_site(reply, toml(more))
    found = site.chat("r")
    assert models(site) == ["cheap", "referee", "dear"]
    assert "the judge gives 0.00" in found.headers["x-pointsman-route"]


def test_a_judge_that_is_down_is_left_out_and_it_says_so(make_site):
    def reply(request):
        return Fault(status=500) if request.model == "referee" else SURE

    more = 'policy = "judge"\njudge = "o:referee"\njudge_share = 1.0\ndial = 0.6\naccept = 0.3'
    found = make_site(reply, toml(more)).chat("r")
    assert found.status == 200
    assert "the judge failed" in found.headers["x-pointsman-route"]


# What a route may not do


def test_residency_caps_and_the_price_of_a_request(make_site):
    more = 'policy = "order"\nresidency = ["eu"]'
    extra = toml(more).replace('ref = "o:dear"', 'ref = "o:dear"\nregion = "eu"')
    site = make_site(script(SURE), extra)
    assert site.chat("r").headers["x-pointsman-model"] == "dear"
    capped = make_site(script(SURE), toml("max_cost_usd = 0.001\ndial = 1.0"))
    assert capped.chat("r", max_tokens=100).headers["x-pointsman-model"] == "cheap"
    refused = capped.chat("r", max_tokens=10_000)
    assert refused.status == 503
    assert "of $0.001" in refused.json["error"]["message"]


def test_residency_holds_for_embeddings_and_for_the_judge(make_site, caplog):
    more = (
        'policy = "judge"\njudge = "o:referee"\njudge_share = 1.0\ndial = 0.6\nresidency = ["eu"]'
    )
    extra = toml(more).replace("cached = 0.01 }", 'cached = 0.01 }\nregion = "eu"')
    extra = extra.replace("cached = 0.5 }", 'cached = 0.5 }\nregion = "eu"')
    site = make_site(script(SURE), extra)
    assert site.chat("r").headers["x-pointsman-model"] == "cheap"
    assert models(site) == ["cheap"]
    assert "the judge of 'r' is left out: o:referee: region unknown" in caplog.text
    embedded = site.send("/v1/embeddings", {"model": "r", "input": "x"})
    assert (embedded.status, embedded.headers["x-pointsman-model"]) == (200, "cheap")
    nowhere = make_site(script(SURE), toml('residency = ["moon"]'))
    refused = nowhere.send("/v1/embeddings", {"model": "r", "input": "x"})
    assert refused.status == 503
    assert "region unknown" in refused.json["error"]["message"]
    assert nowhere.fake.requests == []


def test_a_days_money_is_never_passed(make_site):
    site = make_site(script(SURE), toml("spend_usd_per_day = 0.0025"))
    replies = [site.chat("r:1.0", max_tokens=100) for _ in range(8)]
    assert {reply.status for reply in replies} == {200}
    assert sum(float(reply.headers["x-pointsman-cost-usd"]) for reply in replies) <= 0.0025
    answered = [reply.headers["x-pointsman-model"] for reply in replies]
    assert answered == sorted(answered, reverse=True)
    assert set(answered) == {"cheap", "dear"}
    poor = make_site(script(SURE), toml("spend_usd_per_day = 0.00001"))
    refused = poor.chat("r", max_tokens=100)
    assert refused.status == 503
    assert "left today" in refused.json["error"]["message"]


def test_rules_by_tag_and_length(make_site):
    more = """
[[routes.r.rules]]
when = { tag = ["batch"] }
candidates = ["cheap"]
[[routes.r.rules]]
when = { min_chars = 200, language = ["en"] }
dial = 1.0
"""
    site = make_site(script(SURE), toml(more))
    tagged = site.send("/v1/chat/completions", chat_body("r:1.0"), {"x-pointsman-tag": "batch"})
    assert (tagged.headers["x-pointsman-model"], route_of(tagged)["rule"]) == ("cheap", "1")
    long = {"role": "user", "content": "What is the way to the end of the road? " * 8}
    reply = site.send("/v1/chat/completions", {"model": "r", "messages": [long]})
    assert (reply.headers["x-pointsman-model"], route_of(reply)["rule"]) == ("dear", "2")
    assert "rule" not in route_of(site.chat("r"))


def test_shadow_asks_as_listed_and_says_what_it_would_have_done(make_site):
    extra = toml("shadow = true\ndial = 0.0").replace('["cheap", "dear"]', '["dear", "cheap"]')
    reply = make_site(script(SURE), extra).chat("r")
    assert reply.headers["x-pointsman-model"] == "dear"
    found = route_of(reply)
    assert (found["shadow"], found["choice"]) == ("true", "o:cheap")


def test_ab_deals_conversations_out_and_always_the_same_way(make_site):
    more = 'dial = 0.0\n[routes.r.ab]\nname = "strong"\nshare = 0.5\ndial = 1.0'
    site = make_site(script(SURE), toml(more))
    sides = {}
    for number in range(12):
        for _ in range(2):
            headers = {"x-pointsman-conversation": f"c{number}"}
            reply = site.send("/v1/chat/completions", chat_body("r"), headers)
            side = route_of(reply)["ab"], reply.headers["x-pointsman-model"]
            assert sides.setdefault(number, side) == side
    assert set(sides.values()) == {("strong:control", "cheap"), ("strong:variant", "dear")}
    report = site.send("/pointsman/v1/routes/r/curve", method="GET").json
    arms = report["ab"]
    assert arms["control"]["requests"] + arms["variant"]["requests"] == 24


# Faults of the routing itself


@pytest.mark.parametrize("key", ["router", "verifier"])
@pytest.mark.parametrize("content", [None, b"no such thing", b"{}"])
def test_a_broken_file_of_ones_own_is_replaced_and_logged(
    make_site, tmp_path, caplog, key, content
):
    file = tmp_path / "mine"
    if content is not None:
        file.write_bytes(content)
    more = f'policy = "cascade"\ndial = 0.6\n{key} = "{file}"'
    site = make_site(script(SURE), toml(more))
    assert site.chat("r").status == 200
    assert f"{file} is not used, the shipped one is" in caplog.text


def test_without_any_classifier_the_dial_alone_decides(make_site, monkeypatch):
    from pointsman.errors import RouteError

    def broken() -> None:
        raise RouteError("the router's file is damaged")

    monkeypatch.setattr("pointsman.routing.default_classifier", broken)
    monkeypatch.setattr("pointsman.routing.default_verifier", broken)
    site = make_site(script(SURE), toml('policy = "cascade"'))
    low, high = site.chat("r:0.3"), site.chat("r:0.6")
    assert [low.headers["x-pointsman-model"], high.headers["x-pointsman-model"]] == [
        "cheap",
        "dear",
    ]
    assert "no classifier; by the dial alone" in low.headers["x-pointsman-route"]
    report = site.send("/pointsman/v1/routes/r/curve", method="GET").json
    assert report["curve"] is None


def test_a_classifier_that_fails_on_a_prompt_costs_no_request(make_site, monkeypatch, reader):
    read = reader.read

    def fails(text):
        if text == "hello there":
            raise RuntimeError("onnxruntime says no")
        return read(text)

    monkeypatch.setattr(reader, "read", fails)
    reply = make_site(script(SURE), toml("")).chat("r:0.3")
    assert (reply.status, reply.headers["x-pointsman-model"]) == (200, "cheap")
    assert "no classifier; by the dial alone" in reply.headers["x-pointsman-route"]


@pytest.mark.parametrize("policy", ["classifier", "order", "cascade"])
def test_a_candidate_that_is_gone_is_left_out_and_it_says_so(make_site, caplog, policy):
    extra = toml(f'policy = "{policy}"\ndial = 0.1\nfallback = ["nowhere:at-all"]')
    extra = extra.replace('["cheap", "dear"]', '["local:gone", "cheap", "dear"]')
    site = make_site(script(SURE), extra)
    for _ in range(2):
        reply = site.chat("r")
        assert (reply.status, reply.headers["x-pointsman-model"]) == (200, "cheap")
        assert route_of(reply)["gone"] == "nowhere:at-all,local:gone"
    assert caplog.text.count("a route goes on without 'local:gone'") == 1
    none = make_site(script(SURE), '[routes.n]\ncandidates = ["local:gone"]')
    assert none.chat("n").status == 404


@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_noted_takes_no_answer_away(make_site, monkeypatch, caplog, stream):
    def fails(*args, **more):
        raise RuntimeError("a fault of ours")

    site = make_site(script(SURE), toml("dial = 0.1"))
    monkeypatch.setattr("pointsman.door.answered", fails)
    reply = site.chat("r", stream=stream)
    assert reply.status == 200
    assert not stream or reply.events[-1] == "[DONE]"
    assert "was answered and not noted" in caplog.text


# What it says


def test_the_header_has_choice_runner_up_their_chances_and_costs(make_site):
    site = make_site(script(SURE), toml("dial = 0.5"))
    found = route_of(site.chat("r"))
    assert {"choice", "p", "cost", "why", "next", "next_p", "next_cost", "dial"} <= set(found)
    asked = {"prompt": "hello there", "model": "r"}
    explained = site.send("/pointsman/v1/routes/explain", asked).json
    first, second = explained["candidates"]
    assert found["choice"] == first["ref"] == explained["chosen"]
    assert float(found["p"]) == pytest.approx(first["p_success"], abs=0.006)
    assert float(found["next_p"]) == pytest.approx(second["p_success"], abs=0.006)
    assert float(found["cost"]) == pytest.approx(first["cost_usd"], abs=1e-6)
    assert explained["runner_up"] == second["ref"] == found["next"]
    assert first["utility"] >= second["utility"]


def test_an_order_is_explained_as_one(make_site):
    site = make_site(script(SURE), toml('policy = "order"'))
    found = site.send("/pointsman/v1/routes/explain", {"prompt": "hello there", "model": "r"}).json
    assert (found["chosen"], found["reasons"]) == ("o:cheap", ["policy=order"])
    assert [each["status"] for each in found["candidates"]] == ["chosen", "fallback"]


def test_the_curve_of_a_route(make_site):
    site = make_site(script(SURE), toml("quality = 0.95"))
    for _ in range(3):
        site.chat("r")
    report = site.send("/pointsman/v1/routes/r/curve?levels=11", method="GET").json
    levels = report["curve"]["levels"]
    assert [level["dial"] for level in levels] == [round(n / 10, 1) for n in range(11)]
    assert levels[0]["shares"] == {"o:cheap": 1.0}
    assert all(a["quality"] <= b["quality"] for a, b in pairwise(levels))
    assert report["calibrated_on"] == "240 shipped prompts"
    assert report["week"]["requests"] == report["week"]["weighed"] == 3
    assert len(report["week"]["levels"]) == 11
    assert 0.0 < report["dial"] < 1.0
    kept = [level["kept"] for level in levels if level["dial"] >= report["dial"]]
    assert min(kept) >= 0.94
    assert site.send("/pointsman/v1/routes/none/curve", method="GET").status == 404
    assert site.send("/pointsman/v1/routes/r/curve?levels=0", method="GET").status == 400
    json.dumps(report)


# What costs nothing


def test_an_order_is_kept_without_reading_the_request(make_site, monkeypatch):
    def broken() -> None:
        raise AssertionError("no classifier is needed here")

    monkeypatch.setattr("pointsman.routing.default_classifier", broken)
    site = make_site(script(SURE), toml('policy = "order"'))
    # Nothing that this gateway could read as a chat, and the provider's own business.
    strange = {"model": "r", "messages": [{"role": "user", "content": [{"type": "hologram"}]}]}
    reply = site.send("/v1/chat/completions", strange)
    assert reply.status == 200
    assert reply.headers["x-pointsman-route"] == "route=r; policy=order"


def test_a_cheap_candidate_that_fails_is_not_waited_for(make_site):
    extra = toml('policy = "cascade"\ndial = 0.6')
    busy = Fault(status=429, retry_after="15")
    site = make_site(script(busy), extra)
    site.gateway.gateway.door.dispatcher.config.providers["o"].retries = 2
    site.gateway.gateway.door.dispatcher._bindings.clear()
    reply = site.chat("r")
    assert (reply.status, models(site)) == (200, ["cheap", "dear"])


def test_what_upstreams_take_is_no_overhead(make_site):
    slow = msgspec.structs.replace(UNSURE, delay_s=0.3)
    reply = make_site(script(slow), toml('policy = "cascade"\ndial = 0.6')).chat("r")
    assert reply.headers["x-pointsman-model"] == "dear"
    assert float(reply.headers["x-pointsman-overhead-ms"]) < 200


def test_a_model_that_thinks_is_not_held_back_for_long(make_site):
    thinks = Fault(
        pause_after=3, pause_s=0.4, answer=msgspec.structs.replace(SURE, reasoning="Let me see.")
    )
    more = 'policy = "cascade"\ndial = 0.6\nholdback_ms = 20\naccept = 0.5'
    reply = make_site(script(thinks), toml(more)).chat("r", stream=True)
    assert (text_of(reply), reply.events[-1]) == (SURE.text, "[DONE]")
    assert reply.headers["x-pointsman-model"] == "cheap"
