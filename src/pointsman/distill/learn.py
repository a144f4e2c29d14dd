"""From labelled texts to a small network: an ensemble of large ones learns first, then teaches it.

The ensemble labels the texts and many made from them (cut, spliced, misspelt) with probabilities; the
small network learns from these, then again with its table as it will be stored. One ensemble teaches
both the network that is measured and the one that is kept, so it learns without the rows held out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from pointsman.distill.augment import augmented
from pointsman.distill.calibrate import probabilities
from pointsman.distill.fit import Network, Plan, fit, logits, matrix, scales, start
from pointsman.distill.ngrams import Scheme, scheme
from pointsman.distill.shrink import Packed, Quantiser, unpack

__all__ = ["Lesson", "Recipe", "Student", "learn", "lesson"]

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
# N-grams of one text alone are learned of where they are more than this share of all.
MOST_ONCE = 0.1
# Networks that learn at a time.
THREADS = 2
# The share of the time at hand that the ensemble may take, and the least epochs of the small network.
TEACHERS_SHARE = 0.45
MIN_EPOCHS = 3

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


class Lesson(Struct, frozen=True):
    """What a small network learns from: texts, then those made from them, with their targets.

    `targets` (texts, C) and `weights` (texts,) are arrays. `teachers` is how many networks of the
    ensemble had the time to learn, `epochs` for how long the small network has.
    """

    texts: Sequence[bytes]
    targets: Any
    weights: Any
    teachers: int
    epochs: int


class Student(Struct, frozen=True):
    """A small network; its table as it is stored and, in `network`, as that stands for."""

    how: Scheme
    packed: Packed
    network: Network

    def logits(self, texts: Sequence[bytes]) -> Any:
        """Give (rows, C), as the graph does."""
        features = matrix(texts, self.how)
        return logits(self.network, features, scales(features))


def lesson(
    texts: Sequence[str],
    targets: Any,
    weights: Any,
    known: Any,
    recipe: Recipe,
    *,
    multi: bool,
    seed: int,
    budget_s: float = float("inf"),
    progress: Progress = lambda done, total: None,
    clock: Callable[[], float] = time.monotonic,
) -> Lesson:
    """Have an ensemble learn from the texts that the mask `known` names, and label all of them.

    `targets` (texts, C) are probabilities 0 to 1. The ensemble and the small networks after it are
    made less where `clock` says that they would take more than `budget_s`.
    """
    import numpy as np

    if not recipe.teachers:
        return Lesson([_bytes(text) for text in texts], targets, weights, 0, recipe.epochs)
    told = [text for text, each in zip(texts, known, strict=True) if each]
    made = augmented(told, len(told) * recipe.made, seed)
    data = [_bytes(text) for text in (*texts, *made)]
    began = clock()
    taught, teachers = _taught(
        data, targets[known], weights[known], np.flatnonzero(known), recipe, multi, seed,
        lambda done: clock() - began + _pair_s(clock() - began, done) <= TEACHERS_SHARE * budget_s,
        progress,
    )  # fmt: skip
    mixed = (1 - TRUST) * targets + TRUST * taught[: len(texts)]
    spent_s = clock() - began
    return Lesson(
        texts=data,
        targets=np.concatenate([mixed, taught[len(texts) :]]).astype(np.float32),
        weights=np.concatenate([weights, np.ones(len(made), np.float32)]),
        teachers=teachers,
        epochs=_epochs(recipe, _pair_s(spent_s, teachers), budget_s - spent_s),
    )


def _pair_s(spent_s: float, done: int) -> float:
    """The time that two networks of the ensemble take, side by side."""
    return spent_s / max(1, -(-done // THREADS))


def _epochs(recipe: Recipe, pair_s: float, left_s: float) -> int:
    """As many epochs of the small network as there is time for."""
    epoch_s = pair_s / recipe.teacher_epochs * (1 + recipe.made)
    most = left_s / epoch_s - recipe.stored_epochs if epoch_s > 0 else recipe.epochs
    return int(max(min(recipe.epochs, most), min(recipe.epochs, MIN_EPOCHS)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _taught(
    data: Sequence[bytes],
    targets: Any,
    weights: Any,
    known: Any,
    recipe: Recipe,
    multi: bool,
    seed: int,
    go_on: Callable[[int], bool],
    progress: Progress,
) -> tuple[Any, int]:
    """The mean probabilities (texts, C) of an ensemble that learned from those at `known`, and how many
    it has. Before each pair but the first `go_on` is asked."""
    import numpy as np

    total = np.zeros((len(data), targets.shape[1]), np.float32)
    count = 0

    def one(number: int) -> Any:
        return _teacher(data, targets, weights, known, recipe, multi, seed, number)

    with ThreadPoolExecutor(THREADS) as pool:
        while count < recipe.teachers and (count == 0 or go_on(count)):
            pair = range(count, min(count + THREADS, recipe.teachers))
            for found in pool.map(one, pair):
                total += found
                count += 1
                progress(count, recipe.teachers)
    return total / count, count


def _teacher(
    data: Sequence[bytes],
    targets: Any,
    weights: Any,
    known: Any,
    recipe: Recipe,
    multi: bool,
    seed: int,
    number: int,
) -> Any:
    orders, words, dropout = _VIEWS[number % len(_VIEWS)]
    how = scheme(recipe.teacher_buckets, orders=orders, words=words, seed=seed + number)
    features = matrix(data, how)
    sizes = scales(features)
    features = _dense(features, _known(features[known]))
    network = start(features.shape[1], targets.shape[1], recipe.teacher_width, seed + number)
    plan = Plan(
        epochs=recipe.teacher_epochs, batch_rows=recipe.batch_rows, seed=seed + number,
        dropout=dropout,
        smoothing=0.0 if multi else 0.1,
    )  # fmt: skip
    fit(network, features[known], sizes[known], targets, weights, plan, multi=multi)
    return probabilities(logits(network, features, sizes), multi=multi)


def _known(features: Any) -> Any:
    """The buckets that something can be learned of, from the counts of the texts at hand.

    What one text alone has tells more of that text than of its class, and lets a text from elsewhere
    be judged by chance. It is left out unless the texts are few, and have hardly anything else.
    """
    import numpy as np

    rows = np.bincount(features.indices, minlength=features.shape[1])
    once = rows[features.indices] == 1
    share = features.data[once].sum() / max(features.data.sum(), 1)
    return np.flatnonzero(rows > (1 if share <= MOST_ONCE else 0))


def _dense(features: Any, places: Any) -> Any:
    """The features with only the buckets at `places`."""
    import numpy as np

    # By hand: what scipy makes of [:, places] is sorted anew, at several times the cost.
    new = np.full(features.shape[1], -1, np.int32)
    new[places] = np.arange(len(places), dtype=np.int32)
    moved = new[features.indices]
    data = np.where(moved >= 0, features.data, np.float32(0))
    kept = type(features)(
        (data, np.maximum(moved, 0), features.indptr.copy()), shape=(features.shape[0], len(places))
    )
    kept.eliminate_zeros()
    return kept


def learn(
    features: Any,
    targets: Any,
    weights: Any,
    how: Scheme,
    recipe: Recipe,
    *,
    rows: int,
    multi: bool,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> Student:
    """Learn a network of scheme `how` from counts (texts, buckets) and targets (texts, C).

    The first `rows` texts are those at hand, the others were made from them.
    """
    import numpy as np

    steps = recipe.epochs + recipe.stored_epochs + 1
    done = 0

    def step(_done: int, _total: int) -> None:
        nonlocal done
        progress(min(done, steps), steps)
        done += 1

    places = _known(features[:rows])
    sizes = scales(features)
    features = _dense(features, places)
    counts = np.bincount(features.indices, minlength=len(places))
    network = start(len(places), targets.shape[1], recipe.width, seed)
    smoothing = 0.0 if recipe.teachers or multi else 0.1
    plan = Plan(
        epochs=recipe.epochs, batch_rows=recipe.batch_rows, dropout=STUDENT_DROPOUT,
        smoothing=smoothing, seed=seed,
    )  # fmt: skip
    fit(network, features, sizes, targets, weights, plan, multi=multi, progress=step)
    quantiser = Quantiser(recipe.parts, counts, seed)
    stored = Plan(
        epochs=recipe.stored_epochs, rate=plan.rate / 2, batch_rows=recipe.batch_rows,
        dropout=STUDENT_DROPOUT, smoothing=smoothing, seed=seed + 1,
    )  # fmt: skip
    fit(
        network, features, sizes, targets, weights, stored, multi=multi,
        residual=quantiser.residual, progress=step,
    )  # fmt: skip
    packed = quantiser.pack(network.table, places, how.buckets)
    final = Network(unpack(packed)[places], network.shift, network.weights, network.bias)
    last = Plan(
        epochs=1, rate=plan.rate / 10, batch_rows=recipe.batch_rows, dropout=STUDENT_DROPOUT,
        smoothing=smoothing, learn_table=False, seed=seed + 2,
    )  # fmt: skip
    fit(final, features, sizes, targets, weights, last, multi=multi, progress=step)
    progress(steps, steps)
    return Student(how, packed, Network(unpack(packed), final.shift, final.weights, final.bias))
