"""The whole way against a scripted teacher: how near it comes to clean rows, and every bad teacher."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from teaching_site import LABELS, WORDS, accuracy, teach

from pointsman.distill.model import TextClassifier
from pointsman.distill.rows import Row, read_rows
from pointsman.distill.teacher.budget import Limits
from pointsman.distill.teacher.plan import Task
from pointsman.distill.teacher.run import Outcome
from pointsman.distill.teacher.student import Guess
from pointsman.distill.teacher.summary import check_rows, json_lines, training_rows
from pointsman.distill.train import train
from pointsman.errors import DistillError
from pointsman.testing import FakeProvider, Faults, ScriptedTeacher

# A teacher as they are: it errs, repeats itself, refuses, breaks off and limits the rate.
MESSY = Faults(
    wrong_class=0.06,
    duplicate=0.1,
    blind_error=0.05,
    refusal=0.08,
    broken=0.08,
    cut=0.08,
    nonsense=0.02,
    limit=0.1,
    dropped=0.03,
)


def lessons(tmp_path: Path, name: str) -> tuple[ScriptedTeacher, Outcome, list[Row], list[Row]]:
    """What a messy teacher gives, as rows, and as many rows without a fault."""
    script = ScriptedTeacher(name, MESSY)
    task = Task(words=script.task.words, labels=tuple(script.task.classes))
    with FakeProvider(script) as fake:
        # One at a time: what the teacher repeats depends on the order in which it is asked.
        outcome = teach(fake.url, tmp_path, rows=300, task=task, parallel=1)
    rows = training_rows(outcome, 0)
    clean = [Row(text, (label,)) for text, label in script.clean_rows(len(rows), seed=5)]
    return script, outcome, rows, clean


@pytest.mark.parametrize("name", ["support", "reviews"])
def test_a_messy_teacher_gives_rows_nearly_as_good_as_clean_ones(tmp_path: Path, name: str) -> None:
    script, outcome, rows, clean = lessons(tmp_path, name)
    test = script.clean_rows(600, seed=77)
    assert accuracy(clean, test) > 0.97  # Else two points would say little.
    assert accuracy(rows, test) >= accuracy(clean, test) - 0.02
    true = [script.truth(each.text) == each.labels[0] for each in outcome.kept]
    assert sum(true) / len(true) > 0.985  # It wrote 6 % wrong, and labelled 5 % wrong.
    assert set(outcome.reasons) >= {"near duplicate", "blind label differs"}
    # Each is a few in a hundred of some forty answers: one of them may not occur.
    assert len(set(outcome.reasons) & {"refusal", "broken JSON", "cut", "no rows"}) >= 2
    assert 0.8 < outcome.agreement.share < 0.97
    assert not outcome.too_weak
    counts = Counter(each.labels[0] for each in outcome.kept)
    assert max(counts.values()) < 1.5 * min(counts.values())
    assert len(outcome.kept) >= 300


@pytest.mark.slow
@pytest.mark.parametrize("name", ["support", "reviews"])
def test_so_does_the_classifier_that_users_get(tmp_path: Path, name: str) -> None:
    script, _, rows, clean = lessons(tmp_path, name)
    test = script.clean_rows(600, seed=77)

    def classifier(rows: Sequence[Row], texts: Sequence[str]) -> list[Guess]:
        model = TextClassifier.load(train(rows).onnx)
        return [Guess(each.labels, each.scores) for each in model.classify_many(texts)]

    assert accuracy(clean, test, classifier) > 0.97
    assert accuracy(rows, test, classifier) >= accuracy(clean, test, classifier) - 0.02


def test_rows_are_written_near_the_line_that_a_student_gets_wrong(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", MESSY)
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=250, parallel=1)
    near = [each for each in outcome.kept if each.stage == "boundary"]
    mixed = {pair for check in outcome.curve for pair in check.pairs}
    assert near and mixed
    assert {each.labels[0] for each in near} <= {
        n for pair in mixed for n in (pair.first, pair.second)
    }
    mistakes = {text for pair in mixed for text in pair.mistakes}
    assert any(json.dumps(text) in prompt for text in mistakes for prompt in script.paid)


def test_a_run_that_goes_on_asks_nothing_again(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", MESSY)
    with FakeProvider(script) as fake:
        first = teach(fake.url, tmp_path, rows=100)
        asked = len(fake.requests)
        assert teach(fake.url, tmp_path, rows=100) == first
        assert len(fake.requests) == asked
        more = teach(fake.url, tmp_path, rows=160)
    assert len(more.kept) >= 160
    assert {each.text for each in first.kept} <= {each.text for each in more.kept}
    assert max(script.paid.values()) == 1


def test_the_cost_cap_is_held_and_what_is_left_is_used_on(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", Faults(dropped=0.1, limit=0.1))
    with FakeProvider(script) as fake:
        first = teach(fake.url, tmp_path, rows=400, limits=Limits(max_usd=0.2))
        journal = (tmp_path / "journal.jsonl").read_bytes()
        spent = [json.loads(line)["entry"] for line in journal.splitlines() if b'"answer"' in line]
        assert sum(each["cost_usd"] for each in spent if each["kind"] == "answer") <= 0.2
        assert "cap" in first.ended
        assert 0 < len(first.kept) < 400
        # Hardly a row was written that could not be labelled.
        assert sum(n for reason, n in first.reasons.items() if "cap" in reason) <= 10
        second = teach(fake.url, tmp_path, rows=400, limits=Limits(max_usd=0.4))
    assert len(second.kept) > len(first.kept)
    assert {each.text for each in first.kept} <= {each.text for each in second.kept}


def test_a_cap_on_calls_without_a_price(tmp_path: Path) -> None:
    script = ScriptedTeacher("support")
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=400, limits=Limits(max_calls=20), price=False)
        assert sum(script.paid.values()) <= 20
    assert "cap" in outcome.ended


@pytest.mark.parametrize(
    ("faults", "reason"),
    [(Faults(refusal=1.0), "refusal"), (Faults(nonsense=1.0), "no rows")],
)
def test_a_teacher_of_no_use_is_found_out_early_and_the_error_says_what_to_do(
    tmp_path: Path, faults: Faults, reason: str
) -> None:
    script = ScriptedTeacher("support", faults)
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=400)
    assert sum(script.paid.values()) < 40
    assert set(outcome.reasons) == {reason}
    with pytest.raises(DistillError) as raised:
        check_rows(outcome, "fake:writer-1", "out")
    assert reason in raised.value.message
    assert "take a stronger teacher" in raised.value.message


def test_a_teacher_that_does_not_know_its_classes_is_called_too_weak(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", Faults(blind_error=0.6, wrong_class=0.3))
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=60)
    assert outcome.agreement.too_weak
    assert outcome.agreement.kappa is not None and outcome.agreement.kappa < 0.6


def test_own_texts_are_labelled_twice_and_nothing_is_written_that_is_not_lacking(
    tmp_path: Path,
) -> None:
    script = ScriptedTeacher("support", Faults(blind_error=0.06, broken=0.05))
    own = [text for text, _ in script.clean_rows(260, seed=3)]
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=120, own=own)
        asked = len(fake.requests)
        assert teach(fake.url, tmp_path, rows=120, own=own) == outcome
        assert len(fake.requests) == asked
    kept = [each for each in outcome.kept if each.stage == "own"]
    assert len(kept) >= 110
    assert {each.text for each in kept} <= set(own)
    true = [script.truth(each.text) == each.labels[0] for each in kept]
    assert sum(true) / len(true) > 0.97
    assert outcome.reasons["two blind labels differ"] > 0


def test_own_texts_that_lack_a_class_are_added_to(tmp_path: Path) -> None:
    script = ScriptedTeacher("support")
    own = [text for text, label in script.clean_rows(180, seed=3) if label != "sales"]
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=120, own=own)
    written = Counter(each.labels[0] for each in outcome.kept if each.stage != "own")
    assert written["sales"] >= 20


def test_texts_of_the_test_set_are_never_taken_in(tmp_path: Path) -> None:
    with FakeProvider(ScriptedTeacher("support")) as fake:
        first = teach(fake.url, tmp_path / "a", rows=60)
    known = [(each.text.upper(), "in the test set") for each in first.kept[:20]]
    with FakeProvider(ScriptedTeacher("support")) as fake:
        second = teach(fake.url, tmp_path / "b", rows=60, known=known)
    assert second.reasons["in the test set"] > 0
    assert not {text for text, _ in known} & {each.text.upper() for each in second.kept}


def test_languages_are_asked_for_and_checked(tmp_path: Path) -> None:
    task = Task(words=WORDS, labels=LABELS, languages=("en", "de"))
    script = ScriptedTeacher("support", Faults(wrong_language=0.1))
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=80, task=task)
    counts = Counter(each.lang for each in outcome.kept)
    assert counts["en"] > 10 and counts["de"] > 10
    assert outcome.reasons["wrong language"] > 0


def test_several_labels_and_none(tmp_path: Path) -> None:
    task = Task(words=WORDS, labels=LABELS, multi=True)
    with FakeProvider(ScriptedTeacher("support")) as fake:
        outcome = teach(fake.url, tmp_path, rows=60, task=task)
    assert outcome.agreement.kappa is None
    assert all(set(each.labels) <= set(LABELS) for each in outcome.kept)
    assert outcome.kept


def test_an_other_class_is_written_too(tmp_path: Path) -> None:
    task = Task(words=WORDS, labels=LABELS, other=True)
    with FakeProvider(ScriptedTeacher("support")) as fake:
        outcome = teach(fake.url, tmp_path, rows=80, task=task)
    assert outcome.plan.names == (*LABELS, "other")
    assert sum(each.labels == ("other",) for each in outcome.kept) >= 10


def test_rows_are_kept_as_lines_that_can_be_learned_from(tmp_path: Path) -> None:
    with FakeProvider(ScriptedTeacher("support")) as fake:
        outcome = teach(fake.url, tmp_path, rows=40)
    path = tmp_path / "data.jsonl"
    path.write_bytes(json_lines(outcome.kept))
    rows = list(read_rows(path))
    assert [(row.text, row.labels) for row in rows] == [(e.text, e.labels) for e in outcome.kept]
    line = json.loads(path.read_text().splitlines()[0])
    assert line["stage"] == "generate" and line["blind"] == [line["label"]]
    assert line["attributes"]["situation"]
    turned = [json.loads(each) for each in json_lines(outcome.rejected).splitlines()]
    assert all(each["reason"] for each in turned)


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_a_teacher_of_another_dialect(tmp_path: Path, dialect: str) -> None:
    script = ScriptedTeacher("support", Faults(limit=0.2, cut=0.1))
    with FakeProvider(script) as fake:
        outcome = teach(fake.url, tmp_path, rows=40, dialect=dialect)
    assert len(outcome.kept) >= 40
