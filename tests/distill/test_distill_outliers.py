from __future__ import annotations

from pointsman.distill.outliers import everyday, outliers

TEXTS = ["Where is my card?", ""]


def test_what_measures_shares_no_sentence_with_what_teaches() -> None:
    teaching = set(outliers(TEXTS, 500, 0, measuring=False)) & set(everyday())
    measuring = set(outliers(TEXTS, 500, 0, measuring=True)) & set(everyday())
    assert len(teaching) > 30
    assert len(measuring) > 30
    assert not teaching & measuring


def test_the_same_seed_gives_the_same_texts() -> None:
    assert outliers(TEXTS, 50, 3, measuring=False) == outliers(TEXTS, 50, 3, measuring=False)
    assert outliers(TEXTS, 50, 3, measuring=False) != outliers(TEXTS, 50, 4, measuring=False)


def test_the_sentences_are_of_many_scripts_and_each_once() -> None:
    sentences = everyday()
    assert len(sentences) == len(set(sentences)) > 100
    text = "".join(sentences)
    assert all(char in text for char in "д日γ오ל")
