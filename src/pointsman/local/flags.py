"""Options of llama.cpp for one model: checked against the engine that runs it.

They are named as `llama-server` names them, without the dashes: `cache-type-k = "q8_0"`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pointsman.errors import ConfigError, LocalError
from pointsman.local.child import child_environment
from pointsman.local.flag_forms import as_word, has_option, items_of, scaled, spelling
from pointsman.local.flag_table import FLAGS, Flag, canonical, refusal

__all__ = ["EngineKind", "check_flags", "known_flags", "options_of_help"]

EngineKind: TypeAlias = Literal["worker", "llama-server"]
HELP_S = 10.0
MAX_HELP_BYTES = 1024 * 1024
# An argument of a program may not be longer on Linux (MAX_ARG_STRLEN).
MAX_VALUE_BYTES = 128 * 1024 - 1
_NAME = re.compile(r"[a-z][a-z0-9.]*(-[a-z0-9.]+)*")
_LONG = re.compile(r"--([a-z][a-z0-9.\-]*)")


def check_flags(
    flags: Mapping[str, Any], engine: EngineKind, known: frozenset[str] | None = None
) -> None:
    """Make sure that the engine takes all of the options.

    `known` are the long names of a `llama-server`, see `known_flags`; without them the table alone
    says what there is.

    Raises:
        ConfigError: an unknown name (the nearest is named), one that is not a model's to set or
            that this engine lacks (with what to do), or a wrong value (with what is allowed).
    """
    seen: dict[str, str] = {}
    for name, value in flags.items():
        main, negative = canonical(name)
        if main in seen:
            raise ConfigError(f"'{name}' and '{seen[main]}' are the same option of llama.cpp")
        seen[main] = name
        why = refusal(main)
        if why is not None:
            raise ConfigError(f"the option '{name}' cannot be set for a model: {why}")
        flag = FLAGS.get(main)
        if flag is not None:
            _check_value(name, flag, negative, value)
        elif engine == "worker" or not has_option(known, main):
            raise _unknown(name, known)
        else:
            _check_plain(name, negative, value, known or frozenset())
        if flag is not None and engine == "worker" and flag.attribute is None:
            raise ConfigError(
                f"the built-in engine cannot set the option '{name}': install llama-server, or name"
                " one in local.llama_server"
            )
        if flag is not None and known is not None and not spelling(main, known):
            raise ConfigError(f"this llama-server has no option '{name}': take a newer one")


def known_flags(binary: str) -> frozenset[str]:
    """Give the long names, without dashes, of all options that a `llama-server` takes.

    Runs it with `--help`, once per build, for at most 10 s. The negative forms are among them.

    Raises:
        LocalError: it cannot be run, or does not say.
    """
    try:
        stat = Path(binary).stat()
    except OSError as error:
        raise LocalError(f"{binary} cannot be run: {error.strerror or error}") from error
    return _asked(binary, stat.st_mtime_ns, stat.st_size)


def options_of_help(text: str) -> frozenset[str]:
    """Read the long names of the options out of what `llama-server --help` prints; pure.

    An option begins at the start of a line, and its explanation is indented. One that is only
    listed to say that it was removed is left out.
    """
    found: set[str] = set()
    names: list[str] = []
    removed = False
    for line in [*text.splitlines(), "-"]:
        if line.startswith("-"):
            if not removed:
                found.update(names)
            head = re.split(r"\s{2,}(?![\s-])", line, maxsplit=1)[0]
            names, removed = _LONG.findall(head), False
        removed |= "argument has been removed" in line
    return frozenset(found)


@lru_cache(maxsize=8)
def _asked(binary: str, mtime_ns: int, size: int) -> frozenset[str]:
    try:
        process = subprocess.Popen(  # noqa: S603  # what the configuration names
            [binary, "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(os.environ),
        )
    except OSError as error:
        raise LocalError(f"{binary} cannot be run: {error.strerror or error}") from error
    timer = threading.Timer(HELP_S, process.kill)
    timer.start()
    try:
        out = process.stdout.read(MAX_HELP_BYTES) if process.stdout else b""
    finally:
        process.kill()
        process.wait()
        timer.cancel()
        if process.stdout:
            process.stdout.close()
    found = options_of_help(out.decode("utf-8", "replace"))
    if "model" not in found:
        raise LocalError(f"{binary} --help lists no options: is it a llama-server?")
    return found


def _unknown(name: str, known: Iterable[str] | None) -> ConfigError:
    pool = {*FLAGS, *(name for flag in FLAGS.values() for name in flag.also), *(known or ())}
    near = difflib.get_close_matches(name.lstrip("-").replace("_", "-"), sorted(pool), 1, 0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return ConfigError(f"llama.cpp has no option '{name}' that is known here{hint}")


def _check_value(name: str, flag: Flag, negative: bool, value: Any) -> None:
    if flag.kind == "switch":
        good = isinstance(value, bool)
    elif negative:
        raise ConfigError(f"the option '{name}' has no negative form")
    elif flag.kind == "word":
        good = value in flag.words if isinstance(value, str) else as_word(flag, value) is not None
    elif flag.kind == "integer":
        good = value in flag.words if isinstance(value, str) else _in_range(flag, value, (int,))
    elif flag.kind == "number":
        good = _in_range(flag, value, (int, float))
    elif flag.kind in ("list", "files"):
        items = items_of(flag, value)
        good = bool(items) and all(map(_is_text, items))
        good = good and (not flag.words or all(each in flag.words for each in items))
    else:
        good = _is_text(value)
    if good:
        good = _parses(canonical(name)[0], value)
    if not good:
        raise ConfigError(f"the option '{name}' is {_allowed(name, flag)}, not {value!r:.80}")


def _check_plain(name: str, negative: bool, value: Any, known: frozenset[str]) -> None:
    """Check the value of an option that only the build knows: by its form alone."""
    positive = name.removeprefix("no-") if negative else name
    if not _NAME.fullmatch(name):
        raise _unknown(name, known)
    if isinstance(value, bool):
        wanted = positive if value is not negative else f"no-{positive}"
        if wanted not in known:
            raise ConfigError(f"the option '{name}' cannot be {str(value).lower()}")
    elif not all(map(_is_text, value if isinstance(value, list) else [str(value)])):
        raise ConfigError(f"the option '{name}' is a text without control characters")


def _in_range(flag: Flag, value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    number: Any = value
    return (flag.least is None or number >= flag.least) and (
        flag.most is None or number <= flag.most
    )


def _is_text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value != ""
        and "\0" not in value
        and len(value.encode("utf-8", "replace")) <= MAX_VALUE_BYTES
    )


def _parses(main: str, value: Any) -> bool:
    """Whether a value has the form inside that its option wants."""
    try:
        if main == "chat-template-kwargs":
            return isinstance(json.loads(value), dict)
        items = items_of(FLAGS[main], value) if isinstance(value, str | list) else []
        if main in ("tensor-split", "fit-target"):
            return all(float(each) >= 0 for each in items) and len(items) <= 128
        if main in ("lora-scaled", "control-vector-scaled"):
            return all(scaled(each) for each in items)
        if main in ("override-tensor", "override-kv", "spec-draft-override-tensor"):
            return all("=" in each for each in items)
        if main == "control-vector-layer-range":
            return len([int(each) for each in items]) == 2
    except (ValueError, RecursionError):
        return False
    # llama-server splits these at commas.
    return FLAGS[main].kind != "files" or not any("," in each for each in items)


_FORMS = {
    "chat-template-kwargs": "the text of a JSON object",
    "tensor-split": 'numbers by commas, such as "3,1"',
    "fit-target": 'MiB by commas, such as "1024"',
    "lora-scaled": 'a file and its scale, such as "a.gguf:0.5", or a list of them',
    "control-vector-scaled": 'a file and its scale, such as "a.gguf:0.5", or a list of them',
    "override-tensor": 'a pattern and a buffer, such as "exps=CPU", or a list of them',
    "spec-draft-override-tensor": 'a pattern and a buffer, such as "exps=CPU", or a list of them',
    "override-kv": 'a key, type and value, such as "a.b=int:1", or a list of them',
    "control-vector-layer-range": 'two layers, such as ["10", "20"]',
}


def _allowed(name: str, flag: Flag) -> str:
    main = canonical(name)[0]
    if main in _FORMS:
        return _FORMS[main]
    if flag.kind == "switch":
        return "true or false"
    if flag.kind == "word":
        return "one of " + ", ".join(flag.words)
    if flag.words and flag.kind == "list":
        return "one or more of " + ", ".join(flag.words)
    bounds = [] if flag.least is None else [f"from {flag.least:g}"]
    bounds += [] if flag.most is None else [f"up to {flag.most:g}"]
    tail = "".join(f" {each}" for each in bounds) + "".join(f" or '{each}'" for each in flag.words)
    return {
        "integer": f"a whole number{tail}",
        "number": f"a number{tail}",
        "list": "a text or a list of texts",
        "files": "a file or a list of files, without commas in their names",
        "file": "a path",
    }.get(flag.kind, "a text")
