"""What Python runs by itself as it starts: lines of .pth files, sitecustomize and usercustomize."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from pointsman.trust.environment.packages import Package
from pointsman.trust.findings import Finding
from pointsman.trust.rules.environment import STARTUP_CODE, STARTUP_MODULE

__all__ = ["StartUp", "check_startup", "read_startup"]

MAX_PTH_BYTES = 1024 * 1024
SHOWN_CHARS = 120
MODULES = ("sitecustomize", "usercustomize")
MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")
# Lines that well-known packages put there, each whole: what else stands in a line runs too. They are
# only passed over in a file that its package's RECORD has with this very content.
# Source: setuptools 60–83, coverage 7.10–7.16, as installed from PyPI, 2026-11.
KNOWN_LINES = (
    re.compile(
        r"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os\.environ\.get\(var, 'local'\) =="
        r" 'local'; enabled and __import__\('_distutils_hack'\)(\.add_shim\(\))?;?\s*"
    ),
    re.compile(
        r"import sys; exec\('try: import coverage; coverage\.process_startup\((slug=\"pth\")?\)"
        r"\\nexcept (Exception|ImportError): pass'\)\s*"
    ),
)


class StartUp(Struct, frozen=True):
    """One thing that runs as Python starts. `package` brought it, unchanged; None if none did.

    `line` counts from 1; 0 is the file as a whole.
    """

    path: str
    line: int
    code: str
    package: str | None
    known: bool


def read_startup(
    sites: Sequence[Path], paths: Sequence[Path], packages: Sequence[Package]
) -> Iterator[StartUp]:
    """Yield what runs at start: executed lines of the site folders' .pth files, and start-up modules.

    `paths` is where modules are looked for (`sys.path`), in order. Nothing is imported.
    """
    owners = _owners(packages)
    for site in sites:
        for name in _listed(site):
            if name.endswith(".pth"):
                yield from _of_pth(site / name, owners)
    for module in MODULES:
        for folder in dict.fromkeys([*paths, *sites]):
            for path in _modules(folder, module):
                package = _owner(path, owners)
                yield StartUp(str(path), 0, module, package, known=False)


def check_startup(found: Sequence[StartUp]) -> Iterator[Finding]:
    """Yield a finding for each thing that runs at start and is not a well-known package's own."""
    for each in found:
        if each.known:
            continue
        whose = f"{each.package} brought it" if each.package else "no installed package brought it"
        if each.line:
            message = f"it runs {each.code!r}; {whose}"
            yield STARTUP_CODE.finding(each.path, message, line=each.line)
        else:
            yield STARTUP_MODULE.finding(each.path, f"Python imports it as it starts; {whose}")


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir())
    except OSError:
        return []


def _owners(packages: Sequence[Package]) -> Mapping[str, tuple[str, str | None]]:
    """Real path → the package's title, and the hash that it says the file has."""
    owners = {}
    for package in packages:
        for each in package.files or ():
            if each.path.endswith((".pth", *MODULE_SUFFIXES)) and "/" not in each.path:
                owners[os.path.realpath(package.site / each.path)] = (package.title, each.sha256)
    return owners


def _owner(path: Path, owners: Mapping[str, tuple[str, str | None]]) -> str | None:
    title, digest = owners.get(os.path.realpath(path), (None, None))
    if title is None or digest is None:
        return None
    try:
        with path.open("rb") as file:
            return title if hashlib.file_digest(file, "sha256").hexdigest() == digest else None
    except OSError:
        return None


def _of_pth(path: Path, owners: Mapping[str, tuple[str, str | None]]) -> Iterator[StartUp]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PTH_BYTES + 1)
    except OSError as error:
        yield StartUp(str(path), 1, f"(cannot be read: {error.strerror})", None, known=False)
        return
    package = _owner(path, owners)
    # site.py reads it as UTF-8 (with a BOM from 3.13 on), else by the locale.
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if line.startswith(("import ", "import\t")):
            known = package is not None and any(form.fullmatch(line) for form in KNOWN_LINES)
            yield StartUp(str(path), number, line[:SHOWN_CHARS], package, known)
    if len(data) > MAX_PTH_BYTES:
        yield StartUp(str(path), 1, f"(over {MAX_PTH_BYTES} bytes)", package, known=False)


def _modules(folder: Path, module: str) -> Iterator[Path]:
    names = set(_listed(folder))
    if module in names and (folder / module).is_dir() and _listed(folder / module):
        yield folder / module
    for name in sorted(names):
        if name.partition(".")[0] == module and name.endswith(MODULE_SUFFIXES):
            yield folder / name
