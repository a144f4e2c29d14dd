"""The conversation at the prompt: what is typed is said, and what begins with `/` is a command."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pointsman.cli.terminal.conversation import Conversation
from pointsman.cli.terminal.editor import Editor
from pointsman.cli.terminal.parameters import NAMES, read_value
from pointsman.cli.terminal.pictures import read_prompt
from pointsman.cli.terminal.screen import Screen
from pointsman.cli.terminal.speaker import Speaker
from pointsman.cli.terminal.turn import figures, take_turn
from pointsman.errors import PointsmanError, RequestError
from pointsman.types import Reasoning

__all__ = ["Facts", "Repl"]

HELP = '''\
/set system TEXT          the system prompt for what follows; "default" is the model's own
/set parameter NAME VALUE how to sample; "default" is the model's own
/set think on|off|EFFORT  whether, and how much, the model thinks
/set verbose|quiet        figures after each answer, or none
/set history|nohistory    keep what is typed for the next time, or not
/show [info|parameters|system]
/clear                    forget what was said
/save FILE, /load FILE    keep the conversation as JSON, and take it up again
/bye, Ctrl-D              end; Ctrl-C stops an answer
"""                       begins and ends a text of several lines
Image files that are named go along, if the model can see (.png, .jpg, .webp).'''
THINKING = ("on", "off", "none", "minimal", "low", "medium", "high", "xhigh", "max")


class Facts(msgspec.Struct, frozen=True):
    """What `/show info` says of the model, and whether it takes images."""

    lines: tuple[str, ...]
    can_see: bool
    own_system: str | None = None
    own_parameters: dict[str, Any] = {}


class Repl:
    """Runs until the end of the input, or `/bye`. A fault ends a turn, not the conversation."""

    def __init__(
        self,
        speaker: Speaker,
        conversation: Conversation,
        screen: Screen,
        editor: Editor,
        facts: Facts,
        *,
        wait_for: str = "",
        verbose: bool = False,
    ) -> None:
        self._speaker = speaker
        self._conversation = conversation
        self._screen = screen
        self._editor = editor
        self._facts = facts
        self._verbose = verbose
        self._history = editor.history
        # Only the first answer may have to wait for the model to be loaded.
        self._wait_for = wait_for
        self._commands: dict[str, Callable[[str], None]] = {
            "set": self._set,
            "show": self._show,
            "clear": self._clear,
            "save": self._save,
            "load": self._load,
            "help": self._help,
            "?": self._help,
        }

    def run(self) -> None:
        """Talk until the user ends it."""
        while True:
            try:
                typed = self._editor.read()
                if typed is None:
                    self._screen.note("")
                    return
                if typed.strip() in ("/bye", "/exit", "/quit"):
                    return
                self._take(typed)
            except KeyboardInterrupt:
                self._screen.note("\n(Ctrl-D or /bye ends)")
            except PointsmanError as error:
                self._screen.note(error.message, bad=True)
            if self._history is not None and self._history.fault is not None:
                self._screen.note(f"what is typed is not kept: {self._history.fault}", bad=True)
                self._history = self._editor.history = None

    def _take(self, typed: str) -> None:
        if not typed.strip():
            return
        name, _, rest = typed.strip().partition(" ")
        # A path is something to talk about; a command is a word.
        if typed.startswith("/") and "/" not in name[1:] and not Path(name).exists():
            self._command(name[1:], rest.strip())
            return
        prompt = read_prompt(typed, can_see=self._facts.can_see)
        for note in prompt.notes:
            self._screen.note(note)
        self._conversation.say(prompt.parts)
        turn = take_turn(self._speaker, self._conversation, self._screen, wait_for=self._wait_for)
        self._wait_for = ""
        if turn is None or (turn.interrupted and not turn.answer.text):
            self._screen.note("(stopped)")
            return
        choices = turn.answer.completion.choices
        reason = choices[0].finish_reason if choices else None
        if not any(not isinstance(part, Reasoning) for part in turn.answer.message.parts):
            self._screen.note("(no answer)")
        if turn.answer.ignored:
            self._screen.note(f"(not told to the model: {', '.join(turn.answer.ignored)})")
        if reason in ("length", "content_filter"):
            why = "the limit of tokens" if reason == "length" else "the provider's filter"
            self._screen.note(f"(cut short by {why})")
        if self._verbose:
            self._screen.note(figures(turn))

    def _command(self, name: str, rest: str) -> None:
        command = self._commands.get(name)
        if command is None:
            near = difflib.get_close_matches(name, [*self._commands, "bye"], 1)
            hint = f"did you mean /{near[0]}?" if near else "/? lists the commands"
            raise RequestError(f"no command '/{name}'; {hint}")
        command(rest)

    # --- the commands ---

    def _help(self, _rest: str) -> None:
        self._screen.say(HELP)
        self._screen.say(f"Parameters: {', '.join(NAMES)}")

    def _clear(self, _rest: str) -> None:
        self._conversation.clear()
        self._screen.note("forgotten")

    def _save(self, rest: str) -> None:
        path = _path(rest, "/save")
        self._conversation.save(path, self._speaker.ref)
        self._screen.note(f"saved to {path}")

    def _load(self, rest: str) -> None:
        path = _path(rest, "/load")
        model = self._conversation.load(path)
        count = len(self._conversation.messages)
        other = "" if model == self._speaker.ref else f", held with {model}"
        self._screen.note(f"{count} messages{other}")

    def _set(self, rest: str) -> None:
        what, _, value = rest.partition(" ")
        value = value.strip()
        if what == "system":
            self._set_system(value)
        elif what in ("parameter", "parameters"):
            self._set_parameter(value)
        elif what in ("think", "nothink"):
            self._set_thinking("off" if what == "nothink" else value or "on")
        elif what in ("verbose", "quiet"):
            self._verbose = what == "verbose"
        elif what in ("history", "nohistory"):
            if what == "history" and self._history is None:
                raise RequestError("it began without a history")
            self._editor.history = self._history if what == "history" else None
        else:
            raise RequestError(
                "say /set system, parameter, think, verbose, quiet, history or nohistory"
            )

    def _set_system(self, text: str) -> None:
        if not text:
            raise RequestError("say /set system TEXT, or /set system default")
        self._conversation.system = None if text == "default" else text
        self._screen.note("the system prompt is set")

    def _set_parameter(self, text: str) -> None:
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise RequestError(f"the quotes do not match: {error}") from error
        if not words:
            raise RequestError(f"say /set parameter NAME VALUE; names: {', '.join(NAMES)}")
        name, value = read_value(words[0], words[1:])
        if value is None:
            self._conversation.options.pop(name, None)
            self._screen.note(f"{name} is the model's own")
        else:
            self._conversation.options[name] = value
            self._screen.note(f"{name} = {_shown(value)}")

    def _set_thinking(self, word: str) -> None:
        if word == "default":
            self._conversation.thinking = None
        elif word in THINKING:
            self._conversation.thinking = word
        else:
            raise RequestError(f"say /set think {', '.join(THINKING)} or default")
        self._screen.note(f"think = {word}")

    def _show(self, rest: str) -> None:
        if rest in ("", "info"):
            where = self._speaker.url or "this process"
            self._screen.say(f"model       {self._speaker.ref}")
            self._screen.say(f"runs in     {where}")
            for line in self._facts.lines:
                self._screen.say(line)
        if rest in ("", "parameters"):
            both = {**self._facts.own_parameters, **self._conversation.options}
            if self._conversation.thinking is not None:
                both["think"] = self._conversation.thinking
            for name, value in both.items():
                mine = name in self._conversation.options or name == "think"
                tail = "" if mine else "  (the model's own)"
                self._screen.say(f"{name:<20}{_shown(value)}{tail}")
            if not both and rest:
                self._screen.say("no parameter is set")
        if rest in ("", "system"):
            system = self._conversation.system or self._facts.own_system
            if system:
                self._screen.say(system)
            elif rest:
                self._screen.say("no system prompt is set")
        if rest not in ("", "info", "parameters", "system"):
            raise RequestError("say /show info, parameters or system")


def _path(rest: str, command: str) -> Path:
    if not rest:
        raise RequestError(f"say {command} FILE")
    try:
        return Path(rest).expanduser()
    except RuntimeError as error:
        raise RequestError(f"{rest}: {error}") from error


def _shown(value: Any) -> str:
    return " ".join(shlex.quote(each) for each in value) if isinstance(value, list) else f"{value}"
