"""Every public name says what is true of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
MODULES = sorted((SRC / "pointsman").rglob("*.py"))

Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def is_public(node: Documented, exported: set[str] | None) -> bool:
    if exported is not None:
        return node.name in exported
    return not node.name.startswith("_")


def is_exempt(node: Documented) -> bool:
    """Overloads and property setters share the docstring of what they belong to."""
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    return any(mark == "overload" or mark.endswith(".setter") for mark in marks)


def public(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    exported = exports(tree)
    for node in tree.body:
        if isinstance(node, Documented) and is_public(node, exported) and not is_exempt(node):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if not isinstance(inner, Documented) or is_exempt(inner):
                        continue
                    if is_public(inner, None):
                        yield f"{node.name}.{inner.name}", inner


def exports(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    if tree.body:
        assert ast.get_docstring(tree), "the module has no docstring"
    missing, unfit = [], []
    for name, node in public(tree):
        text = ast.get_docstring(node) or ""
        first = text.partition("\n\n")[0].strip()
        if not first:
            missing.append(name)
        elif not first.endswith((".", "!", "?", ":")):
            unfit.append(name)
    assert missing == [], "no docstring"
    assert unfit == [], "the first line is no sentence"
