"""The classifiers' benchmark: its sets, its scores, its contenders' own small parts, and the report."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).parent.parent / "bench"
sys.path.insert(0, str(BENCH))

import _distill_plot  # noqa: E402
import _distill_report  # noqa: E402
import _distill_rivals  # noqa: E402
import _distill_run  # noqa: E402
import _distill_score  # noqa: E402
import _distill_sets  # noqa: E402
import _distill_whitelightning as whitelightning  # noqa: E402

from pointsman.distill.metrics import score  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = {
        "synthetic_spam": {"train.jsonl": [{"text": "Win!", "label": "spam"}]},
        "sms_spam": {
            "train.jsonl.gz": [{"text": "Hi\nthere", "label": "ham"}],
            "test.jsonl": [{"text": "Grüße", "label": "ham"}],
        },
        "tags": {"train.jsonl": [{"text": "a", "labels": ["x", "y"]}, {"text": "b", "labels": []}]},
        "notes": {"readme.txt": []},
    }
    for name, files in rows.items():
        (tmp_path / name).mkdir()
        for file, records in files.items():
            body = "".join(json.dumps(row) + "\n" for row in records).encode()
            (tmp_path / name / file).write_bytes(
                gzip.compress(body) if file.endswith("gz") else body
            )
    return tmp_path


def test_a_set_has_its_own_test_or_that_of_the_real_rows(folder: Path) -> None:
    sets = {each.name: each for each in _distill_sets.find_sets(folder)}
    assert list(sets) == ["sms_spam", "synthetic_spam", "tags"]
    assert sets["synthetic_spam"].test == folder / "sms_spam" / "test.jsonl"
    assert sets["tags"].test is None
    with pytest.raises(ValueError, match="missing: \\['nowhere'\\]"):
        _distill_sets.find_sets(folder, ["nowhere"])


def test_rows_are_read_packed_or_plain(folder: Path) -> None:
    packed = _distill_sets.read(folder / "sms_spam" / "train.jsonl.gz")
    assert packed == [{"text": "Hi\nthere", "label": "ham"}]
    rows = _distill_sets.read(folder / "tags" / "train.jsonl")
    assert [_distill_sets.labels_of(row) for row in rows] == [["x", "y"], []]
    assert _distill_sets.is_multi(rows) and not _distill_sets.is_multi(packed)
    _distill_sets.write(folder / "again.jsonl", rows)
    assert _distill_sets.read(folder / "again.jsonl") == rows


def test_a_quick_run_takes_some_rows_by_the_seed() -> None:
    rows = [{"text": str(number), "label": "a"} for number in range(5000)]
    some = _distill_sets.cut(rows, "test", quick=True, seed=1)
    assert len(some) == 300 and some == _distill_sets.cut(rows, "test", quick=True, seed=1)
    assert some != _distill_sets.cut(rows, "test", quick=True, seed=2)
    assert _distill_sets.cut(rows, "test", quick=False, seed=1) is rows


def test_what_is_timed_has_about_a_hundred_bytes() -> None:
    rows = [{"text": text} for text in ("a" * 400, "é" * 50, "a" * 30, "é" * 45, "a" * 97)]
    assert _distill_sets.timed_texts(rows) == ["é" * 50, "a" * 97, "é" * 45, "a" * 30, "a" * 400]
    assert len(_distill_sets.timed_texts(rows * 100)) == 200


@pytest.mark.parametrize("multi", [False, True])
def test_the_scores_are_those_of_the_package(multi: bool) -> None:
    chooser = random.Random(4)

    def some() -> tuple[str, ...]:
        return tuple(sorted(chooser.sample("abcde", chooser.randint(0, 3) if multi else 1)))

    truth, told = [some() for _ in range(300)], [some() for _ in range(300)]
    ours = score(truth, told, list("abcde"), multi=multi)
    found = _distill_score.score(truth, told)
    for key in ("rows", "accuracy", "macro_f1", "micro_f1"):
        assert found[key] == pytest.approx(getattr(ours, key)), key
    assert found["accuracy_95"] == pytest.approx(ours.accuracy_95)


def test_times_are_of_single_calls() -> None:
    seen: list[str] = []
    times = _distill_run.timed(lambda text: seen.append(text) or [], ["a", "b"], rounds=3)
    assert len(times) == 6 and times == sorted(times) and times[0] > 0
    assert seen == ["a", "b"] * 4


def test_the_peak_of_memory_is_the_processs_own() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(BENCH)!r}); import _distill_run as run; "
        "before = run.peak_bytes(); held = bytearray(80_000_000); print(run.peak_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 75_000_000 < int(done.stdout) < 100_000_000


def test_words_are_numbered_as_keras_numbers_them() -> None:
    index = whitelightning.word_index(["The cat, the dog!", "the end"])
    assert index["the"] == 2 and set(index.values()) == {2, 3, 4, 5}
    ids = whitelightning.word_ids("The END of it", index)
    assert len(ids) == 30 and ids[:4] == [2, index["end"], 1, 1] and set(ids[4:]) == {0}
    long = whitelightning.word_ids("cat " + "dog " * 30, index)
    assert long == [index["dog"]] * 30


def test_tfidf_is_normed_then_scaled() -> None:
    vocab = {"vocab": {"red": 0, "car": 1}, "idf": [1.0, 2.0]}
    plain = whitelightning._tfidf(vocab, {})
    assert plain("Red car, a CAR!").tolist() == pytest.approx([1 / 17**0.5, 4 / 17**0.5])
    assert plain("nothing").tolist() == [0.0, 0.0]
    scaled = whitelightning._tfidf(vocab, {"mean": [0.5, 0.0], "scale": [0.5, 2.0]})
    assert scaled("red").tolist() == pytest.approx([1.0, 0.0])


def found(size: float, accuracy: float, **more: Any) -> dict[str, Any]:
    return {
        "shipped_bytes": size,
        "latency_us_p50": size / 4000,
        "latency_us_p90": size / 2000,
        "train_s": 12.5,
        "train_peak_bytes": 3e8,
        "run_peak_bytes": 7e7,
        "foreign_cpu_share": 0.01,
        "rows": 300,
        "accuracy": accuracy,
        "accuracy_95": [accuracy - 0.02, accuracy + 0.01],
        "macro_f1": accuracy - 0.1,
        "micro_f1": accuracy - 0.05,
        **more,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    contenders = {
        name: {"title": each.title, "settings": each.settings, "versions": {"kit": "1.0"}}
        for name, each in _distill_rivals.ALL.items()
    }
    measured = {
        "pointsman-64k": found(65e3, 0.88),
        "pointsman-256k": found(260e3, 0.9),
        "pointsman-1m": found(1e6, 0.92),
        "fasttext": found(520e3, 0.87),
        "sklearn": found(39e5, 0.89),
        "whitelightning": {"failed": "fit: out of | memory"},
    }
    facts = {"train_rows": 10003, "test_rows": 300, "labels": 7, "multi": False}
    return {
        "date": "2026-11-24T00:00:00+00:00",
        "commit": "abc",
        "settings": "full",
        "seed": 3,
        "seconds": 4000,
        "machine": {
            "cpu": "CPU & Co",
            "mhz": "2600.0",
            "cores": 2,
            "virtual": True,
            "memory_bytes": 2**34,
            "kernel": "6",
            "python": "3.11",
        },
        "contenders": contenders,
        "sets": {
            "news": {**facts, "tested_on": "news", "found": measured},
            "tags": {**facts, "multi": True, "tested_on": "real_tags", "found": measured},
            "alone": {**facts, "test_rows": 0, "tested_on": None, "found": measured},
        },
    }


def test_the_page_gets_the_figures_and_their_ratios(result: dict[str, Any], tmp_path: Path) -> None:
    begin, end = _distill_report.BEGIN, _distill_report.END
    (tmp_path / "benchmarks.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    for _ in range(2):
        page, plot = _distill_report.write_docs(json.loads(json.dumps(result)), tmp_path)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "\nold\n" not in text
    assert "| Pointsman 256k | 0.900 (0.880–0.910) | 0.800 | 0.26 MB | 65 µs | 12.5 s |" in text
    assert "| 0.870 (0.850–0.880) | 0.770 | 0.52 MB (2×) | 130 µs (2×) | 12.5 s (1×) |" in text
    assert "| accuracy | macro-F1 | micro-F1 | shipped |" in text
    assert "300 to be tried on of real_tags." in text and "none to be tried on." in text
    assert "seed 3" in text and "at most 1.0%" in text and "failed: fit: out of" in text
    root = ElementTree.parse(plot).getroot()
    assert len(list(root.iter(f"{SVG}polyline"))) == 2


def test_a_table_has_as_many_cells_in_each_row(result: dict[str, Any]) -> None:
    for block in _distill_report.section(result).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1, block


def test_the_plot_has_a_point_for_each_that_was_measured(result: dict[str, Any]) -> None:
    root = ElementTree.fromstring(_distill_plot.accuracy_svg(result))
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert titles.count("fastText .ftz: 0.870 at 0.52 MB") == 1
    assert titles.count("fastText .ftz: 0.820 at 0.52 MB") == 1
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for dot in root.iter(f"{SVG}circle"):
        assert 0 < float(dot.attrib["cx"]) < width and 0 < float(dot.attrib["cy"]) < height


def test_a_plot_of_nothing_is_still_a_picture(result: dict[str, Any]) -> None:
    result["sets"] = {}
    assert ElementTree.fromstring(_distill_plot.accuracy_svg(result)).tag == f"{SVG}svg"


def test_the_terminal_gets_a_line_for_each(result: dict[str, Any]) -> None:
    lines = _distill_report.summary_lines(result)
    assert sum("fastText .ftz" in line for line in lines) == 3
    assert any(line.startswith("news: 7 classes, 10,003 rows to learn from") for line in lines)


def test_the_page_of_the_project_has_the_markers() -> None:
    text = (BENCH.parent / "docs" / "benchmarks.md").read_text("utf-8")
    assert text.index(_distill_report.BEGIN) < text.index(_distill_report.END)


@pytest.mark.parametrize("name", _distill_rivals.ALL)
def test_a_contender_has_its_module_and_its_lock(name: str) -> None:
    contender = _distill_rivals.ALL[name]
    assert (BENCH / f"{contender.module}.py").exists()
    lock = (BENCH.parent / "requirements" / contender.lock).read_text("utf-8")
    assert all(f"{each}==" in lock for each in contender.packages if each != "pointsman")
