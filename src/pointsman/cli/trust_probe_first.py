"""The strings that a probe tries first: from training rows, and from weights beside their base's."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pointsman.errors import TrustError
from pointsman.local.gguf_metadata import read_metadata
from pointsman.trust.dataset.check import check_file
from pointsman.trust.dataset.detect import here
from pointsman.trust.probe.candidates import Candidate
from pointsman.trust.probe.weights import read_matrix, row_changes

__all__ = ["from_rows", "from_weights"]

MAX_TOKENIZER_BYTES = 64 * 1024 * 1024
# What `trust dataset` puts between the words of a pair that stand apart.
GAP = "…"


def from_rows(path: Path) -> list[Candidate]:
    """Give the triggers that the row detector finds in a file.

    Raises:
        TrustError: it is no training set that can be read.
    """
    checked = check_file(path, here)
    texts = dict.fromkeys(each.text.replace(GAP, " ").strip() for each in checked.triggers)
    return [Candidate(" ".join(text.split(" ")), "rows") for text in texts if text]


def from_weights(model: Path, base: Path) -> list[Candidate]:
    """Give the words whose rows in the embedding moved most between two files.

    Raises:
        TrustError: a file cannot be read, or the vocabulary cannot be had: a GGUF holds it, and
            beside safetensors it lies in `tokenizer.json`.
        MissingExtra: numpy is not installed.
    """
    _, own = read_matrix(model)
    _, other = read_matrix(base)
    words = _vocabulary(model)
    found = []
    for change in row_changes(other, own):
        word = words.get(change.row, "").lstrip("Ġ▁ ")
        if word:
            found.append(Candidate(word, "weights"))
    return found


def _vocabulary(model: Path) -> dict[int, str]:
    with model.open("rb") as file:
        is_gguf = file.read(4) == b"GGUF"
    if is_gguf:
        tokens = read_metadata(model, full=True).get("tokenizer.ggml.tokens") or []
        return {number: str(token) for number, token in enumerate(tokens)}
    path = model.parent / "tokenizer.json"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOKENIZER_BYTES + 1)
        found = msgspec.json.decode(data, type=_Tokenizer)
    except (OSError, msgspec.DecodeError) as error:
        raise TrustError(f"{path} gives no vocabulary: {error}") from error
    return {number: word for word, number in found.model.vocab.items()}


class _Vocabulary(msgspec.Struct):
    vocab: dict[str, int]


class _Tokenizer(msgspec.Struct):
    model: _Vocabulary
