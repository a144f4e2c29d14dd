"""Options of llama.cpp for one model: checked against the engine that runs it, and put into its form.

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
from pointsman.local.flag_table import FLAGS, Flag, canonical, refusal

__all__ = [
    "EngineKind",
    "arguments_of",
    "attributes_of",
    "check_flags",
    "known_flags",
    "merged",
    "options_of_help",
]

EngineKind: TypeAlias = Literal["worker", "llama-server"]

HELP_S = 10.0
MAX_HELP_BYTES = 1024 * 1024
# An argument of a program may not be longer on Linux (MAX_ARG_STRLEN).
MAX_VALUE_BYTES = 128 * 1024 - 1
UNSEEDED = 2**32 - 1
MIB = 1024 * 1024
# Source: LLM_FFN_EXPS_REGEX in common/common.h of llama.cpp, 2026.
EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
PRIORITIES = ("LOW", "NORMAL", "MEDIUM", "HIGH", "REALTIME")
_PRIORITY = {level: f"GGML_SCHED_PRIO_{word}" for level, word in enumerate(PRIORITIES, -1)}
_NAME = re.compile(r"[a-z][a-z0-9.]*(-[a-z0-9.]+)*")
_LONG = re.compile(r"--([a-z][a-z0-9.\-]*)")
_LOADING = ("mmap", "mlock", "direct-io")


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
        elif engine == "worker" or not _has(known, main):
            raise _unknown(name, known)
        else:
            _check_plain(name, negative, value, known or frozenset())
        if flag is not None and engine == "worker" and flag.attribute is None:
            raise ConfigError(
                f"the built-in engine cannot set the option '{name}': install llama-server, or name"
                " one in local.llama_server"
            )
        if flag is not None and known is not None and not _spelling(main, known):
            raise ConfigError(f"this llama-server has no option '{name}': take a newer one")


def arguments_of(flags: Mapping[str, Any], known: frozenset[str] | None = None) -> list[str]:
    """The options as arguments of `llama-server`, which were checked before.

    Of an option's names that one is taken that the build knows.
    """
    settled = _settled(flags)
    if known is None or "load-mode" in known:
        _settle_loading(settled)
    arguments: list[str] = []
    for main, value in settled.items():
        name = _spelling(main, known)
        if name is None:  # Not named by the user, so it is what an older build does by itself.
            continue
        flag = FLAGS.get(main)
        if isinstance(value, bool) and (flag is None or flag.kind == "switch"):
            # A form that a build lacks is its default.
            form = name if value else f"no-{name}"
            if known is None or form in known:
                arguments.append(f"--{form}")
        elif isinstance(value, list):
            arguments += _listed(f"--{name}", flag, value)
        else:
            arguments += [f"--{name}", str(value)]
    return arguments


def attributes_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options as attributes of the worker's parameters, which were checked before.

    A key is a dotted path. A value is JSON: the name of a member stands for an enum's value.
    """
    settled = _settled(flags)
    _settle_loading(settled)
    found: dict[str, Any] = {}
    for main, value in settled.items():
        flag = FLAGS[main]
        if flag.attribute is not None and main not in _JOINED:
            found[flag.attribute] = _attribute(main, flag, value)
    found |= _threads(settled)
    for prefix, head in (("", ""), ("spec-draft-", "speculative.draft.")):
        overrides = _overrides(settled, prefix)
        if overrides:
            found[f"{head}tensor_buft_overrides"] = ",".join(overrides)
    adapters = [[path, 1.0] for path in settled.get("lora", ())]
    adapters += [_scaled(each) for each in settled.get("lora-scaled", ())]
    if adapters:
        found["lora_adapters"] = adapters
    words = _template_words(settled)
    if words:
        found["default_template_kwargs"] = words
    if settled.get("reranking"):
        found |= {"embedding": True, "pooling_type": "LLAMA_POOLING_TYPE_RANK"}
    if "sampling.penalty_last_n" in found:
        found["sampling.n_prev"] = max(64, found["sampling.penalty_last_n"])
    if "timeout_read" in found:
        found["timeout_write"] = found["timeout_read"]
    return found


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Put options over others, by whichever of its names each stands; LoRA adapters add up."""
    result = _settled(base)
    for main, value in _settled(over).items():
        result[main] = [*result.get(main, ()), *value] if main == "lora" else value
    if "chat-template-file" in over:
        result.pop("chat-template", None)
    return result


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


def _has(known: frozenset[str] | None, name: str) -> bool:
    return known is not None and (name in known or f"no-{name}" in known)


def _spelling(main: str, known: frozenset[str] | None) -> str | None:
    """The name of an option that the build knows; None if it has none."""
    flag = FLAGS.get(main)
    names = (main, *(flag.also if flag else ()))
    if main in _LOADING and known and "load-mode" in known:
        return main
    return next((name for name in names if known is None or _has(known, name)), None)


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
        good = value in flag.words if isinstance(value, str) else _as_word(flag, value) is not None
    elif flag.kind == "integer":
        good = value in flag.words if isinstance(value, str) else _in_range(flag, value, (int,))
    elif flag.kind == "number":
        good = _in_range(flag, value, (int, float))
    elif flag.kind in ("list", "files"):
        items = _items(flag, value)
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
        items = _items(FLAGS[main], value) if isinstance(value, str | list) else []
        if main in ("tensor-split", "fit-target"):
            return all(float(each) >= 0 for each in items) and len(items) <= 128
        if main in ("lora-scaled", "control-vector-scaled"):
            return all(_scaled(each) for each in items)
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


def _as_word(flag: Flag, value: Any) -> str | None:
    """`true` and `false` stand for `on` and `off`."""
    word = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
    return word if isinstance(word, str) and word in flag.words else None


def _items(flag: Flag, value: Any) -> list[Any]:
    if isinstance(value, str):
        split = flag.joint is not None
        return [each.strip() for each in value.split(flag.joint)] if split else [value]
    return list(value) if isinstance(value, list | tuple) else []


def _settled(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options by the table's names, each value in the one form that its kind has."""
    settled: dict[str, Any] = {}
    for name, value in flags.items():
        main, negative = canonical(name)
        flag = FLAGS.get(main)
        if negative and isinstance(value, bool):
            value = not value
        if flag is not None and flag.kind == "word":
            value = _as_word(flag, value)
        elif flag is not None and flag.kind in ("list", "files"):
            value = _items(flag, value)
        if flag is not None and flag.kind in ("file", "files"):
            value = (
                [os.path.expanduser(each) for each in value]  # noqa: PTH111  # may end in ":0.5"
                if isinstance(value, list)
                else str(Path(value).expanduser())
            )
        settled[main] = value
    if "spec-draft-model" in settled:
        # Newer builds load a draft model, and use it only if they are told how.
        settled.setdefault("spec-type", ["draft-simple"])
    return settled


def _settle_loading(settled: dict[str, Any]) -> None:
    """Say `load-mode`, which newer builds have in the place of the three older switches."""
    given = {name: settled.pop(name) for name in _LOADING if name in settled}
    if not given or "load-mode" in settled:
        return
    mapped, locked = given.get("mmap", True), given.get("mlock", False)
    if given.get("direct-io"):
        settled["load-mode"] = "dio"
    elif locked:
        settled["load-mode"] = "mmap+mlock" if mapped else "mlock"
    elif "mmap" in given:
        settled["load-mode"] = "mmap" if mapped else "none"


def _listed(name: str, flag: Flag | None, items: list[str]) -> list[str]:
    if flag is None or flag.joint is None:
        return [part for each in items for part in (name, each)]
    return [name, *items] if flag.joint == " " else [name, flag.joint.join(items)]


# What several options make together.
_JOINED = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "spec-draft-")
    for name in ("cpu-moe", "n-cpu-moe", "override-tensor")
) | {"lora", "lora-scaled", "reranking", "chat-template-kwargs"}


def _attribute(main: str, flag: Flag, value: Any) -> Any:
    if flag.words:
        if isinstance(value, list):
            return [flag.words[each] for each in value]
        return flag.words[value] if isinstance(value, str) else value
    if flag.kind == "switch":
        return value is not flag.inverted
    if main == "rope-scale":
        return 1.0 / value
    if main == "seed":
        return value & UNSEEDED
    if main.startswith("prio"):
        return _PRIORITY[value]
    if main.startswith("cpu-strict"):
        return bool(value)
    if main == "tensor-split":
        return [float(each) for each in value]
    if main == "fit-target":
        return [round(float(each) * MIB) for each in value]
    return flag.joint.join(value) if flag.joint is not None else value


def _threads(settled: Mapping[str, Any]) -> dict[str, Any]:
    """Threads of a batch are as many as the others, unless it is said."""
    pairs = (
        ("threads", "cpuparams_batch.n_threads"),
        ("spec-draft-threads", "speculative.draft.cpuparams_batch.n_threads"),
    )
    return {
        attribute: settled[name]
        for name, attribute in pairs
        if name in settled and f"{name}-batch" not in settled
    }


def _overrides(settled: Mapping[str, Any], prefix: str) -> list[str]:
    """Which tensors stay in main memory; the first pattern that matches one counts."""
    found = list(settled.get(f"{prefix}override-tensor", ()))
    if settled.get(f"{prefix}cpu-moe"):
        found.append(f"{EXPERTS}=CPU")
    layers = settled.get(f"{prefix}n-cpu-moe", 0)
    return [*found, *(rf"blk\.{number}{EXPERTS}=CPU" for number in range(layers))]


def _scaled(text: str) -> list[Any]:
    path, _, scale = text.rpartition(":")
    if not path:
        raise ValueError(text)
    return [path, float(scale)]


def _template_words(settled: Mapping[str, Any]) -> dict[str, str]:
    """What a chat template is given, as llama.cpp keeps it: each value is JSON text."""
    words = {"on": "true", "off": "false"}
    found: dict[str, str] = {}
    if settled.get("reasoning") in words:
        found["enable_thinking"] = words[settled["reasoning"]]
    given = json.loads(settled.get("chat-template-kwargs", "{}"))
    return {**found, **{name: json.dumps(value) for name, value in given.items()}}
