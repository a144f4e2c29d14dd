"""The check of an environment: each kind of plant in a scratch site folder, and an honest one."""

from __future__ import annotations

import base64
import hashlib
import json
import py_compile
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pointsman.cli import cli
from pointsman.trust.environment import startup as startup_module
from pointsman.trust.environment.check import check_environment, quick_check
from pointsman.trust.environment.packages import Recorded, read_packages
from pointsman.trust.environment.releases import (
    Locked,
    check_locked,
    load_bad_releases,
    load_locked,
    record_digest,
)


def install(site: Path, name: str, version: str, files: dict[str, str], points: str = "") -> Path:
    """Lay a package down as an installer does, RECORD and all."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    whole = {**files, f"{info}/METADATA": f"Name: {name}\nVersion: {version}\n"}
    if points:
        whole[f"{info}/entry_points.txt"] = points
    lines = []
    for path, text in whole.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        lines.append(f"{path},sha256={digest.rstrip('=')},{len(text.encode())}")
    (site / info / "RECORD").write_text("\n".join([*lines, f"{info}/RECORD,,"]) + "\n")
    return site / info


SHIM = (
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local';"
    " enabled and __import__('_distutils_hack').add_shim(); \n"
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site-packages"
    install(folder, "honest", "1.0", {"honest/__init__.py": "x = 1\n", "honest/data.txt": "y\n"})
    install(
        folder, "setuptools", "83.0.0",
        {"distutils-precedence.pth": SHIM, "_distutils_hack/__init__.py": "def add_shim(): ...\n"},
    )  # fmt: skip
    install(folder, "paths", "2.0", {"paths.pth": "/somewhere/else\n# import of nothing\n"})
    return folder


def rules(site: Path, *more: Path) -> dict[str, str]:
    """Rule → the name of the file that it was found at."""
    checked = check_environment([site], [site, *more], {})
    return {each.rule: Path(each.path).name for each in checked.report.findings}


def test_an_honest_environment_has_no_finding_and_names_what_runs_at_start(site: Path) -> None:
    checked = check_environment([site], [site], {"LD_PRELOAD": "/lib/x.so"})
    assert (checked.report.status, checked.report.findings, checked.packages) == ("clean", (), 3)
    (shim,) = checked.startup
    assert shim.known and shim.package == "setuptools 83.0.0" and shim.line == 1
    assert any(each.startswith("LD_PRELOAD is set") for each in checked.limits)
    assert quick_check([site], [site]).status == "clean"


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("zz.pth", "import base64; exec(base64.b64decode('cGFzcw=='))\n", "environment-startup-code"),
        ("zz.pth", "/a/path\nimport\tos\n", "environment-startup-code"),
        ("zz.pth", SHIM, "environment-startup-code"),
        ("sitecustomize.py", "pass\n", "environment-startup-module"),
        ("usercustomize.py", "pass\n", "environment-startup-module"),
        ("sitecustomize/__init__.py", "pass\n", "environment-startup-module"),
    ],
)  # fmt: skip
def test_what_runs_at_start_is_found_by_the_cheap_check_too(
    site: Path, name: str, text: str, rule: str
) -> None:
    (site / name).parent.mkdir(exist_ok=True)
    (site / name).write_text(text)
    assert rule in rules(site)
    quick = quick_check([site], [site])
    assert quick.status == "findings" and rule in {each.rule for each in quick.findings}


def test_a_start_up_module_elsewhere_on_the_path_is_found(site: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sitecustomize.py").write_text("pass\n")
    assert rules(site, tmp_path / "other") == {"environment-startup-module": "sitecustomize.py"}


def test_a_well_known_line_that_was_added_to_is_no_longer_known(site: Path) -> None:
    """The stolen form: a package's own .pth file, with something more in the line."""
    hook = "_distutils_hack/__init__.py"
    line = SHIM.rstrip() + " import evil\n"
    install(site, "setuptools", "83.0.0", {"distutils-precedence.pth": line, hook: ""})
    assert rules(site) == {"environment-startup-code": "distutils-precedence.pth"}


def test_a_known_line_in_a_file_that_changed_since_is_a_finding(site: Path) -> None:
    (site / "distutils-precedence.pth").write_text("# more\n" + SHIM)
    assert set(rules(site)) == {"environment-startup-code", "environment-file-changed"}


def test_a_package_that_brought_its_own_hook_is_named(site: Path) -> None:
    install(site, "litellm", "1.82.8", {"litellm_init.pth": "import os, subprocess\n"})
    report = quick_check([site], [site])
    by_rule = {each.rule: each for each in report.findings}
    assert "litellm 1.82.8 brought it" in by_rule["environment-startup-code"].message
    assert "PYSEC-2026-2" in by_rule["environment-release-known-bad"].message


def test_changed_missing_and_added_files_are_found(site: Path) -> None:
    (site / "honest" / "__init__.py").write_text("x = 2\n")
    (site / "honest" / "data.txt").unlink()
    (site / "honest" / "_extra.py").write_text("x = 3\n")
    (site / "honest" / "notes.txt").write_text("no code\n")
    assert rules(site) == {
        "environment-file-changed": "__init__.py",
        "environment-file-missing": "data.txt",
        "environment-file-unrecorded": "_extra.py",
    }


def test_caches_that_python_runs_unread_are_found(site: Path) -> None:
    source = site / "honest" / "__init__.py"
    cached = py_compile.compile(str(source), doraise=True)
    assert cached and rules(site) == {}
    unread = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), doraise=True, invalidation_mode=unread)
    assert rules(site) == {"environment-cache-unchecked": Path(cached).name}
    shutil.move(cached, site / "alone.pyc")
    assert rules(site) == {"environment-cache-unchecked": "alone.pyc"}


@pytest.mark.parametrize(
    ("points", "rule"),
    [
        ("[pointsman.plugins]\nx = evil:load\n", "environment-entry-point-foreign"),
        ("[console_scripts]\npointsman = evil:main\n", "environment-script-foreign"),
    ],
)
def test_entry_points_in_our_name_are_found(site: Path, points: str, rule: str) -> None:
    install(site, "extras", "0.1", {"extras.py": "pass\n"}, points)
    assert rules(site) == {rule: "entry_points.txt"}
    install(
        site,
        "pointsman",
        "0.1",
        {"pointsman.py": ""},
        "[console_scripts]\npointsman = pointsman:m\n",
    )
    assert rules(site) == {rule: "entry_points.txt"}


def test_a_package_without_a_record_is_no_pass(site: Path) -> None:
    (site / "honest-1.0.dist-info" / "RECORD").unlink()
    checked = check_environment([site], [site], {})
    assert any("honest 1.0 has no RECORD" in each for each in checked.report.incomplete)


def test_no_package_at_all_is_no_pass(tmp_path: Path) -> None:
    assert check_environment([tmp_path], [tmp_path], {}).report.exit_code == 2


def test_the_locked_version_with_other_content_is_found(site: Path) -> None:
    (honest,) = [each for each in read_packages([site]) if each.name == "honest"]
    assert honest.files is not None
    good = {"honest": Locked("1.0", (record_digest(honest.files),))}
    assert list(check_locked([honest], good)) == []
    (finding,) = check_locked([honest], {"honest": Locked("1.0", ("0" * 64,))})
    assert not isinstance(finding, str) and finding.rule == "environment-lock-mismatch"
    assert "not the version that is locked" in str(
        *check_locked([honest], {"honest": Locked("9", ())})
    )


def test_a_digest_is_of_what_was_published_and_of_nothing_an_installer_adds() -> None:
    published = (Recorded("a/b.py", "00" * 32, 3), Recorded("a-1.dist-info/METADATA", "11" * 32, 4))
    added = (
        Recorded("a-1.dist-info/RECORD", None, None),
        Recorded("a-1.dist-info/INSTALLER", "22" * 32, 4),
        Recorded("a/__pycache__/b.cpython-311.pyc", None, None),
        Recorded("../../../bin/a", "33" * 32, 9),
    )
    assert record_digest((*added, *published)) == record_digest(published)
    changed = (Recorded("a/b.py", "ff" * 32, 3), published[1])
    assert record_digest(changed) != record_digest(published)


def test_the_packages_that_we_need_are_those_of_the_lock() -> None:
    """In this very environment, which was installed from the lock: nothing is of other content."""
    ours = load_locked()
    assert set(ours) == {"click", "h11", "httptools", "msgspec", "uvicorn", "uvloop"}
    sites = [Path(each) for each in sys.path if each.endswith("site-packages")]
    packages = [each for each in read_packages(sites) if each.name in ours]
    found = [each for each in check_locked(packages, ours) if not isinstance(each, str)]
    assert len(packages) >= 5 and found == []


def test_every_known_release_has_its_source() -> None:
    for each in load_bad_releases():
        assert each.versions and each.advisory and each.date and each.what


def test_the_command_says_it_in_words_and_in_json(site: Path) -> None:
    runner = CliRunner()
    found = runner.invoke(cli, ["trust", "self", "--site", str(site)], standalone_mode=False)
    assert found.return_value == 0
    assert "nothing found in this search space (3 packages)" in found.output
    assert "runs at start, known" in found.output
    (site / "zz.pth").write_text("import os\n")
    found = runner.invoke(
        cli, ["trust", "self", "--site", str(site), "--json"], standalone_mode=False
    )
    value = json.loads(found.output)
    assert found.return_value == 1 and value["status"] == "findings"
    assert value["findings"][0]["rule"] == "environment-startup-code"


def serve(tmp_path: Path, mode: str) -> tuple[str, str]:
    """Start the gateway with a start-up module on its path, until it listens or ends; gives both streams."""
    (tmp_path / "c.toml").write_text(f'[trust]\nmode = "{mode}"\n')
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "usercustomize.py").write_text("")
    env = {
        "PYTHONPATH": f"{tmp_path / 'plant'}:{Path(startup_module.__file__).parents[3]}",
        "POINTSMAN_HOME": str(tmp_path / "home"),
        "PATH": "/usr/bin:/bin",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "pointsman", "serve", "--json", "--port", "0", "--config", "c.toml"],
        cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()
        _, errors = process.communicate(timeout=60)
    return first, errors


def test_the_gateway_refuses_to_start_where_it_is_told_to_enforce(tmp_path: Path) -> None:
    first, errors = serve(tmp_path, "enforce")
    error = json.loads(first)["error"]
    assert error["code"] == "trust_error" and "does not start" in error["message"]
    assert "environment-startup-module" in errors


def test_the_gateway_says_what_it_found_and_starts_where_it_is_told_to_warn(tmp_path: Path) -> None:
    first, errors = serve(tmp_path, "warn")
    assert json.loads(first)["event"] == "listening"
    assert "environment-startup-module" in errors


def test_nothing_is_looked_at_where_it_is_off(tmp_path: Path) -> None:
    first, errors = serve(tmp_path, "off")
    assert json.loads(first)["event"] == "listening"
    assert "environment" not in errors


def test_the_lock_of_records_is_of_the_versions_that_are_locked() -> None:
    """After scripts/lock comes scripts/lock_records.py."""
    text = (Path(__file__).parents[2] / "requirements" / "bench.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", text, re.MULTILINE))
    assert {name: lock.version for name, lock in load_locked().items()}.items() <= pinned.items()
