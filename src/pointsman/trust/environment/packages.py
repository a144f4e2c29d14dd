"""The packages of an environment as their metadata tell them, read as bytes and never imported."""

from __future__ import annotations

import base64
import binascii
import configparser
import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

__all__ = ["Package", "Recorded", "normal_name", "read_packages", "recorded_rows"]

MAX_METADATA_BYTES = 16 * 1024 * 1024
_DIST_INFO = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.dist-info$")


class Recorded(Struct, frozen=True):
    """A line of a RECORD: `path` as written there; `sha256` in hex, None where there is no such hash.

    Source: packaging.python.org, "Recording installed projects", checked 2026-11.
    """

    path: str
    sha256: str | None
    size_bytes: int | None


class Package(Struct, frozen=True):
    """An installed package. `site` is the folder that its RECORD's paths start from.

    `entry_points` are (group, name, value). `files` is None where there is no RECORD to read.
    """

    name: str
    version: str
    site: Path
    info: Path
    files: tuple[Recorded, ...] | None
    entry_points: tuple[tuple[str, str, str], ...]

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


def normal_name(name: str) -> str:
    """Give a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_packages(
    sites: Sequence[Path], *, naming: Collection[str] | None = None
) -> Iterator[Package]:
    """Yield every package in the given site folders.

    With `naming` only RECORDs that name one of those files are parsed, which takes a tenth of the time.

    Reads each `.dist-info`. What can't be read is given as if it were not there: the checks then say
    that they could not be made.
    """
    for site in sites:
        try:
            names = sorted(each.name for each in site.iterdir())
        except OSError:
            continue
        for name in names:
            found = _DIST_INFO.match(name)
            if found is None:
                continue
            info = site / name
            yield Package(
                name=normal_name(found["name"]),
                version=found["version"],
                site=site,
                info=info,
                files=_records(info / "RECORD", naming),
                entry_points=_entry_points(info / "entry_points.txt"),
            )


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_METADATA_BYTES + 1)
    except OSError:
        return None
    return data.decode("utf-8", "replace") if len(data) <= MAX_METADATA_BYTES else None


def _records(path: Path, naming: Collection[str] | None) -> tuple[Recorded, ...] | None:
    if naming is not None and not naming:
        return None
    text = _text(path)
    if text is None or (naming is not None and not any(each in text for each in naming)):
        return None
    try:
        return recorded_rows(csv.reader(io.StringIO(text)))
    except csv.Error:
        return None


def recorded_rows(rows: Iterable[Sequence[str]]) -> tuple[Recorded, ...]:
    """Give the lines of a RECORD, as a CSV reader has them."""
    return tuple(
        Recorded(row[0], _hex(row[1]), int(row[2]) if row[2].isdecimal() else None)
        for row in rows
        if len(row) == 3 and row[0]
    )


def _hex(written: str) -> str | None:
    """A RECORD has `sha256=` and URL-safe base64 without its padding."""
    method, _, digest = written.partition("=")
    if method != "sha256":
        return None
    try:
        return base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
    except (binascii.Error, ValueError):
        return None


def _entry_points(path: Path) -> tuple[tuple[str, str, str], ...]:
    text = _text(path)
    if text is None:
        return ()
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # Names keep their case.
    try:
        parser.read_string(text)
    except configparser.Error:
        return ()
    return tuple(
        (group, name, value)
        for group in parser.sections()
        for name, value in parser.items(group, raw=True)
    )
