"""Outcomes for rows on which the pair itself was never run: models alike in ability stand in.

A router learned from one pair on two benchmarks knows nothing of other prompts. Rows with many
other models' outcomes say at least which prompts are hard for the weak and for the strong. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from pointsman.router.rows import Row

__all__ = ["MIN_MODELS", "StandIn", "stand_ins"]

# A row with fewer models says too little of either side.
MIN_MODELS = 4


class StandIn(Struct, frozen=True):
    """A row with the scores that stand in for the pair's, 0 to 1."""

    row: Row
    weak: float
    strong: float


def stand_ins(rows: Sequence[Row], strong: str, weak: str) -> list[StandIn]:
    """Give the rows of at least four models, with a weak and a strong score each.

    A model of the pair speaks for itself where it has an outcome. Else, by their mean score in the
    row's benchmark, the lower two thirds of the models stand in for the weak one and the upper third
    for the strong one, on average (chosen by cross-validation among halves, thirds and quarters).
    """
    wide = [row for row in rows if len(row.models) >= MIN_MODELS]
    groups: dict[str, list[Row]] = {}
    for row in wide:
        groups.setdefault(row.benchmark, []).append(row)
    sides = {name: _sides(members) for name, members in groups.items()}
    found = []
    for row in wide:
        lower, upper = sides[row.benchmark]
        low, high = _mean(row, weak, lower), _mean(row, strong, upper)
        if low is not None and high is not None:
            found.append(StandIn(row, low, high))
    return found


def _sides(rows: Iterable[Row]) -> tuple[set[str], set[str]]:
    shares: dict[str, list[float]] = {}
    for row in rows:
        for name, outcome in row.models.items():
            shares.setdefault(name, []).append(outcome.share)
    names = sorted(shares, key=lambda name: (sum(shares[name]) / len(shares[name]), name))
    return set(names[: max(2 * len(names) // 3, 1)]), set(names[-max(len(names) // 3, 1) :])


def _mean(row: Row, own: str, group: set[str]) -> float | None:
    if own in row.models:
        return row.models[own].share
    shares = [outcome.share for name, outcome in row.models.items() if name in group]
    return sum(shares) / len(shares) if shares else None
