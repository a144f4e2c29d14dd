"""Ollama's parameters, and what each is to llama.cpp.

Source: `Options` and `Runner` in api/types.go of ollama/ollama, v0.40, and what earlier releases
had there; llama.cpp's options as of b11549.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from pointsman.errors import RequestError
from pointsman.local.defaults import Defaults, Sampling

__all__ = ["PARAMETERS", "Parameter", "defaults_of", "layered", "parameters_of", "read_parameters"]

Kind = Literal["integer", "number", "truth", "texts"]
MAX_STOPS = 64
MAX_STOP_CHARS = 4_096


class Parameter(Struct, frozen=True):
    """A parameter. `sampling` is a field of `Sampling`, `flag` an option of llama.cpp.

    `automatic` are values by which Ollama means its own choice: llama.cpp then makes its own.
    `lost` says why there is nothing to set, and `harmless` at which values nothing is lost.
    """

    kind: Kind
    sampling: str | None = None
    flag: str | None = None
    automatic: tuple[Any, ...] = ()
    lost: str | None = None
    harmless: tuple[Any, ...] = ()


def _sampled(kind: Kind, name: str) -> Parameter:
    return Parameter(kind, sampling=name)


_GONE = "llama.cpp no longer has it"
PARAMETERS = {
    "num_ctx": Parameter("integer"),
    "num_predict": Parameter("integer"),
    "stop": Parameter("texts"),
    "temperature": _sampled("number", "temperature"),
    "top_p": _sampled("number", "top_p"),
    "top_k": _sampled("integer", "top_k"),
    "min_p": _sampled("number", "min_p"),
    "typical_p": _sampled("number", "typical_p"),
    "repeat_penalty": _sampled("number", "repeat_penalty"),
    "repeat_last_n": _sampled("integer", "repeat_last_n"),
    "presence_penalty": _sampled("number", "presence_penalty"),
    "frequency_penalty": _sampled("number", "frequency_penalty"),
    "mirostat": _sampled("integer", "mirostat"),
    "mirostat_tau": _sampled("number", "mirostat_tau"),
    "mirostat_eta": _sampled("number", "mirostat_eta"),
    "seed": _sampled("integer", "seed"),
    "num_gpu": Parameter("integer", flag="n-gpu-layers", automatic=(-1,)),
    "main_gpu": Parameter("integer", flag="main-gpu"),
    "num_thread": Parameter("integer", flag="threads", automatic=(0,)),
    "num_batch": Parameter("integer", flag="batch-size", automatic=(0,)),
    "num_keep": Parameter("integer", flag="keep"),
    "use_mmap": Parameter("truth", flag="mmap"),
    "use_mlock": Parameter("truth", flag="mlock", automatic=(False,)),
    "numa": Parameter("truth", flag="numa", automatic=(False,)),
    "low_vram": Parameter("truth", flag="kv-offload", automatic=(False,)),
    "f16_kv": Parameter("truth", flag="cache-type-k", automatic=(True,)),
    "rope_frequency_base": Parameter("number", flag="rope-freq-base", automatic=(0,)),
    "rope_frequency_scale": Parameter("number", flag="rope-freq-scale", automatic=(0,)),
    "draft_num_predict": Parameter("integer", flag="spec-draft-n-max", automatic=(0,)),
    "tfs_z": Parameter("number", lost=_GONE, harmless=(1,)),
    "penalize_newline": Parameter("truth", lost=_GONE),
    "logits_all": Parameter("truth", lost="it is asked for by the request", harmless=(False,)),
    "vocab_only": Parameter("truth", lost="a model without weights answers nothing",
                            harmless=(False,)),
    "embedding_only": Parameter("truth", lost="the model's file says it", harmless=(False,)),
    "num_gqa": Parameter("integer", lost="the model's file says it", harmless=(0, 1)),
}  # fmt: skip

# What a truth is as the option's value, where it is not the truth itself.
_TRUE = {"numa": "distribute", "low_vram": False}
_FALSE = {"f16_kv": "f32"}
# An option that goes with another.
_ALONG = {"cache-type-k": "cache-type-v"}


def read_parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Give the parameters of a Modelfile with their types; `stop` may come again and again.

    Raises:
        RequestError: an unknown name, or a value of another type.
    """
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name not in PARAMETERS:
            raise RequestError(f"no parameter '{name}' is known; see docs/ollama.md", param=name)
        try:
            value = _from_text(PARAMETERS[name].kind, text)
        except ValueError as error:
            raise RequestError(
                f"the parameter '{name}' is {error}, not {text[:80]!r}", param=name
            ) from error
        if isinstance(value, list):
            value = [*found.get(name, ()), *value]
        found[name] = value
    return found


def _from_text(kind: Kind, text: str) -> Any:
    if kind == "texts":
        return [text]
    if kind == "truth":
        # As Go's strconv.ParseBool.
        words = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
        if text.lower() not in words:
            raise ValueError("true or false")
        return words[text.lower()]
    try:
        return int(text) if kind == "integer" else float(text)
    except ValueError:
        raise ValueError("a whole number" if kind == "integer" else "a number") from None


def defaults_of(parameters: Mapping[str, Any]) -> tuple[Defaults, tuple[str, ...]]:
    """Give what the parameters are to us, and a warning for each that is nothing to llama.cpp.

    Nothing here fails: what is unknown or of a wrong type is a warning too.
    """
    sampling: dict[str, Any] = {}
    flags: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    warnings: list[str] = []
    for name, given in parameters.items():
        row = PARAMETERS.get(name)
        value = None if row is None else _checked(name, row.kind, given)
        if row is None:
            warnings.append(f"the parameter '{name[:80]}' is unknown here and left out")
        elif value is None:
            warnings.append(
                f"the parameter '{name}' has no meaning as {given!r:.80} and is left out"
            )
        elif row.lost is not None:
            if value not in row.harmless:
                warnings.append(f"the parameter '{name}' is left out: {row.lost}")
        elif row.sampling is not None:
            sampling[row.sampling] = value
        elif row.flag is not None:
            flags |= _flags(name, row, value)
        elif name == "num_ctx":
            fields["context_tokens"] = value
        elif name == "stop":
            fields["stop"] = tuple(value)
        elif value > 0:  # Below, num_predict is "until it ends", as it is here without.
            fields["max_tokens"] = value
    return Defaults(sampling=Sampling(**sampling), flags=flags, **fields), tuple(warnings)


def _flags(name: str, row: Parameter, value: Any) -> dict[str, Any]:
    if row.flag is None or value in row.automatic:
        return {}
    if value is True:
        value = _TRUE.get(name, True)
    elif value is False:
        value = _FALSE.get(name, False)
    along = _ALONG.get(row.flag)
    return {row.flag: value} if along is None else {row.flag: value, along: value}


def _checked(name: str, kind: Kind, value: Any) -> Any:
    """The value in its type; None if it is of another, or out of range."""
    if kind == "texts":
        texts = [value] if isinstance(value, str) else value
        good = (
            isinstance(texts, list | tuple)
            and len(texts) <= MAX_STOPS
            and all(isinstance(each, str) and 0 < len(each) <= MAX_STOP_CHARS for each in texts)
        )
        return list(texts) if good else None
    if kind == "truth":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if kind == "integer":
        whole = int(value)
        least = {"num_ctx": 1, "num_thread": 0, "num_batch": 0, "num_gpu": -1, "num_keep": -1,
                 "draft_num_predict": 0}.get(name, -(2**63))  # fmt: skip
        return whole if whole == value and least <= whole < 2**64 else None
    return float(value)


def parameters_of(defaults: Defaults) -> dict[str, Any]:
    """Give the parameters that say the same in Ollama's words; other options have none."""
    found: dict[str, Any] = {}
    if defaults.context_tokens is not None:
        found["num_ctx"] = defaults.context_tokens
    if defaults.max_tokens is not None:
        found["num_predict"] = defaults.max_tokens
    if defaults.stop:
        found["stop"] = list(defaults.stop)
    for name, row in PARAMETERS.items():
        value = None
        if row.sampling is not None:
            value = getattr(defaults.sampling, row.sampling)
        elif row.flag in defaults.flags:
            value = _value_that_sets(name, row, defaults.flags)
        if value is not None:
            found[name] = value
    return found


def _value_that_sets(name: str, row: Parameter, flags: Mapping[str, Any]) -> Any:
    """The parameter's value that gives the options as they are; None if no value does."""
    for value in (flags[row.flag or ""], True, False):
        if _checked(name, row.kind, value) is not None:
            made = _flags(name, row, value)
            if made and all(flags.get(flag) == each for flag, each in made.items()):
                return value
    return None


def layered(parent: Defaults, parameters: Mapping[str, Any]) -> tuple[Defaults, tuple[str, ...]]:
    """Give the parent's defaults with the parameters over them, and warnings as `defaults_of`."""
    over, warnings = defaults_of(parameters)
    set_anew = {
        flag
        for name in parameters
        if (row := PARAMETERS.get(name)) is not None and row.flag is not None
        for flag in (row.flag, _ALONG.get(row.flag))
    }
    kept = {name: value for name, value in parent.flags.items() if name not in set_anew}
    return (
        msgspec.structs.replace(
            parent,
            sampling=Sampling(**{**_set(parent.sampling), **_set(over.sampling)}),
            context_tokens=over.context_tokens or parent.context_tokens,
            max_tokens=over.max_tokens if "num_predict" in parameters else parent.max_tokens,
            stop=over.stop if "stop" in parameters else parent.stop,
            flags={**kept, **over.flags},
        ),
        warnings,
    )


def _set(sampling: Sampling) -> dict[str, Any]:
    values = msgspec.structs.asdict(sampling)
    return {name: value for name, value in values.items() if value is not None}
