"""Which files of a repository are a model: by quantization, with its parts and its projector.

Source: llama.cpp, common/download.cpp (read 2026-11): the order of the defaults, the names that are
no models, and the choice of a projector (the nearest folder, then the nearest precision).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pointsman.errors import LocalError

__all__ = ["choose", "label_of", "parts_of", "projector_for"]

DEFAULTS = ("Q4_K_M", "Q8_0")
# An importance matrix, and the small models that draft for a large one.
_NO_MODEL = re.compile(r"mmproj|imatrix|(?:mtp|eagle3|dflash|dspark)-", re.IGNORECASE)
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
_LABEL = re.compile(
    r"[-._]((?:UD-)?(?:I?Q\d\w*|TQ\d\w*|BF16|F16|F32|FP16|FP32|MXFP4\w*|NVFP4\w*))$", re.IGNORECASE
)


def label_of(path: str) -> str | None:
    """The quantization that a file's name ends with, such as `Q4_K_M` or `UD-Q4_K_XL`."""
    stem = path.rpartition("/")[2]
    split = _SPLIT.fullmatch(stem)
    stem = split[1] if split else re.sub(r"(?i)\.gguf$", "", stem)
    match = _LABEL.search(stem)
    return match[1].upper() if match else None


def choose(repo: str, paths: Sequence[str], quant: str | None) -> str:
    """Give the path of the model file that is meant; of a split one, its first part.

    `quant` is a quantization or a file's name. Without it: Q4_K_M, else Q8_0, else the first.

    Raises:
        LocalError: there is none; the message says which quantizations there are.
    """
    models = [path for path in sorted(paths) if _is_model(path)]
    if not models:
        raise LocalError(
            f"{repo} holds no GGUF file; look for a repository whose name ends in -GGUF"
        )
    for wanted in DEFAULTS if quant is None else (quant,):
        for matches in (_is_named, _has_label, _has_word):
            for path in models:
                if matches(path, wanted.lower()):
                    return path
    if quant is None:
        return models[0]
    known = sorted({label_of(path) or path for path in models})
    raise LocalError(f"{repo} has no '{quant}'; it has {', '.join(known[:40])}")


def parts_of(path: str, paths: Sequence[str]) -> list[str]:
    """Give all parts of a split model by the first; the path itself of one that is whole.

    Raises:
        LocalError: the repository lacks one.
    """
    match = _SPLIT.fullmatch(path)
    if match is None:
        return [path]
    count = int(match[3])
    have = set(paths)
    found = []
    for number in range(1, count + 1):
        part = f"{match[1]}-{number:05d}-of-{match[3]}{path[-5:]}"
        if part not in have:
            raise LocalError(f"the repository lacks {part}, one of the {count} parts of the model")
        found.append(part)
    return found


def projector_for(path: str, paths: Sequence[str]) -> str | None:
    """Give the mmproj file that goes with a model: in its folder or one above, the nearest."""
    folder = path.split("/")[:-1]
    bits = _bits(path)
    best: tuple[int, int, str] | None = None
    for each in sorted(paths):
        *where, name = each.split("/")
        if not name.lower().endswith(".gguf") or "mmproj" not in name.lower():
            continue
        if folder[: len(where)] != where:
            continue
        rank = (-len(where), abs(_bits(each) - bits), each)
        if best is None or rank < best:
            best = rank
    return None if best is None else best[2]


def _is_model(path: str) -> bool:
    name = path.rpartition("/")[2]
    split = _SPLIT.fullmatch(name)
    if not name.lower().endswith(".gguf") or _NO_MODEL.search(name):
        return False
    return split is None or int(split[2]) == 1


def _is_named(path: str, wanted: str) -> bool:
    return path.lower() == wanted or path.rpartition("/")[2].lower() == wanted


def _has_label(path: str, wanted: str) -> bool:
    return (label_of(path) or "").lower() == wanted


def _has_word(path: str, wanted: str) -> bool:
    """Whether the path has it as a word: `Q4_K_M` also finds `UD-Q4_K_M`, and never `IQ4_K_M`."""
    return re.search(rf"(?:^|[-._/]){re.escape(wanted)}[-.]", path.lower()) is not None


def _bits(path: str) -> int:
    match = re.search(r"\d+", label_of(path) or "")
    return int(match[0]) if match else 0
