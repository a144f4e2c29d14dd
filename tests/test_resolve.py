from __future__ import annotations

import pytest

from pointsman.config import Config, parse_config
from pointsman.errors import RequestError, UnknownModel
from pointsman.resolve import Resolver
from pointsman.types import ModelCard

TEXT = """
[providers.mine]
base_url = "http://127.0.0.1:1/v1"
[models.fast]
ref = "mine:small:7b"
price = { input = 1.0, output = 2.0 }
context = 1000
abilities = ["tools"]
[routes.code]
candidates = ["fast", "openai:gpt-4o"]
dial = 0.25
fallback = ["anthropic:claude-sonnet-5-5"]
"""


def resolver(text=TEXT, local=(), secrets=None):
    config = parse_config(text)
    config.secrets = secrets or {}

    def card(name):
        return ModelCard(ref=f"local:{name}", provider="local", model=name, input_usd_per_mtok=0.0,
                         output_usd_per_mtok=0.0, context_tokens=8192, local=True)  # fmt: skip

    return Resolver(config, lambda: local, card)


@pytest.mark.parametrize(
    ("ref", "provider", "model"),
    [
        ("openai:gpt-4o", "openai", "gpt-4o"),
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("ollama:qwen3:8b", "ollama", "qwen3:8b"),
        ("openrouter:meta/llama:free", "openrouter", "meta/llama:free"),
        ("groq/openai/gpt-oss-20b", "groq", "openai/gpt-oss-20b"),
        ("mine:x", "mine", "x"),
        ("fast", "mine", "small:7b"),
        ("local:a", "local", "a"),
    ],
)
def test_a_ref_names_one_model(ref, provider, model):
    plan = resolver(local=["a"]).resolve(ref)
    assert plan.route is None
    assert [(c.provider, c.model) for c in plan.candidates] == [(provider, model)]


def test_an_alias_has_its_own_facts():
    card = resolver().resolve("fast").candidates[0].card
    assert (card.input_usd_per_mtok, card.output_usd_per_mtok, card.context_tokens) == (1, 2, 1000)
    assert card.tools and not card.vision and not card.json_schema


def test_a_route_has_candidates_a_dial_and_fall_backs():
    plan = resolver().resolve("code")
    assert [c.ref for c in plan.candidates] == ["fast", "openai:gpt-4o"]
    assert (plan.route, plan.dial) == ("code", 0.25)
    assert [c.ref for c in plan.fallback] == ["anthropic:claude-sonnet-5-5"]
    assert resolver().resolve("code:0.9").dial == 0.9


def test_auto_takes_what_it_finds():
    plan = resolver("", ["small"], {"OPENAI_API_KEY": "k"}).resolve("auto:0.3")
    refs = [c.ref for c in plan.candidates]
    assert refs[0] == "local:small"
    assert {r.partition(":")[0] for r in refs[1:]} == {"openai"}
    assert plan.dial == 0.3
    assert all(c.card.input_usd_per_mtok is not None for c in plan.candidates)


def test_auto_with_nothing_says_what_to_do():
    with pytest.raises(UnknownModel, match="pointsman pull smollm2"):
        resolver("").resolve("auto")


@pytest.mark.parametrize("ref", ["auto:2", "auto:x", "code:-1", "", "x" * 600])
def test_a_ref_that_cannot_be_is_a_bad_request(ref):
    with pytest.raises(RequestError) as caught:
        resolver().resolve(ref)
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("ref", "near"),
    [
        ("gpt-4o", "openai:gpt-4o"),
        ("opnai:gpt-4o", "openai:gpt-4o"),
        ("fats", "fast"),
        ("local:smol", "local:smollm2"),
        ("cod", "code"),
    ],
)
def test_an_unknown_name_gets_the_nearest(ref, near):
    with pytest.raises(UnknownModel) as caught:
        resolver(local=["smollm2"]).resolve(ref)
    assert near in str(caught.value).partition("nearest:")[2]


def test_a_model_that_changed_on_this_machine_is_looked_up_anew() -> None:
    seen: list[str] = []
    stamp = 1

    def card(name: str) -> ModelCard:
        seen.append(name)
        return ModelCard(ref=f"local:{name}", provider="local", model=name, local=True)

    resolver = Resolver(Config(), lambda: ["a"], card, lambda: stamp)
    for _ in range(2):
        assert resolver.resolve("local:a").candidates[0].local
        assert resolver.resolve("openai:gpt-5").route is None
    assert seen == ["a"]
    stamp = 2
    resolver.resolve("local:a")
    assert seen == ["a", "a"]
