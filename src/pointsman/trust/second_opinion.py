"""Asks other scanners about files with pickles, each in a process of its own with limits.

picklescan comes with the extra `scan`. modelscan and modelaudit are asked where they are on PATH.
None of them is imported here: they read hostile files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pointsman.trust.findings import Finding, Report, make_report
from pointsman.trust.rules.pickles import PICKLE_SECOND_OPINION

__all__ = ["second_opinions"]

TIMEOUT_S = 300
MAX_FILES = 200
MAX_OUTPUT = 16 * 1024 * 1024
_NAMES_SHOWN = 20
_CHILD = """
import json, resource, sys
limit = 2 * 1024**3
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from picklescan.scanner import scan_file_path
out = []
for path in sys.argv[1:]:
    result = scan_file_path(path)
    out.append([path, [[g.module, g.name, g.safety.value] for g in result.globals], bool(result.scan_err)])
print("RESULT " + json.dumps(out))
"""


def second_opinions(files: Sequence[Path], root: Path) -> Report:
    """Give what other scanners say of these files; `checked` names the scanners that were asked.

    A scanner that fails, or that could not read a file, is noted as not checked.
    """
    if not files:
        return make_report()
    findings: list[Finding] = []
    incomplete: list[str] = []
    tools: list[str] = []
    asked = list(files[:MAX_FILES])
    if len(files) > MAX_FILES:
        incomplete.append(
            f"other scanners were asked about the first {MAX_FILES} of {len(files)} files"
        )
    for name, ask in (
        ("picklescan", _picklescan),
        ("modelscan", _modelscan),
        ("modelaudit", _modelaudit),
    ):
        if not _there(name):
            continue
        tools.append(name)
        try:
            for path, message in ask(asked):
                findings.append(
                    PICKLE_SECOND_OPINION.finding(_relative(path, root), f"{name}: {message}")
                )
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
            incomplete.append(
                f"{name} could not be asked: {type(error).__name__}: {str(error)[:200]}"
            )
    return make_report(findings, incomplete, tools)


def _there(name: str) -> bool:
    if name == "picklescan":
        return importlib.util.find_spec(name) is not None
    return shutil.which(name) is not None


def _relative(path: str, root: Path) -> str:
    try:
        return str(Path(path).relative_to(root)) if root.is_dir() else Path(path).name
    except ValueError:
        return path


def _run(command: Sequence[str]) -> str:
    # Keys of the user's have no business in their environment; nor have their telemetry's hosts.
    quiet = {"NO_ANALYTICS": "1", "PROMPTFOO_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, timeout=TIMEOUT_S, env={**kept, **quiet}, stdin=subprocess.DEVNULL, check=False
    )  # fmt: skip
    return done.stdout[:MAX_OUTPUT].decode("utf-8", "replace")


def _picklescan(files: Iterable[Path]) -> list[tuple[str, str]]:
    out = _run([sys.executable, "-I", "-c", _CHILD, *map(str, files)])
    match = re.search(r"^RESULT (.*)$", out, re.M)
    if match is None:
        raise ValueError("it gave no result")
    found = []
    for path, names, failed in json.loads(match[1]):
        bad = [f"{module}.{name}" for module, name, safety in names if safety == "dangerous"]
        if bad:
            found.append((path, f"dangerous imports: {', '.join(bad[:_NAMES_SHOWN])[:300]!a}"))
        elif failed:
            found.append((path, "it could not read the file"))
    return found


def _modelscan(files: Iterable[Path]) -> list[tuple[str, str]]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.json"
        for path in files:
            target.unlink(missing_ok=True)
            # What it prints is wrapped to the width of a terminal; the file is not.
            _run(["modelscan", "scan", "-p", str(path), "-r", "json", "-o", str(target)])
            for issue in json.loads(target.read_bytes()[:MAX_OUTPUT])["issues"]:
                found.append((str(path), f"{issue['severity']}: {str(issue['description'])[:300]}"))
    return found


def _modelaudit(files: Iterable[Path]) -> list[tuple[str, str]]:
    names = [str(path) for path in files]
    out = _run(["modelaudit", "scan", "--format", "json", "--quiet", *names])
    start = out.find("{")
    result: dict[str, Any] = json.loads(out[start:]) if start >= 0 else {}
    return [
        (_place(str(issue.get("location") or ""), names), str(issue["message"])[:300])
        for issue in result["issues"]
        if issue.get("severity") in ("critical", "warning")
    ]


def _place(location: str, names: Iterable[str]) -> str:
    """Write modelaudit's `FILE:MEMBER (pos N)` as ours, `FILE!MEMBER`."""
    bare = location.split(" (pos ")[0]
    for name in names:
        if bare.startswith(f"{name}:"):
            return f"{name}!{bare[len(name) + 1 :]}"
    return bare
