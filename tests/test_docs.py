"""The documentation says what is so: made pages are fresh, examples load, links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from pointsman.config import load_config, parse_config
from pointsman.providers.registry import all_providers
from pointsman.trust.policy import load_policy

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLE = DOCS / "pointsman.example.toml"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def make_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["providers", "cli", "config", "rules"])
def test_a_made_page_is_as_the_code_has_it(make_docs: ModuleType, name: str) -> None:
    text = getattr(make_docs, f"{name}_page")()
    assert (DOCS / f"{name}.md").read_text("utf-8") == text, "run scripts/make_docs.py"


def test_the_provider_page_names_every_provider() -> None:
    text = (DOCS / "providers.md").read_text("utf-8")
    assert [name for name in all_providers() if f"| `{name}` |" not in text] == []


def test_the_example_configuration_loads_and_has_every_table() -> None:
    config = load_config(EXAMPLE, env={})
    assert config.routes["auto"].candidates
    text = EXAMPLE.read_text("utf-8")
    for name in re.findall(r"^## `\[(.+)\]`$", (DOCS / "config.md").read_text("utf-8"), re.M):
        table = re.escape(name).replace("NAME", r"[\w-]+")
        assert re.search(rf"^\[{table}\]$", text, re.M), f"no [{name}] in the example"


def test_the_index_lists_every_page() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    names = [page.name for page in DOCS.iterdir() if page.name != "index.md" and page.is_file()]
    assert [name for name in sorted(names) if f"({name})" not in index] == []


def test_every_dependency_is_accounted_for() -> None:
    text = (DOCS / "dependencies.md").read_text("utf-8")
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    names = {re.split(r"[>=<;\[ ]", each)[0] for group in groups for each in group}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


@each_page
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@each_page
def test_blocks_of_code_can_be_read(page: Path, tmp_path: Path) -> None:
    for language, text in re.findall(r"```(\w+)\n(.*?)```", page.read_text("utf-8"), re.S):
        if text.startswith("# policy.toml"):
            (tmp_path / "policy.toml").write_text(text)
            load_policy(tmp_path / "policy.toml")
        elif language == "toml":
            parse_config(text, name=page.name)
        elif language == "python":
            ast.parse(text)


@each_page
def test_the_scripts_that_a_page_names_can_be_run(page: Path) -> None:
    for name in set(re.findall(r"\./((?:scripts|\.ci)/[\w.-]+)", page.read_text("utf-8"))):
        assert os.access(ROOT / name, os.X_OK), f"{page.name} names {name}"
