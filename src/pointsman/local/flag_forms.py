"""Options of llama.cpp in the forms of the two engines; they were checked before, see `flags`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from pointsman.local.flag_table import FLAGS, Flag, canonical

__all__ = [
    "LOADING",
    "arguments_of",
    "as_word",
    "attributes_of",
    "has_option",
    "items_of",
    "merged",
    "scaled",
    "settled",
    "spelling",
]

UNSEEDED = 2**32 - 1
MIB = 1024 * 1024
# Source: LLM_FFN_EXPS_REGEX in common/common.h of llama.cpp, 2026.
EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
PRIORITIES = ("LOW", "NORMAL", "MEDIUM", "HIGH", "REALTIME")
_PRIORITY = {level: f"GGML_SCHED_PRIO_{word}" for level, word in enumerate(PRIORITIES, -1)}
LOADING = ("mmap", "mlock", "direct-io")
# What several options make together.
_JOINED = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "spec-draft-")
    for name in ("cpu-moe", "n-cpu-moe", "override-tensor")
) | {"lora", "lora-scaled", "reranking", "chat-template-kwargs"}


def settled(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options by the table's names, each value in the one form that its kind has.

    A value that `check_flags` would refuse stays as it is.
    """
    found: dict[str, Any] = {}
    for name, value in flags.items():
        main, negative = canonical(name)
        flag = FLAGS.get(main)
        if negative and isinstance(value, bool):
            value = not value
        if flag is not None and flag.kind == "word":
            value = as_word(flag, value) or value
        elif flag is not None and flag.kind in ("list", "files"):
            value = items_of(flag, value) or value
        if flag is not None and flag.kind in ("file", "files"):
            value = list(map(_at_home, value)) if isinstance(value, list) else _at_home(value)
        found[main] = value
    if "spec-draft-model" in found:
        # Newer builds load a draft model, and use it only if they are told how.
        found.setdefault("spec-type", ["draft-simple"])
    return found


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Put options over others, by whichever of its names each stands; LoRA adapters add up."""
    result = settled(base)
    for main, value in settled(over).items():
        result[main] = [*result.get(main, ()), *value] if main == "lora" else value
    if "chat-template-file" in over:
        result.pop("chat-template", None)
    return result


def arguments_of(flags: Mapping[str, Any], known: frozenset[str] | None = None) -> list[str]:
    """The options as arguments of `llama-server`, which were checked before.

    Of an option's names that one is taken that the build knows.
    """
    options = settled(flags)
    if known is None or "load-mode" in known:
        _settle_loading(options)
    arguments: list[str] = []
    for main, value in options.items():
        name = spelling(main, known)
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
    options = settled(flags)
    _settle_loading(options)
    found: dict[str, Any] = {}
    for main, value in options.items():
        flag = FLAGS[main]
        if flag.attribute is not None and main not in _JOINED:
            found[flag.attribute] = _attribute(main, flag, value)
    found |= _threads(options)
    for prefix, head in (("", ""), ("spec-draft-", "speculative.draft.")):
        overrides = _overrides(options, prefix)
        if overrides:
            found[f"{head}tensor_buft_overrides"] = ",".join(overrides)
    adapters = [[path, 1.0] for path in options.get("lora", ())]
    adapters += [scaled(each) for each in options.get("lora-scaled", ())]
    if adapters:
        found["lora_adapters"] = adapters
    words = _template_words(options)
    if words:
        found["default_template_kwargs"] = words
    if options.get("reranking"):
        found |= {"embedding": True, "pooling_type": "LLAMA_POOLING_TYPE_RANK"}
    if "sampling.penalty_last_n" in found:
        found["sampling.n_prev"] = max(64, found["sampling.penalty_last_n"])
    if "timeout_read" in found:
        found["timeout_write"] = found["timeout_read"]
    return found


def spelling(main: str, known: frozenset[str] | None) -> str | None:
    """The name of an option that the build knows; None if it has none."""
    flag = FLAGS.get(main)
    names = (main, *(flag.also if flag else ()))
    if main in LOADING and known and "load-mode" in known:
        return main
    return next((name for name in names if known is None or has_option(known, name)), None)


def has_option(known: frozenset[str] | None, name: str) -> bool:
    """Whether a build has an option, or at least its negative form."""
    return known is not None and (name in known or f"no-{name}" in known)


def as_word(flag: Flag, value: Any) -> str | None:
    """Give the word that a value means, as `true` means `on`; None if it is none of the option's."""
    word = {True: "on", False: "off"}[value] if isinstance(value, bool) else value
    return word if isinstance(word, str) and word in flag.words else None


def items_of(flag: Flag, value: Any) -> list[Any]:
    """The items of a list, which may be given as one text; none if it is neither."""
    if isinstance(value, str):
        split = flag.joint is not None
        return [each.strip() for each in value.split(flag.joint)] if split else [value]
    return list(value) if isinstance(value, list | tuple) else []


def scaled(text: str) -> list[Any]:
    """Give the file and the scale of `FILE:SCALE`.

    Raises:
        ValueError: it has no file, or no number for a scale.
    """
    path, _, scale = text.rpartition(":")
    if not path:
        raise ValueError(text)
    return [path, float(scale)]


def _at_home(path: Any) -> Any:
    return os.path.expanduser(path) if isinstance(path, str) else path  # noqa: PTH111  # `a:0.5`


def _settle_loading(options: dict[str, Any]) -> None:
    """Say `load-mode`, which newer builds have in the place of the three older switches."""
    given = {name: options.pop(name) for name in LOADING if name in options}
    if not given or "load-mode" in options:
        return
    mapped, locked = given.get("mmap", True), given.get("mlock", False)
    if given.get("direct-io"):
        options["load-mode"] = "dio"
    elif locked:
        options["load-mode"] = "mmap+mlock" if mapped else "mlock"
    elif "mmap" in given:
        options["load-mode"] = "mmap" if mapped else "none"


def _listed(name: str, flag: Flag | None, items: list[str]) -> list[str]:
    if flag is None or flag.joint is None:
        return [part for each in items for part in (name, each)]
    return [name, *items] if flag.joint == " " else [name, flag.joint.join(items)]


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


def _threads(options: Mapping[str, Any]) -> dict[str, Any]:
    """Threads of a batch are as many as the others, unless it is said."""
    pairs = (
        ("threads", "cpuparams_batch.n_threads"),
        ("spec-draft-threads", "speculative.draft.cpuparams_batch.n_threads"),
    )
    return {
        attribute: options[name]
        for name, attribute in pairs
        if name in options and f"{name}-batch" not in options
    }


def _overrides(options: Mapping[str, Any], prefix: str) -> list[str]:
    """Which tensors stay in main memory; the first pattern that matches one counts."""
    found = list(options.get(f"{prefix}override-tensor", ()))
    if options.get(f"{prefix}cpu-moe"):
        found.append(f"{EXPERTS}=CPU")
    layers = options.get(f"{prefix}n-cpu-moe", 0)
    return [*found, *(rf"blk\.{number}{EXPERTS}=CPU" for number in range(layers))]


def _template_words(options: Mapping[str, Any]) -> dict[str, str]:
    """What a chat template is given, as llama.cpp keeps it: each value is JSON text."""
    words = {"on": "true", "off": "false"}
    found: dict[str, str] = {}
    if options.get("reasoning") in words:
        found["enable_thinking"] = words[options["reasoning"]]
    given = json.loads(options.get("chat-template-kwargs", "{}"))
    return {**found, **{name: json.dumps(value) for name, value in given.items()}}
