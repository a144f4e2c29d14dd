"""What is known of a local model: from its file, from where it came, and what is set for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from pointsman.local.defaults import Defaults
from pointsman.local.gguf import read_head
from pointsman.local.gguf_metadata import read_metadata
from pointsman.local.ollama.capabilities import capabilities_of
from pointsman.local.ollama.modelfile import write_modelfile, write_parameters
from pointsman.local.ollama.parameters import PARAMETERS, parameters_of
from pointsman.local.store import LocalModel

__all__ = ["Description", "describe", "modelfile_of", "parameters_text", "template_of"]


class Description(Struct, frozen=True):
    """A model, for people. What the file does not say is None; of a remote one nothing is known."""

    name: str
    source: str
    path: str
    bytes: int
    sha256: str | None
    verified: bool
    architecture: str | None
    parameters: int | None
    quantization: str | None
    context_tokens: int | None
    embedding_length: int | None
    capabilities: tuple[str, ...]
    defaults: Defaults
    licence: str | None
    projector: str | None
    adapters: tuple[str, ...]
    created_at: str
    warnings: tuple[str, ...]


def describe(model: LocalModel) -> Description:
    """Read a model's files and say what is known of it.

    Raises:
        LocalError: a file is broken or gone.
    """
    head, metadata = None, dict[str, Any]()
    capabilities: tuple[str, ...] = ()
    if model.url is None:
        path = Path(model.path)
        head, metadata = read_head(path), read_metadata(path)
        projector = None if model.projector is None else read_metadata(Path(model.projector))
        capabilities = capabilities_of(metadata, template=model.template, projector=projector)
    width = metadata.get(f"{metadata.get('general.architecture')}.embedding_length")
    return Description(
        name=model.name,
        source=model.source,
        path=model.path or model.url or "",
        bytes=model.bytes,
        sha256=model.sha256,
        verified=model.verified,
        architecture=None if head is None else head.architecture,
        parameters=None if head is None else head.parameters,
        quantization=None if head is None else head.file_type,
        context_tokens=None if head is None else head.context_tokens,
        embedding_length=width if isinstance(width, int) else None,
        capabilities=capabilities,
        defaults=model.defaults,
        licence=model.licence,
        projector=model.projector,
        adapters=model.adapters,
        created_at=model.created_at,
        warnings=model.warnings,
    )


def template_of(model: LocalModel) -> str | None:
    """The chat template in Jinja that holds: what is set, else the file's own.

    Raises:
        LocalError: the file is broken or gone.
    """
    if model.template is not None or model.url is not None:
        return model.template
    found = read_metadata(Path(model.path)).get("tokenizer.chat_template")
    return found if isinstance(found, str) else None


def parameters_text(model: LocalModel) -> str:
    """The model's settings as Ollama's parameters, a line for each."""
    return write_parameters(parameters_of(model.defaults))


def modelfile_of(model: LocalModel) -> str:
    """A Modelfile that makes the same model; what it has no words for is said in comments."""
    told = {row.flag for row in PARAMETERS.values()} | {"cache-type-v"}
    rest = {name: value for name, value in model.defaults.flags.items() if name not in told}
    comments = [
        "Made by pointsman show. To make a model of this one, begin with:",
        f"FROM {model.name}",
        *(f"option of llama.cpp, set in the configuration: {name} = {value!r}"
          for name, value in rest.items()),
    ]  # fmt: skip
    return write_modelfile(
        [path for path in (model.path or model.url, model.projector) if path],
        adapters=model.adapters,
        parameters=parameters_of(model.defaults),
        system=model.defaults.system,
        messages=model.defaults.messages,
        licence=model.licence or "",
        comments=comments,
    )
