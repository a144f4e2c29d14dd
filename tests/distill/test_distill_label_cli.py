"""`pointsman distill label`, as a person or a program calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from labelling_site import LABELS, WORDS

from pointsman.cli import cli
from pointsman.distill.rows import read_rows
from pointsman.errors import PointsmanError
from pointsman.testing import FakeProvider, ScriptedTeacher

CLASSES = ("--labels", ",".join(LABELS), "--task", WORDS)


class Site:
    """A scripted teacher, a file of texts, and a folder to fill."""

    def __init__(self, folder: Path, script: ScriptedTeacher, url: str) -> None:
        self.script, self.url, self.folder = script, url, folder
        self.out, self.config = folder / "out", folder / "pointsman.toml"
        self.configure("price = { input = 1.0, output = 4.0 }")
        self.texts = [text for text, _ in script.clean_rows(90, 1)]
        self.data = folder / "texts.jsonl"
        self.data.write_text("".join(json.dumps({"text": text}) + "\n" for text in self.texts))

    def configure(self, facts: str) -> None:
        self.config.write_text(
            f'[providers.fake]\nbase_url = "{self.url}/v1"\ndialect = "openai"\n'
            f'api_key_env = "FAKE_KEY"\n[models.teacher]\nref = "fake:writer-1"\n{facts}\n'
        )

    def arguments(self, *options: str) -> list[str]:
        base = ["distill", "label", str(self.data), "--teacher", "teacher"]
        return [*base, "--out", str(self.out), "--config", str(self.config), *options]

    def run(self, *options: str) -> Result:
        return CliRunner(env={"FAKE_KEY": "k"}).invoke(cli, self.arguments(*options))

    def value(self, *options: str) -> dict[str, Any]:
        result = self.run("--json", *options)
        assert result.exit_code == 0, (result.output, result.exception)
        value: dict[str, Any] = json.loads(result.stdout)
        return value

    def error(self, *options: str) -> Exception:
        result = self.run(*options)
        assert result.exit_code != 0
        if result.exception is None or isinstance(result.exception, SystemExit):
            return click.UsageError(result.output)
        assert isinstance(result.exception, PointsmanError), result.exc_info
        return result.exception

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    script = ScriptedTeacher("support")
    with FakeProvider(script) as fake:
        yield Site(tmp_path, script, fake.url)


def test_the_rows_can_be_learned_from(site: Site) -> None:
    value = site.value(*CLASSES, "--part-rows", "40")
    rows = list(read_rows(value["data"]))
    assert [row.text for row in rows] == site.texts
    assert all(row.labels == (site.script.truth(row.text),) for row in rows)
    assert [line["row"] for line in site.lines("data.jsonl")] == list(range(1, 91))
    assert value["rows"] == value["labelled"] == 90 and value["unlabelled"] == 0
    assert value["parts"] == 3 and value["labels"] == dict.fromkeys(LABELS, 30)
    assert value["calls"] == site.script.paid.total() and value["cost_usd"] > 0
    assert site.lines("unlabelled.jsonl") == [] and not list(site.out.glob(".*"))


def test_what_has_no_label_is_elsewhere_with_its_reason(site: Site) -> None:
    value = site.value(*CLASSES, "--max-calls", "2")
    assert value["stopped"] and "raise it" in value["notes"][0]
    left = site.lines("unlabelled.jsonl")
    assert len(left) == value["unlabelled"] == 90 - value["labelled"] > 0
    assert {line["reason"] for line in left} == {"not asked, for a cap"} == set(value["reasons"])
    whole = site.value(*CLASSES)
    assert whole["labelled"] == 90 and max(site.script.paid.values()) == 1


def test_a_process_pool_fills_the_folder_the_same(site: Site) -> None:
    here = site.value(*CLASSES, "--part-rows", "30")
    lines, calls = site.lines("data.jsonl"), site.script.paid.total()
    site.out = site.folder / "pool"
    options = site.arguments(*CLASSES, "--part-rows", "30", "--workers", "2", "--json")
    done = subprocess.run(
        [sys.executable, "-m", "pointsman", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "FAKE_KEY": "k", "POINTSMAN_HOME": str(site.folder / "home")},
    )
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    for key in ("rows", "labelled", "reasons", "labels", "parts", "calls", "stopped"):
        assert value[key] == here[key], key
    assert site.lines("data.jsonl") == lines
    assert site.script.paid.total() == 2 * calls


def test_a_plan_says_what_the_classes_mean(site: Site) -> None:
    plan = {
        "task": WORDS,
        "classes": [{"name": name, "definition": f"All about {name}."} for name in LABELS],
    }
    path = site.folder / "plan.json"
    path.write_text(json.dumps(plan))
    assert site.value("--plan", str(path))["labelled"] == 90
    (prompt, *_) = site.script.paid
    assert WORDS in prompt and "All about sales." in prompt
    path.write_text(json.dumps({**plan, "classes": plan["classes"][:1]}))
    assert "fewer than two classes" in str(site.error("--plan", str(path)))
    path.write_text(json.dumps({**plan, "task": 3}))
    assert "add --task" in str(site.error("--plan", str(path)))
    path.write_text("no plan")
    assert "no JSON object" in str(site.error("--plan", str(path)))


def test_a_folder_is_gone_on_with_by_the_same_settings_only(site: Site) -> None:
    site.value(*CLASSES)
    error = site.error(*CLASSES, "--part-rows", "10")
    assert "begun with another part_rows" in str(error) and "another --out" in str(error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pointsman.cli.distill_label.made_by", lambda: "0.0.1 0123")
        assert "another version of Pointsman" in str(site.error(*CLASSES))
    other = site.error("--labels", "billing,sales", "--task", WORDS)
    assert "another task, plan" in str(other)


def test_nothing_is_spent_that_cannot_be_known(site: Site) -> None:
    site.configure("")
    assert "--max-calls" in str(site.error(*CLASSES))
    assert "cannot be held" in str(site.error(*CLASSES, "--max-usd", "1"))
    value = site.value(*CLASSES, "--yes")
    assert value["cost_usd"] is None and "not known" in value["notes"][0]


def test_a_key_is_missed_before_anything_is_begun(site: Site) -> None:
    result = CliRunner(env={"FAKE_KEY": ""}).invoke(cli, site.arguments(*CLASSES))
    assert isinstance(result.exception, PointsmanError) and "FAKE_KEY" in str(result.exception)
    assert not site.out.exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ((), "give the classes"),
        (("--labels", "a,b"), "needs --task"),
        (("--labels", "a", "--task", "x"), "too few classes"),
        (("--labels", "a,b", "--task", "x", "--plan", __file__), "either --labels"),
    ],
)
def test_bad_usage_is_named(site: Site, options: tuple[str, ...], word: str) -> None:
    assert word in str(site.error(*options))


def test_a_file_without_texts_is_an_error(site: Site) -> None:
    site.data.write_text("")
    assert "no texts" in str(site.error(*CLASSES))


def test_a_person_sees_the_counts(site: Site) -> None:
    result = site.run(*CLASSES)
    assert result.exit_code == 0
    assert "90 of 90 texts are labelled" in result.output
    assert "billing" in result.output and "answers, $" in result.output
