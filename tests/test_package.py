"""What a user installs: the public names, the version, the locks."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pointsman
from pointsman import errors

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
# The extras and the group that scripts/lock pins in each file.
SETS = {
    "demo": (["local", "router"], "demo"),
    "test": (["local", "hub", "router", "train"], "test"),
    "bench": ([], "bench"),
    "bench-local": (["local"], "bench-local"),
    "bench-distill": (["train"], "bench-distill"),
    "bench-zoo": ([], "bench-zoo"),
    "ray": (["ray"], "ray"),
}

# A name that goes, or changes its meaning, breaks someone: take it out of here on purpose only.
PUBLIC = (Path(__file__).parent / "public_names.txt").read_text("utf-8").split()


def test_the_public_names_are_these() -> None:
    assert pointsman.__all__ == sorted(PUBLIC)
    for name in pointsman.__all__:
        assert getattr(pointsman, name).__doc__, name


def test_every_error_is_public() -> None:
    assert set(errors.__all__) <= set(pointsman.__all__)


def test_the_version_is_the_installed_one() -> None:
    assert pointsman.__version__ == importlib.metadata.version("pointsman")


def test_the_package_is_typed_and_licensed() -> None:
    assert (ROOT / "src" / "pointsman" / "py.typed").exists()
    licence = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in licence and "END OF TERMS AND CONDITIONS" in licence
    notice = (ROOT / "NOTICE").read_text("utf-8")
    assert "Pointsman" in notice
    for path in re.findall(r"src/[\w/.-]+\w", notice):
        assert (ROOT / path).exists(), f"NOTICE names {path}"
    assert PROJECT["project"]["license"] == "Apache-2.0"


def pins(lock: Path) -> dict[str, list[tuple[Requirement, list[str]]]]:
    """The lock's pins by name, each with its hashes; a package may be pinned per Python version."""
    found: dict[str, list[tuple[Requirement, list[str]]]] = {}
    text = lock.read_text("utf-8").replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        spec, *hashes = re.split(r"\s+--hash=", line)
        requirement = Requirement(spec)
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_holds_pins_with_hashes_and_no_address(lock: Path) -> None:
    assert "://" not in lock.read_text("utf-8")
    for entries in pins(lock).values():
        for requirement, hashes in entries:
            assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), requirement
            assert hashes, requirement
            assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), requirement


# WhiteLightning trains with TensorFlow; it is measured in an environment of its own.
@pytest.mark.parametrize(
    "lock",
    [
        lock
        for lock in LOCKS
        if lock.stem not in ("rival-whitelightning", "bench-zoo", "bench-routing")
    ],
    ids=lambda path: path.stem,
)
def test_no_lock_pulls_in_a_training_framework(lock: Path) -> None:
    heavy = {"torch", "tensorflow", "jax", "triton", "transformers"}
    assert heavy.isdisjoint(pins(lock))
    assert not any(name.startswith("nvidia-cu") for name in pins(lock))


def group(name: str) -> list[str]:
    wanted: list[str] = []
    for each in PROJECT["dependency-groups"][name]:
        wanted += group(each["include-group"]) if isinstance(each, dict) else [each]
    return wanted


@pytest.mark.parametrize("name", SETS)
def test_a_lock_is_of_what_the_project_asks_for(name: str) -> None:
    extras, own = SETS[name]
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *group(own)]
    wanted += [each for extra in extras for each in project["optional-dependencies"][extra]]
    locked = pins(ROOT / "requirements" / f"{name}.txt")
    for text in wanted:
        asked = Requirement(text)
        entries = locked.get(canonicalize_name(asked.name))
        assert entries, f"{asked.name} is not in the lock: run scripts/lock"
        for pinned, _ in entries:
            version = str(pinned.specifier).removeprefix("==")
            assert asked.specifier.contains(version, prereleases=True), text


@pytest.mark.parametrize(
    "name", ["demo", "test", "bench", "bench-local", "bench-distill", "bench-zoo", "ray"]
)
def test_a_lock_can_build_the_project_itself(name: str) -> None:
    assert {"hatchling", "editables"} <= pins(ROOT / "requirements" / f"{name}.txt").keys()
