from __future__ import annotations

from pointsman.distill.augment import augmented

TEXTS = ["one two three four five", "sechs sieben acht neun", "日本語の文章です", "x", ""]


def test_as_many_as_asked_for_are_made_the_same_each_time() -> None:
    made = augmented(TEXTS, 300, seed=1)
    assert len(made) == 300
    assert made == augmented(TEXTS, 300, seed=1)
    assert made != augmented(TEXTS, 300, seed=2)


def test_most_differ_from_their_texts_and_are_made_of_the_same_characters() -> None:
    made = augmented(TEXTS[:3], 300, seed=1)
    assert sum(text not in TEXTS for text in made) > 150
    assert set("".join(made)) <= set("".join(TEXTS)) | {" "}


def test_texts_without_spaces_are_cut_by_characters() -> None:
    made = augmented(["日本語の文章です"], 100, seed=1)
    assert any(0 < len(text) < 8 for text in made)
    assert not any(" " in text for text in made)


def test_a_long_text_makes_no_longer_ones() -> None:
    made = augmented(["word " * 100_000], 20, seed=1)
    assert max(map(len, made)) < 10_000
