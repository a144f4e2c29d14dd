"""The student on the way: how well what there is can be learned, and what it mixes up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pointsman.distill.rows import Row
from pointsman.distill.teacher.generate import Pair
from pointsman.distill.teacher.harvest import Kept
from pointsman.distill.teacher.select import confused_pairs

__all__ = ["Check", "Guess", "Student", "check"]

MIN_ROWS = 40
MIN_HELD_OUT = 10
MAX_PAIRS = 4
MAX_MISTAKES = 4


class Guess(Struct, frozen=True):
    """What a student says of a text: its labels, and a score for each class."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]


# Trains on rows and gives a guess for each of the texts.
Student = Callable[[Sequence[Row], Sequence[str]], list[Guess]]


class Check(Struct, frozen=True, kw_only=True):
    """A student's agreement with the teacher on held-out rows, and the pairs it mixes up.

    Rows written for the line between two classes are left out of `agreement`, which is over
    `held_out` rows: they are harder, and there are more of them each time.
    """

    rows: int
    held_out: int
    agreement: float
    pairs: tuple[Pair, ...] = ()


def check(kept: Sequence[Kept], student: Student) -> Check | None:
    """Train on four fifths and look at the rest; None where there is too little to learn from."""
    train = [each for each in kept if not each.held_out]
    held = [each for each in kept if each.held_out]
    labels = {label for each in train for label in each.labels}
    if len(train) < MIN_ROWS or len(held) < MIN_HELD_OUT or len(labels) < 2:
        return None
    guesses = student([each.row() for each in train], [each.text for each in held])
    plain = [
        set(each.labels) == set(guess.labels)
        for each, guess in zip(held, guesses, strict=True)
        if each.stage != "boundary"
    ]
    firsts = [(each.labels[:1] or ("",))[0] for each in held]
    said = [(guess.labels[:1] or ("",))[0] for guess in guesses]
    pairs = [
        Pair(first, second, tuple(held[at].text for at in where[:MAX_MISTAKES]))
        for first, second, where in confused_pairs(firsts, said, MAX_PAIRS)
        if first and second
    ]
    agreement = sum(plain) / len(plain) if plain else 0.0
    return Check(rows=len(kept), held_out=len(plain), agreement=agreement, pairs=tuple(pairs))
