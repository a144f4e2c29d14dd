"""The whole way once with a real teacher that is far too weak: nothing breaks, and it is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pointsman.cli import cli
from pointsman.config import parse_config
from pointsman.errors import DistillError
from pointsman.local.host import store_of
from pointsman.local.pull import pull

HOME = Path(__file__).parent.parent.parent / ".cache" / "test-home"
CALLS = 14


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A configuration in which `local:weak` is the small model, fetched once for a checkout."""
    settings = parse_config("")
    settings.home = str(HOME)
    pull("smollm2", store_of(settings))
    path = tmp_path / "pointsman.toml"
    path.write_text('[local]\nthreads = 1\n[local.models.weak]\nref = "smollm2"\ncontext = 4096\n')
    yield path


@pytest.mark.slow
def test_a_real_and_weak_teacher_breaks_nothing_and_is_called_weak(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTSMAN_HOME", str(HOME))
    out = tmp_path / "out"
    command = ["distill", "new", "Tell spam messages from ordinary ones", "--teacher", "local:weak"]
    options = ["--labels", "spam,ham", "--rows", "40", "--max-calls", str(CALLS), "--parallel", "1"]
    line = [*command, *options, "--out", str(out), "--config", str(config), "--json"]
    result = CliRunner().invoke(cli, line)
    teacher = json.loads((out / "teacher.json").read_text())
    print(json.dumps(teacher, indent=1), result.exception)
    if result.exit_code == 0:
        assert json.loads(result.stdout)["teacher"] == teacher
    else:
        # Too little came of it to learn from: the error says it, and what to do.
        assert isinstance(result.exception, DistillError), result.exc_info
        assert "too weak" in result.exception.message
        assert "take a stronger teacher" in result.exception.message
    assert teacher["too_weak"] is True
    assert any("too weak" in note for note in teacher["notes"])
    assert 0 < teacher["calls"] <= CALLS
    assert sum(teacher["reasons"].values()) == teacher["rejected"] > 0
    turned = [json.loads(each) for each in (out / "rejected.jsonl").read_text().splitlines()]
    assert len(turned) <= teacher["rejected"]
    assert (out / "plan.json").exists()
