"""From labelled texts to a small network: an ensemble of large ones learns first, then teaches it.

The ensemble labels the texts and many made from them (cut, spliced, misspelt) with probabilities; the
small network learns from these, then again with its table as it will be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from pointsman.distill.augment import augmented
from pointsman.distill.calibrate import probabilities
from pointsman.distill.fit import Network, Plan, fit, logits, matrix, start
from pointsman.distill.ngrams import Scheme, bags, scheme
from pointsman.distill.shrink import Packed, Quantiser, unpack

__all__ = ["Recipe", "Student", "learn"]

# The teachers see texts in different ways, and more or less of them at a time; what they agree on is
# what holds.
_SKIPS = ((1,), (1, 1), (1, 0, 1))
_VIEWS: tuple[tuple[tuple[int, ...], tuple[tuple[int, ...], ...], float], ...] = (
    ((2, 3, 4), _SKIPS, 0.6),
    ((2, 3), (*_SKIPS, (1, 1, 1)), 0.8),
    ((1, 2, 3), _SKIPS, 0.6),
    ((3, 4, 5), _SKIPS, 0.8),
    ((2, 3, 4, 5, 6), _SKIPS, 0.8),
)
# How much the ensemble's word counts against the label that a row has.
TRUST = 0.5
STUDENT_DROPOUT = 0.5

Progress = Callable[[int, int], None]


class Recipe(Struct, frozen=True, kw_only=True):
    """How large things are, and for how long they learn.

    `width` and `parts` are the small network's. `made` is how many texts are made for each at hand.
    """

    width: int
    parts: int
    teachers: int
    teacher_width: int
    teacher_buckets: int
    teacher_epochs: int
    made: int
    epochs: int
    stored_epochs: int = 4
    batch_rows: int = 128


class Student(Struct, frozen=True):
    """A small network; its table as it is stored and, in `network`, as that stands for."""

    how: Scheme
    packed: Packed
    network: Network

    def logits(self, texts: Sequence[bytes]) -> Any:
        """Give (rows, C), as the graph does."""
        return logits(self.network, matrix(bags(texts, self.how), self.how.buckets))


def learn(
    texts: Sequence[str],
    targets: Any,
    weights: Any,
    how: Scheme,
    recipe: Recipe,
    *,
    multi: bool,
    seed: int,
    progress: Progress,
) -> Student:
    """Learn a network of scheme `how` from texts and targets (rows, C), probabilities 0 to 1."""
    import numpy as np

    made = augmented(texts, len(texts) * recipe.made if recipe.teachers else 0, seed)
    data = [_bytes(text) for text in (*texts, *made)]
    steps = recipe.teachers * recipe.teacher_epochs + recipe.epochs + recipe.stored_epochs + 1
    done = 0

    def step(_done: int, _total: int) -> None:
        nonlocal done
        progress(min(done, steps), steps)
        done += 1

    if recipe.teachers:
        taught = _taught(data, targets, weights, recipe, multi, seed, step)
        mixed = (1 - TRUST) * targets + TRUST * taught[: len(texts)]
        targets = np.concatenate([mixed, taught[len(texts) :]]).astype(np.float32)
        weights = np.concatenate([weights, np.ones(len(made), np.float32)])
    features = matrix(bags(data, how), how.buckets)
    student = _student(features, targets, weights, how, recipe, multi, seed, step)
    progress(steps, steps)
    return student


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _taught(
    data: Sequence[bytes],
    targets: Any,
    weights: Any,
    recipe: Recipe,
    multi: bool,
    seed: int,
    progress: Progress,
) -> Any:
    """The mean probabilities (texts, C) of an ensemble that learned from the first of the texts."""
    import numpy as np

    rows, labels = targets.shape
    total = np.zeros((len(data), labels), np.float32)
    for number in range(recipe.teachers):
        orders, words, dropout = _VIEWS[number % len(_VIEWS)]
        how = scheme(recipe.teacher_buckets, orders=orders, words=words, seed=seed + number)
        features, _ = _dense(matrix(bags(data, how), how.buckets), rows)
        network = start(features.shape[1], labels, recipe.teacher_width, seed + number)
        plan = Plan(
            epochs=recipe.teacher_epochs, batch_rows=recipe.batch_rows, seed=seed + number,
            dropout=dropout,
            smoothing=0.0 if multi else 0.1,
        )  # fmt: skip
        fit(network, features[:rows], targets, weights, plan, multi=multi, progress=progress)
        total += probabilities(logits(network, features), multi=multi)
    return total / recipe.teachers


def _dense(features: Any, rows: int) -> tuple[Any, Any]:
    """The features without the buckets that the first `rows` lack, and which those left are."""
    import numpy as np

    counts = np.bincount(features[:rows].indices, minlength=features.shape[1])
    places = np.flatnonzero(counts)
    return features[:, places].tocsr(), places


def _student(
    features: Any,
    targets: Any,
    weights: Any,
    how: Scheme,
    recipe: Recipe,
    multi: bool,
    seed: int,
    progress: Progress,
) -> Student:
    import numpy as np

    features, places = _dense(features, len(targets))
    counts = np.bincount(features.indices, minlength=len(places))
    network = start(len(places), targets.shape[1], recipe.width, seed)
    smoothing = 0.0 if recipe.teachers or multi else 0.1
    plan = Plan(
        epochs=recipe.epochs, batch_rows=recipe.batch_rows, dropout=STUDENT_DROPOUT,
        smoothing=smoothing, seed=seed,
    )  # fmt: skip
    fit(network, features, targets, weights, plan, multi=multi, progress=progress)
    quantiser = Quantiser(recipe.parts, counts, seed)
    stored = Plan(
        epochs=recipe.stored_epochs, rate=plan.rate / 2, batch_rows=recipe.batch_rows,
        dropout=STUDENT_DROPOUT, smoothing=smoothing, seed=seed + 1,
    )  # fmt: skip
    fit(
        network, features, targets, weights, stored, multi=multi,
        residual=quantiser.residual, progress=progress,
    )  # fmt: skip
    packed = quantiser.pack(network.table, places, how.buckets)
    final = Network(unpack(packed)[places], network.shift, network.weights, network.bias)
    last = Plan(
        epochs=1, rate=plan.rate / 10, batch_rows=recipe.batch_rows, dropout=STUDENT_DROPOUT,
        smoothing=smoothing, learn_table=False, seed=seed + 2,
    )  # fmt: skip
    fit(final, features, targets, weights, last, multi=multi, progress=progress)
    return Student(how, packed, Network(unpack(packed), final.shift, final.weights, final.bias))
