"""How likely a run is to fail, by what it looks like so far, and what that means for each candidate.

The excess is what the trajectory adds to the log odds of failing, against a run of which nothing is
seen. A candidate's logit is lowered by the excess as far as it is a weak one: the shift. So a run in
trouble goes to an abler model in mid-task, and comes back once the trouble is over; a level that is
passed from turn to turn keeps it from going back and forth.
"""

from __future__ import annotations

import math

from msgspec import Struct

from pointsman.router.trajectory import Trajectory

__all__ = ["Level", "Prognosis", "prognosis_of", "settle", "shift"]

# The level rises at once; it falls only if the excess is lower by this much, and by half a turn.
MARGIN = 0.35
FALL = 0.5


class Prognosis(Struct, frozen=True):
    """`p_fail` is the probability that the run fails as it goes; `excess` and its `sd` in logits.

    `reasons` are the signs that count most, the strongest first.
    """

    p_fail: float
    excess: float
    sd: float
    reasons: tuple[str, ...] = ()


class Level(Struct, frozen=True):
    """How much trouble a conversation is held to be in, in logits, from turn to turn."""

    excess: float = 0.0
    calm_turns: int = 0


def prognosis_of(run: Trajectory) -> Prognosis:
    """Give the prognosis of a run."""
    signs = {
        "errors": 0.35 * min(run.recent_errors, 3.0),
        "repeated errors": 0.4 * min(run.repeated_errors, 3),
        "repeated calls": 0.2 * min(run.recent_repeats, 3.0),
        "corrections": 0.3 * min(run.recent_corrections, 3.0),
        "tests fail": 0.3 * (run.test_state == "fail"),
        "tests recovered": -0.4 * (run.test_state == "pass" and run.tests_recovered > 0),
    }
    excess = sum(signs.values())
    told = sorted((sign for sign in signs if signs[sign]), key=lambda sign: -abs(signs[sign]))
    sd = 0.5 if run.calls else 0.8
    return Prognosis(1.0 / (1.0 + math.exp(-excess)), excess, sd, tuple(told[:3]))


def settle(level: Level, prognosis: Prognosis) -> Level:
    """Give the level after a turn: up at once, down slowly and only past a margin."""
    if prognosis.excess >= level.excess:
        return Level(prognosis.excess, 0)
    if prognosis.excess > level.excess - MARGIN:
        return Level(level.excess, level.calm_turns + 1)
    lower = level.excess - FALL * (level.excess - prognosis.excess)
    return Level(lower, level.calm_turns + 1)


def shift(level: Level, strength: float) -> float:
    """Give what a candidate's logit changes by; `strength` is 0 for the weakest of them, 1 for the ablest."""
    return -level.excess * (1.0 - min(max(strength, 0.0), 1.0))
