"""`pointsman distill new`, as a person or a program calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pointsman.cli import cli
from pointsman.distill.model import TextClassifier
from pointsman.distill.sample import Sample
from pointsman.errors import PointsmanError
from pointsman.testing import FakeProvider, Faults, ScriptedTeacher

TASK = "Route support tickets to billing, technical or sales"


class Site:
    """A scripted teacher, its configuration, and a folder to fill."""

    def __init__(self, folder: Path, script: ScriptedTeacher, url: str) -> None:
        self.script, self.url = script, url
        self.folder, self.out = folder, folder / "out"
        self.config = folder / "pointsman.toml"
        self.configure("price = { input = 1.0, output = 4.0 }")

    def configure(self, facts: str, dialect: str = "openai") -> None:
        self.config.write_text(
            f'[providers.fake]\nbase_url = "{self.url}/v1"\ndialect = "{dialect}"\n'
            f'[models.teacher]\nref = "fake:writer-1"\n{facts}\n'
        )

    def run(self, *options: str, task: str = TASK, teacher: str = "teacher") -> Result:
        base = ["distill", "new", task, "--teacher", teacher, "--out", str(self.out)]
        return CliRunner().invoke(cli, [*base, "--config", str(self.config), *options])

    def value(self, *options: str) -> dict[str, Any]:
        result = self.run("--json", *options)
        assert result.exit_code == 0, (result.output, result.exception)
        value: dict[str, Any] = json.loads(result.stdout)
        return value

    def error(self, *options: str, **changes: str) -> Exception:
        result = self.run(*options, **changes)
        assert result.exit_code != 0
        if result.exception is None or isinstance(result.exception, SystemExit):
            return click.UsageError(result.output)
        assert isinstance(result.exception, PointsmanError), result.exc_info
        return result.exception


class Learned(dict[str, Any]):
    """What was handed on to be learned from, in place of a training, which takes its time."""

    def __call__(self, out: Path, sample: Sample, **given: Any) -> None:
        self.update(given, rows=sample.rows)
        value = {
            "rows": len(sample.rows),
            "teacher": given["teacher"],
            "notes": given["more_notes"],
        }
        click.echo(json.dumps(value))


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> Learned:
    made = Learned()
    monkeypatch.setattr("pointsman.cli.distill_new.learn_and_write", made)
    return made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    script = ScriptedTeacher("support", Faults(wrong_class=0.05, blind_error=0.05, duplicate=0.05))
    with FakeProvider(script) as fake:
        yield Site(tmp_path, script, fake.url)


def test_a_description_becomes_a_classifier(site: Site) -> None:
    """The one test here that trains."""
    test = site.folder / "test.jsonl"
    rows = site.script.clean_rows(120, seed=4)
    test.write_text("".join(json.dumps({"text": t, "label": n}) + "\n" for t, n in rows))
    value = site.value("--rows", "120", "--test", str(test))
    assert value["labels"] == ["billing", "sales", "technical"]
    assert value["measured_on"] == "test" and value["accuracy"] > 0.9
    teacher = value["teacher"]
    assert teacher["teacher"] == "teacher" and teacher["cost_usd"] > 0
    assert teacher["rows"] == value["train_rows"] >= 120
    assert len(teacher["prompts_sha256"]) == 64
    data = [json.loads(line) for line in (site.out / "data.jsonl").read_text().splitlines()]
    assert len(data) == teacher["rows"]
    turned = (site.out / "rejected.jsonl").read_text().splitlines()
    assert {json.loads(line)["reason"] for line in turned} >= {"blind label differs"}
    model = TextClassifier.load(site.out / "model.onnx")
    assert model.classify("I was charged $12.50 twice in March.").labels == ("billing",)


def test_the_same_command_again_asks_nothing(site: Site, learned: Learned) -> None:
    first = site.value("--rows", "120"), learned["rows"]
    asked = len(site.script.paid)
    assert (site.value("--rows", "120"), learned["rows"]) == first
    assert len(site.script.paid) == asked


def test_the_plan_can_be_seen_and_edited_first(site: Site, learned: Learned) -> None:
    assert site.value("--plan-only")["plan"]["classes"][0]["name"] == "billing"
    path = site.out / "plan.json"
    plan = json.loads(path.read_text())
    plan["classes"][0]["definition"] = "All about money, as the user says it."
    path.write_text(json.dumps(plan))
    site.value("--rows", "60")
    assert any("as the user says it" in prompt for prompt in site.script.paid)
    assert "billing" in site.run("--plan-only").output
    path.write_text('{"classes": [{"name": "x"}]}')
    assert "plan.json cannot be used" in str(site.error("--rows", "60"))


def test_an_unknown_price_needs_a_cap_on_calls_or_a_yes(site: Site, learned: Learned) -> None:
    site.configure("")
    assert "--max-calls" in str(site.error())
    assert "cannot be held" in str(site.error("--max-usd", "1"))
    assert site.value("--rows", "40", "--max-calls", "60")["teacher"]["price_known"] is False
    site.out = site.folder / "second"
    assert site.value("--rows", "40", "--yes")["teacher"]["rows"] >= 40


def test_the_cost_cap_is_said_and_can_be_raised(site: Site, learned: Learned) -> None:
    value = site.value("--rows", "400", "--max-usd", "0.15")
    assert value["teacher"]["cost_usd"] <= 0.15
    assert "cap" in value["teacher"]["ended"]
    more = site.value("--rows", "400", "--max-usd", "0.25")
    assert value["teacher"]["rows"] < more["teacher"]["rows"]
    assert max(site.script.paid.values()) == 1


def test_own_texts_and_examples(site: Site, learned: Learned) -> None:
    own = site.folder / "own.txt"
    own.write_text("".join(f"{text}\n" for text, _ in site.script.clean_rows(90, seed=6)))
    examples = site.folder / "examples.txt"
    examples.write_text("pls refund me asap\nnothing works since monday!!\n")
    value = site.value("--rows", "80", "--unlabelled", str(own), "--seed-examples", str(examples))
    stages = [
        json.loads(each)["stage"] for each in (site.out / "data.jsonl").read_text().splitlines()
    ]
    assert stages.count("own") >= 60
    assert value["rows"] >= 80
    assert any("pls refund me asap" in prompt for prompt in site.script.paid)


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_batch_costs_half(
    site: Site, learned: Learned, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointsman.distill.teacher.batch.FIRST_POLL_S", 0.01)
    site.configure("price = { input = 1.0, output = 4.0 }", dialect)
    value = site.value("--rows", "60", "--batch")
    teacher = value["teacher"]
    full = (teacher["input_tokens"] * 1.0 + teacher["output_tokens"] * 4.0) / 1e6
    assert teacher["cost_usd"] == pytest.approx(full / 2, rel=1e-3)
    assert teacher["rows"] >= 60


def test_a_teacher_of_no_use_is_an_error_that_helps(tmp_path: Path) -> None:
    script = ScriptedTeacher("support", Faults(refusal=1.0))
    with FakeProvider(script) as fake:
        site = Site(tmp_path, script, fake.url)
        message = str(site.error("--rows", "60"))
    assert "refusal" in message and "take a stronger teacher" in message
    assert (site.out / "rejected.jsonl").exists()


def test_a_weak_teacher_is_said_plainly(tmp_path: Path, learned: Learned) -> None:
    script = ScriptedTeacher("support", Faults(blind_error=0.5, wrong_class=0.3))
    with FakeProvider(script) as fake:
        site = Site(tmp_path, script, fake.url)
        value = site.value("--rows", "40")
    assert value["teacher"]["too_weak"] is True
    assert any("too weak" in note for note in value["notes"])


def test_what_cannot_be_is_said(site: Site) -> None:
    assert "no model 'nowhere:x'" in str(site.error(teacher="nowhere:x"))
    assert "TASK is empty" in str(site.error(task="  "))
    assert "names one class" in str(site.error("--labels", "spam"))
    site.config.write_text(
        f'[providers.fake]\nbase_url = "{site.url}/v1"\napi_key_env = "NO_KEY_X"\n'
    )
    assert "NO_KEY_X" in str(site.error("--yes", teacher="fake:m"))
    assert "--batch needs" not in str(site.error("--yes", "--batch", teacher="fake:m"))


def test_a_teacher_that_goes_away_is_an_error_that_says_how_to_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointsman.distill.teacher.caller.BACKOFF_S", 0.001)
    site.config.write_text(
        '[providers.fake]\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[models.teacher]\nref = "fake:m"\nprice = { input = 1.0, output = 4.0 }\n'
    )
    assert "run the same command again to go on" in str(site.error("--rows", "60"))
