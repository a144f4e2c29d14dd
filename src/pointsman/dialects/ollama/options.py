"""Ollama's `options`: each one has its place, or is refused by its name.

Source: ollama/ollama, api/types.go (Options, Runner), read 2026-11; the older ones from the types
of the official client, ollama 0.6.3.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from pointsman.dialects._shared import (
    at,
    optional,
    want_boolean,
    want_integer,
    want_number,
    want_string,
)
from pointsman.errors import RequestError

__all__ = ["Options", "read_options"]

# The middle form's own fields, and how they are read.
_FIELDS = {
    "temperature": want_number,
    "top_p": want_number,
    "top_k": want_integer,
    "min_p": want_number,
    "presence_penalty": want_number,
    "frequency_penalty": want_number,
    "seed": want_integer,
}
# Those that only llama.cpp has, by Ollama's name → the engine's.
_ENGINE = {
    "typical_p": ("typical_p", want_number),
    "repeat_last_n": ("repeat_last_n", want_integer),
    "repeat_penalty": ("repeat_penalty", want_number),
    "mirostat": ("mirostat", want_integer),
    "mirostat_tau": ("mirostat_tau", want_number),
    "mirostat_eta": ("mirostat_eta", want_number),
    "num_keep": ("n_keep", want_integer),
}
# How a model is loaded or run, which no answer shows: the configuration decides it here.
_HOW = frozenset(
    ("draft_num_predict", "embedding_only", "f16_kv", "logits_all", "low_vram", "main_gpu", "num_batch",
     "num_gpu", "num_thread", "numa", "use_mlock", "use_mmap", "vocab_only")
)  # fmt: skip
# What llama.cpp had once, and Ollama has not any more either.
_GONE = frozenset(("penalize_newline", "tfs_z"))
_SPECIAL = frozenset(("num_ctx", "num_predict", "stop"))
KNOWN = frozenset(_FIELDS) | frozenset(_ENGINE) | _HOW | _GONE | _SPECIAL


class Options(Struct, frozen=True):
    """What the options say.

    `fields` are of a Chat, by name; `engine` are llama.cpp's own; `num_ctx` the context that is
    asked for; `unlimited` says that `num_predict` asks for no limit. `ignored` are hints that change
    no answer.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    num_ctx: int | None = None
    unlimited: bool = False
    ignored: tuple[str, ...] = ()


def read_options(options: Mapping[str, Any] | None, path: str = "options") -> Options:
    """Read the options.

    Raises:
        RequestError: one that does not exist, or one of a wrong type; `param` is its path.
    """
    if not options:
        return Options()
    fields: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    ignored: list[str] = []
    for name, value in options.items():
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(KNOWN))}"
            raise RequestError(f"no such option '{name}': {hint}", param=at(path, name))
        if value is None:
            continue
        if name in _FIELDS:
            fields[name] = _FIELDS[name](value, at(path, name))
        elif name in _ENGINE:
            theirs, want = _ENGINE[name]
            engine[theirs] = want(value, at(path, name))
        elif name in _HOW or name in _GONE:
            _check_how(name, value, path)
            ignored.append(at(path, name))
    limit = optional(options, "num_predict", want_integer, path)
    if limit is not None and limit > 0:
        fields["max_tokens"] = limit
    if options.get("stop") is not None:
        fields["stop"] = _read_stop(options["stop"], at(path, "stop"))
    num_ctx = optional(options, "num_ctx", want_integer, path)
    if num_ctx is not None and num_ctx < 1:
        raise RequestError(f"'{path}.num_ctx' must be at least 1", param=at(path, "num_ctx"))
    return Options(fields, engine, num_ctx, limit is not None and limit < 1, tuple(ignored))


def _check_how(name: str, value: object, path: str) -> None:
    where = at(path, name)
    if isinstance(value, bool):
        want_boolean(value, where)
    else:
        want_number(value, where)


def _read_stop(value: object, path: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise RequestError(f"'{path}' must be a text or a list of texts", param=path)
    return tuple(want_string(each, at(path, number)) for number, each in enumerate(value))
