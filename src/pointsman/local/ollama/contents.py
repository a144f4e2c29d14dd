"""What the small blobs of an Ollama model say: its parameters, system prompt, messages, licence.

Source: server/images.go and server/create.go of ollama/ollama, v0.40.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.defaults import Defaults
from pointsman.local.gguf_metadata import GgufOutline
from pointsman.local.ollama.architectures import EMBEDDING, NEEDS_OLLAMA, UPSTREAM, patched
from pointsman.local.ollama.manifest import Layer, Parts, parse_config
from pointsman.local.ollama.parameters import defaults_of

__all__ = ["MAX_TEXT_BYTES", "Contents", "contents_of", "file_warnings"]

MAX_TEXT_BYTES = 1024 * 1024
MAX_MESSAGES = 1_000
ROLES = ("system", "user", "assistant", "tool")


class _Message(Struct, frozen=True):
    role: str
    content: str = ""
    images: tuple[Any, ...] = ()


class Contents(Struct, frozen=True):
    """What the small blobs say, and what of it we cannot do."""

    defaults: Defaults = Defaults()
    licence: str = ""
    warnings: tuple[str, ...] = ()


def contents_of(parts: Parts, read: Callable[[Layer], bytes]) -> Contents:
    """Read a model's small blobs; `read` gives a blob of up to 1 MiB.

    What is broken in one of them is a warning, and the rest holds.

    Raises:
        LocalError: a blob is not there; or the model is not here at all, but in somebody's cloud.
    """
    config = parse_config(read(parts.config) if parts.config is not None else b"")
    if config.remote_host or config.remote_model:
        raise LocalError(f"it is not here: it runs at {config.remote_host or 'ollama.com'}")
    warnings = []
    if parts.drafts:
        warnings.append(
            f"its draft model, for speculative decoding, is not used (blob {parts.drafts[0].digest});"
            " to use it, name its file as the option 'spec-draft-model'"
        )
    if parts.unknown:
        warnings.append(f"layers of unknown kinds are left out: {', '.join(parts.unknown)[:200]}")
    parameters: dict[str, Any] = {}
    system: str | None = None
    messages: tuple[tuple[str, str], ...] = ()
    licences: list[str] = []
    for kind, layer in parts.texts:
        data = read(layer)
        try:
            if kind == "params":
                parameters |= msgspec.json.decode(data or b"{}", type=dict[str, Any])
            elif kind == "messages":
                messages = _messages(data, warnings)
            elif kind == "system":
                system = data.decode("utf-8")
            elif kind == "license":
                licences.append(data.decode("utf-8", "replace").strip())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            warnings.append(f"its {kind} cannot be read and are left out: {error}")
    defaults, more = defaults_of(parameters)
    return Contents(
        defaults=msgspec.structs.replace(defaults, system=system, messages=messages),
        licence="\n\n".join(licences),
        warnings=(*warnings, *more),
    )


def _messages(data: bytes, warnings: list[str]) -> tuple[tuple[str, str], ...]:
    given = msgspec.json.decode(data or b"[]", type=list[_Message])
    if len(given) > MAX_MESSAGES:
        warnings.append(f"of its {len(given)} messages the first {MAX_MESSAGES} are kept")
        given = given[:MAX_MESSAGES]
    if any(each.role not in ROLES or each.images for each in given):
        warnings.append("those of its messages that have images or an unknown role are left out")
    return tuple(
        (each.role, each.content) for each in given if each.role in ROLES and not each.images
    )


def file_warnings(outline: GgufOutline, kinds: Iterable[str] = ()) -> tuple[str, ...]:
    """Say what of a model's file will not do here; pure.

    `kinds` are those of the model's small blobs: a template in Go does not count as one.
    """
    why = patched(outline)
    if why is not None:
        return (f"{NEEDS_OLLAMA}{why}",)
    warnings = []
    architecture = outline.architecture
    if architecture not in UPSTREAM and architecture != "clip":
        warnings.append(
            f"llama.cpp did not know the architecture '{architecture}' in October 2026; it may"
            " need a newer llama-server"
        )
    chats = (
        architecture not in EMBEDDING
        and architecture != "clip"
        and f"{architecture}.pooling_type" not in outline.values
    )
    # One that is over 1 MiB is there, as None; an empty one is as good as none.
    if chats and outline.values.get("tokenizer.chat_template", "") == "":
        other = {"template", "prompt"} & {*kinds}
        warnings.append(
            "its file has no chat template"
            + (", and Ollama's, which is in Go, is not used" if other else "")
            + ": llama.cpp takes a plain one, which may not be what the model learnt; pull a file"
            " that has one, such as from hf:ggml-org/ or hf:unsloth/"
        )
    if outline.text("tokenizer.ggml.model") == "gpt2" and not outline.text("tokenizer.ggml.pre"):
        warnings.append(
            "its file does not say how words are split (tokenizer.ggml.pre), as old ones do not:"
            " answers may be worse; pull a newer one"
        )
    return tuple(warnings)
