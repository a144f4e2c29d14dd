"""The pieces of the way: combinations, near-duplicates, languages, noise, choosing, soft labels."""

from __future__ import annotations

import math
import random
from itertools import combinations, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.distill.rows import Row
from pointsman.distill.teacher.asking import Answer, lean
from pointsman.distill.teacher.cover import covering
from pointsman.distill.teacher.dedupe import NearDuplicates
from pointsman.distill.teacher.generate import Pair
from pointsman.distill.teacher.label import chunks_of, codes_of, soft_labels
from pointsman.distill.teacher.language import is_wrong_language, script_of
from pointsman.distill.teacher.noise import noisy
from pointsman.distill.teacher.prompts import PROMPTS, fill, prompts_sha256
from pointsman.distill.teacher.proxy import quick_student
from pointsman.distill.teacher.rounds import compose
from pointsman.distill.teacher.select import confused_pairs, most_telling, spread
from pointsman.testing.teaching import TASKS, write
from pointsman.types import TokenLogprob


def test_combinations_cover_every_pair_in_few_and_never_end() -> None:
    factors = {"a": [*"12345"], "b": [*"1234"], "c": [*"123"], "none": [], "d": [*"12"]}
    rows = list(islice(covering(factors, 7), 200))
    wanted = {
        (x, u, y, v) for x, y in combinations("abcd", 2) for u in factors[x] for v in factors[y]
    }
    # 20 at least are needed for the two largest; all there are is 120.
    seen = {(x, row[x], y, row[y]) for row in rows[:32] for x, y in combinations("abcd", 2)}
    assert seen == wanted
    assert rows == list(islice(covering(factors, 7), 200))
    assert rows != list(islice(covering(factors, 8), 200))


def test_near_duplicates_are_found_and_others_are_not() -> None:
    seen = NearDuplicates()
    first = "I was charged 49 euros twice in March, please refund one of them"
    assert seen.add(first, "a") is None
    assert seen.add(first.upper() + "!!", "b") == "a"
    assert seen.add(first.replace("49", "51").replace("please ", "pls "), "c") == "a"
    assert seen.add("The app crashes on my phone as soon as I open search", "d") is None
    assert seen.add("付款失败了，请尽快处理", "e") is None
    assert seen.find("付款失败了，请尽快处理！") == "e"
    assert seen.find("something new altogether") is None
    assert seen.add("", "f") is None
    assert seen.add(" ", "g") == "f"


def test_near_duplicates_agree_with_a_search_through_all() -> None:
    chooser = random.Random(5)
    task = TASKS["support"]
    texts = [write(task, chooser.choice([*task.classes]), "en", chooser) for _ in range(400)]
    seen = NearDuplicates()
    kept: list[str] = []
    grams = {text: seen_grams(text) for text in texts}
    missed = 0
    for text in texts:
        near = any(
            len(grams[text] & grams[other]) >= 0.65 * len(grams[text] | grams[other])
            for other in kept
        )
        found = seen.add(text, text) is not None
        missed += near and not found
        assert near or not found
        if not found:
            kept.append(text)
    assert missed <= 4


def seen_grams(text: str) -> set[str]:
    from pointsman.distill.teacher.dedupe import normal_form

    plain = f" {normal_form(text)} "
    return {plain[at : at + 4] for at in range(len(plain) - 3)}


@pytest.mark.parametrize(
    ("text", "wanted", "wrong"),
    [
        ("Das ist nicht die Rechnung, die ich wollte", "en", True),
        ("I did not want this bill and it is too high", "en", False),
        ("I did not want this bill and it is too high", "de", True),
        ("Ja, en ik wil dat het geld op mijn rekening staat", "de", True),
        ("refund", "de", False),
        ("WLAN kaputt", "en", False),
        ("счёт неверный", "en", True),
        ("счёт неверный", "ru", False),
        ("the bill is wrong", "ru", True),
        ("付款失败了，请处理", "zh-Hans", False),
        ("付款失败了，请处理", "ja", False),
        ("支払いができません", "zh", True),
        ("الفاتورة خاطئة", "ar", False),
        ("الفاتورة خاطئة", "he", True),
        ("racun je pogresan", "sr-Latn", False),
        ("it is what it is and that is that", "xx", False),
        ("12345 🙏", "de", False),
    ],
)
def test_only_a_clear_sign_of_another_language_counts(text: str, wanted: str, wrong: bool) -> None:
    assert is_wrong_language(text, wanted) is wrong


def test_the_script_of_a_text() -> None:
    assert script_of("abc дом дома домой") == "CYRILLIC"
    assert script_of("ab") is None


@given(st.text(max_size=200), st.integers(0, 50))
def test_noise_keeps_a_text_a_text(text: str, seed: int) -> None:
    made = noisy(text, seed)
    assert made == noisy(text, seed)
    assert bool(made.strip()) or not text.strip()
    assert len(made) <= 3 * len(text) + 20


def test_noise_changes_most_texts_and_cuts_none_by_half() -> None:
    text = "My payment of 49 euros was declined although the card is fine, please help me soon."
    made = {noisy(text, seed) for seed in range(100)}
    assert len(made) > 60
    assert min(len(each.split()) for each in made) >= len(text.split()) * 0.6


def test_a_spread_takes_one_of_each_kind() -> None:
    kinds = ["refund my money now", "app crashes on start", "price for ten seats"]
    texts = [f"{kind} {number}" for number in range(20) for kind in kinds]
    picks = spread(texts, 3, seed=1)
    assert {at % 3 for at in picks} == {0, 1, 2}
    assert spread(texts, 100, seed=1) and len(set(spread(texts, 100, seed=1))) == 60
    assert spread([], 5, seed=1) == []


def test_the_unsure_ones_are_asked_about() -> None:
    texts = [f"text {number} {'abc'[number % 3] * 8}" for number in range(40)]
    scores = [(0.51, 0.49) if number in (7, 20) else (0.95, 0.05) for number in range(40)]
    picks = most_telling(texts, scores, 2, seed=0)
    assert len(picks) == 2
    near = most_telling(texts, [(s[0],) for s in scores], 8, seed=0)
    assert len(set(near)) == 8
    sharp = most_telling(texts[:8], scores[:8], 8, seed=0)
    assert 7 in sharp


def test_pairs_that_are_mixed_up_come_first() -> None:
    wanted = ["a", "b", "a", "c", "a", "b"]
    told = ["b", "a", "a", "a", "b", "b"]
    assert confused_pairs(wanted, told, 2) == [("a", "b", [0, 1, 4]), ("a", "c", [3])]


def token(text: str, p: float, **top: float) -> TokenLogprob:
    others = tuple(TokenLogprob(name, math.log(value)) for name, value in top.items())
    return TokenLogprob(text, math.log(p), top=others)


def test_soft_labels_come_from_the_token_of_the_code() -> None:
    tokens = (
        token('{"labels": [{"id": 1, "code": "', 1.0),
        token("A", 0.6, A=0.6, B=0.3, the=0.1),
        token('"}, {"id": 2, "code": "', 1.0),
        token("B", 0.2, zebra=0.8),
        token('"}, {"id": 3, "code": "A', 1.0),
        token('"}]}', 1.0),
    )
    answer = Answer(text="".join(each.token for each in tokens), logprobs=tokens)
    found = soft_labels(answer, {"A": "billing", "B": "sales"})
    assert set(found) == {1}  # The second is mostly no code, the third no token of its own.
    assert found[1] == pytest.approx({"billing": 2 / 3, "sales": 1 / 3})


def test_an_answer_is_kept_without_probabilities_that_say_nothing() -> None:
    sure, unsure = token("A", 0.999, B=0.001), token("A", 0.6, A=0.6, B=0.4)
    kept = lean(Answer(text="x" * 2_000_000, logprobs=(sure, unsure)))
    assert len(kept.text) == 1_000_000 and kept.logprobs is not None
    assert [len(each.top) for each in kept.logprobs] == [0, 2]
    whole = '{"id": 1, "code": "'
    tokens = (token(whole, 1.0), kept.logprobs[0])
    answer = Answer(text=whole + "A", logprobs=(*tokens, token('"}', 1.0)))
    assert soft_labels(answer, {"A": "x", "B": "y"}) == {1: {"x": pytest.approx(1.0)}}


def test_codes_are_letters_or_numbers_in_another_order_each_time() -> None:
    names = [f"class {number}" for number in range(30)]
    few = codes_of(names[:5], random.Random(1))
    assert list(few) == [*"ABCDE"] and set(few.values()) == set(names[:5])
    assert list(few.values()) != list(codes_of(names[:5], random.Random(2)).values())
    assert list(codes_of(names, random.Random(1)))[:2] == ["1", "2"]


def test_questions_are_divided_by_number_and_size() -> None:
    assert [len(each) for each in chunks_of(["x"] * 40, 16)] == [16, 16, 8]
    assert [len(each) for each in chunks_of(["x" * 6000] * 9, 16)] == [4, 4, 1]
    assert chunks_of([]) == []


def test_a_round_asks_for_what_is_lacking() -> None:
    portions = compose(
        {"a": 100, "b": 20, "c": 60},
        100.0,
        [Pair("a", "b")],
        first=False,
        kept_share=0.5,
        rows_per_question=10,
        most=24,
    )
    rows = {
        name: sum(p.rows for p in portions if p.label == name and p.pair is None) for name in "abc"
    }
    assert rows["a"] == 0
    assert rows["b"] > rows["c"] > 0
    assert [p.pair for p in portions if p.pair] == [Pair("a", "b")]


def test_the_first_round_is_small() -> None:
    portions = compose(
        dict.fromkeys("abc", 0),
        500.0,
        [],
        first=True,
        kept_share=0.7,
        rows_per_question=10,
        most=24,
    )
    assert len(portions) == 8
    assert {p.label for p in portions} == {*"abc"}


def test_prompts_are_filled_in_one_pass_and_their_hash_is_fixed_by_them() -> None:
    values = {
        "task": "sort {{texts}}",
        "classes": "A: x (y)",
        "texts": '{"id": 1}',
    }
    made = fill("label", values)
    assert "sort {{texts}}" in made
    with pytest.raises(KeyError):
        fill("label", {})
    assert len(PROMPTS) == 6 and len(prompts_sha256()) == 64


def test_the_quick_student_learns_one_label_or_several() -> None:
    chooser = random.Random(2)
    task = TASKS["support"]
    names = [*task.classes]
    made = [(write(task, names[at % 3], "en", chooser), names[at % 3]) for at in range(360)]
    rows = [Row(text, (label,)) for text, label in made[:240]]
    guesses = quick_student(rows, [text for text, _ in made[240:]])
    assert sum(g.labels == (n,) for g, (_, n) in zip(guesses, made[240:], strict=True)) >= 114
    assert all(sum(guess.scores) == pytest.approx(1.0) for guess in guesses)
    several = [
        Row(f"{a[0]} {b[0]}", tuple(sorted({a[1], b[1]})))
        for a, b in zip(made, made[7:200], strict=False)
    ]
    several += [Row("good morning to you all", ())] * 20
    told = quick_student(several[:150], [row.text for row in several])
    assert sum(set(g.labels) == set(r.labels) for g, r in zip(told, several, strict=True)) >= 150
