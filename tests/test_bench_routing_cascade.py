"""The pure parts of bench/routing_cascade.py, and the verifier's fit from given weights."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import _cascade_score as score
from _cascade_cases import hand_set
from _cascade_plot import curves_svg
from _cascade_tasks import Prompt, bare_sums, right, written

from pointsman.router.answer import FEATURES
from pointsman.router.verify import train_verifier

CHEAP = np.array([1.0, 0.0, 1.0, 0.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])


def _ask(task: str, gold: str) -> Prompt:
    return Prompt(task, 0, "", "", gold)


@pytest.mark.parametrize(
    ("task", "gold", "answer", "good"),
    [
        ("arithmetic", "24", " 24", True),
        ("arithmetic", "24", " 240", False),
        ("arithmetic", "-3", "-3.", True),
        ("arithmetic-tiny", "7", "", False),
        ("choice", "B", " B. tin", True),
        ("choice", "B", "Because", False),
        ("capitals", "New Delhi", " New Delhi, India", True),
        ("capitals", "Niger", "Nigeria", False),
        ("sms_spam", "spam", "Spam", True),
        ("sms_spam", "spam", "not spam", False),
    ],
)
def test_an_answer_is_right_by_what_it_comes_to(
    task: str, gold: str, answer: str, good: bool
) -> None:
    assert right(_ask(task, gold), answer) is good


def test_a_longer_list_of_prompts_begins_with_the_shorter_one() -> None:
    assert bare_sums(40, 3)[:10] == bare_sums(10, 3)
    pairs = [(f"q{n}", f"a{n}") for n in range(9)]
    found = written("task", pairs, 3)
    assert [each.text for each in found] == ["q4", "q5", "q6"]
    assert found[0].sent.endswith("Question: q4\nAnswer:")
    assert "a4" not in found[0].sent


def test_a_cascade_pays_for_the_cheap_call_each_time() -> None:
    curve = score.sent_curve(STRONG - CHEAP, CHEAP, STRONG)
    assert curve.tolist() == [0.5, 0.75, 1.0, 1.0, 1.0]
    router, one, two = (score.at_budgets(curve, 10.0, first) for first in (0, 1, 2))
    assert router[0] == one[0] == two[0] == 0.5
    assert (router >= one).all()
    assert (one >= two).all()
    assert router.mean() > one.mean() > two.mean()
    # At a budget of 0.55 the cascade has sent 0.45 of the prompts up, the router a half of them.
    middle = score.BUDGETS // 2
    assert score.budgets(10.0)[middle] == pytest.approx(0.55)
    assert one[middle] == pytest.approx(0.95)
    assert router[middle] == pytest.approx(1.0)


def test_the_oracle_asks_the_strong_one_only_where_it_alone_is_right() -> None:
    strong = np.array([0.0, 1.0, 0.0, 0.0])
    assert score.oracle_at(CHEAP, strong, 4.0)[-1] == pytest.approx(0.75)


def test_what_is_closed_lies_between_the_router_and_the_oracle() -> None:
    draw = np.random.default_rng(1)
    cheap = (draw.random(400) < 0.5).astype(float)
    strong = (draw.random(400) < 0.9).astype(float)
    scored = score.Scored(
        cheap,
        strong,
        {"router": draw.random(400), "cascade good": -cheap, "cascade poor": draw.random(400)},
        np.zeros(400, dtype=np.int64),
        np.full((400, 1), 0.05),
        cheap[:, None],
    )
    found = score.areas(scored, 20.0)
    assert score.closed(found, "cascade good", "router") > 0.6
    assert score.closed(found, "cascade poor", "router") < 0.2
    drawn = score.bootstrap(scored, 20.0, 50, 0)
    low, high = score.interval([score.closed(each, "cascade good", "router") for each in drawn])
    assert low < score.closed(found, "cascade good", "router") < high
    assert drawn == score.bootstrap(scored, 20.0, 50, 0)


def test_each_prompts_logit_comes_from_a_fit_without_it() -> None:
    texts = [f"{'easy' if n % 2 else 'hard'} words {n}" for n in range(30)]
    rows = score.prompt_matrix(texts)
    outcome = np.array([float(n % 2) for n in range(30)])
    learned = score.learn_prompts(rows[:24], outcome[:24], rows[24:])
    assert (learned.new[outcome[24:] == 1] > learned.new[outcome[24:] == 0].max()).all()
    # An outcome that nothing in the prompts tells is not remembered as if it had been foretold.
    noise = np.array([float(random.Random(n).random() < 0.5) for n in range(30)])
    assert score.auroc(score.learn_prompts(rows, noise, rows).learned, noise) < 0.75


def test_probabilities_are_measured() -> None:
    p = np.linspace(0.05, 0.95, 200)
    outcome = (np.random.default_rng(0).random(200) < p).astype(float)
    assert score.calibration_error(p, outcome) < 0.1
    assert score.calibration_error(np.full(200, 0.99), outcome) > 0.3
    assert score.auroc(outcome, outcome) == 1.0
    assert score.auroc(np.zeros(200), outcome) == 0.5


def test_a_fit_from_given_weights_keeps_what_its_answers_do_not_show() -> None:
    draw = np.random.default_rng(5)
    rows = np.zeros((300, len(FEATURES)))
    rows[:, FEATURES.index("has_logprobs")] = 1.0
    mean = FEATURES.index("mean_logprob")
    rows[:, mean] = -draw.random(300) * 3
    outcome = (draw.random(300) < 1 / (1 + np.exp(-(2 + 3 * rows[:, mean])))).astype(float)
    found = train_verifier(
        rows.tolist(), outcome.tolist(), source="a test", date="2026-11-24", start=hand_set()
    )
    plain = train_verifier(rows.tolist(), outcome.tolist(), source="a test", date="2026-11-24")
    refused = FEATURES.index("refused")
    good = [0.0] * len(FEATURES)
    good[FEATURES.index("has_logprobs")] = 1.0
    bad = list(good)
    bad[refused] = 1.0
    assert found.p_good(good) - found.p_good(bad) > 0.3
    assert plain.p_good(good) == plain.p_good(bad)
    unsure = list(good)
    unsure[mean] = -2.5
    assert found.p_good(good) > 0.75 > 0.25 > found.p_good(unsure)


def test_the_plot_has_a_line_for_each_way() -> None:
    curve = [0.5, 0.6, 0.7]
    names = ("oracle", "cascade own", "router trained")
    panel = {"budgets": [0.1, 0.55, 1.0], "curves": dict.fromkeys(names, curve)}
    drawn = curves_svg({"one <pair>": panel})
    assert drawn.count("<polyline") == 3
    assert "one &lt;pair&gt;" in drawn
