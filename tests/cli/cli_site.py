"""The command line as a user has it: in an empty home, plain or in a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any, Self

sys.path.append(str(Path(__file__).parent.parent / "local"))

import tiny_gguf

from pointsman.config import Config, load_config

# Makes its standard input the terminal that Ctrl-C comes from.
_LAUNCH = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    # A test run in the background of a shell has Ctrl-C ignored, and so would all that it starts.
    " signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.executable, [sys.executable, '-m', 'pointsman', *sys.argv[1:]])"
)
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


def environment(home: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_TOKEN"))}
    kept.pop("NO_COLOR", None)
    own = {"POINTSMAN_HOME": str(home / "data"), "HOME": str(home), "TERM": "xterm-256color"}
    return {**kept, **own, **(extra or {})}


class Site:
    """A home with a configuration; `call` runs a verb to its end, `terminal` in a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "c.toml"
        self.env: dict[str, str] = {}

    def write(self, *blocks: str) -> Path:
        self.file.write_text("\n".join(blocks))
        return self.file

    def config(self) -> Config:
        return load_config(self.file, environment(self.folder, self.env))

    def model(self, name: str = "tiny.gguf", **facts: Any) -> Path:
        path = self.folder / name
        return path if path.exists() else tiny_gguf.write_llama(path, **facts)

    def call(self, *args: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pointsman", *args, "--config", str(self.file)],
            input=text, capture_output=True, text=True, timeout=60, cwd=self.folder,
            env=environment(self.folder, self.env),
        )  # fmt: skip

    def terminal(self, *args: str, **env: str) -> Terminal:
        return Terminal(
            [*args, "--config", str(self.file)],
            self.folder,
            environment(self.folder, {**self.env, **env}),
        )


class Terminal:
    """A process whose three streams are one terminal."""

    def __init__(self, args: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.seen = ""
        self._mark = 0
        self._end, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *args],
            stdin=inner, stdout=inner, stderr=inner, cwd=cwd, env=env, start_new_session=True,
        )  # fmt: skip
        os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        os.close(self._end)

    def send(self, text: str) -> None:
        os.write(self._end, text.encode())

    def line(self, text: str) -> None:
        """Type a line, once the prompt is there."""
        self.expect(r"(>>>|\.\.\.) ")
        self.send(text + "\n")
        # What the terminal echoes is not the program's.
        self.expect(re.escape(text[-40:].strip()) or r"\n")

    def expect(self, pattern: str) -> str:
        """Wait for what comes after the last thing that was waited for; gives all up to it."""
        until = time.monotonic() + 30
        while True:
            found = re.compile(pattern).search(self.seen, self._mark)
            if found is not None:
                before = self.seen[self._mark : found.end()]
                self._mark = found.end()
                return before
            if not self._read(until - time.monotonic()):
                raise AssertionError(f"no {pattern!r} in {self.seen[self._mark :]!r}")

    def end(self) -> int:
        """Wait for the end of the process; gives its exit code."""
        until = time.monotonic() + 30
        while self._read(until - time.monotonic()):
            pass
        return self.process.wait(10)

    def _read(self, seconds: float) -> bool:
        if seconds <= 0 or not select.select([self._end], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:  # Linux says so that the other end is closed.
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)
