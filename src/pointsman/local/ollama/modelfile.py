"""Ollama's Modelfile: read, and written.

Source: parser/parser.go and docs/modelfile.mdx of ollama/ollama, v0.40.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from pointsman.errors import RequestError
from pointsman.local.ollama.parameters import read_parameters

__all__ = ["Modelfile", "parse_modelfile", "write_modelfile", "write_parameters"]

MAX_BYTES = 4 * 1024 * 1024
MAX_COMMANDS = 10_000
ROLES = ("system", "user", "assistant")

_COMMAND = re.compile(r"[A-Za-z]+")
_WORD = re.compile(r"[A-Za-z0-9_]+")
_REFUSED = {
    "template": "templates in Go are not run here: the model file's own chat template is, in Jinja;"
    " remove the line",
    "renderer": "it names a renderer inside Ollama; the model file's own chat template is used;"
    " remove the line",
    "parser": "it names a parser inside Ollama; llama.cpp's own is used; remove the line",
    "draft": "remove the line, and name the draft model as the option 'spec-draft-model' in the"
    " configuration",
}
_KNOWN = ("from", "parameter", "system", "message", "license", "adapter", "requires")


class Modelfile(Struct, frozen=True):
    """What a Modelfile says. `sources` are the values of FROM; mostly there is one.

    `requires` is a release of Ollama, which means nothing here.
    """

    sources: tuple[str, ...]
    adapters: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    system: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    licence: str | None = None
    requires: str | None = None


def parse_modelfile(text: str) -> Modelfile:
    """Read a Modelfile.

    Raises:
        RequestError: it cannot be read, has no FROM, or asks for what is not done here; names the
            line.
    """
    if len(text) > MAX_BYTES:
        raise RequestError(f"the Modelfile is over {MAX_BYTES} characters")
    given: dict[str, list[str]] = {}
    parameters: list[tuple[str, str]] = []
    messages: list[tuple[str, str]] = []
    for number, (line, name, value) in enumerate(_commands(text.removeprefix("\ufeff"))):
        if number >= MAX_COMMANDS:
            raise RequestError(f"the Modelfile has over {MAX_COMMANDS} commands")
        try:
            if name in ("parameter", "message"):
                word, rest = _split(value)
                if name == "message" and word not in ROLES:
                    raise RequestError(
                        f"a message is of one of {', '.join(ROLES)}, not '{word[:40]}'"
                    )
                (parameters if name == "parameter" else messages).append((word, rest))
                if name == "parameter":
                    read_parameters([(word, rest)])
            elif name in _REFUSED:
                raise RequestError(f"{name.upper()} cannot be used: {_REFUSED[name]}")
            elif name not in _KNOWN:
                known = ", ".join(each.upper() for each in _KNOWN)
                raise RequestError(f"'{name[:40]}' is no command; there are {known}")
            else:
                given.setdefault(name, []).append(value)
        except RequestError as error:
            raise RequestError(
                f"Modelfile, line {line}: {error.message}", param=error.param
            ) from error
    if not given.get("from"):
        raise RequestError("the Modelfile has no FROM line, which names the model to begin with")
    return Modelfile(
        sources=tuple(given["from"]),
        adapters=tuple(given.get("adapter", ())),
        parameters=read_parameters(parameters),
        system=given["system"][-1] if "system" in given else None,
        messages=tuple(messages),
        licence="\n\n".join(given["license"]) if "license" in given else None,
        requires=given["requires"][-1] if "requires" in given else None,
    )


def _commands(text: str) -> Iterable[tuple[int, str, str]]:
    """Give (line, name in lower case, value as it stands there, its quotes removed)."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at = 0
    while at < len(lines):
        line, first = lines[at].lstrip(" \t"), at + 1
        at += 1
        if not line or line.startswith("#"):
            continue
        match = _COMMAND.match(line)
        name = match[0] if match else ""
        rest = line[len(name) :]
        if not name or not rest[:1].isspace():
            raise RequestError(f"Modelfile, line {first}: {line[:40]!r} is no command with a value")
        head, value = _head(name.lower(), rest.strip(" \t"))
        # A text in quotes goes on until a line ends with them.
        quote = next((each for each in ('"""', '"') if value.startswith(each)), "")
        pieces = [value]
        while quote and not _closed(pieces, quote):
            if at == len(lines):
                raise RequestError(f"Modelfile, line {first}: the text in {quote} has no end")
            pieces.append(lines[at])
            at += 1
        value = "\n".join(pieces)
        if quote:
            value = value.rstrip(" \t\n")[len(quote) : -len(quote)]
        yield first, name.lower(), f"{head} {value}" if head else value


def _head(name: str, rest: str) -> tuple[str, str]:
    """Take off the word before the text: a parameter's name, a message's role."""
    if name not in ("parameter", "message"):
        return "", rest
    match = _WORD.match(rest)
    word = match[0] if match else ""
    return word, rest[len(word) :].lstrip(" \t")


def _closed(pieces: list[str], quote: str) -> bool:
    last = pieces[-1].rstrip(" \t")
    # The quotes that open it do not close it.
    least = 2 * len(quote) if len(pieces) == 1 else len(quote)
    return last.endswith(quote) and len(last) >= least


def _split(value: str) -> tuple[str, str]:
    word, _, rest = value.partition(" ")
    if not word or not rest:
        raise RequestError("a name and a value are due")
    return word, rest


def write_modelfile(
    sources: Iterable[str],
    *,
    adapters: Iterable[str] = (),
    parameters: Mapping[str, Any],
    system: str | None,
    messages: Iterable[tuple[str, str]],
    licence: str,
    comments: Iterable[str] = (),
) -> str:
    """Give a Modelfile that says this; `comments` go to its head."""
    lines = [f"# {line}" for text in comments for line in text.splitlines()]
    lines += [f"FROM {each}" for each in sources]
    lines += [f"ADAPTER {each}" for each in adapters]
    lines += [f"PARAMETER {line}" for line in write_parameters(parameters).splitlines()]
    if system:
        lines.append(f"SYSTEM {_quoted(system)}")
    lines += [f"MESSAGE {role} {_quoted(text)}" for role, text in messages if role in ROLES]
    if licence:
        lines.append(f"LICENSE {_quoted(licence)}")
    return "\n".join(lines) + "\n"


def write_parameters(parameters: Mapping[str, Any]) -> str:
    """Give the parameters as Ollama shows them: a line for each, in the order of their names."""
    lines = []
    for name, value in sorted(parameters.items()):
        for each in value if isinstance(value, list | tuple) else [value]:
            lines.append(f"{name:<24} {_written(each)}")
    return "\n".join(lines)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _quoted(text: str) -> str:
    return f'"""{text}"""' if '"' in text or "\n" in text else f'"{text}"'
