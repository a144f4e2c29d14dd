"""How well labels were told: accuracy, F1, calibration, and how sure one can be of each figure.

Single-label rows have one label each. For multi-label rows accuracy is the share of rows with exactly
the right set, and F1 counts each label of each row. Macro-F1 is the mean over the labels that occur
in the truth or in what was told; a label that does neither says nothing. Needs numpy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pointsman.errors import MissingExtra

__all__ = [
    "Bin",
    "ClassScore",
    "Hard",
    "Interval",
    "Scores",
    "calibration_bins",
    "calibration_error",
    "claims",
    "confusion",
    "hardest",
    "score",
    "wilson",
]

Labels = tuple[str, ...]
Interval = tuple[float, float]

Z_95 = 1.959964
RESAMPLES = 1000
BINS = 15
# The most cells (resamples × kinds of row × labels) that a step of the bootstrap holds.
MAX_CELLS = 8_000_000


class ClassScore(Struct, frozen=True):
    """A label's figures, 0 to 1: `rows` have it in truth, `told` by the model."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int
    told: int


class Scores(Struct, frozen=True):
    """A model's figures on rows, 0 to 1, with 95 % intervals.

    Accuracy's is Wilson's, those of F1 are from a seeded bootstrap over rows. `calibration_error` is
    None where no probabilities were given.
    """

    rows: int
    accuracy: float
    accuracy_95: Interval
    macro_f1: float
    macro_f1_95: Interval
    micro_f1: float
    micro_f1_95: Interval
    calibration_error: float | None = None
    classes: tuple[ClassScore, ...] = ()


class Hard(Struct, frozen=True):
    """A row that a model finds hard: `p` is the least probability that it gave to what is true, or
    1 less the highest that it gave to what is not, whichever is smaller."""

    index: int
    truth: Labels
    told: Labels
    p: float


class Bin(Struct, frozen=True):
    """Predictions of about the same confidence: what they said on average, and how many held."""

    confidence: float
    accuracy: float
    count: int


def score(
    truth: Sequence[Labels],
    told: Sequence[Labels],
    labels: Sequence[str],
    probabilities: Sequence[Sequence[float]] | None = None,
    *,
    multi: bool | None = None,
    seed: int = 0,
) -> Scores:
    """Score what a model told of rows against what is true of them.

    `labels` are the model's, in the order of each row of `probabilities`; what the truth has beside
    them counts as missed. `multi` says whether rows may have several labels; None looks at them.

    Raises:
        ValueError: no rows, or not as many of one as of the other.
        MissingExtra: numpy is not installed.
    """
    if not truth or len(truth) != len(told):
        raise ValueError(f"{len(truth)} rows in truth and {len(told)} told")
    if multi is None:
        multi = any(len(each) != 1 for each in (*truth, *told))
    names = [*labels, *sorted({x for each in (*truth, *told) for x in each} - set(labels))]
    kinds = Counter(
        (tuple(sorted(right)), tuple(sorted(given)))
        for right, given in zip(truth, told, strict=True)
    )
    hits = sum(count for (right, given), count in kinds.items() if right == given)
    counts = _counts(kinds, names)
    macro, micro = _f1s(counts.sum(axis=0, keepdims=True))
    macro_95, micro_95 = _bootstrap(counts, list(kinds.values()), seed)
    return Scores(
        rows=len(truth),
        accuracy=hits / len(truth),
        accuracy_95=wilson(hits, len(truth)),
        macro_f1=float(macro[0]),
        macro_f1_95=macro_95,
        micro_f1=float(micro[0]),
        micro_f1_95=micro_95,
        calibration_error=None
        if probabilities is None
        else calibration_error(*claims(truth, labels, probabilities, multi)),
        classes=_classes(counts.sum(axis=0), names),
    )


def wilson(hits: float, total: int) -> Interval:
    """Give the 95 % interval of a share, by Wilson's score; (0, 1) of nothing.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if total == 0:
        return (0.0, 1.0)
    share = hits / total
    spread = Z_95 * math.sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2))
    middle, scale = share + Z_95**2 / (2 * total), 1 + Z_95**2 / total
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def confusion(
    truth: Sequence[Labels], told: Sequence[Labels], labels: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Give how often each label (a row of the result) was told as each (a column).

    For multi-label rows what was rightly told is counted on the diagonal, and each label missed is
    counted against each that was wrongly told of the same row.
    """
    place = {label: index for index, label in enumerate(labels)}
    cells = [[0] * len(labels) for _ in labels]
    for right, given in zip(truth, told, strict=True):
        for label in right:
            if label not in place:
                continue
            if label in given:
                cells[place[label]][place[label]] += 1
                continue
            for wrong in given:
                if wrong in place and wrong not in right:
                    cells[place[label]][place[wrong]] += 1
    return tuple(tuple(row) for row in cells)


def claims(
    truth: Sequence[Labels],
    labels: Sequence[str],
    probabilities: Sequence[Sequence[float]],
    multi: bool,
) -> tuple[list[float], list[bool]]:
    """Give how sure each claim was, and whether it holds: for `calibration_bins`.

    A row claims its likeliest label, or for multi-label rows each label with its probability.
    """
    sure: list[float] = []
    held: list[bool] = []
    for right, row in zip(truth, probabilities, strict=True):
        if multi:
            sure.extend(map(float, row))
            held.extend(label in right for label in labels)
        else:
            best = max(range(len(row)), key=row.__getitem__)
            sure.append(float(row[best]))
            held.append(labels[best] in right)
    return sure, held


def calibration_bins(
    confidence: Sequence[float], correct: Sequence[bool], bins: int = BINS
) -> tuple[Bin, ...]:
    """Give predictions by confidence in bins of equally many, the least confident first."""
    order = sorted(range(len(confidence)), key=confidence.__getitem__)
    found = []
    for number in range(bins):
        part = order[number * len(order) // bins : (number + 1) * len(order) // bins]
        if part:
            said = sum(confidence[index] for index in part) / len(part)
            held = sum(correct[index] for index in part) / len(part)
            found.append(Bin(said, held, len(part)))
    return tuple(found)


def calibration_error(
    confidence: Sequence[float], correct: Sequence[bool], bins: int = BINS
) -> float | None:
    """Give by how much what is said lies off what holds, on average: 0 is perfect; None of nothing.

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI
    2015 (expected calibration error), with bins of equally many.
    """
    if not confidence:
        return None
    found = calibration_bins(confidence, correct, bins)
    return sum(each.count * abs(each.confidence - each.accuracy) for each in found) / len(
        confidence
    )


def hardest(
    truth: Sequence[Labels],
    told: Sequence[Labels],
    labels: Sequence[str],
    probabilities: Sequence[Sequence[float]],
    *,
    multi: bool,
    count: int = 20,
) -> tuple[Hard, ...]:
    """Give the rows that the model finds hardest, the hardest first: wrong and sure of it."""
    place = {label: index for index, label in enumerate(labels)}
    found = []
    for index, (right, given, row) in enumerate(zip(truth, told, probabilities, strict=True)):
        p = min((row[place[label]] if label in place else 0.0 for label in right), default=1.0)
        if multi:
            others = (each for label, each in zip(labels, row, strict=True) if label not in right)
            p = min(p, 1 - max(others, default=0.0))
        found.append(Hard(index, tuple(right), tuple(given), float(p)))
    found.sort(key=lambda each: (each.p, each.index))
    return tuple(found[:count])


def _counts(kinds: Counter[tuple[Labels, Labels]], names: Sequence[str]) -> Any:
    """(kinds of row, 3, labels): true positives, rows that have it, rows told to, per label."""
    numpy = _numpy()
    place = {name: index for index, name in enumerate(names)}
    counts = numpy.zeros((len(kinds), 3, len(names)), dtype=numpy.float64)
    for index, ((right, given), times) in enumerate(kinds.items()):
        for label in right:
            counts[index, 1, place[label]] += times
            if label in given:
                counts[index, 0, place[label]] += times
        for label in given:
            counts[index, 2, place[label]] += times
    return counts


def _f1s(totals: Any) -> tuple[Any, Any]:
    """Macro- and micro-F1 of (n, 3, labels)."""
    numpy = _numpy()
    both = totals[:, 1] + totals[:, 2]
    each = 2 * totals[:, 0] / numpy.maximum(both, 1)
    macro = each.sum(axis=1) / numpy.maximum((both > 0).sum(axis=1), 1)
    micro = 2 * totals[:, 0].sum(axis=1) / numpy.maximum(both.sum(axis=1), 1)
    return macro, micro


def _bootstrap(counts: Any, times: Sequence[int], seed: int) -> tuple[Interval, Interval]:
    """95 % intervals of macro- and micro-F1, from rows drawn again.

    Rows of a kind (the same truth, the same told) are alike, so how often each kind is drawn is all
    that has to be drawn: a multinomial number.
    """
    numpy = _numpy()
    generator = numpy.random.default_rng(seed)
    total = sum(times)
    shares = numpy.array(times, dtype=numpy.float64)
    per_row = (counts / shares[:, None, None]).reshape(len(times), -1)
    step = max(1, min(RESAMPLES, MAX_CELLS // max(per_row.shape)))
    macros, micros = [], []
    for start in range(0, RESAMPLES, step):
        drawn = generator.multinomial(total, shares / total, min(step, RESAMPLES - start))
        macro, micro = _f1s((drawn @ per_row).reshape(len(drawn), 3, -1))
        macros.append(macro)
        micros.append(micro)
    return _middle(numpy.concatenate(macros)), _middle(numpy.concatenate(micros))


def _middle(values: Any) -> Interval:
    low, high = _numpy().quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _classes(totals: Any, names: Sequence[str]) -> tuple[ClassScore, ...]:
    found = []
    for hits, rows, told, name in zip(*totals.tolist(), names, strict=True):
        found.append(
            ClassScore(
                label=name,
                precision=hits / told if told else 0.0,
                recall=hits / rows if rows else 0.0,
                f1=2 * hits / (rows + told) if rows + told else 0.0,
                rows=int(rows),
                told=int(told),
            )
        )
    return tuple(found)


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingExtra("scoring a classifier", "router") from error
    return numpy
