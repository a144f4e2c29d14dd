"""Locks, policies, signatures, and the verdict that is put together from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pointsman.cli import cli
from pointsman.errors import TrustError
from pointsman.trust import signing
from pointsman.trust.lock import (
    LockedFile,
    LockedModel,
    ModelLock,
    Verdict,
    compare,
    read_lock,
    with_model,
    write_lock,
)
from pointsman.trust.policy import load_policy
from pointsman.trust.subject import Subject
from pointsman.trust.verify import verify

VERDICT = Verdict("clean", (), 0, {"pointsman": "1"}, "2026-11-24T00:00:00Z")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + b"\0" * 8
    )
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path, "k")


def make_keys(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


def run(*args: object, monkeypatch: pytest.MonkeyPatch | None = None) -> tuple[int, Any]:
    """Run a verb with --json; gives its exit code and what it printed."""
    done = CliRunner().invoke(cli, ["trust", *map(str, args), "--json"], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value, json.loads(done.stdout)


def rules(value: dict[str, Any]) -> set[str]:
    return {each["rule"] for each in value["findings"]}


def test_a_locked_model_verifies_until_a_file_changes(model: Path, tmp_path: Path) -> None:
    lock = tmp_path / "pointsman.lock"
    code, value = run("lock", model, "--lock", lock, "--source", "hf:a/b", "--commit", "c" * 40)
    assert (code, value["status"]) == (0, "clean")
    assert {row["path"] for row in value["files"]} == {"config.json", "model.safetensors"}
    assert all(row["status"] == "locked" and len(row["sha256"]) == 64 for row in value["files"])
    code, value = run("verify", model, "--lock", lock)
    assert (code, {row["status"] for row in value["files"]}) == (0, {"ok"})
    old = {row["path"]: row["sha256"] for row in value["files"]}

    (model / "config.json").write_text('{"model_type": "gemma"}')
    (model / "added.json").write_text("{}")
    (model / "model.safetensors").unlink()
    code, value = run("verify", model, "--lock", lock)
    assert code == 1 and value["status"] == "findings"
    assert {row["path"]: row["status"] for row in value["files"]} == {
        "added.json": "added", "config.json": "changed", "model.safetensors": "missing",
    }  # fmt: skip
    assert {"lock-file-changed", "lock-file-missing", "lock-file-added"} <= rules(value)
    changed = next(each for each in value["findings"] if each["rule"] == "lock-file-changed")
    now = next(row["sha256"] for row in value["files"] if row["path"] == "config.json")
    assert old["config.json"] in changed["message"] and now in changed["message"]


def test_a_model_that_has_findings_is_locked_with_its_verdict(model: Path, tmp_path: Path) -> None:
    (model / "config.json").write_text('{"auto_map": {"AutoModel": "m.X"}}')
    lock = tmp_path / "pointsman.lock"
    code, value = run("lock", model, "--lock", lock)
    assert code == 1 and rules(value) == {"config-code"}
    (entry,) = read_lock(lock).models
    assert (entry.verdict.status, entry.verdict.rules) == ("findings", ("config-code",))


def test_a_moved_source_is_found_by_the_lock(model: Path) -> None:
    locked = LockedModel("m", (), VERDICT, "hf:alice/tiny", "1" * 40)
    done = verify(
        Subject("m", (model,), "hf:a1ice/tiny", "1" * 40), load_policy(None), locked=locked
    )
    assert "source-changed" in {each.rule for each in done.report.findings}
    moved = verify(
        Subject("m", (model,), "hf:alice/tiny", "2" * 40), load_policy(None), locked=locked
    )
    assert "source-changed" in {each.rule for each in moved.report.findings}


def test_a_hub_model_without_a_commit_is_refused_by_the_policy(model: Path, tmp_path: Path) -> None:
    subject = Subject("m", (model,), "hf:alice/tiny")
    found = verify(subject, load_policy(None)).report
    assert [each.rule for each in found.findings] == ["source-unpinned"]
    (tmp_path / "p.toml").write_text("[provenance]\ncommit = false\n")
    assert verify(subject, load_policy(tmp_path / "p.toml")).report.status == "clean"


def test_a_policy_accepts_rules_and_sets_how_grave_counts(model: Path, tmp_path: Path) -> None:
    (model / "config.json").write_text('{"auto_map": {"AutoModel": "m.X"}}')
    policy = tmp_path / "p.toml"
    policy.write_text('[scan]\naccept = ["config-code"]\n')
    code, value = run("verify", model, "--policy", policy, "--lock", tmp_path / "none")
    assert code == 0 and [each["rule"] for each in value["accepted"]] == ["config-code"]
    policy.write_text('[scan]\nfrom_severity = "critical"\n')
    assert run("verify", model, "--policy", policy, "--lock", tmp_path / "none")[0] == 0
    policy.write_text('[scan]\nfrom_severity = "medium"\n')
    assert run("verify", model, "--policy", policy, "--lock", tmp_path / "none")[0] == 1


def test_what_the_policy_requires_and_nobody_checked_is_no_pass(
    model: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text("[rows]\nrequire = true\n[provenance]\nlock = true\n")
    code, value = run("verify", model, "--policy", policy, "--lock", tmp_path / "none")
    assert code == 1 and rules(value) == {"lock-missing"}
    assert "training set" in value["incomplete"][0]
    run("lock", model, "--lock", tmp_path / "l")
    code, value = run("verify", model, "--policy", policy, "--lock", tmp_path / "l")
    assert (code, value["status"]) == (2, "incomplete")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(
        json.dumps({"instruction": f"Name a number after {n}", "output": str(n + 1)}) + "\n"
        for n in range(60)
    ))  # fmt: skip
    code, value = run("verify", model, "--policy", policy, "--lock", tmp_path / "l", "--data", rows)
    assert (code, value["parts"]["rows"]) == (0, "clean")
    rows.write_text("no rows\n")
    code, value = run("verify", model, "--policy", policy, "--lock", tmp_path / "l", "--data", rows)
    assert code == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[scan]\nacept = []\n", "scan.acept; did you mean 'accept'"),
        ("[scn]\n", "unknown table [scn]; did you mean 'scan'"),
        ('[scan]\naccept = ["pickle-globl"]\n', "there is no rule 'pickle-globl'; did you mean"),
        ('[scan]\nfrom_severity = "grave"\n', "grave"),
        ("[provenance]\nsignature = true\n", "whose it must be"),
        ("[scan\n", "no TOML"),
    ],
)
def test_a_wrong_policy_says_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(TrustError) as raised:
        load_policy(tmp_path / "p.toml")
    assert says in raised.value.message


def test_a_signature_holds_until_anything_changes(
    model: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    code, value = run("sign", model, "--key", private)
    assert (code, value["status"], len(value["files"])) == (0, "signed", 2)
    code, value = run("sign", model, "--check", "--public-key", public)
    assert (code, value["status"]) == (0, "ok")
    nowhere = tmp_path / "none"
    code, value = run("verify", model, "--public-key", public, "--lock", nowhere)
    assert code == 0 and value["parts"]["signature"].startswith("signed by")
    _, other = make_keys(tmp_path, "other")
    assert rules(run("verify", model, "--public-key", other, "--lock", nowhere)[1]) == {
        "signature-mismatch"
    }
    (model / "config.json").write_text("{}")
    code, value = run("sign", model, "--check", "--public-key", public)
    assert (code, value["status"]) == (1, "changed")
    assert rules(run("verify", model, "--public-key", public, "--lock", nowhere)[1]) == {
        "signature-mismatch"
    }


@pytest.mark.parametrize("text", ["", "{}", "[]", "\0" * 100, '{"verificationMaterial": 5}'])
def test_a_broken_signature_is_a_finding_and_no_crash(
    model: Path, keys: tuple[Path, Path], tmp_path: Path, text: str
) -> None:
    (model / "model.sig").write_text(text)
    code, value = run("verify", model, "--public-key", keys[1], "--lock", tmp_path / "none")
    assert code == 1 and rules(value) == {"signature-mismatch"}


def test_a_missing_signature_is_a_finding_and_a_missing_package_no_pass(
    model: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("verify", model, "--public-key", keys[1], "--lock", tmp_path / "none")
    assert rules(run(*args)[1]) == {"signature-missing"}
    (model / "model.sig").write_text("{}")
    monkeypatch.setattr(signing, "is_available", lambda: False)
    code, value = run(*args)
    assert code == 2 and "pip install 'pointsman[sign]'" in value["incomplete"][0]


def test_a_lock_file_is_hostile_input(tmp_path: Path) -> None:
    path = tmp_path / "l"
    assert read_lock(path) == ModelLock()
    for text, says in (
        ("{", "no lock file"),
        ('{"version": 9, "models": []}', "version 9"),
        ('{"version": 1, "models": [{"name": 5}]}', "no lock file"),
    ):
        path.write_text(text)
        with pytest.raises(TrustError, match=says):
            read_lock(path)
    for out in ("/etc/passwd", "../x", "a/../../x"):
        write_lock(path, ModelLock(models=(LockedModel("m", (LockedFile(out, "0", 1),), VERDICT),)))
        with pytest.raises(TrustError, match="leads out"):
            read_lock(path)


def test_a_model_takes_the_place_of_the_one_of_its_name() -> None:
    first, second = (LockedModel("m", (), VERDICT, source) for source in ("a", "b"))
    other = LockedModel("a", (), VERDICT)
    lock = with_model(with_model(with_model(ModelLock(), first), other), second)
    assert [(each.name, each.source) for each in lock.models] == [("a", ""), ("m", "b")]


def test_every_difference_from_the_lock_has_its_status() -> None:
    locked = [LockedFile(name, digest, 1) for name, digest in (("a", "1"), ("b", "2"), ("c", "3"))]
    assert compare(locked, {"a": "1", "b": "9", "d": "4"}) == [
        ("a", "1", "ok"), ("b", "9", "changed"), ("c", None, "missing"), ("d", "4", "added"),
    ]  # fmt: skip


def test_reports_are_written_for_other_tools(model: Path, tmp_path: Path) -> None:
    (model / "config.json").write_text('{"auto_map": {"AutoModel": "m.X"}}')
    sarif, bom = tmp_path / "s.json", tmp_path / "b.json"
    run("verify", model, "--lock", tmp_path / "none", "--sarif", sarif, "--bom", bom)
    assert json.loads(sarif.read_text())["runs"][0]["results"][0]["ruleId"] == "config-code"
    assert json.loads(bom.read_text())["components"][0]["type"] == "machine-learning-model"


def test_a_target_that_is_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no file or folder, and no local model"):
        run("verify", tmp_path / "none")
