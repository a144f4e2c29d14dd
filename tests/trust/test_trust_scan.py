"""`pointsman trust scan`: folders, links, reports and exit codes."""

from __future__ import annotations

import json
import os
import pickle
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from trust_corpus import PAYLOAD, benign, torch_zip, trust_zip, write
from trust_templates import BENIGN
from trust_weight_files import SMALL_SAFETENSORS, small_gguf

from pointsman.cli import cli
from pointsman.errors import TrustError
from pointsman.trust import second_opinion
from pointsman.trust.bom import ml_bom, tree_sha256
from pointsman.trust.findings import Finding, Report, make_report, merge, worst_severity
from pointsman.trust.formats.context import Limits
from pointsman.trust.rules.catalogue import MODULES, all_rules
from pointsman.trust.sarif import sarif_log
from pointsman.trust.scan import ScannedFile, scan_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["trust", "scan", *map(str, arguments)], standalone_mode=False)


def rules(path: Path, **options: Any) -> dict[str, set[str]]:
    """Rule → the paths that it was found in."""
    found: dict[str, set[str]] = {}
    for each in scan_path(path, **options).report.findings:
        found.setdefault(each.rule, set()).add(each.path)
    return found


def test_links_are_followed_only_within(tmp_path: Path) -> None:
    model, outside = tmp_path / "model", tmp_path / "secret.txt"
    outside.write_text("secret")
    write(model, {"a.safetensors": SMALL_SAFETENSORS})
    (model / "inner").symlink_to("a.safetensors")
    assert rules(model) == {}
    (model / "outer").symlink_to(outside)
    (model / "dangling").symlink_to("nothing")
    (model / "round").symlink_to("round")
    (model / "up").symlink_to("..")
    assert rules(model) == {"link-outside": {"outer", "dangling", "round", "up"}}
    os.mkfifo(model / "pipe.safetensors")
    assert rules(model)["special-file"] == {"pipe.safetensors"}


def test_a_snapshot_of_the_hubs_cache_is_scanned_through_its_links(tmp_path: Path) -> None:
    repo = tmp_path / "models--a--b"
    snapshot = repo / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    write(repo / "blobs", {"aaaa": SMALL_SAFETENSORS, "bbbb": PAYLOAD})
    (snapshot / "model.safetensors").symlink_to("../../blobs/aaaa")
    assert rules(snapshot) == {}
    (snapshot / "pytorch_model.bin").symlink_to("../../blobs/bbbb")
    assert rules(snapshot)["pickle-code"] == {"pytorch_model.bin"}


def test_names_of_one_folder_are_compared(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"config.json": b"{}", "Config.json": b"{}", ".netrc": b"x", "ord\u0456nary.txt": b"x"},
    )
    found = rules(tmp_path)
    assert found["name-confusable"] == {"config.json", "ord\u0456nary.txt"}
    assert found["hidden-file"] == {".netrc"}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("caf\u00e9 \u2728 \u2764\ufe0f 1\ufe0f\u20e3 \u4f60\u597d", True),
        ("\U0001fae9 \U0001f469\u200d\U0001f4bb", True),
        ("a\ufe01\ufe02\ufe03", False),
        ("a\U000e0101", False),
        ("a\u2063b", False),
        ("a\u3164b", False),
        ("a\x1b[2Kb", False),
    ],
)
def test_letters_that_cannot_be_seen_are_told_from_those_that_can(
    tmp_path: Path, text: str, seen: bool
) -> None:
    (tmp_path / "a.jinja").write_text(text, "utf-8")
    assert ("template-hidden-text" not in rules(tmp_path)) == seen


def test_raw_numbers_that_begin_like_a_program_are_numbers(tmp_path: Path) -> None:
    tensors = {
        f"m/data/{number}": head + bytes(range(256))
        for number, head in enumerate((b"MZ", b"\x1f\x8b", b"BZh", b"x\x9c"))
    }
    program = {"m/data/9": b"\x7fELF" + bytes(60)}
    write(
        tmp_path,
        {
            "a.pt": trust_zip({"m/data.pkl": pickle.dumps(1), **tensors}),
            "b.pt": trust_zip({"m/data.pkl": pickle.dumps(1), **program}),
        },
    )
    report = scan_path(tmp_path).report
    assert {(each.rule, each.path.partition("!")[0]) for each in report.findings} == {
        ("pickle-file", "a.pt"), ("pickle-file", "b.pt"), ("executable", "b.pt"),
    }  # fmt: skip
    assert report.incomplete == ()


def test_a_folder_of_too_many_files_is_not_checked_whole(tmp_path: Path) -> None:
    write(tmp_path, {f"{number}.txt": b"x" for number in range(20)})
    report = scan_path(tmp_path, limits=Limits(files=10)).report
    assert report.status == "incomplete" and report.exit_code == 2
    assert "over 10 files" in report.incomplete[0]


def test_what_many_members_cost_is_bounded(tmp_path: Path) -> None:
    many = {f"{number}.pkl": b"\x80\x04" + b"N0" * 3_000 + b"N." for number in range(40)}
    write(
        tmp_path,
        {
            "a.zip": trust_zip(many),
            "b.zip": trust_zip({f"{n}.jinja": b"{{ messages }}" for n in range(40)}),
        },
    )
    report = scan_path(tmp_path, limits=Limits(opcodes_in_all=50_000, templates=10)).report
    assert any("too many opcodes" in reason for reason in report.incomplete)
    assert any("too many chat templates" in reason for reason in report.incomplete)


def test_the_same_fault_a_thousand_times_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jinja").write_text("{{ x.__class__ }}\n" * 1_000)
    report = scan_path(tmp_path).report
    assert len(report.findings) == Limits().findings_per_rule
    assert report.incomplete == ("980 more findings like those shown were left out",)


def test_nothing_found_is_never_called_clean(tmp_path: Path) -> None:
    write(tmp_path, benign())
    done = run(tmp_path)
    assert done.return_value == 0
    assert "nothing found in this search space" in done.output and "clean" not in done.output
    told = json.loads(run(tmp_path, "--json").output)
    assert (
        told["status"] == "clean"
        and told["findings"] == []
        and len(told["checked"]) == len(benign())
    )


def test_findings_are_shown_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, {"a.bin": PAYLOAD})
    done = run(tmp_path, "--no-second-opinions")
    assert done.return_value == 1
    for text in (
        "critical: pickle-code",
        "a.bin (byte",
        "why:",
        "do:",
        "os.system" if os.name == "nt" else "posix.system",
    ):
        assert text in done.output
    told = json.loads(run(tmp_path / "a.bin", "--json", "--no-second-opinions").output)
    first = told["findings"][0]
    assert {"rule", "severity", "path", "message"} <= first.keys()
    assert (first["rule"], first["severity"], first["path"]) == ("pickle-code", "critical", "a.bin")


def test_what_could_not_be_checked_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c1234")
    done = run(tmp_path)
    assert done.return_value == 2
    assert "could not check" in done.output and "no pass" in done.output


def test_no_such_file_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path / "nothing")
    assert "cannot be scanned" in str(done.exception)
    with pytest.raises(TrustError, match="no chat template"):
        scan_path(tmp_path, base=tmp_path)


def test_a_template_is_compared_with_the_bases(tmp_path: Path) -> None:
    write(tmp_path / "base", {"chat_template.jinja": BENIGN["chatml"].encode()})
    write(tmp_path / "same", {"m.gguf": bytes(small_gguf(template=BENIGN["chatml"]).raw)})
    write(tmp_path / "other", {"m.gguf": bytes(small_gguf(template=BENIGN["thoughts"]).raw)})
    assert run(tmp_path / "same", "--base", tmp_path / "base").return_value == 0
    done = run(tmp_path / "other", "--base", tmp_path / "base")
    assert done.return_value == 1
    assert (
        "template-differs" in done.output
        and "+{%- set content = message.content -%}" in done.output
    )


def test_the_sarif_log_has_rules_results_and_what_was_not_checked(tmp_path: Path) -> None:
    write(
        tmp_path / "m", {"a b.bin": PAYLOAD, "c.pt": torch_zip(), "d.7z": b"7z\xbc\xaf\x27\x1c12"}
    )
    target = tmp_path / "out.sarif"
    assert run(tmp_path / "m", "--sarif", target, "--no-second-opinions").return_value == 1
    log = json.loads(target.read_text())
    assert log["version"] == "2.1.0"
    (one,) = log["runs"]
    known = [each["id"] for each in one["tool"]["driver"]["rules"]]
    assert all(known[each["ruleIndex"]] == each["ruleId"] for each in one["results"])
    uris = {
        each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for each in one["results"]
    }
    assert uris == {"a%20b.bin", "c.pt"}
    assert one["invocations"][0]["executionSuccessful"] is False
    assert "d.7z" in one["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert sarif_log(make_report(), "1")["runs"][0]["results"] == []


def test_the_bom_has_each_files_hash_and_the_templates(tmp_path: Path) -> None:
    write(
        tmp_path / "m",
        {"a.gguf": bytes(small_gguf(template=BENIGN["chatml"]).raw), "README.md": b"x"},
    )
    target = tmp_path / "bom.json"
    run(tmp_path / "m", "--bom", target)
    bom = json.loads(target.read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    (model,) = bom["components"]
    assert model["type"] == "machine-learning-model" and model["name"] == "m"
    assert [len(each["hashes"][0]["content"]) for each in model["components"]] == [64, 64]
    properties = {each["name"]: each["value"] for each in model["properties"]}
    assert any("chat_template" in name and len(value) == 64 for name, value in properties.items())
    assert properties["pointsman:scan:status"] == "clean"


def test_the_hash_of_a_set_does_not_hang_on_its_order() -> None:
    one, two = ScannedFile("a", "text", 1, "00"), ScannedFile("b", "text", 1, "11")
    assert tree_sha256([one, two]) == tree_sha256([two, one]) != tree_sha256([one])
    when = datetime(2026, 1, 2, tzinfo=UTC)
    made = ml_bom("m", [one], [], make_report(), version="1", now=when, serial=UUID(int=1))
    assert made["metadata"]["timestamp"] == "2026-01-02T00:00:00Z"


def test_other_scanners_are_asked_in_a_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "picklescan"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "scanner.py").write_text(
        "import types\n"
        "def scan_file_path(path):\n"
        "    made = types.SimpleNamespace(module='os', name='system', safety=types.SimpleNamespace(value='dangerous'))\n"
        "    return types.SimpleNamespace(globals=[made], scan_err=False)\n"
    )
    path = tmp_path / "a.bin"
    path.write_bytes(PAYLOAD)
    monkeypatch.setattr(second_opinion, "_there", lambda name: name == "picklescan")
    monkeypatch.setattr(
        second_opinion,
        "_CHILD",
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n" + second_opinion._CHILD,
    )
    report = second_opinion.second_opinions([path], tmp_path)
    assert report.checked == ("picklescan",)
    assert [(each.path, each.rule) for each in report.findings] == [
        ("a.bin", "pickle-second-opinion")
    ]
    monkeypatch.setattr(second_opinion, "_CHILD", "raise SystemExit(3)")
    failed = second_opinion.second_opinions([path], tmp_path)
    assert failed.status == "incomplete" and "picklescan" in failed.incomplete[0]
    assert second_opinion.second_opinions([], tmp_path).status == "clean"


@pytest.mark.parametrize(
    ("tool", "script", "expected"),
    [
        ("modelscan", """open(sys.argv[-1], 'w').write('{"issues": [{"severity": "CRITICAL", "description": "Use of unsafe operator"}]}')""", "CRITICAL: Use of"),
        ("modelaudit", """print('{"issues": [{"severity": "critical", "message": "REDUCE", "location": "%s (pos 3)"}, {"severity": "info", "message": "x"}]}' % sys.argv[-1])""", "REDUCE"),
    ],
)  # fmt: skip
def test_scanners_on_path_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, script: str, expected: str
) -> None:
    program = tmp_path / tool
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(second_opinion.importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "a.bin"
    path.write_bytes(PAYLOAD)
    report = second_opinion.second_opinions([path], tmp_path)
    assert report.checked == (tool,)
    (finding,) = report.findings
    assert finding.path == "a.bin" and expected in finding.message


def test_reports_are_ordered_and_merged() -> None:
    low, high = Finding("a", "low", "x", "m"), Finding("b", "critical", "x", "m")
    report = make_report([low, high])
    assert [each.rule for each in report.findings] == ["b", "a"] and worst_severity(
        report.findings
    ) == "critical"
    both = merge([make_report(incomplete=["y"]), Report("clean", checked=("z",))])
    assert (both.status, both.exit_code, both.checked) == ("incomplete", 2, ("z",))
    assert merge([report, both]).status == "findings"
    assert worst_severity([]) is None


def test_every_rule_is_documented() -> None:
    for name, rule in all_rules().items():
        assert name == rule.id and name.replace("-", "").isalpha()
        for text in (rule.title, rule.what, rule.why, rule.fix, rule.example, rule.false_positives):
            assert text.strip(), name
    assert MODULES
