"""`route train`, `eval` and `explain`, from a file of outcomes to figures; and the door's fall-back."""

from __future__ import annotations

import json
import logging

import msgspec
import pytest
from click.testing import CliRunner
from router_pair import STRONG, WEAK
from router_site import CONFIG

from pointsman.cli import cli
from pointsman.config import parse_config
from pointsman.door import Door
from pointsman.errors import MissingExtra, RouteError
from pointsman.router.explain import explain
from pointsman.router.facts import Facts
from pointsman.router.features import SURFACE
from pointsman.router.ranking import Situation, decide
from pointsman.types import Chat, Estimate, Message, ModelCard, Text

PAIR = ("--strong", STRONG, "--weak", WEAK)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Gives a function (arguments) → what the command printed as JSON."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTSMAN_HOME", str(tmp_path))

    def run(*args: str):
        done = CliRunner().invoke(cli, ["route", *args, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


def test_train_and_eval_from_end_to_end(call, outcomes, tmp_path):
    out = tmp_path / "deep" / "r.onnx"
    learned = call("train", str(outcomes), *PAIR, "--out", str(out))
    assert learned["rows"] == 150 and learned["other_rows"] == 50
    assert learned["model_bytes"] == out.stat().st_size
    assert [path.name for path in out.parent.iterdir()] == ["r.onnx"]
    # Learned from the very rows that it is scored on, it must do well on them.
    found = call("eval", str(outcomes), *PAIR, "--router", str(out))
    assert set(found) >= {
        "rows", "apgr", "cpt50", "cpt80", "auroc", "latency_us_p50", "model_bytes",
    }  # fmt: skip
    assert found["rows"] == 150
    assert found["apgr"] > 0.6 and 0 <= found["cpt50"] <= found["cpt80"] <= 1
    assert found["latency_us_p50"] > 0
    assert found["model_bytes"] == learned["model_bytes"]


def test_a_pair_need_not_be_named(call, outcomes, tmp_path):
    out = str(tmp_path / "r.onnx")
    found = call("train", str(outcomes), "--out", out)
    assert {found["strong"], found["weak"]} == {STRONG, WEAK} and found["models"] > 2
    # The file serves any pair of models that it knows, and says so.
    other = call("eval", str(outcomes), *PAIR, "--router", out)
    assert other["strong_from"] == other["weak_from"] == "recorded outcomes"


def test_eval_takes_the_shipped_router_by_default(call, outcomes):
    assert call("eval", str(outcomes), *PAIR)["model_bytes"] <= 64 * 1024


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("eval", "DATA", "--strong", STRONG, "--weak", "nobody"), "models: "),
        (("eval", "BAD", *PAIR), "bad.jsonl:1"),
        (("eval", "DATA", *PAIR, "--router", "BAD"), "cannot be loaded"),
        (("train", "DATA", *PAIR, "--out", "DATA/x"), "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, outcomes, args, said):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("nonsense\n")
    words = [a.replace("DATA", str(outcomes)).replace("BAD", str(bad)) for a in args]
    with pytest.raises(RouteError, match=said):
        cli.main(["route", *words], standalone_mode=False)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("train", "DATA", *PAIR), "--out"),
        (("train", "DATA", "--out", "x", "--weak", WEAK), "both"),
        (("explain", "hi", "--quality", "2"), "0<=x<=1"),
    ],
)
def test_bad_usage_is_said(outcomes, args, said):
    done = CliRunner().invoke(cli, ["route", *(a.replace("DATA", str(outcomes)) for a in args)])
    assert done.exit_code == 2
    assert said in done.output


def test_explain_names_the_choice_and_what_pushed(call, tmp_path):
    (tmp_path / "pointsman.toml").write_text(CONFIG)
    found = call("explain", "Prove that there are infinitely many primes, step by step.")
    assert found["chosen"] in ("o:small", "o:big")
    assert found["dial"] == 0.4
    assert 0 <= found["rank"] <= 1 and 0 < found["p_weak"] < 1
    first, second = found["candidates"]
    assert (first["status"], second["status"]) == ("chosen", "fallback")
    assert first["utility"] >= second["utility"]
    assert all(0 < each["p_success"] < 1 and each["cost_usd"] > 0 for each in (first, second))
    assert (found["chosen"], found["runner_up"]) == (first["ref"], second["ref"])
    assert list(found["surface"]) == list(SURFACE)
    assert len(found["pushes"]) == 8
    assert call("explain", "hi", "--quality", "1")["chosen"] == "o:big"


def card(ref: str, price: float | None) -> ModelCard:
    return ModelCard(
        ref=ref, provider="p", model=ref, input_usd_per_mtok=price, output_usd_per_mtok=price
    )


def test_an_explanation_is_the_decision_spread_out(router):
    facts = Facts("a question", 10, 10, vision=True)
    cards = [card("blind", 0.1), msgspec.structs.replace(card("seeing", 1.0), vision=True)]
    decision = decide(Situation(facts=facts, cards=tuple(cards)), None)
    found = explain(decision, router, "a question")
    assert [(each.ref, each.status, each.why) for each in found.candidates] == [
        ("seeing", "chosen", "only candidate that can serve it; 1 excluded"),
        ("blind", "excluded", "no vision"),
    ]
    assert found.p_weak == router.estimate("a question").p_weak
    assert (found.strong, found.weak) == (STRONG, WEAK)
    without = explain(decision, None, "a question")
    assert (without.p_weak, without.pushes, without.surface) == (None, (), {})


def test_another_classifier_is_explained_as_far_as_it_goes():
    class Flat:
        def estimate(self, text: str) -> Estimate:
            return Estimate(0.5, 0.5)

    facts = Facts("x", 10, 10)
    decision = decide(Situation(facts=facts, cards=(card("m", 1.0),)), None)
    found = explain(decision, Flat(), "x")
    assert (found.p_weak, found.pushes, found.strong) == (0.5, (), None)


@pytest.mark.parametrize(
    "fault", [MissingExtra("the router's classifier", "router"), RouteError("it is damaged")]
)
async def test_routing_goes_on_without_a_classifier_and_says_so(monkeypatch, caplog, fault):
    def broken():
        raise fault

    monkeypatch.setattr("pointsman.routing.default_classifier", broken)
    door = Door(parse_config(CONFIG))
    chat = Chat(model="auto", messages=(Message("user", (Text("a secret question"),)),))
    with caplog.at_level(logging.WARNING, "pointsman"):
        low, high = door.choose("auto", lambda: chat), door.choose("auto:0.7", lambda: chat)
    assert [c.card.ref for c in low.candidates] == ["o:small", "o:big"]
    assert [c.card.ref for c in high.candidates] == ["o:big", "o:small"]
    assert "no classifier; by the dial alone" in low.why
    assert caplog.text.count("routing without a classifier") == 1
    assert "secret" not in caplog.text and "secret" not in low.why
    await door.aclose()


async def test_the_door_routes_by_the_shipped_classifier():
    door = Door(parse_config(CONFIG))
    chat = Chat(model="auto", messages=(Message("user", (Text("What is 2 + 2?"),)),))
    choice = door.choose("auto", lambda: chat, 0.5)
    assert choice.decision is not None and choice.decision.reading is not None
    assert choice.why.startswith(f"route=auto; choice={choice.decision.chosen}; p=0.")
    await door.aclose()
