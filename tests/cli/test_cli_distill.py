"""`distill train`, `distill eval` and `classify` as a user has them."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "distill.md"
WORDS = {
    "billing": ["invoice", "refund", "charge", "payment", "card", "price"],
    "technical": ["error", "crash", "login", "screen", "update", "bug"],
    "sales": ["offer", "quote", "licence", "upgrade", "demo", "buy"],
}


SOON = ("--seed", "5", "--quick")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home):
    """Gives a function (arguments, stdin) → completed process, in the module's folder."""

    def call(*args, text=b"", timeout=120):
        env = {**os.environ, "POINTSMAN_HOME": str(home / "data"), "HOME": str(home)}
        return subprocess.run(
            [sys.executable, "-m", "pointsman", *map(str, args)],
            input=text, capture_output=True, timeout=timeout, cwd=home, env=env,
        )  # fmt: skip

    return call


def objects(seed, count, multi=False):
    generator = random.Random(seed)
    found = []
    for n in range(count):
        label = sorted(WORDS)[n % 3]
        text = "my " + " ".join(generator.choice(WORDS[label]) for _ in range(6)) + " please"
        labels = [label] if n % 4 else []
        found.append({"text": text, "labels": labels} if multi else {"text": text, "label": label})
    return found


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def made(run, home):
    """The folder of a classifier trained on the command line, and what was printed of it."""
    data = write_jsonl(home / "train.jsonl", objects(1, 240))
    test = write_jsonl(home / "test.jsonl", objects(2, 60))
    done = run(
        "distill", "train", data, "--out", home / "out", "--test", test, "--size", "64k", "--json"
    )
    assert done.returncode == 0, done.stderr
    return home / "out", json.loads(done.stdout)


def test_train_gives_a_model_and_its_figures(made):
    folder, value = made
    model = folder / "model.onnx"
    assert value["model"] == str(model)
    assert value["labels"] == ["billing", "sales", "technical"]
    assert value["train_rows"] == 240 and value["rows"] == 60 and value["measured_on"] == "test"
    assert value["accuracy"] > 0.95 and value["macro_f1"] > 0.95 and value["micro_f1"] > 0.95
    low, high = value["accuracy_95"]
    assert 0.9 < low <= value["accuracy"] <= high <= 1
    assert value["model_bytes"] == model.stat().st_size <= 64 * 1024
    assert value["train_s"] > 0 and value["latency_us_p50"] > 0 and value["notes"] == []
    assert [each.name for each in folder.iterdir() if each.name.startswith(".")] == []


def test_without_test_rows_a_part_is_held_out_and_it_is_said(run, home):
    data = home / "train.csv.gz"
    with gzip.open(data, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        writer.writerows([n, row["text"], row["label"]] for n, row in enumerate(objects(3, 240)))
    done = run("distill", "train", data, "--out", home / "held", "--size", "65536", *SOON)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "held out" in text and "95 % interval" in text and "technical" in text
    assert "note: keys that are no part of a row were left out: id" in done.stderr.decode()
    again = run("distill", "train", data, "--out", home / "held2", "--size", "64k", *SOON, "--json")
    assert json.loads(again.stdout)["measured_on"] == "held_out"
    first, second = (home / name / "model.onnx" for name in ("held", "held2"))
    assert first.read_bytes() == second.read_bytes()


def test_a_time_that_is_set_is_held_to_and_said_with_the_licence_and_what_other_takes(run, home):
    data = write_jsonl(home / "short.jsonl", objects(7, 400))
    out = home / "short"
    done = run(
        "distill", "train", data, "--out", out, "--size", "64k", "--other", "--json",
        "--max-seconds", "1", "--licence", "CC BY 4.0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert "other" in value["labels"] and 0 < value["rejected"] <= 1
    assert "the time that was set, 1 s, was up" in " ".join(value["notes"])
    card = (out / "card.md").read_text("utf-8")
    assert "Licence: CC BY 4.0." in card and "1 s, was up" in card
    assert f"{value['rejected']:.1%} are told to be `other`" in card
    assert f"{value['rejected']:.1%} are told to be other" in (out / "report.html").read_text(
        "utf-8"
    )
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert manifest["licence"] == "CC BY 4.0" and manifest["rejected"] == value["rejected"]
    assert manifest["learning"]["networks"] < manifest["learning"]["networks_planned"]


def test_eval_scores_a_model_and_takes_its_folder(made, run, home):
    folder, value = made
    rows = [*objects(4, 90), {"text": "my refund", "label": "new"}]
    data = write_jsonl(home / "eval.jsonl", rows)
    done = run("distill", "eval", folder, data, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == 91 and found["model_bytes"] == value["model_bytes"]
    assert found["accuracy"] == pytest.approx(90 / 91, abs=0.02)
    assert found["macro_f1"] < found["micro_f1"] <= 1 and found["latency_us_p50"] > 0
    assert "new" in found["notes"][0]
    text = run("distill", "eval", folder / "model.onnx", data).stdout.decode()
    assert "accuracy" in text and "Hardest rows" in text and "my refund" in text


def test_classify_takes_arguments_or_lines(made, run):
    folder, _ = made
    done = run("classify", folder, "my invoice refund charge", "login error crash")
    assert (done.returncode, done.stdout) == (0, b"billing\ntechnical\n")
    lines = "login error crash\r\n\nquote offer demo\n\xff\xfe".encode("latin-1")
    done = run("classify", folder / "model.onnx", "--json", text=lines)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 4
    assert [found[0]["label"], found[2]["label"]] == ["technical", "sales"]
    assert list(found[0]["scores"]) == ["billing", "sales", "technical"]
    assert all(sum(each["scores"].values()) == pytest.approx(1, abs=1e-4) for each in found)


def test_several_labels_to_a_text(run, home):
    data = write_jsonl(home / "multi.jsonl", objects(6, 240, multi=True))
    out = home / "multi"
    done = run("distill", "train", data, "--out", out, "--size", "64k", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["multi"] is True
    done = run("classify", home / "multi", "--json", "my invoice refund charge")
    found = json.loads(done.stdout)
    assert isinstance(found["labels"], list) and "label" not in found
    assert run("distill", "eval", home / "multi", data, "--json").returncode == 0


def test_the_pages_examples_do_what_they_say(run, home):
    page = PAGE.read_text("utf-8")
    for name, seed in (("tickets.csv", 9), ("later.csv", 10)):
        with (home / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(objects(seed, 240))
    (home / "messages.txt").write_text("my invoice refund\nlogin crash\n")
    ran = 0
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.S | re.M):
        for line in block.splitlines():
            if not re.match(r"pointsman (classify|distill (train|eval)) ", line):
                continue
            command, _, given = line.partition(" < ")
            text = (home / given.strip()).read_bytes() if given else b""
            more = ["--quick"] if command.startswith("pointsman distill train") else []
            done = run(*shlex.split(command)[1:], *more, text=text)
            assert done.returncode == 0 and done.stdout, (line, done.stderr)
            ran += 1
    assert ran >= 4
    (code,) = re.findall(r"^```python\n(from pointsman.distill.model .*?)^```", page, re.S | re.M)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=home, timeout=60
    )
    assert done.returncode == 0 and done.stdout.startswith("('billing',)"), done.stderr


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("unlabelled.jsonl", '{"text": "x"}\n' * 20, "no 'label'"),
        ("one.jsonl", '{"text": "x", "label": "a"}\n' * 20, "only the label 'a'"),
        ("three.jsonl", '{"text": "x", "label": "a"}\n' * 3, "3 rows are too few"),
        ("empty.csv", "", "has no rows"),
        ("latin.csv", "text,label\ncafé,a\n".encode("latin-1"), "--encoding"),
        (
            "mixed.jsonl",
            b'{"text": "caf\xc3\xa9", "label": "a"}\n' * 20
            + b'{"text": "caf\xe9", "label": "b"}\n',
            "mixed.jsonl:21: not utf-8",
        ),
        ("rows.xlsx", "PK", "its name does not say"),
    ],
)
def test_rows_that_nothing_can_be_learned_from(run, home, name, text, part):
    path = home / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = run("distill", "train", path, "--out", home / "bad", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "distill_error" and part in error["message"]
    assert not (home / "bad" / "model.onnx").exists()


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (["distill", "train", "train.jsonl"], "--out"),
        (["distill", "train", "none.jsonl", "--out", "x"], "does not exist"),
        (["distill", "train", "train.jsonl", "--out", "x", "--size", "big"], "64k, 256k"),
        (["distill", "train", "train.jsonl", "--out", "x", "--size", "1k"], "40k to 64m"),
        (["distill", "eval", "train.jsonl", "train.jsonl"], "train.jsonl"),
        (["classify", "none.onnx", "x"], "does not exist"),
        (["classify", "train.jsonl", "x"], "train.jsonl"),
    ],
)
def test_bad_usage_is_said(made, run, args, part):
    done = run(*args)
    assert done.returncode == 2
    assert part in done.stderr.decode()


def test_a_folder_that_cannot_be_written_is_said_before_the_work(made, run, home):
    (home / "file").write_text("")
    done = run("distill", "train", home / "train.jsonl", "--out", home / "file" / "out")
    assert done.returncode == 2 and "cannot be written to" in done.stderr.decode()


def test_a_model_is_replaced_whole_or_not_at_all(made, monkeypatch, tmp_path):
    from pointsman.distill import folder as folder_module
    from pointsman.errors import DistillError

    path = tmp_path / "model.onnx"
    folder_module.write_file(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module.os, "fsync", fail)
    with pytest.raises(DistillError, match="No space left"):
        folder_module.write_file(path, b"new" * 1000)
    assert path.read_bytes() == b"old" and [each.name for each in tmp_path.iterdir()] == [
        "model.onnx"
    ]


def test_rows_of_parquet(made, run, home):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder, _ = made
    rows = objects(8, 30)
    columns = {key: [row[key] for row in rows] for key in ("text", "label")}
    parquet.write_table(pyarrow.table(columns), home / "rows.parquet")
    done = run("distill", "eval", folder, home / "rows.parquet", "--json")
    assert json.loads(done.stdout)["accuracy"] > 0.95
