"""Makes texts to be labelled by an ensemble: cuts, splices and misspellings of those at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["augmented"]

# A text of fewer words is cut by characters: scripts without spaces, and single words.
MIN_WORDS = 3
MOST_DROPPED = 0.6
MOST_MISSPELT = 0.15
# Splices, leavings-out and misspellings, by share.
SPLICED, DROPPED = 0.5, 0.85
# Only so much of a text is worked on: what is learned from it is bounded too.
MAX_CHARS = 4000


def augmented(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """Give `count` texts made from those at hand; the same arguments give the same texts."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return [_made(texts, rng) for _ in range(count)]


def _made(texts: Sequence[str], rng: Any) -> str:
    pieces, glue = _pieces(texts[rng.integers(len(texts))])
    draw = rng.random()
    if draw < SPLICED:
        others, _ = _pieces(texts[rng.integers(len(texts))])
        head = pieces[: rng.integers(len(pieces) + 1)]
        return glue.join([*head, *others[rng.integers(len(others) + 1) :]])
    if draw < DROPPED:
        keep = rng.random(len(pieces)) > rng.random() * MOST_DROPPED
        return glue.join([piece for piece, kept in zip(pieces, keep, strict=True) if kept])
    return _misspelt(glue.join(pieces), rng)


def _pieces(text: str) -> tuple[list[str], str]:
    words = text[:MAX_CHARS].split()
    return (words, " ") if len(words) >= MIN_WORDS else (list(text[:MAX_CHARS]), "")


def _misspelt(text: str, rng: Any) -> str:
    """The text with some characters left out, doubled or changed places with the next."""
    share = rng.random() * MOST_MISSPELT
    kinds = rng.integers(0, 3, len(text)).tolist()
    out: list[str] = []
    for char, draw, kind in zip(text, (rng.random(len(text)) < share).tolist(), kinds, strict=True):
        if not draw:
            out.append(char)
        elif kind == 1:
            out += (char, char)
        elif kind == 2 and out:
            out.insert(-1, char)
    return "".join(out)
