"""The static scan: a file or a folder, its archives' members, and the chat templates in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from pointsman.trust.findings import CannotCheck, Report, make_report
from pointsman.trust.folder import FoundFile, check_names, walk_folder
from pointsman.trust.formats.arrays import check_hdf5, check_npy
from pointsman.trust.formats.context import Limits, Scan, Template
from pointsman.trust.formats.detect import detect
from pointsman.trust.formats.gguf import check_gguf
from pointsman.trust.formats.graphs import check_onnx, check_tensorflow, check_tflite
from pointsman.trust.formats.pickles import PROBE_OPCODES, Walk, check_pickle, probe_pickle
from pointsman.trust.formats.safetensors import check_safetensors
from pointsman.trust.formats.source import Source, open_source
from pointsman.trust.formats.tars import read_tar
from pointsman.trust.formats.texts import check_text
from pointsman.trust.formats.unpack import unpack_to_source
from pointsman.trust.formats.zips import find_zip_end, open_entry, read_zip
from pointsman.trust.rules.archives import ARCHIVE_BOMB, ARCHIVE_POLYGLOT
from pointsman.trust.rules.companions import CUSTOM_CODE, EXECUTABLE
from pointsman.trust.rules.weights import (
    GGUF_MALFORMED,
    SAFETENSORS_MALFORMED,
    TORCHSCRIPT_CODE,
)
from pointsman.trust.template.compare import compare_templates
from pointsman.trust.template.lint import lint_template

__all__ = ["Scanned", "ScannedFile", "scan_path", "scan_templates_of"]

_CHECKS: dict[str, Callable[[Source, Scan], object]] = {
    "gguf": check_gguf,
    "safetensors": check_safetensors,
    "npy": check_npy,
    "hdf5": check_hdf5,
    "onnx": check_onnx,
    "savedmodel": check_tensorflow,
    "graphdef": check_tensorflow,
    "tflite": check_tflite,
    "text": check_text,
}
_PACKED = ("gzip", "bzip2", "xz", "zstd", "zlib")
# They hold no code that a loader of models would run, and their own readers are not ours to check.
_PASSIVE = {"empty", "media", "table", "PDF", "sentencepiece"}
# Kinds whose first bytes are no matter of chance.
_CERTAIN = {
    "zip",
    "program",
    "gguf",
    "npy",
    "hdf5",
    "xz",
    "7z archive",
    "rar archive",
    "safetensors",
}
MAX_OVERLAP = 2
HASH_CHUNK_BYTES = 4 * 1024 * 1024


class ScannedFile(Struct, frozen=True):
    """A file that was looked at. `sha256` is None where hashes were not asked for."""

    name: str
    kind: str
    size_bytes: int
    sha256: str | None = None


class Scanned(Struct, frozen=True):
    """What a scan gives: the report, the files, the chat templates, and which hold pickles.

    `pickles` are paths of files on disk, for scanners of others.
    """

    report: Report
    files: tuple[ScannedFile, ...]
    templates: tuple[Template, ...]
    pickles: tuple[Path, ...]


def scan_path(
    path: Path,
    *,
    base: Path | None = None,
    limits: Limits | None = None,
    hashes: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Scanned:
    """Scan a file, or a folder and all below it, without running or unpickling anything.

    `base` is a model, folder or template whose chat templates those found are compared with.
    `progress` is told (files done, files in all).

    Raises:
        CannotCheck: there is no such file or folder, or `base` holds no chat template.
    """
    scan = Scan(limits or Limits(), _inspect)
    try:
        found = _files(path, scan)
        files, pickles = [], []
        for number, each in enumerate(found):
            if progress:
                progress(number, len(found))
            kind, digest = _scan_file(each, scan, hashes)
            files.append(ScannedFile(each.name, kind, each.size, digest))
            if any(name == each.name or name.startswith(f"{each.name}!") for name in scan.pickles):
                pickles.append(each.path)
            scan.pickles.clear()
        if progress:
            progress(len(found), len(found))
        for template in scan.templates:
            lint_template(template, scan)
        if base is not None:
            compare_templates(scan.templates, scan_templates_of(base), scan)
    finally:
        scan.close()
    report = make_report(scan.findings, scan.incomplete, [each.name for each in files])
    return Scanned(report, tuple(files), tuple(scan.templates), tuple(pickles))


def scan_bytes(name: str, data: bytes, *, limits: Limits | None = None) -> Report:
    """Give the report on bytes in memory, as on a file of that name."""
    scan = Scan(limits or Limits(), _inspect)
    try:
        _inspect(scan, Source.of_bytes(name, data), 0)
        for template in scan.templates:
            lint_template(template, scan)
    finally:
        scan.close()
    return make_report(scan.findings, scan.incomplete, [name])


def scan_templates_of(path: Path) -> tuple[Template, ...]:
    """Give the chat templates of a model, folder or template file, without a report on it.

    Raises:
        CannotCheck: there are none, or no such file.
    """
    templates = scan_path(path).templates
    if not templates:
        raise CannotCheck(
            f"{path} holds no chat template to compare with: name a model or a .jinja file"
        )
    return templates


def _files(path: Path, scan: Scan) -> list[FoundFile]:
    try:
        real = path.resolve(strict=True)
        if real.is_dir():
            return list(walk_folder(real, scan))
        if real.is_file():
            check_names("", [path.name or real.name], scan)
            return [FoundFile(path.name or real.name, real, real.stat().st_size)]
    except (OSError, RuntimeError) as error:
        raise CannotCheck(
            f"{path} cannot be scanned: {getattr(error, 'strerror', None) or error}"
        ) from error
    raise CannotCheck(f"{path} cannot be scanned: it is neither a file nor a folder")


def _scan_file(found: FoundFile, scan: Scan, hashes: bool) -> tuple[str, str | None]:
    try:
        source, file = open_source(found.path, found.name)
        with file:
            kind = _inspect(scan, source, 0)
            return kind, _hash(source) if hashes else None
    except OSError as error:
        scan.cannot_check(found.name, f"it cannot be read: {error.strerror or error}")
        return "unreadable", None


def _hash(source: Source) -> str:
    digest, at = hashlib.sha256(), 0
    while piece := source.read(at, HASH_CHUNK_BYTES):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def _inspect(scan: Scan, source: Source, depth: int) -> str:
    """Look at one file or member: what it is, what it breaks, and whether it is a pickle as well."""
    kind = detect(source)
    # As a pickle, a zip begins with a persistent id, at which plain loaders stop and PyTorch's looks
    # for a zip first.
    walk = _probe(source, scan) if kind not in ("empty", "npy", "zip") else None
    if walk is not None:
        known = kind not in ("unknown", "text", "tar", "zlib", "graphdef", "sentencepiece")
        check_pickle(source, scan, disguised_as=kind if known else None)
        if not known:
            return "pickle"
    if kind in _CHECKS:
        _CHECKS[kind](source, scan)
    elif kind == "zip":
        _zip(source, scan, depth)
    elif kind == "tar":
        for member in read_tar(source, scan):
            scan.inspect(member, depth + 1)
    elif kind in _PACKED:
        unpacked = unpack_to_source(source, kind, scan)
        inner = unpacked.source.window(f"{source.name}!{kind}", 0, unpacked.source.size)
        scan.inspect(inner, depth + 1)
    elif kind == "program":
        scan.add(EXECUTABLE, source.name, "It begins as a program or a library of machine code.")
    elif kind not in _PASSIVE:
        _unknown(source, kind, scan)
    _check_name(source, kind, scan)
    if kind not in ("zip", "tar", *_PACKED):
        _check_polyglot(source, kind, scan, depth)
    return kind


def _probe(source: Source, scan: Scan) -> Walk | None:
    if not scan.opcodes_left():
        scan.cannot_check(source.name, "too many opcodes of pickles were walked already")
        return None
    walk = probe_pickle(source)
    scan.opcodes += PROBE_OPCODES // 100 if walk is None else walk.opcodes
    return walk


def _unknown(source: Source, kind: str, scan: Scan) -> None:
    if source.name.lower().endswith(".pyc") or (
        source.read(2, 2) == b"\r\n" and source.read(16, 1) == b"\xe3"
    ):
        scan.add(CUSTOM_CODE, source.name, "It is Python byte code.")
    elif kind == "unknown":
        scan.cannot_check(source.name, "its format is not known here")
    else:
        scan.cannot_check(source.name, f"it is a {kind}, which is not looked into")


def _check_name(source: Source, kind: str, scan: Scan) -> None:
    """A file that is named for a format whose loader will be used on it, and is something else."""
    name = source.name.lower()
    if name.endswith(".gguf") and kind != "gguf":
        scan.add(GGUF_MALFORMED, source.name, f"It is named .gguf and is {kind}.")
    if name.endswith(".safetensors") and kind != "safetensors":
        scan.add(SAFETENSORS_MALFORMED, source.name, f"It is named .safetensors and is {kind}.")


def _check_polyglot(source: Source, kind: str, scan: Scan, depth: int) -> None:
    end = find_zip_end(source) if source.size >= 22 else None
    if end is None:
        return
    size = int.from_bytes(source.read(end + 12, 4), "little")
    if size and source.read(end - size, 4) == b"PK\x01\x02":
        scan.add(
            ARCHIVE_POLYGLOT,
            source.name,
            f"It is {kind} from its start and a zip archive from its end.",
            offset=end,
        )
        _zip(source, scan, depth)


def _zip(source: Source, scan: Scan, depth: int) -> None:
    entries = read_zip(source, scan)
    # PyTorch's raw storages are named PREFIX/data/NUMBER beside PREFIX/data.pkl.
    roots = {entry.name[: -len("data.pkl")] for entry in entries if entry.name.endswith("data.pkl")}
    claimed = 0
    for entry in entries:
        claimed += entry.packed
        if claimed > source.size * MAX_OVERLAP:
            # Honest members lie beside each other; overlapping ones make a bomb of a small file.
            scan.add(
                ARCHIVE_BOMB,
                source.name,
                "Its members overlap: they claim more bytes than there are.",
            )
            scan.cannot_check(source.name, "its members overlap; not all were looked at")
            return
        member = open_entry(source, entry, scan)
        if member is None or entry.name.endswith("/"):
            continue
        if "/code/" in f"/{entry.name}" and entry.name.endswith(".py"):
            scan.add(TORCHSCRIPT_CODE, source.name, f"It holds the program {entry.name[:100]!a}.")
            continue
        if _is_storage(entry.name, roots) and _is_numbers(member, scan):
            continue
        scan.inspect(member, depth + 1)


def _is_numbers(member: Source, scan: Scan) -> bool:
    """Whether a storage is what it should be: raw numbers begin with a few bytes of anything."""
    return detect(member) not in _CERTAIN and _probe(member, scan) is None


def _is_storage(name: str, roots: set[str]) -> bool:
    folder, _, number = name.rpartition("/")
    return (
        f"{folder.removesuffix('data')}" in roots and folder.endswith("data") and number.isdigit()
    )
