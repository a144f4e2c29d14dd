"""Fetches packages through the installed pip or uv.

The package registry is reached by the user's own tool, so that their index, mirror, proxy and
credentials hold, and no address stands here. The tool checks a wheel's hash before it unpacks.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from pointsman.errors import LocalError

__all__ = ["Installer", "Pin", "check_packages", "fetch_packages", "installers", "run_tool"]

LAUNCHER = Path(__file__).parent.parent / "launch.py"
LOOK_S = 0.2
TIMEOUT_S = 6 * 3600.0
TAIL_BYTES = 8192
TAIL_LINES = 8


class Pin(Struct, frozen=True):
    """A package at one version; with `sha256`, the wheel that has it and no other."""

    package: str
    version: str
    sha256: str | None = None

    @property
    def line(self) -> str:
        """It as a line of a requirements file."""
        must = f" --hash=sha256:{self.sha256}" if self.sha256 else ""
        return f"{self.package}=={self.version}{must}"


class Installer(Struct, frozen=True):
    """A tool that fetches packages: `kind` is pip or uv, `command` how it is called."""

    kind: str
    command: tuple[str, ...]

    def arguments(self, requirements: Path, target: Path, hashed: bool) -> list[str]:
        """The command that puts what `requirements` pins, and nothing else, into `target`.

        `hashed` says that each line has its hash, which must hold.

        pip leaves a wheel there, uv what is in it. Nothing is built, and no cache of theirs is
        used: a model would lie on the disk twice.
        """
        must = ["--require-hashes"] if hashed else []
        if self.kind == "pip":
            return [
                *self.command, "download", *must, "--no-deps",
                "--only-binary=:all:", "--no-cache-dir", "--no-input",
                "--disable-pip-version-check", "--progress-bar=off",
                "--dest", str(target), "--requirement", str(requirements),
            ]  # fmt: skip
        return [
            *self.command, "pip", "install", *must, "--no-deps",
            "--only-binary", ":all:", "--no-cache", "--no-progress",
            "--python", sys.executable,
            "--target", str(target), "--requirement", str(requirements),
        ]  # fmt: skip


def installers() -> list[Installer]:
    """The tools that are here, in the order to try: this environment's pip, uv, a pip on PATH.

    A mirror is often told to one of them alone, so that the next is worth a try. An environment
    made by uv has no pip; a pip on PATH may belong to another Python, which does no harm to a
    wheel that holds data.
    """
    found = []
    if importlib.util.find_spec("pip") is not None:
        found.append(Installer("pip", (sys.executable, "-m", "pip")))
    # `uv run` names itself in $UV, and need not be on PATH.
    uv = shutil.which("uv") or shutil.which(os.environ.get("UV") or "uv")
    if uv is not None:
        found.append(Installer("uv", (uv,)))
    other = shutil.which("pip3") or shutil.which("pip")
    if other is not None and not any(each.kind == "pip" for each in found):
        found.append(Installer("pip", (other,)))
    return found


def fetch_packages(pins: Sequence[Pin], scratch: Path, progress: Callable[[int], None]) -> Path:
    """Fetch the packages; gives a folder with their wheels, or what is in them.

    Runs one child process after another until one does it, in folders of `scratch`. `progress` is
    called about five times a second with the bytes so far, and ends the child if it raises.

    Raises:
        LocalError: neither pip nor uv is here, or none of them could do it; what they said is in
            the message, without credentials.
    """
    tools = installers()
    names = ", ".join(f"{pin.package}=={pin.version}" for pin in pins[:3])
    names += " …" if pins[3:] else ""
    if not tools:
        raise LocalError(
            f"{names} is fetched by pip or uv, and neither is here:"
            f" run '{sys.executable} -m ensurepip', or install uv"
        )
    requirements = scratch / "requirements.txt"
    requirements.write_text("".join(f"{pin.line}\n" for pin in pins), "utf-8")
    hashed = all(pin.sha256 for pin in pins)
    failures = []
    for number, tool in enumerate(tools):
        folder = scratch / str(number)
        package = folder / "package"
        package.mkdir(parents=True)
        command = tool.arguments(requirements, package, hashed)
        said = run_tool(command, folder, progress, TIMEOUT_S)
        if said is None:
            return package
        failures.append(f"{' '.join(tool.command)}:\n{said}")
        shutil.rmtree(folder, ignore_errors=True)
    raise LocalError(f"{names} could not be fetched by\n" + "\n".join(failures))


def check_packages(
    tool: Installer,
    pins: Sequence[Pin],
    wheels: Path,
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    """Let pip hold the wheels of a folder against the hashes that its index has for them.

    It keeps a file that is there and has the index's hash, and fetches one anew that has not.
    Works in `folder`.

    Raises:
        LocalError: it could not be done; what pip said is in the message.
    """
    folder.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{pin.line}\n" for pin in pins), "utf-8")
    said = run_tool(tool.arguments(requirements, wheels, False), folder, progress, TIMEOUT_S)
    if said is not None:
        names = ", ".join(f"{pin.package}=={pin.version}" for pin in pins[:3])
        raise LocalError(f"{names} could not be checked by {' '.join(tool.command)}:\n{said}")


def run_tool(
    command: Sequence[str], folder: Path, progress: Callable[[int], None], timeout_s: float
) -> str | None:
    """Run the command; gives None, or the end of what it said if it failed, without credentials.

    All that it says is in the file `log` of the folder, which is its folder for temporary files
    too. `progress` gets the bytes in it about five times a second, and ends the command if it
    raises.
    """
    log = folder / "log"
    environment = {
        **os.environ,
        # Both hold what they fetch in a temporary folder: ours can be watched, and is removed.
        "TMPDIR": str(folder),
        # A rule about where packages may be installed; nothing is installed here.
        "PIP_REQUIRE_VIRTUALENV": "0",
    }
    # Through the launcher, so that the fetch ends with us even when we are killed.
    command = [sys.executable, "-P", str(LAUNCHER), str(os.getpid()), *command]
    most = 0
    with (
        log.open("wb") as sink,
        subprocess.Popen(  # noqa: S603  # a fixed command; names and versions are checked
            command, stdin=subprocess.PIPE, stdout=sink, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            for _ in range(int(timeout_s / LOOK_S)):
                try:
                    process.wait(LOOK_S)
                    break
                except subprocess.TimeoutExpired:
                    # What is moved or unpacked is there twice for a while: never go back.
                    most = max(most, _bytes_in(folder))
                    progress(most)
            else:
                return f"it was not done in {timeout_s:g} s"
        finally:
            process.kill()
    return None if process.returncode == 0 else _tail(log)


def _bytes_in(folder: Path) -> int:
    size = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                size += (Path(root) / name).lstat().st_size
            except OSError:
                continue  # Moved away between the look and the question.
    return size


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()][-TAIL_LINES:]
    # An address may hold a user's name and password; both tools mask them, not in every message.
    return re.sub(r"://[^/\s@]+@", "://***@", "\n".join(lines)) or "it said nothing"
