"""The keys of routes: what is refused, and what a plan makes of them."""

from __future__ import annotations

import pytest

from pointsman.config import parse_config
from pointsman.door import Door
from pointsman.errors import ConfigError
from pointsman.resolve import Resolver

ROUTE = "[routes.r]\ncandidates = ['openai:gpt-6-luna', 'openai:gpt-6.1-sol']\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("policy = 'cascades'", "routes[...].policy: Invalid enum value 'cascades'"),
        ("policy = 'judge'", ":3: routes.r.policy: needs the ref that judges: set judge"),
        ("quality = 95", ":3: routes.r.quality: must be 0 to 1"),
        ("quality = 0.9\nspend_usd_per_day = 4", "set one of quality and spend_usd_per_day"),
        ("spend_usd_per_day = 0", ":3: routes.r.spend_usd_per_day: must be above 0"),
        ("max_cost_usd = -1", ":3: routes.r.max_cost_usd: must be above 0"),
        ("samples = 1", "must be 2 to 8"),
        ("holdback_tokens = -1", ":3: routes.r.holdback_tokens: must be 0 to 10000"),
        ("explore = 2", "must be 0 to 1"),
        ("residncy = ['eu']", "did you mean 'residency'?"),
        ("[routes.r.ab]\nshare = 0.5", "missing required field `name`"),
        ("[routes.r.ab]\nname = 'x'\nshare = 2", "routes.r.ab.share: must be 0 to 1"),
        ("[routes.r.ab]\nname = 'x'\npolicy = 'judge'", "needs the ref that judges"),
        ("[[routes.r.rules]]\ncandidates = ['a:b']", "rule 1 needs a classifier or a when"),
        ("[[routes.r.rules]]\nwhen = { tag = ['x'] }", "rule 1 needs at least one candidate, or a"),
        ("[[routes.r.rules]]\nwhen = { tags = ['x'] }\ndial = 1", "did you mean 'tag'?"),
        ("[[routes.r.rules]]\nwhen = { hours = [8] }\ndial = 1", "hours are two numbers from 0"),
        ("[[routes.r.rules]]\nwhen = { tag = ['x'] }\ndial = 3", "the dial must be 0 to 1"),
        ("[[routes.r.rules]]\nlabels = ['x']\ndial = 1", "rule 1 has labels and no classifier"),
    ],
)
def test_what_a_route_may_not_say(more, message):
    with pytest.raises(ConfigError) as caught:
        parse_config(ROUTE + more)
    assert message in caught.value.message


async def test_a_language_that_cannot_be_told_is_refused_at_the_start():
    rule = "[[routes.r.rules]]\nwhen = { language = ['de', 'xx'] }\ndial = 1.0"
    with pytest.raises(ConfigError, match="rule 1: language 'xx' cannot be told"):
        Door(parse_config(ROUTE + rule))


def resolver(text: str) -> Resolver:
    return Resolver(parse_config(text), list, lambda name: None)


def test_a_region_is_the_providers_or_the_aliases_own():
    text = """
[providers.openai]
region = "us"
[models.near]
ref = "openai:gpt-6-luna"
region = "eu"
"""
    found = resolver(text)
    assert found.candidate("openai:gpt-6-luna").card.region == "us"
    assert found.candidate("near").card.region == "eu"
    assert found.candidate("mistral:mistral-large-latest").card.region is None


def test_who_gives_log_probabilities():
    found = resolver("[providers.own]\nbase_url = 'http://127.0.0.1:9/v1'")
    assert found.candidate("openai:gpt-4.1").card.logprobs
    assert found.candidate("own:anything").card.logprobs
    assert not found.candidate("anthropic:claude-opus-5-5").card.logprobs
    off = "[providers.own]\nbase_url = 'http://127.0.0.1:9/v1'\ncapabilities = { logprobs = false }"
    assert not resolver(off).candidate("own:anything").card.logprobs


def test_the_other_side_of_an_ab_is_a_plan_of_its_own():
    text = ROUTE + "quality = 0.9\n[routes.r.ab]\nname = 'x'\npolicy = 'order'\ndial = 0.2"
    plan = resolver(text).resolve("r")
    assert (plan.policy, plan.spec.quality) == ("classifier", 0.9)
    other = plan.variant
    assert other is not None
    assert (other.policy, other.dial, other.spec.quality) == ("order", 0.2, None)
    assert other.candidates == plan.candidates
    assert resolver(text).resolve("r:0.7").variant.dial == 0.7
    assert resolver(text).resolve("r:0.7").asked_dial


def test_everyone_who_may_be_asked_is_counted():
    judged = ROUTE + "policy = 'judge'\njudge = 'anthropic:claude-opus-5-5'"
    assert "anthropic" in {each.provider for each in resolver(judged).resolve("r").everyone()}
