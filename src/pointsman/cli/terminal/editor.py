"""Reads what the user types: lines with editing and history, and texts of several lines."""

from __future__ import annotations

import sys
from types import ModuleType

from pointsman.cli.terminal.history import History

__all__ = ["Editor"]

QUOTES = '"""'
FIRST, MORE = ">>> ", "... "


class Editor:
    """Standard input, which is a terminal. Without `history` nothing is kept in a file."""

    def __init__(self, history: History | None) -> None:
        self.history = history
        self._readline = _readline()
        if self._readline is not None:
            self._readline.set_auto_history(False)
            for entry in history.entries() if history else ():
                self._readline.add_history(entry)

    def read(self) -> str | None:
        """Give what was typed; None at the end of the input.

        Three quotes begin a text of several lines, at the start or after a command; three more end
        it. The quotes are left out.

        Raises:
            KeyboardInterrupt: Ctrl-C; what was typed is dropped.
        """
        line = self._line(FIRST)
        if line is None:
            return None
        before, quotes, text = line.partition(QUOTES)
        if not quotes or (before.strip() and not before.startswith("/")):
            self._remember(line)
            return line
        lines = []
        while QUOTES not in text:
            lines.append(text)
            more = self._line(MORE)
            if more is None:
                return None
            text = more
        text, _, after = text.partition(QUOTES)
        lines.append(text + after)
        whole = "\n".join(lines).strip("\n")
        self._remember(f"{before}{QUOTES}{whole}{QUOTES}")
        return before + whole

    def _line(self, prompt: str) -> str | None:
        # `input` puts its prompt on standard output; where that is no terminal it is for the answer.
        if not sys.stdout.isatty():
            sys.stderr.write(prompt)
            sys.stderr.flush()
            prompt = ""
        try:
            return input(prompt)
        except EOFError:
            return None

    def _remember(self, entry: str) -> None:
        if not entry.strip():
            return
        if self._readline is not None:
            self._readline.add_history(entry)
        if self.history is not None:
            self.history.add(entry)


def _readline() -> ModuleType | None:
    """Line editing, where this Python was built with it."""
    try:
        import readline
    except ImportError:
        return None
    return readline
