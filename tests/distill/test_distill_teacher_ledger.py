"""The journal: what was paid is there after any end, and nothing is in it twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pointsman.distill.teacher.asking import Answer, Question, key_of
from pointsman.distill.teacher.ledger import Asked, Ledger, Submitted
from pointsman.errors import DistillError
from pointsman.types import Chat, Message, Text, Usage


def asked(key: str, bound: float = 0.5) -> Asked:
    return Asked(key, "write", bound, 1.0)


def filled(path: Path, count: int = 3) -> None:
    with Ledger(path) as ledger:
        for number in range(count):
            ledger.ask(asked(f"k{number}"))
            ledger.settle(f"k{number}", "write", Answer(text=f"größe {number} 漢"), 0.1)


def test_an_answer_is_there_again_with_its_cost(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    filled(path)
    with Ledger(path) as ledger:
        kept = ledger.answer("k2")
        assert kept is not None and kept.answer.text == "größe 2 漢"
        assert ledger.calls == 3
        assert ledger.spent_usd == pytest.approx(0.3)
        assert ledger.lost_usd == 0


def test_a_kill_at_any_byte_loses_only_what_was_not_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    filled(path)
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 0x0A]
    near = {end + by for end in ends for by in (-2, -1, 0, 1, 9)}
    cuts = sorted({cut for cut in near | {*range(0, len(whole), 97)} if 0 <= cut <= len(whole)})
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with Ledger(path) as ledger:
            lines = sum(end <= cut for end in ends)
            # Lines come in pairs: the question, then its answer.
            assert ledger.calls == lines // 2
            assert ledger.lost_usd == pytest.approx(0.5 * (lines % 2))
            assert ledger.torn_bytes == cut - ([0, *ends][lines])
            ledger.ask(asked("next"))
            ledger.settle("next", "write", Answer(text="on"), 0.0)
        with Ledger(path) as ledger:
            assert ledger.answer("next") is not None
            assert ledger.damaged_lines == 0


def test_a_request_on_its_way_at_the_end_counts_as_spent(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Ledger(path) as ledger:
        ledger.ask(asked("a"), asked("b", 0.25))
        ledger.void("b")
    with Ledger(path) as ledger:
        assert ledger.spent_usd == pytest.approx(0.5)
        ledger.ask(asked("a"))
        ledger.settle("a", "write", Answer(text="at last"), 0.2)
    with Ledger(path) as ledger:
        assert ledger.spent_usd == pytest.approx(0.7)


def test_what_broke_off_stays_spent(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Ledger(path) as ledger:
        ledger.ask(asked("a"))
        ledger.lose("a")
        assert ledger.spent_usd == pytest.approx(0.5)
    with Ledger(path) as ledger:
        assert ledger.lost_usd == pytest.approx(0.5)


def test_a_damaged_line_is_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"1", b"7")
    path.write_bytes(b"".join(lines))
    with Ledger(path) as ledger:
        assert ledger.damaged_lines == 1
        assert ledger.answer("k1") is None
        assert ledger.answer("k2") is not None


def test_a_decision_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Ledger(path) as ledger:
        assert ledger.decide("picks", lambda: (3, 1)) == [3, 1]
    with Ledger(path) as ledger:
        assert ledger.decide("picks", lambda: (9, 9)) == [3, 1]
        assert ledger.decided("other") is None


def test_what_is_in_a_batch_is_not_given_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    batch = Submitted(tag="t", keys=("a",), stages=("write",), at_s=1.0)
    with Ledger(path) as ledger:
        ledger.submit(batch)
        ledger.ask(asked("a"))
    with Ledger(path) as ledger:
        assert ledger.bound_usd("a") == 0.5
        assert ledger.lost_usd == 0
        assert [each.tag for each in ledger.batches.values()] == ["t"]


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    code = (
        "import sys; from pathlib import Path; from pointsman.distill.teacher.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])): pass"
    )
    with Ledger(path):
        with pytest.raises(DistillError, match="in use by another run"), Ledger(path):
            pass
        other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True)
        assert b"in use by another run" in other.stderr
    with Ledger(path):
        pass


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DistillError, match="choose another --out"), Ledger(tmp_path / "file" / "j"):
        pass


def test_the_key_depends_on_all_that_makes_an_answer() -> None:
    def question(text: str = "hi", stage: str = "write", index: int = 0) -> Question:
        chat = Chat(model="", messages=(Message("user", (Text(text),)),), max_tokens=5)
        return Question(stage=stage, index=index, chat=chat)

    base = key_of(question(), "a:b", 0)
    assert base == key_of(question(), "a:b", 0)
    others = [
        key_of(question("ho"), "a:b", 0),
        key_of(question(stage="label"), "a:b", 0),
        key_of(question(index=1), "a:b", 0),
        key_of(question(), "a:c", 0),
        key_of(question(), "a:b", 1),
    ]
    assert len({base, *others}) == 6


def test_usage_and_logprobs_survive(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    answer = Answer(text="x", usage=Usage(3, 4), cost_usd=0.1, cut=True)
    with Ledger(path) as ledger:
        ledger.ask(asked("a"))
        ledger.settle("a", "write", answer, 0.1)
    with Ledger(path) as ledger:
        kept = ledger.answer("a")
        assert kept is not None and kept.answer == answer
