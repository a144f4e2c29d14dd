"""Print what each dependency of the package weighs, installed: run it in an environment that has them."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))


def tree(asked: list[str]) -> set[str]:
    """Give the packages asked for and all that they bring here."""
    found: set[str] = set()
    queue = [Requirement(text) for text in asked]
    while queue:
        requirement = queue.pop()
        if requirement.name in found or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        found.add(requirement.name)
        inner = importlib.metadata.distribution(requirement.name).requires or []
        queue += [Requirement(text) for text in inner]
    return found


def size_bytes(name: str) -> int:
    files = importlib.metadata.distribution(name).files or []
    return sum(each.size or 0 for each in files)


def main() -> None:
    project = PROJECT["project"]
    sets = {"base": project["dependencies"], **project["optional-dependencies"]}
    for title, asked in sets.items():
        names = sorted(tree(asked))
        print(f"{title}: {len(names)} packages, {sum(map(size_bytes, names)) / 1e6:.1f} MB")
        for name in names:
            version = importlib.metadata.version(name)
            print(f"  {name:20} {version:16} {size_bytes(name) / 1e6:7.1f} MB")


if __name__ == "__main__":
    main()
