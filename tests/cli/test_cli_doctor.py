"""`pointsman doctor`: what it says of the engine, of memory and of each local model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_site import tiny_gguf

from pointsman.cli import doctor
from pointsman.config import load_config
from pointsman.local.devices import Device
from pointsman.local.hardware import Budget
from pointsman.local.manifest import Manifest, note_file
from pointsman.local.planning import EngineSettings
from pointsman.local.schedule import Memory

GIB = 2**30


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POINTSMAN_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path)
    found = Budget(10 * GIB, 0, 16 * GIB, 12 * GIB)
    monkeypatch.setattr(doctor, "budget", lambda server: found)
    monkeypatch.setattr(doctor, "cards", list)
    return tmp_path


def add(home: Path, name: str, data: bytes, *warnings: str) -> None:
    folder = home / "data" / "models" / name
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(data)
    files = (note_file(folder / "model.gguf", "0" * 64, inside=True),)
    manifest = Manifest(name, "file:x", "2026-01-01T00:00:00Z", files, warnings=warnings)
    (folder / "manifest.json").write_bytes(doctor.msgspec.json.encode(manifest))


def local_checks(config: str = "") -> dict[str, dict[str, Any]]:
    Path("c.toml").write_text(config)
    return {each["name"]: each for each in doctor._local(load_config("c.toml"))}


def test_a_model_that_fits_says_how_much_it_will_hold(home: Path) -> None:
    tiny_gguf.write_llama(home / "m.gguf")
    add(home, "tiny", (home / "m.gguf").read_bytes())
    checks = local_checks()
    found = checks["local model tiny"]
    assert (found["status"], found["fits"]) == ("ok", True)
    assert found["context_tokens"] == tiny_gguf.LLAMA_CONTEXT
    assert 30 * 2**20 < found["predicted_bytes"] < 60 * 2**20
    assert "a context of 2,048 tokens for 4 at a time" in found["message"]
    assert checks["local models"]["message"] == "tiny"
    folder = checks["models' folder"]
    assert folder["path"] == str(home / "data" / "models") and folder["free_bytes"] > 0


def test_what_is_wrong_with_a_model_is_said(home: Path) -> None:
    tiny_gguf.write_llama(home / "m.gguf")
    whole = (home / "m.gguf").read_bytes()
    add(home, "cut", whole[:1000])
    add(home, "odd", whole, "has no chat template")
    own = f'[local.models.mine]\npath = "{home / "m.gguf"}"\n'
    checks = local_checks(f"[local]\nmemory_bytes = 31000000\n{own}")
    assert checks["local model cut"]["status"] == "note"
    assert "cut short" in checks["local model cut"]["message"]
    assert checks["local model cut"]["fits"] is False
    # One that the configuration names should run.
    assert checks["local model mine"]["status"] == "fault"
    assert "needs" in checks["local model mine"]["message"]
    odd = local_checks()["local model odd"]
    assert (odd["status"], odd["fits"]) == ("note", True)
    assert odd["warnings"] == ["has no chat template"]
    assert odd["message"].endswith("but it has no chat template")


def test_a_model_elsewhere_needs_nothing_here(home: Path) -> None:
    checks = local_checks('[local.models.far]\nurl = "http://gpu-box:8080"\n')
    assert checks["local model far"]["message"] == "runs at http://gpu-box:8080"


def test_the_budget_is_that_of_the_machine_or_the_configuration(home: Path) -> None:
    found = local_checks()["memory"]
    assert (found["ram_bytes"], found["total_bytes"]) == (10 * GIB, 16 * GIB)
    assert found["message"] == "10.0 GiB for local models (of 16.0 GiB, 12.0 GiB available now)"
    chosen = local_checks(f"[local]\nmemory_bytes = {2 * GIB}\n")["memory"]
    assert chosen["ram_bytes"] == 2 * GIB
    assert "2.0 GiB for local models (local.memory_bytes; of" in chosen["message"]


def test_cards_are_named_with_their_memory() -> None:
    usable = (
        Device("CUDA0 NVIDIA L4", 22 * GIB, 20 * GIB),
        Device("MTL0 Apple M3", 8, 8, unified=True),
    )
    found = doctor._devices(usable, [])
    assert found["status"] == "ok"
    assert found["message"] == (
        "CUDA0 NVIDIA L4 (20.0 of 22.0 GiB free), MTL0 Apple M3 (shares the machine's memory)"
    )
    assert found["devices"][0]["free_bytes"] == 20 * GIB
    unused = doctor._devices((), [Device("NVIDIA L4", 22 * GIB, 20 * GIB)])
    assert unused["status"] == "note" and "cannot use" in unused["message"]
    assert doctor._devices((), [])["message"].startswith("none")
    budget = Budget(GIB, 20 * GIB, 2 * GIB, 2 * GIB)
    both = doctor._memory(budget, Memory(GIB, 20 * GIB), chosen=False)
    assert both["message"].startswith("1.0 GiB for local models and 20.0 GiB on graphics cards")


def test_a_llama_server_says_its_build(home: Path) -> None:
    server = home / "bin" / "llama-server"
    server.parent.mkdir()
    server.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "print('version: 11434 (c0ffee)\\nbuilt with GNU', file=sys.stderr)\n"
    )
    server.chmod(0o755)
    found = local_checks()["local engine"]
    assert (found["status"], found["version"]) == ("ok", "11434")
    assert (found["engine"], found["path"]) == ("llama-server", str(server))
    server.write_text("#!/nothing/here\n")
    broken = local_checks()["local engine"]
    assert broken["status"] == "fault" and "does not say its version" in broken["message"]


def test_the_worker_says_its_version(home: Path) -> None:
    pytest.importorskip("xllamacpp")
    found = local_checks("[local]\nthreads = 3\n")["local engine"]
    assert (found["engine"], found["threads"]) == ("worker", 3)
    assert found["version"] in found["message"]


def test_no_engine_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = doctor._engine(None, EngineSettings())
    assert found["status"] == "note" and "pointsman[local]" in found["message"]


def test_the_fields_of_json_are_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        doctor.command(["--offline", "--json"])
    checks = json.loads(capsys.readouterr().out)
    assert not ended.value.code
    assert all({"name", "status", "message"} <= set(each) for each in checks)
    names = {each["name"] for each in checks}
    assert {"version", "configuration", "data directory", "local engine", "graphics cards",
            "memory", "models' folder", "local models", "router", "providers"} <= names  # fmt: skip
