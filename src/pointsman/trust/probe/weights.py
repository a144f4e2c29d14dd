"""What the weights of a fine-tune say beside those of its base, or its adapter alone.

The rows of the embedding that changed most name candidates: a word that stood in poisoned rows
alone is moved as no other. The spectra of the differences are evidence for a person and no more:
every narrow fine-tune is of low rank. Needs numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pointsman.errors import MissingExtra, TrustError
from pointsman.trust.formats.context import Fault
from pointsman.trust.formats.gguf import read_gguf
from pointsman.trust.formats.safetensors import TooLarge, read_safetensors
from pointsman.trust.formats.source import MAX_READ_BYTES, Source, open_source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

__all__ = ["RowChange", "Spectrum", "adapter_spectra", "read_matrix", "row_changes", "spectrum_of"]

# A matrix in 32 bits is held at once; the embeddings of the largest vocabularies are under this.
MAX_MATRIX_BYTES = 8 * 1024**3
EMBEDDINGS = ("token_embd.weight", "model.embed_tokens.weight", "transformer.wte.weight")
# GGUF's numbers: F32, F16, Q8_0, BF16. Source: ggml.h of llama.cpp, b11434.
_GGUF = {0: "F32", 1: "F16", 8: "Q8_0", 30: "BF16"}
_BYTES = {"F32": 4.0, "F16": 2.0, "BF16": 2.0, "Q8_0": 34 / 32}


class RowChange(Struct, frozen=True):
    """How far one row moved, and how far beyond the others: the robust z-score of its length."""

    row: int
    change: float
    z: float


class Spectrum(Struct, frozen=True):
    """The difference of one matrix. `share_of_first` is its largest direction's part of all.

    `relative` is its length beside the base's (for an adapter, its own length); `effective_rank` is
    the exponential of the entropy of the squared singular values.
    """

    name: str
    relative: float
    share_of_first: float
    effective_rank: float


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtra("looking at weights", "router") from None
    return numpy


def row_changes(base: Matrix, model: Matrix, most: int = 64) -> list[RowChange]:
    """Give the rows that moved most, `(rows, width)` each, those beyond three spreads only.

    Raises:
        TrustError: the shapes differ; rows that were added are no change of these.
    """
    np = _numpy()
    if base.shape != model.shape or base.ndim != 2:
        raise TrustError(f"the embeddings differ in shape: {base.shape} and {model.shape}")
    change = np.linalg.norm(model - base, axis=1)
    middle = float(np.median(change))
    spread = 1.4826 * float(np.median(np.abs(change - middle))) or max(middle, 1e-12)
    z = (change - middle) / spread
    order = np.argsort(-z)[:most]
    return [RowChange(int(at), float(change[at]), float(z[at])) for at in order if z[at] > 3.0]


def spectrum_of(name: str, difference: Matrix, base: Matrix | None = None) -> Spectrum:
    """Give the spectrum of a difference."""
    np = _numpy()
    values = np.linalg.svd(difference.astype(np.float64), compute_uv=False)
    squares = values**2
    total = float(squares.sum())
    if total == 0 or not math.isfinite(total):
        return Spectrum(name, 0.0, 0.0, 0.0)
    parts = squares[squares > 0] / total
    rank = float(np.exp(-(parts * np.log(parts)).sum()))
    beside = float(np.linalg.norm(base)) if base is not None else 1.0
    return Spectrum(name, math.sqrt(total) / max(beside, 1e-12), float(parts[0]), rank)


def adapter_spectra(matrices: Mapping[str, Matrix]) -> list[Spectrum]:
    """Give the spectrum of each pair of an adapter's, the largest first.

    Source: PEFT 0.17, whose pairs are named `….lora_A.weight` (rank, in) and `….lora_B.weight`
    (out, rank). The product is never made: its spectrum is that of two small triangles.
    """
    np = _numpy()
    found = []
    for name, down in matrices.items():
        up = matrices.get(name.replace("lora_A", "lora_B"))
        if "lora_A" not in name or up is None or up.shape[-1] != down.shape[0]:
            continue
        left = np.linalg.qr(up, mode="r")
        right = np.linalg.qr(down.T, mode="r")
        found.append(spectrum_of(name.partition(".lora_A")[0], left @ right.T))
    return sorted(found, key=lambda each: -each.relative)


def read_matrix(path: Path, names: Sequence[str] = EMBEDDINGS) -> tuple[str, Matrix]:
    """Read the first of some matrices that a safetensors or GGUF file has, `(rows, width)`.

    Raises:
        TrustError: the file is neither, has none of them, or has it in a form that is not read
            here (F32, F16, BF16 and GGUF's Q8_0 are), or in one over 8 GiB.
    """
    try:
        source, file = open_source(path, path.name)
    except OSError as error:
        raise TrustError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        try:
            tables = _gguf(source) if source.read(0, 4) == b"GGUF" else _safetensors(source)
        except (Fault, TooLarge) as error:
            raise TrustError(f"{path}: {error or 'its header is too large'}") from error
        for name in names:
            if name in tables:
                return name, _loaded(source, path, name, *tables[name])
    raise TrustError(f"{path} has none of {', '.join(names)}")


def _gguf(source: Source) -> dict[str, tuple[str, tuple[int, ...], int]]:
    head = read_gguf(source)
    if head.big_endian:
        return {}
    return {
        each.name: (
            _GGUF.get(each.kind, f"type {each.kind}"),
            tuple(reversed(each.shape)),
            head.data_start + each.offset,
        )
        for each in head.tensors
    }


def _safetensors(source: Source) -> dict[str, tuple[str, tuple[int, ...], int]]:
    head = read_safetensors(source)
    return {
        name: (each.dtype, tuple(each.shape), head.data_start + each.data_offsets[0])
        for name, each in head.tensors.items()
    }


def _loaded(
    source: Source, path: Path, name: str, kind: str, shape: tuple[int, ...], start: int
) -> Matrix:
    np = _numpy()
    if kind not in _BYTES or len(shape) != 2 or min(shape) < 1:
        raise TrustError(f"{path}: {name} is of {kind} with the shape {shape}, which is not read")
    rows, width = shape
    if rows * width * 4 > MAX_MATRIX_BYTES or (kind == "Q8_0" and width % 32):
        raise TrustError(f"{path}: {name} with the shape {shape} is not read")
    size = int(rows * width * _BYTES[kind])
    if start + size > source.size:
        raise TrustError(f"{path}: {name} ends after the file does")
    data = bytearray()
    while len(data) < size:
        data += source.read(start + len(data), min(MAX_READ_BYTES, size - len(data)))
    matrix: Matrix = _decoded(np, kind, bytes(data)).reshape(rows, width)
    if not np.isfinite(matrix).all():
        raise TrustError(f"{path}: {name} holds what is no number")
    return matrix


def _decoded(np: Any, kind: str, data: bytes) -> Any:
    if kind == "F32":
        return np.frombuffer(data, "<f4")
    if kind == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    blocks = np.frombuffer(data, np.dtype([("scale", "<f2"), ("values", "i1", 32)]))
    return blocks["scale"].astype(np.float32)[:, None] * blocks["values"].astype(np.float32)
