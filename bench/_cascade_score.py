"""What bench/routing_cascade.py reckons: routers that see the prompt, curves, and what a cascade closes. Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BUCKETS = 2048
FOLDS = 5
BUDGETS = 41
# A strong call costs as many cheap ones; that it is 10 was set before anything was measured.
RATIO = 10.0
# The way that asks the cheap model first only where the prompt says that it may pay.
BOTH = "cascade where it pays"
WEIGHTS = np.concatenate([np.geomspace(2.0, 0.005, 60), [0.0]])
ALIKE = 60
_WORD = re.compile(r"\w+|[^\w\s]")
PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Seen:
    """Logits from the prompt alone: of the rows learned from (each left out in turn), and of new ones."""

    learned: Floats
    new: Floats


def prompt_matrix(texts: Sequence[str]) -> Floats:
    """Rows of unit length: hashed words, word pairs and 3-letter pieces, then a few of the surface."""
    found = np.zeros((len(texts), BUCKETS + 6))
    for row, text in zip(found, texts, strict=True):
        words = _WORD.findall(text.lower())
        pieces = [f"w{word}" for word in words]
        pieces += [f"p{a} {b}" for a, b in pairwise(words)]
        pieces += [f"c{text[n : n + 3].lower()}" for n in range(len(text) - 2)]
        for piece in pieces:
            row[zlib.crc32(piece.encode()) % BUCKETS] += 1.0
        row[:BUCKETS] = np.sqrt(row[:BUCKETS])
        row[:BUCKETS] /= max(float(np.linalg.norm(row[:BUCKETS])), 1e-9)
        digits = [len(each) for each in re.findall(r"\d+", text)]
        row[BUCKETS:] = (
            0.1 * np.log1p(len(text)),
            0.1 * np.log1p(len(words)),
            0.2 * sum(digits) / max(len(text), 1),
            0.1 * max(digits, default=0),
            0.1 * min(digits, default=0),
            0.2 * sum(ord(c) > 127 for c in text) / max(len(text), 1),
        )
    return found


def learn_prompts(train: Floats, right: Floats, new: Floats) -> Seen:
    """Fit a ridge regression to what was right, its penalty by leaving one out; logits by Platt's curve.

    Each learned row's logit comes from a fit without it (in closed form), so that a verifier that
    learns from it sees no better a prior than it will have for new prompts.
    """
    base = right.mean()
    values, vectors = np.linalg.eigh(train @ train.T)
    turned = vectors.T @ (right - base)
    best: tuple[float, Floats, Floats] | None = None
    for penalty in PENALTIES:
        shrunk = 1.0 / (np.maximum(values, 0.0) + penalty)
        dual = vectors @ (shrunk * turned)
        leverage = (vectors**2) @ shrunk
        out = (right - base) - dual / leverage
        error = float(np.mean((right - base - out) ** 2))
        if best is None or error < best[0]:
            best = error, out, dual
    assert best is not None
    _, out, dual = best
    slope, shift = platt(out, right)
    return Seen(slope * out + shift, slope * (new @ (train.T @ dual)) + shift)


def platt(scores: Floats, right: Floats) -> tuple[float, float]:
    """A logistic curve through scores, its slope not below 0: (slope, shift)."""
    slope, shift = 0.0, _logit((right.sum() + 1) / (len(right) + 2))
    centre, scale = float(scores.mean()), max(float(scores.std()), 1e-9)
    x = np.column_stack([(scores - centre) / scale, np.ones(len(scores))])
    w = np.array([slope, shift])
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ w, -30, 30)))
        grad = x.T @ (right - p) - 0.5 * w * (1.0, 0.0)
        bend = (x * (p * (1 - p))[:, None]).T @ x + np.diag([0.5, 1e-6])
        w = w + np.clip(np.linalg.solve(bend, grad), -2, 2)
    slope = max(float(w[0]), 0.0) / scale
    return slope, float(w[1]) - slope * centre


def folds(rows: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row, drawn by the seed."""
    return np.random.default_rng(seed).permutation(np.arange(rows) % FOLDS)


def sent_curve(order: Floats, cheap: Floats, strong: Floats) -> Floats:
    """Quality with the first 0, 1, … n prompts of an order (the highest first) sent to the strong one."""
    gain = (strong - cheap)[np.argsort(-order, kind="stable")]
    return float(cheap.mean()) + np.concatenate([[0.0], np.cumsum(gain)]) / len(cheap)


def budgets(ratio: float) -> Floats:
    """Spending per prompt, in strong calls: from all cheap to all strong. A cheap call costs 1 / ratio."""
    return np.linspace(1.0 / ratio, 1.0, BUDGETS)


def asked_first(name: str) -> int:
    """How often a way asks the cheap model before it decides: "cascade2" draws a second answer."""
    return 2 if name.startswith("cascade2") else int(name.startswith("cascade"))


def at_budgets(curve: Floats, ratio: float, first: int) -> Floats:
    """A curve at each budget: a router pays for whom it asks, a cascade for its `first` calls each time.

    What is too little for the first calls buys the cheap answer.
    """
    cheap = 1.0 / ratio
    share = budgets(ratio) - first * cheap if first else (budgets(ratio) - cheap) / (1.0 - cheap)
    share = np.maximum(share, 0.0)
    return np.interp(share, np.linspace(0.0, 1.0, len(curve)), curve)


def oracle_at(cheap: Floats, strong: Floats, ratio: float) -> Floats:
    """What knowing each outcome beforehand gives: the strong one only where it alone is right."""
    curve = np.maximum.accumulate(sent_curve(strong - cheap, cheap, strong))
    return at_budgets(curve, ratio, 0)


def choose_first(
    p_cheap: Floats, p_strong: Floats, p_good: Floats, like: tuple[Floats, Floats], ratio: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """At each weight of a call: whether the strong model is asked outright, and whether at all.

    The prompt gives `p_cheap` and `p_strong`, the answer `p_good`; the latter is known only once the
    cheap model was asked. What asking is worth is the mean over the prompts learned from that are most
    alike in `p_cheap`; `like` has theirs, with their `p_good`.
    """
    order = np.argsort(like[0], kind="stable")
    known, looks = like[0][order], like[1][order]
    middle = np.searchsorted(known, p_cheap)
    begin = np.clip(middle - ALIKE // 2, 0, max(len(known) - ALIKE, 0))
    near = looks[begin[:, None] + np.arange(min(ALIKE, len(known)))]
    outright = np.zeros((len(p_cheap), len(WEIGHTS)), dtype=bool)
    asked = np.zeros_like(outright)
    for column, weight in enumerate(WEIGHTS):
        bar = p_strong - weight
        first = np.maximum(near, bar[:, None]).mean(axis=1) - weight / ratio
        outright[:, column] = bar > first
        asked[:, column] = outright[:, column] | (bar > p_good)
    return outright, asked


def along(spent: Floats, gained: Floats, ratio: float) -> Floats:
    """Quality at each budget of a way that has a cost and a quality at each weight of a call."""
    cost, quality = spent.mean(axis=0), gained.mean(axis=0)
    order = np.argsort(cost, kind="stable")
    return np.interp(budgets(ratio), cost[order], quality[order])


@dataclass(frozen=True)
class Scored:
    """Outcomes of prompts that were held out, and the order in which each way sends them up.

    `groups` is the task of each prompt: resamples keep the number of each.
    """

    cheap: Floats
    strong: Floats
    orders: dict[str, Floats]
    groups: NDArray[np.int64]
    spent: Floats  # Of the way that chooses whom to ask first: the cost at each weight of a call,
    gained: Floats  # and whether what it gave was right: (prompts, weights).


def areas(scored: Scored, ratio: float, rows: NDArray[np.int64] | None = None) -> dict[str, float]:
    """Mean quality over the budgets, of each way, of drawing lots, and of the oracle."""
    take = slice(None) if rows is None else rows
    cheap, strong = scored.cheap[take], scored.strong[take]
    found = {
        name: float(
            at_budgets(sent_curve(order[take], cheap, strong), ratio, asked_first(name)).mean()
        )
        for name, order in scored.orders.items()
    }
    found[BOTH] = float(along(scored.spent[take], scored.gained[take], ratio).mean())
    found["lots"] = float(cheap.mean() + strong.mean()) / 2
    found["oracle"] = float(oracle_at(cheap, strong, ratio).mean())
    found["cheap"], found["strong"] = float(cheap.mean()), float(strong.mean())
    return found


def closed(found: dict[str, float], name: str, base: str) -> float:
    """The share of the way from a router to the oracle that a cascade closes, in areas."""
    return (found[name] - found[base]) / max(found["oracle"] - found[base], 1e-9)


def bootstrap(scored: Scored, ratio: float, draws: int, seed: int) -> list[dict[str, float]]:
    """The areas of prompts drawn again, within each task."""
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(scored.groups == group) for group in np.unique(scored.groups)]
    return [
        areas(scored, ratio, np.concatenate([rng.choice(each, len(each)) for each in places]))
        for _ in range(draws)
    ]


def interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def calibration_error(p: Floats, right: Floats, bins: int = 10) -> float:
    """The expected calibration error over bins of as many answers each."""
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(q) * abs(p[q].mean() - right[q].mean()) for q in parts) / len(p))


def auroc(p: Floats, right: Floats) -> float:
    """How often a right answer has the higher score of a right and a wrong one; 0.5 if there is one kind."""
    good, bad = p[right > 0.5], np.sort(p[right <= 0.5])
    if not len(good) or not len(bad):
        return 0.5
    under = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    return float(under.mean() / 2 / len(bad))


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))
