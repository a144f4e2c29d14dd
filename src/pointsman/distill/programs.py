"""The programs that run a trained model in other languages: copied out of the package as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pointsman.errors import DistillError

__all__ = ["LANGUAGES", "program_files", "write_programs"]

LANGUAGES = (
    "browser",
    "c",
    "cpp",
    "csharp",
    "dart",
    "go",
    "java",
    "kotlin",
    "node",
    "python",
    "rust",
    "swift",
)
# Marks a file in the package that would be taken for a module of it.
TEMPLATE = ".template"
# Files that a language takes from another's folder.
SHARED = {"go": ("c/classifier.c", "c/classifier.h")}


def program_files(languages: Sequence[str] = LANGUAGES) -> dict[str, bytes]:
    """Give what `write_programs` writes, by path within its folder, with `/` between the parts.

    The programs hold nothing of a model: they are the same for all.

    Raises:
        DistillError: a language that there is no program in.
    """
    unknown = sorted(set(languages) - set(LANGUAGES))
    if unknown:
        raise DistillError(
            f"there is no program in {', '.join(unknown)}; there are: {', '.join(LANGUAGES)}"
        )
    root = files("pointsman").joinpath("data/programs")
    found = {"README.md": root.joinpath("README.md").read_bytes()}
    for language in sorted(set(languages)):
        for path, file in _walk(root.joinpath(language), language):
            found[path.removesuffix(TEMPLATE)] = file.read_bytes()
        for path in SHARED.get(language, ()):
            found[f"{language}/{path.rpartition('/')[2]}"] = root.joinpath(path).read_bytes()
    return found


def write_programs(folder: Path, languages: Sequence[str] = LANGUAGES) -> list[Path]:
    """Write a program for each language into a folder of its own, and give the files' paths.

    A file of the same name is replaced; others that lie in `folder` stay.

    Raises:
        DistillError: an unknown language, or a file that cannot be written.
    """
    written = []
    for name, data in program_files(languages).items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise DistillError(f"{path} cannot be written: {error.strerror or error}") from error
        written.append(path)
    return written


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        path = f"{prefix}/{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, path)
        else:
            yield path, entry
