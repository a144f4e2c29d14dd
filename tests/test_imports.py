"""Imports point down, and `import pointsman` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
MAX_LINES = 600

CORE = {"errors", "types", "config", "_bounded", "_http", "_sse", "_stream", "dialects.base"}
# What sits on the rooms and composes them for a caller: the client and the pieces it is made of.
CLIENT = {
    "client",
    "door",
    "dispatch",
    "served",
    "resolve",
    "listing",
    "options",
    "recall",
    "images",
    "classifiers",
    "guards",
    "said",
    "crosscheck",
    "quarantine",
    "calibration",
    "curves",
    "carry",
    "noting",
    "routing",
    "tickets",
    "outcomes",
    "replay",
    "relearn",
    "outcome_store",
}
BELOW_CLIENT = CORE | CLIENT | {"dialects", "providers", "router", "trust", "local", "distill"}
# A room may import itself and these. A new room must be given its place here.
ALLOWED: dict[str, set[str]] = {
    **{name: CORE - {"config"} for name in CORE},
    "config": {"errors", "_http", "_config_checks"},
    "_config_checks": {"config", "errors", "_http"},
    "dialects": CORE - {"config"},
    "providers": CORE,
    "router": CORE,
    "trust": CORE,
    "testing": CORE,
    "local": CORE | {"providers", "trust"},
    "distill": CORE | {"providers"},
    **dict.fromkeys(CLIENT, BELOW_CLIENT),
    "pointsman": BELOW_CLIENT,
    "gateway": BELOW_CLIENT,
    "demo": BELOW_CLIENT | {"gateway", "testing", "cli"},
    "cli": BELOW_CLIENT | {"gateway", "testing", "demo"},
    "__main__": {"cli"},
}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(SRC).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted((SRC / "pointsman").rglob("*.py"))}


def room_of(module: str) -> str:
    """The top-level part, but for `dialects.base`, which is core while its neighbours are not."""
    parts = module.split(".")[1:]
    if parts[:2] == ["dialects", "base"]:
        return "dialects.base"
    return parts[0] if parts else "pointsman"


def targets(node: ast.AST) -> Iterator[str]:
    """The modules of this package that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        base = node.module or ""
        if base == "pointsman" and [alias.name for alias in node.names] == ["__version__"]:
            return
        inner = [f"{base}.{alias.name}" for alias in node.names]
        names = [each if each in MODULES else base for each in inner]
    else:
        return
    yield from (name for name in names if name.split(".")[0] == "pointsman")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    room = room_of(module)
    assert room in ALLOWED, f"{module}: give the room '{room}' its place in ALLOWED"
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        for target in targets(node):
            assert room_of(target) in ALLOWED[room] | {room}, f"{module} may not import {target}"


def test_no_module_needs_itself_to_be_imported() -> None:
    graph = {
        module: {
            target
            for node in ast.parse(path.read_text("utf-8")).body
            for target in targets(node)
            if target != "pointsman"
        }
        for module, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_enough_to_read(module: str) -> None:
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    assert lines <= MAX_LINES, f"{module} has {lines} lines: look for a seam"


HEAVY = ("onnxruntime", "numpy", "uvicorn", "xllamacpp", "openai", "onnx", "scipy", "click")
NEVER = ("pydantic", "httpx", "requests", "torch", "cryptography")


def loaded_after(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_after("import pointsman")
    assert "pointsman" in loaded
    assert sorted(loaded & {*HEAVY, *NEVER}) == []


def test_the_command_line_loads_nothing_heavy() -> None:
    loaded = loaded_after("import pointsman.cli")
    assert "click" in loaded
    assert sorted(loaded & {*HEAVY, *NEVER} - {"click"}) == []
