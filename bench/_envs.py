"""Makes the environment of each contender, from the locks in requirements/.

uv does the work where it is on PATH, else venv and pip. Where packages come from is the user's own
configuration of uv or pip; what they are is pinned by hash.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench"
# What installs and builds, and is no part of what runs.
_INSTALLERS = {"pip", "setuptools", "wheel"}
_BUILDERS = {
    *("hatchling", "editables", "packaging", "pathspec", "pluggy"),
    *("tomlkit", "trove_classifiers"),
}


class EnvironmentFailed(Exception):
    """An environment could not be made."""


def make_env(name: str, lock: str, *, with_project: bool = False) -> Path:
    """Give the interpreter of an environment that holds just what the lock says.

    Raises:
        EnvironmentFailed: neither uv nor pip could install it.
    """
    folder = HOME / f"env-{name}"
    python = folder / "bin" / "python"
    wanted = f"{folder}\n{(ROOT / 'requirements' / lock).read_text('utf-8')}"
    stamp = folder / ".lock"
    if not (python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted):
        say(f"{name}: making .bench/{folder.name} from requirements/{lock} (once) ...")
        _install(folder, python, ROOT / "requirements" / lock)
        stamp.write_text(wanted, "utf-8")
    if with_project:
        _install_project(python)
    return python


def _install(folder: Path, python: Path, lock: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    HOME.mkdir(exist_ok=True)
    options = ["--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps"]
    options += ["-r", str(lock)]
    uv = shutil.which("uv")
    if uv is not None:
        make = [uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder)]
        if _did(make) and _did([uv, "pip", "install", "--python", str(python), *options]):
            return
        # A mirror or a certificate is often told to pip alone.
        say("uv could not do it; trying pip, which has a configuration of its own.")
        shutil.rmtree(folder, ignore_errors=True)
    if not _did([sys.executable, "-m", "venv", str(folder)]):
        raise EnvironmentFailed("no virtual environment; on Debian venv is in python3-venv")
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if not _did([*pip, *options]):
        raise EnvironmentFailed(f"pip could not install {lock.name}; its messages are above")


def _install_project(python: Path) -> None:
    """Install this checkout as a user has it: a built wheel, no extras, not editable."""
    build = ["--quiet", "--no-deps", "--no-build-isolation"]
    uv = shutil.which("uv")
    if not _did([str(python), "-c", "import pip"], loud=False) and uv is not None:
        command = [uv, "pip", "install", "--python", str(python), "--reinstall", *build]
    else:
        command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *build]
        command += ["--force-reinstall"]
    if not _did([*command, str(ROOT)]):
        raise EnvironmentFailed("this checkout could not be installed; the messages are above")


def weight(python: Path, *, with_builders: bool) -> dict[str, int]:
    """Count an environment's packages and their bytes, less the tools that install and build.

    Bytes of compiled Python are left out: they come and go with use.
    """
    left_out = _INSTALLERS if with_builders else _INSTALLERS | _BUILDERS
    packages = size_bytes = 0
    for record in _site(python).glob("*.dist-info/RECORD"):
        if record.parent.name.partition("-")[0].lower() in left_out:
            continue
        packages += 1
        with record.open(encoding="utf-8", newline="") as lines:
            files = [record.parent.parent / row[0] for row in csv.reader(lines) if row]
        size_bytes += sum(
            file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file()
        )
    return {"packages": packages, "size_bytes": size_bytes}


def _site(python: Path) -> Path:
    return next((python.parent.parent / "lib").glob("python3.*")) / "site-packages"


def version(python: Path, package: str) -> str:
    """The version of an installed package."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _did(command: Sequence[str], *, loud: bool = True) -> bool:
    out = None if loud else subprocess.DEVNULL
    return subprocess.run(command, cwd=ROOT, stdout=out, stderr=out).returncode == 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
