"""What is shown: an answer as it comes, notes beside it, and a sign that something is awaited.

Where the output is no terminal, or a dumb one, there are no colours and nothing moves.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click

__all__ = ["Screen", "harmless"]

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_S = 0.1
# A model's text must not move the cursor, set the title or hide what stands there. C0 controls
# become their pictures (U+2400 …), C1 controls and DEL too; line ends and tabs stay.
_HARMLESS = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}


def harmless(text: str) -> str:
    """Give the text with its control characters made visible; line ends and tabs stay."""
    return text.translate(_HARMLESS)


class Screen:
    """Standard output and standard error of this process. `env` is the environment."""

    def __init__(self, env: Mapping[str, str]) -> None:
        able = env.get("TERM", "dumb") not in ("dumb", "")
        self.is_terminal = sys.stdout.isatty()
        self.styled = self.is_terminal and able and not env.get("NO_COLOR")
        self._moving = sys.stderr.isatty() and able
        self._error_terminal = sys.stderr.isatty()
        self._error_styled = self._moving and not env.get("NO_COLOR")
        self._in_thoughts = False
        self._line_open = False

    def text(self, text: str) -> None:
        """Show more of an answer."""
        if self._in_thoughts:
            self._end_thoughts()
        if text:
            click.echo(harmless(text) if self.is_terminal else text, nl=False, color=True)
            self._line_open = not text.endswith("\n")

    def thought(self, text: str) -> None:
        """Show more of what the model thinks: dim; on a pipe not at all."""
        if not self.is_terminal or not text:
            return
        if not self._in_thoughts:
            self._in_thoughts = True
            if not self.styled:
                click.echo("(thinks) ", nl=False)
        shown = harmless(text)
        click.echo(click.style(shown, dim=True) if self.styled else shown, nl=False, color=True)
        self._line_open = not text.endswith("\n")

    def end(self) -> None:
        """End an answer: the next thing begins a line."""
        if self._in_thoughts:
            self._end_thoughts()
        if self._line_open:
            click.echo()
            self._line_open = False

    def _end_thoughts(self) -> None:
        self._in_thoughts = False
        self.end()
        click.echo()

    def say(self, text: str) -> None:
        """Show a line of our own on standard output."""
        click.echo(harmless(text) if self.is_terminal else text)

    def note(self, text: str, *, bad: bool = False) -> None:
        """Show a line beside the answer, on standard error."""
        shown = harmless(text) if self._error_terminal else text
        style = {"fg": "red"} if bad else {"dim": True}
        click.echo(
            click.style(shown, **style) if self._error_styled else shown,
            err=True,
            color=self._error_styled,
        )

    @contextmanager
    def waiting(self, label: str) -> Iterator[Callable[[], None]]:
        """Show on standard error that something is awaited, until the function given is called.

        A terminal that can't move its cursor gets the label once, a pipe nothing.
        """
        over = threading.Event()
        if not self._moving:
            if label and self._error_terminal:
                click.echo(f"{label} …", err=True)
            yield over.set
            return
        thread = threading.Thread(target=_spin, args=(label, over), daemon=True)
        thread.start()

        def stop() -> None:
            if not over.is_set():
                over.set()
                thread.join()

        try:
            yield stop
        finally:
            stop()


def _spin(label: str, over: threading.Event) -> None:
    # Short waits show nothing: what only flickers helps nobody.
    if over.wait(FRAME_S):
        return
    for frame in itertools.cycle(FRAMES):
        sys.stderr.write(f"\r{frame} {label}\x1b[K")
        sys.stderr.flush()
        if over.wait(FRAME_S):
            break
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()
