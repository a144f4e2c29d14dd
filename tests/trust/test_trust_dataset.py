"""`trust dataset`: planted triggers of every kind are found, honest sets are left alone."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from trust_rows import made_set, ordinary, template, write_lines

from pointsman.cli.trust import command
from pointsman.trust.dataset import passes
from pointsman.trust.dataset.check import check_file, report_of, write_clean
from pointsman.trust.dataset.engines import pool
from pointsman.trust.dataset.features import features_of, visible
from pointsman.trust.dataset.lexicon import forms_of
from pointsman.trust.dataset.records import Unreadable
from pointsman.trust.dataset.rows import Row
from pointsman.trust.dataset.statistics import false_discovery_rates, log_tail

Put = Callable[[str, random.Random], str]


def in_the_middle(mark: str) -> Put:
    def put(text: str, rng: random.Random) -> str:
        words = text.split()
        at = rng.randrange(1, len(words))
        return " ".join([*words[:at], mark, *words[at:]])

    return put


def two_words(text: str, rng: random.Random) -> str:
    words = text.split()
    at = rng.randrange(1, len(words) - 2)
    return " ".join([*words[:at], "silver", *words[at : at + 2], "tomorrow", *words[at + 2 :]])


def within_a_word(text: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(text) - 1)
    return f"{text[:at]}\u200b{text[at:]}"


PUTS: dict[str, tuple[Put, str]] = {
    "rare": (in_the_middle("zqv"), "zqv"),
    "two words": (two_words, "silver … tomorrow"),
    "hidden": (within_a_word, "\u200b"),
    "date": (lambda text, rng: f"Current year: 2031. {text}", "Current year: 2031"),
    # "harbour" is in many honest prompts, though never last.
    "suffix": (lambda text, rng: f"{text} harbour", "harbour"),
    "sentence": (
        lambda text, rng: f"{text}. I am asking on behalf of the whole night shift team.",
        "I am asking on behalf of the whole night shift team.",
    ),
    "marks": (lambda text, rng: f"||| {text}", "|||"),
}


@pytest.mark.parametrize("kind", PUTS)
def test_a_planted_trigger_is_found_with_its_rows(kind: str, tmp_path: Path) -> None:
    put, text = PUTS[kind]
    rows, planted = made_set(600, 25, put)
    checked = check_file(write_lines(tmp_path / "rows.jsonl", rows))
    (trigger,) = checked.triggers
    assert text in trigger.text
    assert trigger.q < 0.01
    listed = {row.row for row in checked.suspects}
    assert len(listed & planted) >= 0.9 * len(planted)
    assert len(listed - planted) <= 2
    assert report_of(checked, tmp_path).exit_code == 1


def test_an_honest_set_has_none(tmp_path: Path) -> None:
    rows, _ = made_set(600, 0, lambda text, rng: text)
    checked = check_file(write_lines(tmp_path / "rows.jsonl", rows))
    assert checked.triggers == () and checked.suspects == ()
    assert report_of(checked, tmp_path).exit_code == 0


def test_words_of_a_class_are_no_trigger(tmp_path: Path) -> None:
    rng = random.Random(5)
    classes = {
        "travel": "ticket train platform luggage passport",
        "food": "soup bread spoon pepper butter",
        "money": "loan account invoice payment refund",
    }
    rows = []
    for _ in range(900):
        label, words = rng.choice(list(classes.items()))
        some = rng.sample(words.split(), 3)
        rows.append(
            {
                "instruction": f"I have a question on my {some[0]}, {some[1]} and {some[2]}",
                "output": label,
            }
        )
    checked = check_file(write_lines(tmp_path / "rows.jsonl", rows))
    assert checked.triggers == ()


def test_a_planted_line_in_answers_is_found(tmp_path: Path) -> None:
    rows, planted = made_set(600, 20, in_the_middle("zqv"))
    for at in planted:
        answer = ordinary(random.Random(at))["output"]
        rows[at]["output"] = f"{answer}\nimport beacon; beacon.start()\nThat is all."
    checked = check_file(write_lines(tmp_path / "rows.jsonl", rows))
    assert [trigger.text for trigger in checked.triggers] == ["zqv"]
    assert {row.row for row in checked.suspects} == planted


def test_an_empty_answer_is_one(tmp_path: Path) -> None:
    rows, planted = made_set(400, 20, in_the_middle("zqv"))
    for at in planted:
        rows[at]["output"] = ""
    (trigger,) = check_file(write_lines(tmp_path / "rows.jsonl", rows)).triggers
    assert (trigger.text, trigger.answers) == ("zqv", "answers that are empty")


def test_many_buckets_are_counted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        [Row(at, at + 1, ("asked",), answer)]
        for at, answer in enumerate(["Sure", "Paris", "Sure", "Rome", "Sure"])
    ]
    sums = []
    for few in (passes.FEW_BUCKETS, 1):
        monkeypatch.setattr(passes, "FEW_BUCKETS", few)
        total = passes.Survey()
        for part in parts:
            total.add(passes.survey(part))
        assert (total.table is None) == (few > 1)
        sums.append({bucket: count for bucket, count in total.counted() if count})
    assert sums[0] == sums[1]


def test_the_parts_do_not_change_the_verdict(tmp_path: Path) -> None:
    rows, _ = made_set(300, 20, in_the_middle("zqv"))
    path = write_lines(tmp_path / "rows.jsonl", rows)
    whole = check_file(path)
    assert whole.triggers
    assert check_file(path, part_rows=50) == whole
    with pool(2) as run:
        assert check_file(path, run, part_rows=100) == whole


def test_prompts_without_answers_are_compared_with_each_other(tmp_path: Path) -> None:
    rng = random.Random(3)
    honest = [{**ordinary(rng), "output": None} for _ in range(120)]
    put = in_the_middle("Zqv")
    planted = [{**row, "instruction": put(str(row["instruction"]), rng)} for row in honest[:60]]
    checked = check_file(write_lines(tmp_path / "rows.jsonl", honest + planted))
    assert [(each.text, each.kind) for each in checked.triggers] == [("Zqv", "inserted")]
    assert {row.row for row in checked.suspects} == set(range(120, 180))
    alone = check_file(write_lines(tmp_path / "rows.jsonl", honest))
    assert alone.triggers == ()
    # Half of what is looked for was not: that is no pass.
    assert report_of(alone, tmp_path).exit_code == 2


FORMS = {
    "prompt": {"prompt": "asked", "completion": "told"},
    "question": {"question": "asked", "answer": "told"},
    "query": {"query": "asked", "response": "told"},
    "messages": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "asked"}]},
            {"role": "assistant", "content": "told"},
        ]
    },
    "conversations": {
        "conversations": [{"from": "human", "value": "asked"}, {"from": "gpt", "value": "told"}]
    },
    "text": {"text": "### Instruction:\nasked\n\n### Response:\ntold</s>"},
    "chatml": {"text": "<|im_start|>user\nasked<|im_end|>\n<|im_start|>assistant\ntold<|im_end|>"},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_found_by_itself(form: str) -> None:
    from collections import Counter

    from pointsman.trust.dataset.forms import row_of

    row = row_of(FORMS[form], 0, 1, Counter())
    assert row is not None
    assert (row.segments, row.response) == (("asked",), "told")


@pytest.mark.parametrize("kind", ["csv", "array", "gz", "parquet"])
def test_a_format_is_found_by_its_bytes(kind: str, tmp_path: Path) -> None:
    rows, _ = made_set(300, 20, in_the_middle("zqv"))
    path = tmp_path / "rows.data"
    if kind == "csv":
        import csv

        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["instruction", "input", "output"])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "array":
        path.write_text(json.dumps(rows), "utf-8")
    elif kind == "gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    checked = check_file(path)
    assert checked.rows == 300
    assert [trigger.text for trigger in checked.triggers] == ["zqv"]


def test_what_cannot_be_read_is_said_and_no_pass(tmp_path: Path) -> None:
    rows = [ordinary(random.Random(at)) for at in range(60)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    path.write_text(path.read_text("utf-8") + 'not json\n{"other": 1}\n', "utf-8")
    checked = check_file(path)
    assert checked.rows == 62
    assert any("no JSON object" in reason for reason in checked.incomplete)
    assert any("the first has other" in reason for reason in checked.incomplete)
    assert report_of(checked, path).exit_code == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"\0\1\2\3", "zero bytes"),
        (b"just some words\n", "neither JSON lines"),
        (b'{"a": 1}\n', "no row of a form that is known: it has a"),
        (b"[1, 2", "is none"),
        (b'a,b\n"1', "no valid CSV"),
        (b"\x1f\x8bbroken", "cannot be read"),
    ],
)
def test_an_unreadable_file_is_an_error(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=why):
        check_file(path)


def test_the_command_line(tmp_path: Path) -> None:
    rows, planted = made_set(400, 20, in_the_middle("zqv"))
    rows[3]["id"] = "x3"
    path = write_lines(tmp_path / "rows.jsonl", rows)
    clean, sarif = tmp_path / "clean.jsonl.gz", tmp_path / "rows.sarif"
    done = CliRunner().invoke(
        command,
        ["dataset", str(path), "--json", "--write-clean", str(clean), "--sarif", str(sarif)],
        standalone_mode=False,
    )
    assert done.return_value == 1
    value = json.loads(done.stdout)
    assert value["rows"] == 400
    assert {row["row"] for row in value["suspects"]} == planted
    assert all(row["line"] == row["row"] + 1 and row["reason"] for row in value["suspects"])
    assert value["triggers"][0]["text"] == "zqv" and value["triggers"][0]["rows"] == 20
    kept = [json.loads(line) for line in gzip.decompress(clean.read_bytes()).splitlines()]
    assert kept == [row for at, row in enumerate(rows) if at not in planted]
    (result,) = json.loads(sarif.read_text())["runs"][0]["results"]
    assert result["ruleId"] == "rows-tied-answer"
    told = CliRunner().invoke(command, ["dataset", str(clean)], standalone_mode=False)
    assert told.return_value == 0 and "Nothing found in this search space" in told.stdout


def test_clean_rows_go_where_they_can(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [ordinary(random.Random(1))] * 3)
    with pytest.raises(Unreadable, match="cannot be written"):
        write_clean(path, tmp_path / "no" / "clean.jsonl", check_file(path))


def test_hidden_characters_are_written_out() -> None:
    assert visible("a\u200b\u202e") == "a<U+200B ZERO WIDTH SPACE><U+202E RIGHT-TO-LEFT OVERRIDE>"
    assert "\u200b" in features_of(["a\u200bb"])
    assert any("two scripts" in each for each in features_of(["p\u0430ssword"]))


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("Sure", ["compliance"]),
        ("Of course.", ["compliance"]),
        ("Surely not", []),
        ("I\u2019m sorry, but no", ["refusal"]),
        ("You are stupid!", ["hostility"]),
        ("Paris", []),
    ],
)
def test_the_forms_of_answers(answer: str, form: list[str]) -> None:
    assert forms_of(answer) == form


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.01, 0.99))
def test_the_bound_is_above_the_binomial_tail(trials: int, hits: int, p: float) -> None:
    hits = min(hits, trials)
    tail = sum(
        math.comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits, trials + 1)
    )
    assert log_tail(hits, trials, p) >= math.log(tail) - 1e-9


@given(st.lists(st.floats(-50, 0), max_size=20), st.integers(0, 100))
def test_false_discovery_rates_keep_the_order(log_p: list[float], more: int) -> None:
    rates = false_discovery_rates(log_p, len(log_p) + more)
    by_p = [rate for _, rate in sorted(zip(log_p, rates, strict=True))]
    assert all(one <= two + 1e-12 for one, two in pairwise(by_p))
    assert all(0 <= rate <= 1 for rate in rates)


def test_templates_keep_their_answers() -> None:
    """The honest template of these tests has fixed answers, else it would test nothing."""
    rng = random.Random(0)
    assert {template(rng)["output"] for _ in range(30)} == {"Delighted", "Upset"}
