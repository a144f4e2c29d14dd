"""A conversation: what was said, by which settings, and how it is kept in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from pointsman.cli.terminal.parameters import check_value
from pointsman.errors import RequestError
from pointsman.types import Message, Part, Text

__all__ = ["FORMAT", "Conversation"]

Format: TypeAlias = Literal["pointsman-conversation-1"]
FORMAT: Format = "pointsman-conversation-1"
MAX_FILE_BYTES = 64 * 1024 * 1024


class _Saved(Struct, forbid_unknown_fields=True):
    """The file: JSON, with messages as in `pointsman.Message`."""

    format: Format
    model: str
    messages: list[Message]
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    thinking: str | None = None


class Conversation:
    """The messages so far, without the system prompt, and the settings for those to come.

    `options` are by the names of `parameters`; `thinking` is on, off, or a word for the effort.
    """

    def __init__(self, system: str | None = None) -> None:
        self.messages: list[Message] = []
        self.system = system
        self.options: dict[str, Any] = {}
        self.thinking: str | None = None

    def request(self) -> list[Message]:
        """What is sent: the system prompt, if there is one, and the messages."""
        system = [Message("system", (Text(self.system),))] if self.system else []
        return [*system, *self.messages]

    def say(self, parts: tuple[Part, ...]) -> None:
        """Add what the user says."""
        self.messages.append(Message("user", parts))

    def hear(self, parts: tuple[Part, ...]) -> None:
        """Add the answer."""
        self.messages.append(Message("assistant", parts))

    def unsay(self) -> None:
        """Take back what was said last: it got no answer."""
        self.messages.pop()

    def clear(self) -> None:
        """Forget the messages; the settings stay."""
        self.messages.clear()

    def save(self, path: Path, model: str) -> None:
        """Write it to a file that only its owner may read; one that is there is replaced.

        Raises:
            RequestError: it cannot be written.
        """
        saved = _Saved(FORMAT, model, self.messages, self.system, self.options, self.thinking)
        data = msgspec.json.format(msgspec.json.encode(saved), indent=1)
        scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            scratch.replace(path)
        except OSError as error:
            raise RequestError(f"cannot write {path}: {error.strerror or error}") from error

    def load(self, path: Path) -> str:
        """Take a saved conversation in the place of this one; gives the model it was held with.

        Raises:
            RequestError: it cannot be read, or is none; this one is then as it was.
        """
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise RequestError(f"{path} is over {MAX_FILE_BYTES} bytes")
            saved = msgspec.json.decode(path.read_bytes(), type=_Saved)
        except OSError as error:
            raise RequestError(f"cannot read {path}: {error.strerror or error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(f"{path} is no saved conversation: {error}") from error
        options = {name: check_value(name, value) for name, value in saved.options.items()}
        self.messages, self.system = saved.messages, saved.system
        self.options, self.thinking = options, saved.thinking
        return saved.model
