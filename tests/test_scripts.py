"""The set-up scripts, tried in a checkout of nothing but themselves and with fakes on PATH."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("awk", "cat", "cmp", "cp", "dirname", "grep", "rm", "mkdir", "chmod", "sh")

# Stands in for Python and writes down how it was called: `-m venv` makes a folder with itself in it,
# and the environment says whether it is too old and whether pip fails.
FAKE_PYTHON = """#!/bin/sh
echo "python $*" >>"$LOG"
case "$*" in
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*"import pip"*) exit 0 ;;
*"sys.exit(not"*) exit "${TOO_OLD:-0}" ;;
*"--require-hashes"*) exit "${PIP_FAILS:-0}" ;;
esac
"""
FAKE_UV = """#!/bin/sh
echo "uv $*" >>"$LOG"
case "$*" in
"pip install "*) exit 1 ;;
esac
"""


class Checkout:
    """A copy of the scripts, and what they called."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout of mine"
        self.tools = folder / "tools"
        self.log = folder / "log"
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        (self.root / "requirements").mkdir()
        (self.root / "requirements" / "test.txt").write_text("one==1 \\\n    --hash=sha256:00\n")
        (self.root / "pyproject.toml").write_text("[project]\n")
        self.tools.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found, name
            (self.tools / name).symlink_to(found)
        self.tool("python3", FAKE_PYTHON)

    def tool(self, name: str, text: str) -> None:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)

    def test(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            [str(self.root / "scripts" / "test"), *args],
            env={"PATH": str(self.tools), "LOG": str(self.log), **env},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
        )

    def calls(self, text: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if text in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_first_run_installs_the_lock_by_hash_and_the_next_one_nothing(
    checkout: Checkout,
) -> None:
    done = checkout.test("-x")
    assert done.returncode == 0, done.stderr
    assert len(checkout.calls("--require-hashes --only-binary :all:")) == 1
    assert len(checkout.calls("--no-deps --no-build-isolation -e")) == 1
    assert checkout.calls("-m pytest -x")

    assert checkout.test("-x").returncode == 0
    assert checkout.calls("") == ["python -m pytest -x"]


def test_a_changed_lock_makes_the_environment_anew(checkout: Checkout) -> None:
    checkout.test()
    (checkout.root / "requirements" / "test.txt").write_text("one==2 --hash=sha256:00\n")
    checkout.test()
    assert checkout.calls("--require-hashes") and checkout.calls("-m venv")


def test_a_changed_project_is_installed_again_and_nothing_else(checkout: Checkout) -> None:
    checkout.test()
    (checkout.root / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    checkout.test()
    assert checkout.calls("--no-deps") and not checkout.calls("--require-hashes")


def test_a_moved_checkout_makes_the_environment_anew(checkout: Checkout) -> None:
    checkout.test()
    checkout.root = checkout.root.rename(checkout.root.parent / "elsewhere")
    checkout.test()
    assert checkout.calls("--require-hashes")


def test_an_install_that_fails_is_no_environment(checkout: Checkout) -> None:
    failed = checkout.test(PIP_FAILS="1")
    assert failed.returncode != 0 and not checkout.calls("-m pytest")
    assert checkout.test().returncode == 0
    assert checkout.calls("--require-hashes")


def test_pip_takes_over_where_uv_fails(checkout: Checkout) -> None:
    checkout.tool("uv", FAKE_UV)
    done = checkout.test()
    assert done.returncode == 0, done.stderr
    assert checkout.calls("uv pip install") and checkout.calls("python -m pip install")
    assert "trying pip" in done.stderr


def test_without_a_usable_python_it_says_what_to_do(checkout: Checkout) -> None:
    done = checkout.test(TOO_OLD="1")
    assert done.returncode == 2
    assert "Python 3.11" in done.stderr and "PYTHON=" in done.stderr
    assert not checkout.calls("-m venv")
