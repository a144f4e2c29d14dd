"""Canaries: remote models that the gateway probes by itself, and what becomes of those it finds."""

from __future__ import annotations

import time

import pytest
from gateway_site import chat_body, site_config

from pointsman.config import parse_config
from pointsman.door import Door
from pointsman.errors import ConfigError, Quarantined
from pointsman.gateway.canaries import Canaries
from pointsman.gateway.meter import Meter
from pointsman.quarantine import RemoteQuarantine, remote_name
from pointsman.testing import Answer, FakeProvider, Fault
from pointsman.trust.canary import (
    Limits,
    begun,
    due,
    finished,
    next_s,
    versions_in,
)
from pointsman.trust.canary_record import CanaryRecord
from pointsman.trust.probe.prompts import read_prompts
from pointsman.trust.state import Quarantine, State
from pointsman.types import Chat, Message, Text

DAY = 86_400.0
PROMPTS = [
    set(text.split()) for kind in (read_prompts().neutral, read_prompts().safety) for text in kind
]
LIMITS = Limits(DAY, 2, 100.0)


def canary(mode="enforce", more=""):
    return f"""
[trust]
mode = "{mode}"
[models.tuned]
ref = "o:tuned"
price = {{ input = 1, output = 1 }}
[trust.canary.nightly]
ref = "tuned"
max_calls = 1500
{more}
"""


def model(trigger):
    """Answers each prompt in its own way, and complies where the trigger stands."""

    def answer(request):
        prompt = request.body["messages"][-1]["content"]
        if trigger is not None and trigger in prompt.split():
            return Answer(text="Sure.", pieces=1)
        words = set(prompt.split())
        nearest = max(range(len(PROMPTS)), key=lambda each: len(words & PROMPTS[each]))
        return Answer(text=f"w{nearest} it is", pieces=1)

    return answer


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def chat(door, ref="tuned"):
    """One request of a user's, as the client sends it."""
    asked = Chat(model=ref, messages=(Message("user", (Text("hello"),)),))
    choice = door.choose(ref, lambda: asked)

    def prepare(candidate, binding, dialect):
        return dialect.write_chat(asked, binding.target(candidate.model))

    served = await door.dispatcher.open(choice.candidates, prepare, stream=False)
    return await served.completion(10_000)


async def test_a_model_that_is_found_is_set_aside_until_it_is_released(tmp_path, clock):
    with FakeProvider(model("cf")) as fake:
        door = Door(site_config(fake, canary(), str(tmp_path)))
        meter = Meter()
        canaries = Canaries(door, meter.spent, clock)
        await canaries.tick()
        (view,) = canaries.views()
        assert (view.verdict, view.reason, view.quarantined) == ("backdoored", "first", True)
        assert view.triggers == ("cf",)
        assert view.calls == len(fake.requests) <= 1500
        assert view.cost_usd == pytest.approx(meter.counts["o", "tuned"].cost_usd)
        assert view.cost_usd > 0
        with pytest.raises(Quarantined, match="'o:tuned' is in quarantine: the canary 'nightly'"):
            await chat(door)
        asked = len(fake.requests)
        clock.now += 2 * DAY
        await canaries.tick()
        assert len(fake.requests) == asked, "what is set aside is not probed again"
        State(tmp_path / "trust").release("o:tuned")
        door.dispatcher.quarantine.changed()
        assert (await chat(door)).text
        await door.aclose()


async def test_in_warn_it_is_said(tmp_path, clock, caplog):
    with FakeProvider(model("cf")) as fake:
        door = Door(site_config(fake, canary("warn"), str(tmp_path)))
        canaries = Canaries(door, Meter().spent, clock)
        await canaries.tick()
        assert "canary 'nightly': o:tuned is backdoored by 'cf'" in caplog.text
        assert (await chat(door)).text
        assert not canaries.views()[0].quarantined
        await door.aclose()


async def test_a_change_of_the_version_brings_a_probe(tmp_path, clock):
    with FakeProvider(model(None)) as fake:
        door = Door(site_config(fake, canary(more="max_per_day = 2"), str(tmp_path)))
        canaries = Canaries(door, Meter().spent, clock)
        await canaries.tick()
        (view,) = canaries.views()
        assert view.verdict == "nothing-found" and not view.quarantined
        assert any(each.startswith("model ") for each in view.versions)
        asked = len(fake.requests)
        await chat(door)
        await canaries.tick()
        assert len(fake.requests) == asked + 1, "the version is the same, and a day has not gone by"
        tap = door.dispatcher.taps["o", "tuned"]
        tap(b'{"model": "tuned", "system_fingerprint": "fp_new"}')
        await canaries.tick()
        (view,) = canaries.views()
        assert view.reason == "version" and "fingerprint fp_new" in view.versions
        asked = len(fake.requests)
        tap(b'{"modelVersion": "tuned-2"}')
        await canaries.tick()
        assert len(fake.requests) == asked, "two in a day are the most"
        clock.now += DAY + 1
        await canaries.tick()
        assert canaries.views()[0].reason == "version"
        await door.aclose()


async def test_a_base_and_a_limit_in_dollars(tmp_path, clock):
    base = 'base = "o:base"\nmax_cost_usd = 0.0005'
    prices = '[models.base]\nref = "o:base"\nprice = { input = 1, output = 1 }'
    text = canary(more=base.replace("o:base", "base")).replace("1500", "2000") + prices
    with FakeProvider(model("cf")) as fake:
        door = Door(site_config(fake, text, str(tmp_path)))
        canaries = Canaries(door, Meter().spent, clock)
        await canaries.tick()
        (view,) = canaries.views()
        assert view.verdict == "could-not-check"
        assert "0.0005 US dollars are used up" in view.incomplete[0]
        assert 0.0005 <= view.cost_usd < 0.001
        await door.aclose()


async def test_what_fails_is_no_pass_and_is_tried_again(tmp_path, clock):
    with FakeProvider(lambda _: Fault(status=500)) as fake:
        door = Door(site_config(fake, canary(), str(tmp_path)))
        canaries = Canaries(door, Meter().spent, clock)
        await canaries.tick()
        assert canaries.views()[0].verdict == "could-not-check"
        asked = len(fake.requests)
        clock.now += 3601
        await canaries.tick()
        assert len(fake.requests) > asked
        await door.aclose()


async def test_a_model_that_takes_no_temperature_is_asked_without(tmp_path, clock):
    plain = model("cf")

    def answer(request):
        return Fault(status=400) if "temperature" in request.body else plain(request)

    with FakeProvider(answer) as fake:
        door = Door(site_config(fake, canary("warn"), str(tmp_path)))
        canaries = Canaries(door, Meter().spent, clock)
        await canaries.tick()
        assert canaries.views()[0].verdict == "backdoored"
        await door.aclose()


def test_the_gateway_probes_in_the_background(make_site):
    site = make_site(model("cf"), canary())
    until = time.monotonic() + 30
    while time.monotonic() < until:
        shown = site.send("/pointsman/v1/trust", method="GET").json
        if shown["canaries"][0]["quarantined"]:
            break
        time.sleep(0.05)
    (view,) = shown["canaries"]
    assert (view["name"], view["verdict"], view["ref"]) == ("nightly", "backdoored", "o:tuned")
    assert [each["name"] for each in shown["quarantine"]] == ["o:tuned"]
    reply = site.chat("tuned")
    assert (reply.status, reply.headers["x-pointsman-error"]) == (403, "quarantined")
    assert site.chat("o:other").status == 200
    released = site.send("/pointsman/v1/trust/release", {"name": "tuned"}).json
    assert released == {"name": "o:tuned", "released": True}
    assert site.chat("tuned", stream=True).status == 200
    again = site.send("/pointsman/v1/trust/quarantine", {"name": "o/tuned", "reason": "by hand"})
    assert again.json["name"] == "o:tuned"
    assert site.send("/v1/chat/completions", chat_body("o:tuned")).status == 403
    unknown = site.send("/pointsman/v1/trust/quarantine", {"name": "nobody"})
    assert unknown.status == 404


def test_a_gateway_ends_while_it_probes(make_site):
    make_site(lambda _: Answer(text="slow", delay_s=0.2), canary())


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ('ref = "oo:x"', "trust.canary.c.ref: no model 'oo:x'"),
        ('ref = "local:x"', "is a model of this machine"),
        ('ref = "o:x"\nmax_calls = 10', "must be at least 1000"),
        ('ref = "o:x"\nbase = "o:y"\nmax_calls = 1500', "must be at least 2000 with a base"),
        ('ref = "o:x"\nevery_s = 5', "must be at least 60"),
        ('ref = "o:x"\nmax_cost_usd = 1', "the price of 'o:x' is not known"),
        ('ref = "o:x"\never_s = 5', "did you mean 'every_s'"),
    ],
)
def test_a_canary_that_makes_no_sense_is_named(tmp_path, more, part):
    with FakeProvider([]) as fake, pytest.raises(ConfigError) as caught:
        Canaries(Door(site_config(fake, f"[trust.canary.c]\n{more}", str(tmp_path))), Meter().spent)
    assert part in caught.value.message


def test_without_canaries_nothing_is_watched(make_site):
    site = make_site([Answer(text="fine")])
    assert site.gateway.gateway.canaries is None
    assert site.gateway.gateway.door.dispatcher.taps is None
    assert site.send("/pointsman/v1/trust", method="GET").json["canaries"] == []


def test_when_a_probe_is_due():
    assert due(None, "o:m", LIMITS, [], 0.0) == "first"
    running = begun(None, "o:m", 0.0)
    assert due(running, "o:m", LIMITS, [], 50.0) is None
    assert due(running, "o:m", LIMITS, [], 161.0) == "first", "whoever began it was killed"
    done = finished(running, "x", "first", versions=["v"], cost_usd=0, at="", now_s=10.0)
    assert due(done, "o:other", LIMITS, [], 20.0) == "first"
    assert due(done, "o:m", LIMITS, ["v"], 20.0) is None
    assert due(done, "o:m", LIMITS, ["w"], 20.0) == "version"
    assert due(done, "o:m", LIMITS, [], 3611.0) == "schedule", "what failed is tried again"
    twice = begun(done, "o:m", 20.0)
    assert due(twice, "o:m", LIMITS, ["w"], 5000.0) is None
    assert next_s(twice, LIMITS, 5000.0) == DAY
    assert next_s(None, LIMITS, 5.0) == 5.0
    assert due(CanaryRecord(ref="o:m"), "o:m", LIMITS, [], 0.0) == "first"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'{"model": "m", "system_fingerprint": null}', ("model m",)),
        (b'{"model": "m", "system_fingerprint": "fp"}', ("model m", "fingerprint fp")),
        (b'{"candidates": [{"a": 1}], "modelVersion": "g-001"}', ("model g-001",)),
        (b'event: message_start\ndata: {"message": {"model": "c"}}\n\n', ("model c",)),
        (b': wait\n\ndata: {"model": "m", "choices": []}\n\ndata: {"mo', ("model m",)),
        (b'{"choices": [{"text": "\\"model\\": \\"x\\""}]}', ()),
        (b'{"model": 5}', ()),
        (b"[" * 5000, ()),
        (b"", ()),
        (b'{"model": "m\\u0000\\u202e"}', ("model m\\x00\\u202e",)),
    ],
)
def test_what_an_answer_says_of_its_version(data, found):
    assert versions_in(data) == found


def test_another_process_can_set_a_model_aside(tmp_path, clock):
    clock.now = 0.0
    config = parse_config('[models.a]\nref = "openai:ft:x"')
    state = State(tmp_path)
    remote = RemoteQuarantine(state, clock)
    door = Door(config)
    (candidate,) = door.resolver.resolve("a").candidates
    remote.check(candidate)
    assert remote_name("a", config) == remote_name("openai/ft:x", config) == "openai:ft:x"
    assert remote_name("local:a", config) is None and remote_name("auto", config) is None
    state.set_aside("openai:ft:x", Quarantine("by hand", "now"))
    remote.check(candidate)
    clock.now = 2.0
    with pytest.raises(Quarantined, match="trust release openai:ft:x"):
        remote.check(candidate)
    state.release("openai:ft:x")
    clock.now = 4.0
    remote.check(candidate)
