"""The gate before local models: by mode, verdict, lock and quarantine, from HTTP and the command line."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

import pointsman
from pointsman.cli import cli
from pointsman.config import Config, parse_config
from pointsman.errors import LockMismatch, NotVerified, Quarantined, TrustError
from pointsman.gateway.server import running
from pointsman.local.admission import Admission, gate_of, held_files, state_of
from pointsman.local.host import store_of
from pointsman.local.pull import pull
from pointsman.local.verification import check_model, set_aside
from pointsman.testing import Answer, FakeProvider
from pointsman.trust.state import State

TOOLS = {"pointsman": "test"}


def config_for(home: Path, mode: str = "enforce", more: str = "") -> Config:
    config = parse_config(f'[trust]\nmode = "{mode}"\n{more}')
    config.home = str(home)
    config.server.port = 0
    return config


@pytest.fixture
def home(llama_file: Path, tmp_path: Path) -> Path:
    """A data directory with one model that was pulled and not checked."""
    folder = tmp_path / "home"
    copy = tmp_path / "tiny.gguf"
    copy.write_bytes(llama_file.read_bytes())
    pull(f"file:{copy}", store_of(config_for(folder)), name="tiny")
    return folder


def admit(config: Config) -> None:
    store = store_of(config)
    Admission(gate_of(config), store)(store.get("tiny"))


def check(config: Config) -> None:
    store = store_of(config)
    assert check_model(store.get("tiny"), store, state_of(config), TOOLS).status == "clean"


def model_file(config: Config) -> Path:
    return Path(store_of(config).get("tiny").path)


def test_enforce_refuses_what_was_not_checked_and_loads_what_was(home: Path) -> None:
    config = config_for(home)
    with pytest.raises(NotVerified, match="Run: pointsman trust verify local:tiny"):
        admit(config)
    check(config)
    admit(config)


def test_warn_says_it_once_and_loads(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = config_for(home, "warn")
    store = store_of(config)
    admission = Admission(gate_of(config), store)
    with caplog.at_level(logging.WARNING):
        admission(store.get("tiny"))
        admission(store.get("tiny"))
    (said,) = caplog.messages
    assert "'tiny': it has not been checked. Run: pointsman trust verify local:tiny" in said
    caplog.clear()
    check(config)
    Admission(gate_of(config), store)(store.get("tiny"))
    assert caplog.messages == []


def test_off_asks_nothing(home: Path) -> None:
    config = config_for(home, "off")
    set_aside("tiny", "a test", "now", store_of(config), state_of(config))
    admit(config)


def test_a_verdict_with_findings_is_refused_unless_the_policy_accepts_them(home: Path) -> None:
    path = model_file(config_for(home))
    with path.open("ab") as file:
        file.write(b"PK\x03\x04")
    own = home.parent / "own.gguf"
    path.replace(own)
    row = f'[local.models.tiny]\npath = "{own}"\n'
    config = config_for(home, more=row)
    store = store_of(config)
    report = check_model(store.get("tiny"), store, state_of(config), TOOLS)
    assert report.status == "findings"
    rules = sorted({each.rule for each in report.findings})
    with pytest.raises(NotVerified, match=rules[0]):
        admit(config)
    policy = home.parent / "policy.toml"
    policy.write_text(f"[scan]\naccept = {json.dumps(rules)}\n")
    accepting = parse_config(f'{row}[trust]\nmode = "enforce"\npolicy = "{policy}"\n')
    accepting.home = str(home)
    admit(accepting)


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_what_changed_since_its_lock_is_refused_with_both_hashes(home: Path, mode: str) -> None:
    own = home.parent / "own.gguf"
    model_file(config_for(home)).replace(own)
    lock = home.parent / "pointsman.lock"
    row = f'lock = "{lock}"\n[local.models.tiny]\npath = "{own}"\n'
    file = home.parent / "c.toml"
    file.write_text(f'[trust]\nmode = "{mode}"\n{row}')
    config = config_for(home, mode, row)
    args = ["trust", "lock", "local:tiny", "--lock", str(lock), "--config", str(file), "--json"]
    done = CliRunner().invoke(cli, args, standalone_mode=False, env={"POINTSMAN_HOME": str(home)})
    assert done.return_value == 0, done.output
    then = json.loads(done.stdout)["files"][0]["sha256"]
    check(config)
    admit(config)
    stat = own.stat()
    data = bytearray(own.read_bytes())
    data[-1] ^= 1
    own.write_bytes(data)
    # Even where its size and its time of change say that it is the same.
    os.utime(own, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(LockMismatch) as raised:
        admit(config)
    assert then in raised.value.message
    assert State(home / "trust").sha256(own) in raised.value.message
    assert raised.value.status == 403 and raised.value.code == "lock_mismatch"


def test_quarantine_holds_for_the_file_under_any_name(home: Path) -> None:
    config = config_for(home, "warn")
    store = store_of(config)
    set_aside("tiny", "it said Sure", "now", store, state_of(config))
    with pytest.raises(
        Quarantined, match=r"it said Sure. If that is settled: pointsman trust release"
    ):
        admit(config)
    store.copy("tiny", "other")
    with pytest.raises(Quarantined, match="the same file as 'tiny'"):
        Admission(gate_of(config), store)(store.get("other"))
    assert state_of(config).release("tiny") and not state_of(config).release("tiny")
    admit(config)


def test_a_hash_is_taken_again_only_after_a_change(tmp_path: Path) -> None:
    state = State(tmp_path / "trust")
    path = tmp_path / "f"
    path.write_bytes(b"one")
    assert state.known_sha256(path) is None
    first = state.sha256(path)
    assert state.known_sha256(path) == first
    path.write_bytes(b"two")
    assert state.known_sha256(path) is None and state.sha256(path) != first


@pytest.mark.parametrize("name", ["verdicts.json", "quarantine.json", "stamps.json"])
def test_a_broken_state_file_is_an_error_that_names_it(home: Path, name: str) -> None:
    (home / "trust").mkdir()
    (home / "trust" / name).write_text("{")
    with pytest.raises(TrustError, match=name):
        admit(config_for(home))


def test_a_wrong_policy_is_refused_at_the_start(home: Path) -> None:
    (home / "p.toml").write_text("[scn]\n")
    config = parse_config(f'[trust]\npolicy = "{home / "p.toml"}"\n')
    config.home = str(home)
    with pytest.raises(TrustError, match="did you mean 'scan'"):
        pointsman.Client(config)


@contextmanager
def served(config: Config) -> Iterator[httpx2.Client]:
    with running(config) as gateway, httpx2.Client(base_url=gateway.url, timeout=60) as client:
        yield client


def ask(client: httpx2.Client, model: str = "local:tiny") -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    return client.post("/v1/chat/completions", json=body)


def test_the_gateway_refuses_verifies_sets_aside_and_releases(home: Path) -> None:
    with served(config_for(home)) as client:
        refused = ask(client)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "not_verified"
        assert state(client) == ("tiny", "unchecked")
        verified = client.post("/pointsman/v1/trust/verify", json={"name": "tiny"}).json()
        assert (verified["status"], verified["standing"]["state"]) == ("clean", "accepted")
        assert ask(client).status_code == 200
        aside = client.post(
            "/pointsman/v1/trust/quarantine", json={"name": "tiny", "reason": "a test"}
        ).json()
        assert aside == {"name": "tiny", "reason": "a test", "unloaded": True}
        assert state(client) == ("tiny", "quarantined")
        assert ask(client).json()["error"]["code"] == "quarantined"
        assert client.post("/pointsman/v1/trust/release", json={"name": "tiny"}).json()["released"]
        assert ask(client).status_code == 200
        wrong = client.post("/pointsman/v1/trust/verify", json={"nam": "tiny"})
        assert wrong.status_code == 400
        assert client.post("/pointsman/v1/trust/verify", json={"name": "none"}).status_code == 404


def state(client: httpx2.Client) -> tuple[str, str]:
    (row,) = client.get("/pointsman/v1/trust").json()["models"]
    return row["name"], row["state"]


def test_a_route_goes_on_to_the_next_where_the_gate_refuses(home: Path) -> None:
    with FakeProvider([Answer(text="from afar")]) as fake:
        more = (
            f'[providers.o]\ndialect = "openai"\nbase_url = "{fake.url}/v1"\nauth = "none"\n'
            '[routes.r]\ncandidates = ["local:tiny", "o:m"]\npolicy = "order"\n'
        )
        with served(config_for(home, more=more)) as client:
            answer = ask(client, "r")
    assert answer.json()["choices"][0]["message"]["content"] == "from afar"


def test_what_is_pulled_is_checked_as_it_comes(llama_file: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "pull", f"file:{llama_file}", "--name", "tiny")
    assert done.exit_code == 0, done.output
    config = config_for(tmp_path / "home")
    store = store_of(config)
    model = store.get("tiny")
    assert all(each.sha256 for each in held_files(model, store))
    assert Admission(gate_of(config), store).standing(model).state == "accepted"


def run(tmp_path: Path, *args: str) -> Any:
    env = {"POINTSMAN_HOME": str(tmp_path / "home")}
    return CliRunner().invoke(cli, list(args), env=env)


def test_quarantine_by_command(llama_file: Path, tmp_path: Path) -> None:
    run(tmp_path, "pull", f"file:{llama_file}", "--name", "tiny")
    assert "nothing is in quarantine" in run(tmp_path, "trust", "quarantine").output
    assert "is in quarantine" in run(tmp_path, "trust", "quarantine", "local:tiny").output
    (row,) = json.loads(run(tmp_path, "trust", "quarantine", "--json").stdout)
    assert row["name"] == "tiny" and row["reason"] == "set aside by hand" and row["sha256"]
    assert "no local model" in run(tmp_path, "trust", "quarantine", "none").output
    assert "is released" in run(tmp_path, "trust", "release", "tiny").output
    assert "was not in quarantine" in run(tmp_path, "trust", "release", "tiny").output
