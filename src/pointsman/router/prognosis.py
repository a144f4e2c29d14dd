"""How likely a run is to fail, by what it looks like so far, and what that means for each candidate.

A logistic model of a few signs with the sign of each weight fixed. What the training runs could not
show (tests, severe faults) keeps its prior weight, set by hand, and its prior's spread: the posterior's
sd says how much is guessed. The excess is what a run has over a usual one of as many messages, in log
odds; a candidate's logit is lowered by it as far as it is a weak one. So a run in trouble goes to an
abler model in mid-task and comes back once that is over; a level that is passed from turn to turn keeps
it from going back and forth.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from pointsman.errors import RouteError
from pointsman.router.trajectory import Trajectory

__all__ = [
    "SIGNS",
    "Level",
    "Prognosis",
    "PrognosisModel",
    "default_model",
    "prognosis_of",
    "read_model",
    "settle",
    "shift",
    "signs_of",
]

SIGNS = ("load", "errors", "repeats", "corrections", "tests", "stalled", "compactions")
# As they are told of in reasons: what raises the risk, and what lowers it.
_WORDS = (
    ("much text for so few messages", "little text for so many messages"),
    ("tool errors", ""),
    ("the same again", ""),
    ("corrected by the user", ""),
    ("tests fail", "tests pass again"),
    ("reads without writes", ""),
    ("context was compacted", ""),
)
MAX_MODEL_BYTES = 64 * 1024
# An error now and then is usual.
USUAL_ERRORS = 0.5
# Reads in a row that are usual before a write, and how many more count as one unit of the sign.
USUAL_READS, STALLED_READS = 8, 8
# The load counts within so many standard deviations; from further ones on the run is a strange one.
TRUSTED_SD, STRANGE_SD = 2.0, 3.0
# The level rises at once; it falls only if the excess is this much lower, and by half a turn.
MARGIN, FALL = 0.3, 0.5
# A level this near to nothing is nothing.
CALM = 0.1


class PrognosisModel(Struct, frozen=True):
    """The weights by `SIGNS`, and how the load is scaled.

    `usual` is the line (a, b) of the usual log load over the log of messages; `load_mean` and `load_sd`
    are of all training prefixes. `covariance` is the posterior's, the intercept's first. `learned` says
    of which signs the training runs had any; the others' weights are the prior's.
    """

    intercept: float
    weights: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    learned: tuple[bool, ...]
    load_mean: float
    load_sd: float
    usual: tuple[float, float]
    usual_sd: float
    max_messages: int
    card: dict[str, str | int | float]


class Prognosis(Struct, frozen=True):
    """`p_fail` is the probability that the run fails as it goes; `excess` and its `sd` in logits.

    `familiar` is how like the training runs it is, 0 to 1. `reasons` are the signs that count most,
    the strongest first.
    """

    p_fail: float
    excess: float
    sd: float
    familiar: float = 1.0
    reasons: tuple[str, ...] = ()


class Level(Struct, frozen=True):
    """How much trouble a conversation is held to be in, in logits, from turn to turn."""

    excess: float = 0.0
    turns: int = 0


def signs_of(run: Trajectory) -> tuple[float, ...]:
    """Give a run's signs in the order of `SIGNS`; the first is the log of its tokens, unscaled."""
    tests = 0.0
    if run.test_state == "fail":
        tests = 1.0
    elif run.test_state == "pass" and run.tests_recovered:
        tests = -1.0
    return (
        math.log1p(run.tokens),
        min(max(run.recent_errors - USUAL_ERRORS, 0.0), 3.0),
        min(run.recent_repeats, 3.0),
        min(run.recent_corrections, 2.0),
        tests,
        min(max(run.reads_since_write - USUAL_READS, 0) / STALLED_READS, 2.0),
        float(min(run.compactions, 2)),
    )


def prognosis_of(run: Trajectory, model: PrognosisModel | None = None) -> Prognosis:
    """Give the prognosis of a run. A run of no tool call says nothing: its excess is 0."""
    model = model or default_model()
    signs = signs_of(run)
    usual = model.usual[0] + model.usual[1] * math.log(max(run.messages, 1))
    unusual = (signs[0] - usual) / model.usual_sd
    familiar = _familiar(run, unusual, model)
    # An unfamiliar run's load says nothing: it counts as a usual one's.
    load = (usual + familiar * (signs[0] - usual) - model.load_mean) / model.load_sd
    at_usual = (usual - model.load_mean) / model.load_sd
    load = min(max(load, -TRUSTED_SD), TRUSTED_SD)
    at_usual = min(max(at_usual, -TRUSTED_SD), TRUSTED_SD)
    x = (load, *signs[1:])
    parts = [w * v for w, v in zip(model.weights, x, strict=True)]
    logit = model.intercept + sum(parts)
    parts[0] = model.weights[0] * (load - at_usual)
    excess = sum(parts) if run.calls else 0.0
    order = sorted(range(len(SIGNS)), key=lambda i: -abs(parts[i]))
    told = tuple(_WORDS[i][parts[i] < 0] for i in order if abs(parts[i]) > CALM)
    return Prognosis(
        1.0 / (1.0 + math.exp(-logit)),
        excess,
        _sd((load - at_usual, *signs[1:]), familiar, model),
        familiar,
        told[:3] if run.calls else (),
    )


def _familiar(run: Trajectory, unusual: float, model: PrognosisModel) -> float:
    beyond = max(abs(unusual) - STRANGE_SD, 0.0)
    known = math.exp(-0.5 * beyond * beyond)
    if run.calls:
        known *= 1.0 - 0.5 * run.unfamiliar_calls / run.calls
    if run.messages > model.max_messages:
        known *= model.max_messages / run.messages
    return known


def _sd(x: tuple[float, ...], familiar: float, model: PrognosisModel) -> float:
    """The posterior's sd of the excess, and what an unfamiliar load might have said."""
    rows = model.covariance[1:]
    variance = sum(
        a * b * c
        for a, row in zip(x, rows, strict=True)
        for b, c in zip(x, row[1:], strict=True)
        if a and b
    )
    missing = (1.0 - familiar) * TRUSTED_SD * model.weights[0]
    # What a run of as many messages is usually like is itself not known better than the intercept.
    return math.sqrt(max(variance, 0.0) + model.covariance[0][0] + missing * missing)


def settle(level: Level, prognosis: Prognosis) -> Level:
    """Give the level after a turn: up at once, down slowly and only past a margin.

    What is uncertain counts for less: the excess is shrunk as a probit's is by its sd.
    """
    sure = prognosis.excess / math.sqrt(1.0 + math.pi / 8.0 * prognosis.sd**2)
    if sure >= level.excess:
        return Level(max(sure, 0.0), 0)
    if sure > level.excess - MARGIN and sure > CALM:
        return Level(level.excess, level.turns + 1)
    lower = level.excess - FALL * (level.excess - max(sure, 0.0))
    return Level(lower if lower > CALM else 0.0, level.turns + 1)


def shift(level: Level, strength: float) -> float:
    """Give what a candidate's logit changes by; `strength` is 0 for the weakest of them, 1 for the ablest."""
    return -level.excess * (1.0 - min(max(strength, 0.0), 1.0))


@cache
def default_model() -> PrognosisModel:
    """Give the model that comes with Pointsman, read once.

    Raises:
        RouteError: its file is damaged.
    """
    return read_model(files("pointsman").joinpath("data/router/trajectory.json").read_bytes())


def read_model(data: bytes) -> PrognosisModel:
    """Read a model from its JSON.

    Raises:
        RouteError: it is none: too large, no JSON of that form, or numbers that cannot be.
    """
    if len(data) > MAX_MODEL_BYTES:
        raise RouteError(f"the model of trajectories has {len(data)} bytes, over {MAX_MODEL_BYTES}")
    try:
        model = msgspec.json.decode(data, type=PrognosisModel)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RouteError(f"the model of trajectories cannot be read: {error}") from error
    size = len(SIGNS)
    numbers = (model.intercept, model.load_mean, *model.usual, *model.weights)
    square = len(model.covariance) == size + 1 and {len(r) for r in model.covariance} == {size + 1}
    if len(model.weights) != size or len(model.learned) != size or not square:
        raise RouteError(f"the model of trajectories is not one of {size} signs; train it anew")
    if min(model.load_sd, model.usual_sd) <= 0 or not all(map(math.isfinite, numbers)):
        raise RouteError("the model of trajectories has numbers that cannot be; train it anew")
    return model
