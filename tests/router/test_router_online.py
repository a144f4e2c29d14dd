"""The online learner: it learns, forgets, finds changes, and is the same for the same outcomes."""

from __future__ import annotations

import random

import msgspec
import pytest

from pointsman.router.online import (
    HALF_LIFE_REQUESTS,
    MAX_ARMS,
    OWN_SD,
    SHARED_SD,
    Context,
    Learner,
    LearnerState,
    Offset,
    explored,
)

ROUTE = Context("r", logit=0.5)


def taught(learner: Learner, ref: str, p: float, count: int, seed: int = 0) -> Learner:
    draw = random.Random(seed)
    for _ in range(count):
        learner.learn(ROUTE, ref, float(draw.random() < p))
    return learner


def test_without_outcomes_there_is_no_offset_and_the_prior_s_spread() -> None:
    found = Learner().offset(ROUTE, "a")
    assert (found.logit, found.seen) == (0.0, 0.0)
    assert found.sd == pytest.approx((OWN_SD[0] ** 2 + SHARED_SD[0] ** 2) ** 0.5)


@pytest.mark.parametrize("p", [0.15, 0.5, 0.9])
def test_it_comes_to_what_is_true_and_becomes_sure(p: float) -> None:
    learner = taught(Learner(), "a", p, 1000)
    found = learner.offset(ROUTE, "a")
    said = 1 / (1 + 2.718281828 ** -(ROUTE.logit + found.logit))
    assert said == pytest.approx(p, abs=0.05)
    assert found.sd < 0.3
    assert found.seen > 700


def test_what_is_true_of_all_candidates_is_learned_from_one() -> None:
    learner = taught(Learner(), "a", 0.95, 100)
    other = learner.offset(ROUTE, "b")
    assert 0.2 < other.logit < learner.offset(ROUTE, "a").logit
    assert other.sd > learner.offset(ROUTE, "a").sd
    assert 0 < other.seen < 20
    assert learner.offset(Context("another"), "a").logit == 0.0, "another route is another matter"


def test_weights_for_what_the_prompt_is_like_are_learned() -> None:
    learner = Learner()
    easy, hard = Context("r", difficulty=-2.0, rank=0.9), Context("r", difficulty=2.0, rank=0.1)
    for _ in range(150):
        learner.learn(easy, "a", 1.0)
        learner.learn(hard, "a", 0.0)
    assert learner.offset(easy, "a").logit > 0.8
    assert learner.offset(hard, "a").logit < -0.8
    maths, prose = Context("s", loadings=(2.0, 0.0)), Context("s", loadings=(0.0, 2.0))
    for _ in range(150):
        learner.learn(maths, "a", 0.0)
        learner.learn(prose, "a", 1.0)
    assert learner.offset(maths, "a").logit < 0 < learner.offset(prose, "a").logit


def test_a_model_that_gets_worse_is_found_out_soon() -> None:
    learner = taught(Learner(), "a", 0.9, 800)
    assert learner.state.arms["r\na"].changes == 0
    taught(learner, "a", 0.2, 60, seed=1)
    assert learner.state.arms["r\na"].changes >= 1
    found = learner.offset(ROUTE, "a")
    assert 1 / (1 + 2.718281828 ** -(ROUTE.logit + found.logit)) < 0.5
    still = Learner(half_life_requests=None)
    assert still.state.half_life_requests is None


def test_steady_outcomes_seldom_give_alarm() -> None:
    alarms = [
        taught(Learner(), "a", p, 500, seed).state.arms["r\na"].changes
        for p in (0.5, 0.95)
        for seed in range(3)
    ]
    assert sum(alarms) <= 1, "about one in 10,000 outcomes is to be expected"


def test_one_that_is_not_asked_becomes_uncertain_again() -> None:
    learner = taught(Learner(), "a", 0.1, 200)
    before = learner.offset(ROUTE, "a")
    learner.state.requests["r"] += round(3 * HALF_LIFE_REQUESTS)
    after = learner.offset(ROUTE, "a")
    assert after.sd > 1.5 * before.sd
    assert abs(after.logit) < abs(before.logit)
    assert after.seen == pytest.approx(before.seen / 8, rel=0.01)
    learner.state.requests["r"] += round(30 * HALF_LIFE_REQUESTS)
    long_after = learner.offset(ROUTE, "a")
    assert long_after.logit == pytest.approx(0.0, abs=1e-3)
    assert long_after.sd == pytest.approx(Learner().offset(ROUTE, "a").sd, rel=1e-3)


def test_along_a_prompt_the_quick_way_says_what_the_matrix_says() -> None:
    learner = taught(Learner(), "a", 0.3, 50)
    learner.state.requests["r"] += 700
    quick = learner.offset(ROUTE, "a")
    own = learner._arm("r", "a", tuple(sd * sd for sd in OWN_SD))
    shared = learner._arm("r", "", tuple(sd * sd for sd in SHARED_SD))
    x = ROUTE.features()
    mean = sum((a + b) * v for a, b, v in zip(own.mean, shared.mean, x, strict=True))
    assert quick.logit == pytest.approx(mean, rel=0.05)


def test_the_state_goes_through_json_and_the_same_outcomes_give_the_same() -> None:
    one, other = (taught(Learner(), "a", 0.3, 80) for _ in range(2))
    data = msgspec.json.encode(one.state)
    assert data == msgspec.json.encode(other.state)
    again = Learner(msgspec.json.decode(data, type=LearnerState))
    assert again.offset(ROUTE, "a") == one.offset(ROUTE, "a")


def test_numbers_stay_finite_and_arms_bounded() -> None:
    learner = Learner()
    for sign in (1.0, -1.0):
        extreme = Context("r", 1e9 * sign, 1e9 * sign, 1.0, -1e9 * sign, (1e9,) * 9)
        for reward in (0.0, 1.0, 7.0, -7.0):
            learner.learn(extreme, "a", reward, 5.0)
        found = learner.offset(extreme, "a")
        assert abs(found.logit) < 50
        assert 0 <= found.sd < 10
    state = LearnerState({f"r\n{n}": learner.state.arms["r\na"] for n in range(MAX_ARMS)})
    full = Learner(state)
    full.learn(ROUTE, "new", 1.0)
    assert len(state.arms) == MAX_ARMS
    assert "r\nnew" in state.arms


COSTS = {"cheap": 1.0, "middle": 2.0, "dear": 9.0}
OFFSETS = {"cheap": Offset(0, 0.1), "middle": Offset(0, 0.5), "dear": Offset(0, 2.0)}


def tries(best: str, share: float, dial: float, **more: object) -> dict[str, int]:
    draw = random.Random(5)
    found: dict[str, int] = {}
    for _ in range(2000):
        ref = explored(best, COSTS, OFFSETS, share=share, dial=dial, draw=draw, **more)
        found[ref] = found.get(ref, 0) + 1
    return found


def test_nothing_is_tried_unless_told_and_the_dial_bounds_its_cost() -> None:
    assert tries("cheap", 0.0, 1.0) == {"cheap": 2000}
    assert tries("cheap", 0.5, 0.0) == {"cheap": 2000}
    assert set(tries("cheap", 0.5, 0.2)) == {"cheap", "middle"}
    found = tries("cheap", 0.1, 1.0)
    assert 120 < 2000 - found["cheap"] < 280
    assert found["dear"] > 5 * found["middle"], "the less certain, the likelier tried"
    assert set(tries("dear", 0.5, 0.0)) == {"cheap", "middle", "dear"}, "cheaper ones cost nothing"


def test_who_may_well_be_the_best_is_tried_most() -> None:
    logits = {"cheap": 0.0, "middle": 0.4, "dear": -6.0}
    found = tries("cheap", 0.5, 1.0, logits=logits, per_usd=0.0)
    assert found["middle"] > 20 * found.get("dear", 0)
    dear = tries("cheap", 0.5, 1.0, logits=logits, per_usd=float("inf"))
    assert set(dear) == {"cheap", "middle"}, "at the cheapest only the price counts"
