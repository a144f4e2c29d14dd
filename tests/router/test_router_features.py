"""What the router sees of a prompt is fixed: a trained table means the same everywhere."""

from __future__ import annotations

import math
import subprocess
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.router import features
from pointsman.router.features import SURFACE, look, seen, tokens
from pointsman.router.matrix import BUCKETS, bucketed, word_matrix

GOLDEN = "What is 12 × 3?\nA. 36\nB. 15\nAnswer:"


def surface(text: str) -> dict[str, float]:
    return dict(zip(SURFACE, look(text).surface, strict=True))


def test_words_are_lower_case_and_digits_and_marks_stand_alone():
    assert tokens("It's 42 Äpfel, no_more!") == [
        "it", "'", "s", "4", "2", "äpfel", ",", "no", "more", "!",
    ]  # fmt: skip


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_has_the_words_that_any_text_has(text: str):
    assert tokens(text) == features._TOKEN.findall(text.lower())


def test_a_word_is_the_crc_of_its_bytes_between_two_zeros():
    assert look("Hello Ä").words == [0, zlib.crc32(b"hello"), zlib.crc32("ä".encode()), 0]
    assert look("hello").words == [0, 0x3610A686, 0]
    assert look("").words == [0, 0]


def test_golden_buckets():
    # A change here means a new VERSION: routers trained before would read other columns.
    assert features.VERSION == 3
    assert bucketed(look("hello world").words).tolist() == [0, 18, 1070, 2992, 3839]


def test_golden_surface():
    found = {name: round(value, 6) for name, value in surface(GOLDEN).items() if value}
    log = lambda n: round(math.log1p(n), 6)  # noqa: E731
    size = len(GOLDEN)
    assert found == {
        "log_chars": log(size),
        "log_words": log(9),
        "word_chars": round(25 / 9, 6),
        "digit_share": round(7 / size, 6),
        "upper_share": round(4 / size, 6),
        "non_ascii_share": round(1 / size, 6),
        "punctuation_share": round(4 / size, 6),
        "lines": log(3),
        "math_marks": log(1),
        "choices": log(2),
        "question_marks": log(1),
        "question_words": log(1),
        "numbers": log(4),
        "longest_number": log(2),
        "at_once": 1.0,
    }


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        ("def f():\n    return 1", "code_marks", 2),
        ("Prove it step by step", "reasoning_words", 3),
        ("How many apples are left?", "quantity_words", 2),
        ("Which is not false", "negations", 2),
        ("She gave him my book", "person_words", 3),
        ("Photosynthesis, oxidation and geology", "technical_words", 2),
        ("The ____ was", "blanks", 4),
        ("$x$ and $y$", "dollars", 4),
    ],
)
def test_counts_of_the_surface(text: str, name: str, count: int):
    assert surface(text)[name] == pytest.approx(math.log1p(count))


@pytest.mark.parametrize(
    ("text", "at_once"),
    [
        ("2 + 2?\nAnswer:", 1),
        ("2 + 2?\nAnswer: \n", 1),
        ("2 + 2?", 0),
        ("Answer:", 0),
        ("x\nThis line is far too long to be a label:", 0),
        ("", 0),
    ],
)
def test_a_bare_label_at_the_end_asks_for_the_answer_at_once(text: str, at_once: int):
    assert look(text).surface[SURFACE.index("at_once")] == at_once


def test_of_a_long_prompt_only_the_ends_count():
    head, tail = "a" * 2000, "b" * 1000
    assert seen(head + "x" * 100_000 + tail) == f"{head}\n{tail}"
    assert seen(head + tail) == head + tail
    assert look(head + " one " * 9 + tail) == look(head + " two " * 999 + tail)


@given(st.text(st.characters(), max_size=300))
@settings(deadline=None)
def test_any_string_can_be_looked_at_and_gives_the_same_again(text: str):
    first = look(text)
    assert look(text) == first
    assert len(first.surface) == len(SURFACE)
    assert all(math.isfinite(value) for value in first.surface)
    buckets = bucketed(first.words).tolist()
    assert buckets and buckets == sorted(set(buckets))
    assert buckets[0] >= 0 and buckets[-1] < BUCKETS


def test_half_a_surrogate_pair_does_no_harm():
    assert len(look("\ud800 and \udfff").words) == 5


def test_the_memory_of_words_is_bounded_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(features, "CACHED_WORDS", 50)
    monkeypatch.setattr(features, "_words", features._Words())
    texts = [f"{''.join(chr(97 + int(d)) for d in str(n))}tion what" for n in range(200)]
    first = [look(text) for text in texts]
    assert len(features._words) <= 52
    assert [look(text) for text in texts] == first
    look("z" * 5000)
    assert max(map(len, features._words)) <= features.CACHED_WORD_CHARS


def test_the_features_do_not_hang_on_the_seed_of_hashes():
    code = "from pointsman.router.features import look; print(look('What is 1 + 1? Prove it.'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True,
            text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


def test_a_matrix_of_prompts_has_rows_of_length_one():
    matrix = word_matrix([look("hello world"), look("")])
    assert matrix.shape == (2, BUCKETS)
    assert matrix.multiply(matrix).sum(1).ravel().tolist()[0] == pytest.approx([1, 1])
