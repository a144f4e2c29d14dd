"""Bulk labelling: the parts, the merge, the money, and what is kept of a worker that is killed."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from labelling_site import PRICE, Killer, config_for, labelled, texts_of, work_in

from pointsman.cli.distill_label import OpenTeacher
from pointsman.distill.engines import Engine, Here, Pool
from pointsman.distill.partitions import Part, most_of, parts_of, run_part
from pointsman.distill.partitions_merge import Totals
from pointsman.distill.teacher.budget import Limits
from pointsman.errors import DistillError, PointsmanError, ProviderError
from pointsman.testing import FakeProvider, Fault, Faults, ScriptedTeacher


def test_parts_are_the_texts_in_order() -> None:
    texts = [str(number) for number in range(7)]
    parts = list(parts_of(iter(texts), 3))
    assert [part.number for part in parts] == [0, 1, 2]
    assert [text for part in parts for text in part.texts] == texts
    assert list(parts_of([], 3)) == []


def test_every_text_comes_back_in_order_with_its_label(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", Faults(refusal=0.1, broken=0.1, cut=0.1, limit=0.2))
    texts = texts_of(script, 150)
    totals = Totals()
    with FakeProvider(script) as fake:
        rows = labelled(fake.url, texts, tmp_path, Here(), totals=totals)
    assert [row.text for row in rows] == texts
    assert [row.row for row in rows] == list(range(1, 151))
    assert rows[20].label is None and rows[20].reason == "empty"
    told = [row for row in rows if row.label is not None]
    assert all(row.label and row.label.labels == (script.truth(row.text),) for row in told)
    assert len(told) > 120
    assert totals.rows == 150 and totals.labelled == len(told) and totals.parts == 4
    assert totals.reasons.total() == 150 - len(told)
    assert totals.calls == script.paid.total() and totals.cost_usd > 0
    assert script.limited > 0 and max(script.paid.values()) == 1


def test_a_text_that_is_there_twice_is_asked_once(tmp_path: Path) -> None:
    script = ScriptedTeacher("support")
    (text, _), *_ = script.clean_rows(1, 1)
    with FakeProvider(script) as fake:
        rows = labelled(fake.url, [text] * 30, tmp_path, Here())
        assert [row.label is not None for row in rows] == [True] * 30
    ((prompt, times),) = script.paid.items()
    assert times == 1 and prompt.count(text[:20]) == 1


def test_labels_that_differ_are_no_label(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", Faults(blind_error=0.2))
    texts = [text for text, _ in script.clean_rows(120, 1)]
    with FakeProvider(script) as fake:
        rows = labelled(fake.url, texts, tmp_path, Here(), work=work_in(tmp_path, votes=2))
    differing = [row for row in rows if row.reason == "blind labels differ"]
    assert 20 < len(differing) < 60
    told = [row.label.labels == (script.truth(row.text),) for row in rows if row.label]
    assert sum(told) / len(told) > 0.9


def test_several_labels_may_be_told_of_a_text(tmp_path: Path) -> None:
    script = ScriptedTeacher("support")
    texts = [text for text, _ in script.clean_rows(20, 1)]
    with FakeProvider(script) as fake:
        rows = labelled(fake.url, texts, tmp_path, Here(), work=work_in(tmp_path, multi=True))
    assert all(row.label and row.label.labels == (script.truth(row.text),) for row in rows)


def test_a_pool_gives_the_same_rows_and_asks_the_same(tmp_path: Path) -> None:
    found, asked = [], []
    for name, engine in (("here", Here()), ("pool", Pool(2))):
        script = ScriptedTeacher("support", Faults(blind_error=0.1, broken=0.1))
        with FakeProvider(script) as fake:
            found.append(labelled(fake.url, texts_of(script, 150), tmp_path / name, engine))
        asked.append(set(script.paid))
    assert found[0] == found[1]
    assert asked[0] == asked[1]
    assert len(set((tmp_path / "pool" / "pids").read_text().split()) - {str(os.getpid())}) >= 1


def test_a_second_run_pays_nothing(tmp_path: Path) -> None:
    script = ScriptedTeacher("support")
    texts = texts_of(script, 100)
    with FakeProvider(script) as fake:
        first = labelled(fake.url, texts, tmp_path, Here())
        paid = Counter(script.paid)
        totals = Totals()
        assert labelled(fake.url, texts, tmp_path, Here(), totals=totals) == first
    assert script.paid == paid and totals.calls == paid.total()


def test_killing_a_worker_loses_no_paid_row(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", delay_s=0.05)
    texts = texts_of(script, 400)
    killer = Killer(script, tmp_path / "pids", answers=7)
    killer.start()
    with FakeProvider(script) as fake:
        rows = labelled(fake.url, texts, tmp_path, Pool(2), part_rows=200)
    killer.join()
    assert killer.killed
    assert [row.text for row in rows] == texts
    assert sum(row.label is not None for row in rows) == 399
    # Two parts with two requests each were under way: these, and no others, are paid again.
    assert script.paid.total() - len(script.paid) <= 4
    assert len(script.paid) >= 25


@pytest.mark.parametrize("engine", [Here(), Pool(3)], ids=["here", "pool"])
def test_a_cap_holds_over_all_parts_and_leaves_nothing_lying(
    tmp_path: Path, engine: Engine
) -> None:
    script = ScriptedTeacher("support", delay_s=0.005)
    texts = [text for text, _ in script.clean_rows(200, 1)]
    totals = Totals()
    with FakeProvider(script) as fake:
        rows = labelled(
            fake.url, texts, tmp_path, engine, limits=Limits(max_calls=9), totals=totals
        )
        assert script.paid.total() == totals.calls == 9
        assert totals.stopped
        told = sum(row.label is not None for row in rows)
        assert 9 * 8 <= told <= 9 * 16
        assert {row.reason for row in rows if row.label is None} == {"not asked, for a cap"}
        again = labelled(fake.url, texts, tmp_path, engine, limits=Limits(max_calls=100))
    assert all(row.label is not None for row in again)
    assert max(script.paid.values()) == 1


def test_a_cap_in_dollars_holds(tmp_path: Path) -> None:
    script = ScriptedTeacher("support")
    texts = [text for text, _ in script.clean_rows(200, 1)]
    usd, _ = most_of(Part(0, tuple(texts[:40])), work_in(tmp_path), PRICE)
    totals = Totals()
    with FakeProvider(script) as fake:
        rows = labelled(
            fake.url, texts, tmp_path, Here(), limits=Limits(max_usd=usd / 4), totals=totals
        )
    assert 0 < totals.cost_usd <= usd / 4
    assert totals.stopped
    assert 16 <= sum(row.label is not None for row in rows) < 200


def test_a_teacher_that_cannot_be_asked_ends_it(tmp_path: Path) -> None:
    with (
        FakeProvider(lambda request: Fault(status=401)) as fake,
        pytest.raises(ProviderError) as caught,
    ):
        labelled(fake.url, ["one", "two"], tmp_path, Pool(2), part_rows=1)
    assert caught.value.status == 401


def test_a_worker_elsewhere_is_told_what_it_lacks(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    teachers = OpenTeacher(config_for("http://127.0.0.1:9"), "teacher")
    older = msgspec.structs.replace(work, made_by="0.0.1 0123")
    nowhere = msgspec.structs.replace(work, folder=str(tmp_path / "nowhere"))
    for wrong, word in ((older, "another version"), (nowhere, "a disk that all workers share")):
        failure = run_part(Part(0, ("a",)), wrong, teachers, Limits()).failure
        assert failure is not None and word in failure.message
        assert isinstance(failure.error(), DistillError)


def test_a_failure_is_raised_as_what_it_was(tmp_path: Path) -> None:
    with FakeProvider(lambda request: Fault(status=404)) as fake:
        teachers = OpenTeacher(config_for(fake.url), "teacher")
        result = run_part(Part(0, ("a",)), work_in(tmp_path), teachers, Limits())
    assert result.failure is not None and result.labels == ()
    error = result.failure.error()
    assert isinstance(error, PointsmanError) and isinstance(error, ProviderError)
    assert error.status == 404 and error.provider == "fake"
