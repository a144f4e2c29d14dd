"""The card, the manifest, the plots and the folder that they lie in."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from golden_facts import TEACHER, facts_with

from pointsman.distill import plots
from pointsman.distill.card import card
from pointsman.distill.facts import Told, facts_of, mix_ups
from pointsman.distill.files import train_sample
from pointsman.distill.folder import Run, write_folder
from pointsman.distill.manifest import FORMAT, file_entry, manifest
from pointsman.distill.metrics import Bin
from pointsman.distill.rows import Row
from pointsman.distill.sample import draw
from pointsman.distill.train import TrainSettings, train

ROWS = [
    Row(f"{words} {number}", (label,))
    for number in range(40)
    for words, label in (
        ("refund the payment please", "billing"),
        ("the app crashes on start", "technical"),
    )
]
SETTINGS = TrainSettings(size_bytes=64 * 1024, quick=True)


def test_a_card_says_what_it_is_for_what_it_does_and_what_it_cannot() -> None:
    text = card(facts_with(task="route tickets", licence="CC BY 4.0")).decode()
    for part in (
        "Made for: route tickets",
        "| accuracy | 0.750 | 0.409 to 0.929 |",
        "`pointsman distill eval model.onnx test.jsonl`",
        "Fewer than 50 rows to learn from: 日本語.",
        "F1 below 0.7: ",
        "train with `--other`",
        "Licence: CC BY 4.0.",
        "| without a text | 10 |",
        facts_with().sha256,
    ):
        assert part in text, part
    assert "## The teacher" not in text


def test_a_card_escapes_what_someone_wrote() -> None:
    text = card(facts_with(name="a\n# b [x](http://y)", teacher=TEACHER)).decode()
    assert text.startswith("# a # b \\[x\\](http://y)\n")
    assert "\\<img src=x" in text and "<img" not in text.replace("\\<img", "")
    assert "a\\|b\\_c\\*d" in text
    assert "label \\| disagrees" in text
    assert "openai:\\<b\\>model" in text
    assert text.count("## The teacher") == 1


def test_a_card_warns_of_a_weak_teacher_before_all_else() -> None:
    weak = {
        **TEACHER,
        "too_weak": True,
        "notes": ["too weak: do not rely on it"],
        "price_known": False,
    }
    text = card(facts_with(teacher=weak, test_data=None)).decode()
    assert text.index("> **too weak: do not rely on it**") < text.index("## What it is for")
    assert "cost unknown" in text
    assert "rows like those that it learned from" in text


def test_a_manifest_pins_the_files_and_what_they_came_of() -> None:
    files = {"b.txt": file_entry(b"two"), "a.txt": file_entry(b"")}
    found = json.loads(manifest(facts_with(teacher=TEACHER), files))
    assert found["format"] == FORMAT
    assert list(found["files"]) == ["a.txt", "b.txt"]
    assert found["files"]["b.txt"] == {
        "sha256": hashlib.sha256(b"two").hexdigest(),
        "size_bytes": 3,
    }
    assert found["settings"]["seed"] == 7
    assert found["teacher"]["prompts_sha256"] == "ab" * 32
    assert found["scores"]["accuracy"] == 0.75
    assert found["versions"]["onnxruntime"] == "1.30.0"


def test_pairs_that_are_mixed_up_are_told_the_most_frequent_first() -> None:
    assert mix_ups(facts_with()) == [
        ("<img src=x onerror=alert(1)>", "billing", 1),
        ("billing", "日本語", 1),
    ]
    assert len(mix_ups(facts_with(), most=1)) == 1
    several = Told(["x"], [("a", "b", "c")], [("a", "d", "e")], [[0.5] * 4])
    assert mix_ups(facts_with(told=several)) == [
        ("b", "d", 1),
        ("b", "e", 1),
        ("c", "d", 1),
        ("c", "e", 1),
    ]


@pytest.mark.parametrize(
    "drawn",
    [
        plots.matrix(["a & b", "<c>", "d" * 60], [[3, 0, 0], [2000, 1, 0], [0, 0, 0]]),
        plots.calibration([Bin(0.1, 0.2, 5), Bin(0.9, 1.0, 50)]),
        plots.calibration([]),
        plots.interval(0.5, (0.4, 0.6)),
        plots.interval(1.0, (-0.5, 1.5)),
        plots.share_bar(0.3),
    ],
)
def test_a_drawing_is_well_formed_and_has_no_style_of_its_own(drawn: str) -> None:
    tree = ET.fromstring(drawn)
    for each in tree.iter():
        assert not {"style", "fill", "stroke"} & each.attrib.keys()
        for name in ("x", "x1", "cx", "width"):
            assert -10 <= float(each.attrib.get(name, 0)) <= 1000


def test_rare_mistakes_are_drawn_so_that_they_can_be_seen() -> None:
    tree = ET.fromstring(plots.matrix(["a", "b"], [[9999, 1], [0, 5]]))
    cells = [each for each in tree.iter("rect") if each.get("class") in ("right", "wrong")]
    assert [float(each.get("fill-opacity", "")) for each in cells] == [1.0, 0.2, 0.0, 1.0]
    assert [each.text for each in tree.iter("text") if "count" in each.get("class", "")] == [
        "10k",
        "1",
        "5",
    ]


def test_a_folder_holds_all_files_and_a_manifest_that_is_true_of_them(tmp_path: Path) -> None:
    out = tmp_path / "tickets"
    out.mkdir()
    (out / "data.jsonl").write_bytes(b"{}\n")
    made = train_sample(
        draw(ROWS),
        out,
        SETTINGS,
        data="/somewhere/private/rows.jsonl",
        teacher=TEACHER,
        task="tell billing from technical",
    )
    assert made.files[-1] == out / "model.onnx"
    found = json.loads((out / "manifest.json").read_bytes())
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} - {
        "manifest.json"
    }
    assert set(found["files"]) == there
    assert {"report.html", "card.md", "model.onnx", "data.jsonl"} < there
    for name, entry in found["files"].items():
        assert entry == {
            "sha256": hashlib.sha256((out / name).read_bytes()).hexdigest(),
            "size_bytes": (out / name).stat().st_size,
        }
    assert found["name"] == "tickets" and found["task"] == "tell billing from technical"
    for path in out.rglob("*.*"):
        assert b"/somewhere/private" not in path.read_bytes(), path


def test_facts_are_of_held_out_rows_where_there_are_no_test_rows() -> None:
    sample = draw([*ROWS, Row("  ", ("billing",))])
    trained = train(sample.rows, SETTINGS)
    facts = facts_of(trained, Run("rows.jsonl", sample, SETTINGS, 1.5), name="x", created="")
    assert facts.measured_on.startswith("rows held out")
    assert len(facts.told.texts) == facts.scores.rows == facts.counts["measured on"]
    assert facts.counts["without a text"] == 1
    assert all(row in {each.text for each in ROWS} for row in facts.told.texts)
    assert facts.label_counts == {"billing": 40, "technical": 40}
    assert facts.latency_us_p50 > 0


def test_a_folder_without_a_teacher_names_no_files_of_one(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_bytes(b"left from before\n")
    sample = draw(ROWS)
    trained = train(sample.rows, SETTINGS)
    write_folder(tmp_path, trained, Run("rows.jsonl", sample, SETTINGS, 1.5))
    assert "data.jsonl" not in json.loads((tmp_path / "manifest.json").read_bytes())["files"]
