"""`import`, `create` and `show` as a user has them: output, JSON, exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.append(str(Path(__file__).parent.parent / "local"))

import tiny_gguf
from ollama_files import Blobs, write_head, write_manifest

from pointsman.cli import main


class Done(NamedTuple):
    """How a run ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write_llama(tmp_path_factory.mktemp("gguf") / "tiny-llama.gguf")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Gives a function (arguments) → what the command line does, in an empty home and folder."""
    monkeypatch.setenv("POINTSMAN_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["pointsman", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capsys.readouterr())

    return call


def fill(folder: Path, weights: Path, names: list[str], texts: object = None) -> Path:
    blobs = Blobs()
    for name in names:
        manifest = blobs.manifest(weights, texts)  # type: ignore[arg-type]
        write_manifest(folder, f"registry.ollama.ai/library/{name}", manifest)
    blobs.write(folder)
    return folder


def test_a_hundred_models_of_the_usual_place_are_imported(
    run: Run, tmp_path: Path, weights: Path
) -> None:
    folder = fill(tmp_path / ".ollama" / "models", weights, [f"m{n}:1b" for n in range(100)])
    done = run("import", "ollama", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 100 and {row["status"] for row in rows} == {"imported"}
    assert {"name", "path", "bytes", "sha256", "verified"} <= rows[0].keys()
    assert Path(rows[0]["path"]).parent == folder / "blobs"
    again = run("import", "ollama")
    assert f"100 of 100 models of {folder} are listed; 0 bytes were copied" in again.stdout
    listed = json.loads(run("ps", "--json").stdout)
    assert len(listed) == 100


def test_what_is_wrong_is_told_and_the_rest_is_imported(
    run: Run, tmp_path: Path, weights: Path
) -> None:
    folder = fill(tmp_path / "o", weights, ["good:1"])
    fill(folder, write_head(tmp_path / "g.gguf", "gptoss"), ["gpt-oss:20b"])
    write_manifest(folder, "registry.ollama.ai/library/bad:1", b"{")
    done = run("import", "ollama", "--from", str(folder), "--verify")
    assert done.returncode == 0
    assert "2 of 3 models" in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["good:1"].endswith("verified") and lines["gpt-oss:20b"].endswith("needs Ollama")
    assert "left out: bad:1: the manifest cannot be read" in done.stderr
    assert "note: gpt-oss:20b: needs Ollama's own engine: its architecture" in done.stderr
    largest = max((folder / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"!")
    assert run("import", "ollama", "--from", str(folder), "--verify").returncode == 1


def test_no_store_is_an_error_that_names_the_places(run: Run) -> None:
    done = run("import", "ollama")
    assert done.returncode == 1
    assert ".ollama/models" in done.stderr and "--from" in done.stderr
    assert run("import", "lmstudio").returncode == 2


def test_a_model_is_made_by_a_modelfile_and_shown(run: Run, tmp_path: Path, weights: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(weights.read_bytes())
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text(
        'FROM ./tiny.gguf\nPARAMETER temperature 0.7\nPARAMETER stop "<end>"\n'
        'PARAMETER num_ctx 512\nSYSTEM """You are\n"tiny"."""\nLICENSE MIT\nMESSAGE user hi\n'
    )
    done = run("create", "mine:v1")
    assert (done.returncode, done.stdout) == (0, "local:mine:v1 is ready\n"), done.stderr
    done = run("create", "child", "--from", "mine:v1", "--json")
    assert json.loads(done.stdout)[0]["verified"] is True
    found = json.loads(run("show", "child", "--json").stdout)
    assert (found["architecture"], found["parameters"]) == ("llama", 330_144)
    assert (found["quantization"], found["context_tokens"]) == ("F32", tiny_gguf.LLAMA_CONTEXT)
    assert (found["embedding_length"], found["licence"]) == (96, "MIT")
    assert found["capabilities"] == ["completion", "tools"]
    assert found["defaults"]["stop"] == ["<end>"]
    text = run("show", "child").stdout
    for part in ("trained for       2,048 tokens", "330.1K", "completion, tools", "temperature 0.7",
                 "(checked)", "You are"):  # fmt: skip
        assert part in text
    assert run("show", "child", "--template").stdout == tiny_gguf.CHAT_TEMPLATE + "\n"
    assert run("show", "child", "--license").stdout == "MIT\n"
    assert run("show", "child", "--parameters").stdout.splitlines() == [
        "num_ctx                  512",
        'stop                     "<end>"',
        "temperature              0.7",
    ]
    written = run("show", "child", "--modelfile").stdout
    modelfile.write_text(written)
    assert run("create", "again").returncode == 0
    again = json.loads(run("show", "again", "--json").stdout)
    assert (again["defaults"], again["sha256"]) == (found["defaults"], found["sha256"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "Modelfile cannot be read: No such file or directory; name a Modelfile with -f"),
        ("FROM absent\n", "no local model 'absent'"),
        ("FROM ./absent.gguf\n", "FROM ./absent.gguf: there is no such file"),
        ("FROM .\n", "convert_hf_to_gguf.py"),
        ("FROM a\nFROM b\n", "FROM names more than one model"),
        ("FROM a\nTEMPLATE x\n", "Modelfile, line 2: TEMPLATE cannot be used: templates in Go"),
        ("FROM a\nPARAMETER num_ctx x\n", "Modelfile, line 2: the parameter 'num_ctx'"),
    ],
)
def test_what_cannot_be_made_says_why(
    run: Run, tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "Modelfile").write_text(text)
    done = run("create", "x")
    assert done.returncode in (1, 2) and said in done.stderr
    assert run("show", "x").returncode != 0
