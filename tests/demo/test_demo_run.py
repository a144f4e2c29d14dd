"""The demo end to end with the scripted strong side, and a scripted small one for the local model."""

from __future__ import annotations

import pytest

from pointsman.config import Config, ModelConfig, PriceConfig, ProviderConfig, RouteConfig
from pointsman.demo import run
from pointsman.demo.prompts import load_prompts
from pointsman.demo.run import ask_all, demo_gateway, strong_side
from pointsman.testing import NOTICE, Answer, FakeProvider, Fault


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    monkeypatch.setenv("POINTSMAN_HOME", str(tmp_path))
    return Config()


@pytest.fixture
def small(config, monkeypatch):
    """A scripted stand-in for the local model: a free alias, since a route's refs are resolved alike."""
    with FakeProvider(lambda request: Answer(text="small says 4", input_tokens=9)) as fake:
        config.providers["little"] = ProviderConfig(
            base_url=f"{fake.url}/v1", auth="none", retries=0
        )
        config.models["small"] = ModelConfig(
            ref="little:small", price=PriceConfig(input=0.0, output=0.0)
        )
        monkeypatch.setattr(
            run,
            "RouteConfig",
            lambda candidates, dial: RouteConfig(candidates=["small", candidates[1]], dial=dial),
        )
        yield fake


def no_keys(monkeypatch):
    monkeypatch.setattr(run, "configured_names", lambda config: [])


def test_without_a_key_the_strong_side_is_scripted_and_says_so(config, monkeypatch):
    no_keys(monkeypatch)
    strong = strong_side(config)
    assert strong.scripted and strong.ref == "strong"
    assert "scripted stand-in" in strong.note and "no model ran" in strong.note


def test_with_a_key_the_strong_side_is_that_provider(config, monkeypatch):
    monkeypatch.setattr(run, "configured_names", lambda config: ["openai"])
    strong = strong_side(config)
    assert not strong.scripted and strong.ref.startswith("openai:")
    assert strong.ref in strong.note and "with your key" in strong.note


def test_prompts_go_through_auto_streamed_and_not(config, small, monkeypatch):
    no_keys(monkeypatch)
    prompts = load_prompts()[::2]
    shown: list[int] = []
    with demo_gateway(config, strong_side(config)) as gateway:
        card_of = lambda ref: gateway.gateway.door.resolver.candidate(ref).card  # noqa: E731
        rows = ask_all(gateway.url, prompts, card_of, lambda row: shown.append(row.number))
    assert shown == [row.number for row in rows] == list(range(1, len(prompts) + 1))
    assert [row.error for row in rows] == [None] * len(rows)
    assert [row.streamed for row in rows] == [n % 2 == 0 for n in shown]
    weak = [row for row in rows if row.model == "small"]
    strong = [row for row in rows if row.model == "strong"]
    # The dial stands at one half: both sides must get their part of real prompts.
    assert len(weak) + len(strong) == len(rows)
    assert min(len(weak), len(strong)) >= len(rows) / 5
    assert {row.text for row in weak} == {"small says 4"}
    assert all(NOTICE in row.text for row in strong)
    for side in (weak, strong):
        assert {row.streamed for row in side} == {True, False}
    assert all(row.cost_usd == 0 for row in weak)
    assert all(row.cost_usd and row.output_tokens for row in strong)
    assert all(row.overhead_ms is not None and row.seconds > 0 for row in rows)
    assert all(row.why.startswith("p=0.") for row in rows)


def test_a_failed_prompt_is_a_row_and_the_rest_goes_on(config, small, monkeypatch):
    no_keys(monkeypatch)
    with FakeProvider(lambda request: Fault(status=400)) as broken:
        config.providers["little"].base_url = f"{broken.url}/v1"
        with demo_gateway(config, strong_side(config)) as gateway:
            card_of = lambda ref: gateway.gateway.door.resolver.candidate(ref).card  # noqa: E731
            rows = ask_all(gateway.url, load_prompts()[::4], card_of, lambda row: None)
    failed = [row for row in rows if row.error]
    assert failed and len(failed) < len(rows)
