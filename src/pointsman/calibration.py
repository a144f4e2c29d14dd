"""What a router makes of a route's candidates: their abilities, and the scale of its dial.

Calibrated on the shipped prompts, read by whatever router the route has, or on the route's own traffic.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Hashable, Iterable, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import cast

import msgspec
from msgspec import Struct

from pointsman.errors import RouteError
from pointsman.resolve import Candidate
from pointsman.router.ability import ability_of, blended_usd_per_mtok
from pointsman.router.dial import Option, Scale, scale_of
from pointsman.router.facts import BYTES_PER_TOKEN, DEFAULT_ANSWER_TOKENS, Facts
from pointsman.router.outcomes import Outcome
from pointsman.router.ranking import spread_of
from pointsman.types import Ability, Classifier, ModelCard, PromptReading

__all__ = ["Bench", "Sample", "bench_of", "sample_of", "traffic_rows"]

SHIPPED = "data/router/calibration.json.gz"
MAX_BYTES = 4 * 1024 * 1024
MAX_WEIGHTS = 1024
# A route's own traffic is taken for the calibration from so many requests on.
LEAST_TRAFFIC = 200


class Sample(Struct, frozen=True):
    """The calibration prompts as one router reads them; `source` says in words what they are."""

    readings: tuple[tuple[PromptReading, Facts], ...]
    source: str


class Bench(Struct, frozen=True):
    """A route's candidates made ready. `rows` are what they promise on the calibration prompts, `weights`
    those of the dial's settings that were asked for. `usual_usd` is what the dearest candidate costs for
    a usual one of those prompts, at `answer_tokens`.
    """

    candidates: tuple[Candidate, ...]
    cards: tuple[ModelCard, ...]
    by_ref: dict[str, Candidate]
    classifier: Classifier | None
    abilities: dict[str, Ability]
    rows: tuple[tuple[Option, ...], ...]
    scale: Scale | None
    source: str
    weights: dict[float, float]
    dearest: ModelCard | None = None
    usual_usd: float = 0.0
    answer_tokens: float = 0.0

    def ratio(self, facts: Facts) -> float | None:
        """Give how dear a request is beside a usual prompt of the calibration; None if that says nothing."""
        if self.dearest is None or self.usual_usd <= 0.0:
            return None
        size = _size_usd(self.dearest, facts, self.answer_tokens)
        return size / self.usual_usd if size > 0.0 else None

    def weight(self, dial: float) -> float | None:
        """Give what a dollar weighs at a setting of the dial; None without a scale."""
        found = self.weights.get(dial)
        if found is None and self.scale is not None:
            found = self.scale.at_dial(dial)
            if len(self.weights) < MAX_WEIGHTS:
                self.weights[dial] = found
        return found


@cache
def _prompts() -> tuple[str, ...]:
    data = files("pointsman").joinpath(SHIPPED).read_bytes()
    with gzip.open(io.BytesIO(data)) as file:
        text = file.read(MAX_BYTES)
    return tuple(msgspec.json.decode(text, type=list[str]))


def sample_of(classifier: Classifier) -> Sample:
    """Read the shipped prompts with a router, once for each. Reads the package's data.

    Raises:
        RouteError: they are damaged.
    """
    return _read_by(cast(Hashable, classifier))


@lru_cache(maxsize=8)
def _read_by(classifier: Hashable) -> Sample:
    read = cast(Classifier, classifier).read
    try:
        prompts = _prompts()
    except (OSError, EOFError, msgspec.DecodeError) as error:
        raise RouteError(f"{SHIPPED} cannot be read: {error}; install Pointsman anew") from error
    readings = tuple(
        (
            read(prompt),
            Facts(prompt, round(len(prompt.encode()) / BYTES_PER_TOKEN), DEFAULT_ANSWER_TOKENS),
        )
        for prompt in prompts
    )
    return Sample(readings, f"{len(prompts)} shipped prompts")


def bench_of(
    candidates: tuple[Candidate, ...], classifier: Classifier | None, sample: Sample | None
) -> Bench:
    """Make candidates ready; without a router or a sample there is no scale."""
    cards = tuple(candidate.card for candidate in candidates)
    by_ref = {candidate.card.ref: candidate for candidate in candidates}
    abilities = {} if classifier is None else {c.ref: ability_of(c, classifier) for c in cards}
    rows: tuple[tuple[Option, ...], ...] = ()
    if sample is not None and abilities:
        rows = tuple(
            _options(reading, cards, abilities, facts) for reading, facts in sample.readings
        )
    scale = scale_of(rows) if rows else None
    source = sample.source if sample is not None else "nothing"
    bench = Bench(candidates, cards, by_ref, classifier, abilities, rows, scale, source, {})
    priced = [
        card for card in cards if not card.local and (blended_usd_per_mtok(card) or 0.0) > 0.0
    ]
    if sample is None or scale is None or not priced:
        return bench
    dearest = max(priced, key=lambda card: blended_usd_per_mtok(card) or 0.0)
    tokens = sum(each.answer_tokens for each, _ in sample.readings) / len(sample.readings)
    logs = [math.log(_size_usd(dearest, facts, tokens)) for _, facts in sample.readings]
    usual = math.exp(sum(logs) / len(logs))
    return msgspec.structs.replace(bench, dearest=dearest, usual_usd=usual, answer_tokens=tokens)


def _size_usd(card: ModelCard, facts: Facts, answer_tokens: float) -> float:
    tokens = min(answer_tokens, float(facts.answer_tokens))
    return (
        facts.prompt_tokens * (card.input_usd_per_mtok or 0.0)
        + tokens * (card.output_usd_per_mtok or 0.0)
    ) / 1e6


def traffic_rows(outcomes: Iterable[Outcome], refs: Sequence[str]) -> list[tuple[Option, ...]]:
    """Give what the candidates promised on each recorded request in which all of them were weighed."""
    wanted = set(refs)
    rows = []
    for outcome in outcomes:
        found = [each for each in outcome.candidates if each.ref in wanted]
        if len(found) != len(wanted):
            continue
        dearest = max((each.cost_usd or 0.0 for each in found), default=0.0)
        rows.append(
            tuple(
                Option(
                    each.ref,
                    each.p_success,
                    dearest if each.cost_usd is None else each.cost_usd,
                    each.logit,
                    each.sd,
                )
                for each in found
            )
        )
    return rows


def _options(
    reading: PromptReading,
    cards: Sequence[ModelCard],
    abilities: dict[str, Ability],
    facts: Facts,
) -> tuple[Option, ...]:
    return tuple(
        Option(each.ref, each.p_success, cost, each.logit, each.sd)
        for each, cost, _ in spread_of(reading, cards, abilities, facts)
    )
