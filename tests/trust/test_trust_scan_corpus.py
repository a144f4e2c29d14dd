"""Every hostile file is found or "could not check"; every ordinary one passes; memory is bounded."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import trust_corpus
import trust_templates
from trust_weight_files import small_gguf

from pointsman.trust.scan import scan_path

LIMIT_BYTES = 512 * 1024 * 1024


def limited_scan(path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """The command line on a path, in a process that may have 512 MB of address space."""
    command = [sys.executable, "-m", "pointsman", "trust", "scan", str(path), "--json"]
    done = subprocess.run(
        [*command, "--no-second-opinions", *options],
        capture_output=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES)),
    )  # fmt: skip
    assert done.returncode in (0, 1, 2), done.stderr.decode()[-2000:]
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    trust_corpus.write(folder, trust_corpus.hostile())
    code, result = limited_scan(folder)
    assert code == 1 and result["status"] == "findings"
    return result


def test_every_hostile_file_is_found_or_not_checked(hostile: dict[str, Any]) -> None:
    found = {each["path"].partition("!")[0] for each in hostile["findings"]}
    unchecked = [reason.partition(": ")[0].partition("!")[0] for reason in hostile["incomplete"]]
    names = {name if name.isprintable() else ascii(name)[1:-1] for name in trust_corpus.hostile()}
    assert sorted(names - found - set(unchecked)) == []
    # What is only "could not check" stays a small part.
    assert len(names - found) < 25


def test_every_pickle_that_calls_is_found_by_a_rule_of_code(hostile: dict[str, Any]) -> None:
    rules = {"pickle-code", "pickle-import", "pickle-computed-import", "pickle-module-state"}
    found = {each["path"] for each in hostile["findings"] if each["rule"] in rules}
    assert sorted(trust_corpus.pickles().keys() - found) == []


def test_every_rule_of_the_scan_is_found_somewhere(hostile: dict[str, Any]) -> None:
    subjects = ("pickles", "weights", "archives", "companions", "templates")
    modules = [import_module(f"pointsman.trust.rules.{each}") for each in subjects]
    known = {getattr(module, name).id for module in modules for name in module.__all__}
    # What needs a link, a pipe, a base or another scanner is in test_trust_scan.
    apart = {"link-outside", "special-file", "template-differs", "pickle-second-opinion"}
    assert known - {each["rule"] for each in hostile["findings"]} == apart


@pytest.mark.parametrize("name", trust_templates.HOSTILE)
def test_a_trick_of_a_template_is_found_by_its_rule(hostile: dict[str, Any], name: str) -> None:
    rules = {each["rule"] for each in hostile["findings"] if each["path"] == f"{name}.jinja"}
    assert trust_templates.HOSTILE[name][1] in rules


def test_a_template_that_is_none_is_not_checked(hostile: dict[str, Any]) -> None:
    reasons = " ".join(hostile["incomplete"])
    assert [name for name in trust_templates.BROKEN if f"broken {name}.jinja" not in reasons] == []


def test_findings_say_what_where_why_and_what_to_do(hostile: dict[str, Any]) -> None:
    for each in hostile["findings"]:
        assert each["message"] and each["path"] and each["why"] and each["fix"]


def test_ordinary_files_pass(tmp_path: Path) -> None:
    trust_corpus.write(tmp_path, trust_corpus.benign())
    scanned = scan_path(tmp_path)
    assert scanned.report.findings == ()
    assert scanned.report.incomplete == ()
    assert scanned.report.exit_code == 0
    assert len(scanned.report.checked) == len(trust_corpus.benign())
    assert {each.path for each in scanned.templates} >= {
        "chatml.jinja",
        "v3.gguf!tokenizer.chat_template",
    }


def test_a_claim_of_100_gb_costs_nothing_and_a_large_file_is_not_read(tmp_path: Path) -> None:
    small = small_gguf()
    claims = tmp_path / "claims.gguf"
    claims.write_bytes(small.with_field("shape 1 of output.weight", 3 * 10**9))
    sparse = tmp_path / "sparse.gguf"
    sparse.write_bytes(small.with_field("shape 1 of output.weight", 3 * 10**9))
    os.truncate(sparse, os.path.getsize(claims) + 102 * 10**9)
    code, result = limited_scan(tmp_path)
    assert code == 1
    assert {each["path"] for each in result["findings"]} == {"claims.gguf"}
    assert result["incomplete"] == []
