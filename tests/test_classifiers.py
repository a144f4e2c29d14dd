from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from pointsman.classifiers import OVERLAP_BYTES, WINDOW_BYTES, labels_in, plain, windows


class Said(Struct, frozen=True):
    labels: tuple[str, ...]
    scores: tuple[float, ...]


class Counting:
    """Says 'loud' of a text by its share of exclamation marks."""

    labels = ("loud", "quiet")
    multi = False

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def classify(self, text: str | bytes) -> Said:
        assert isinstance(text, bytes)
        self.sizes.append(len(text))
        p = text.count(b"!") / max(1, len(text))
        return Said(("loud",) if p > 0.5 else ("quiet",), (p, 1 - p))


@given(st.lists(st.sampled_from("aé日🦎"), min_size=1, max_size=40), st.integers(1, 800))
def test_the_pieces_of_a_text_are_whole_characters_and_cover_it(characters, times):
    # Numbered, so that each piece has one place.
    text = "".join(f"{n}{each}" for n in range(times) for each in characters)
    data = text.encode()
    pieces = windows(text)
    at = 0
    for piece in pieces:
        piece.decode()
        assert 0 < len(piece) <= WINDOW_BYTES
        # Each begins at or before the end of the one before, and goes beyond it.
        start = data.index(piece, max(0, at - OVERLAP_BYTES - 4))
        assert start <= at < start + len(piece)
        at = start + len(piece)
    assert at == len(data)


def test_an_empty_text_is_one_empty_piece():
    assert windows("") == [b""]


def test_a_label_in_any_piece_counts_and_the_surest_is_given():
    counting = Counting()
    text = "quiet " * 3000 + "!" * 20_000 + " quiet" * 3000
    assert labels_in(counting, text, frozenset(["loud"])) == ("loud", 1.0)
    assert max(counting.sizes) <= WINDOW_BYTES and len(counting.sizes) > 4
    assert labels_in(counting, "quiet", frozenset(["loud"])) is None


def test_a_label_in_a_header_parts_nothing():
    assert plain("a, b; c\r\nd日") == "a? b? c??d?"
