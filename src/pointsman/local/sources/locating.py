"""Asks pip or uv where a wheel lies, without fetching it.

Which index, mirror, proxy and credentials hold stays the tool's to say. pip's report of a dry run
(`--report`) names the file too, but up to pip 25 it fetches it first, and later ones as well where
the index has no metadata beside it; `pip index versions` reads the index's page alone.

Source: pip 22.3 to 26.3, the lines "Found link … version: …" of its debug log (tried, as they are
documented nowhere: what does not look so is taken for no answer); PEP 751, the packages of a
pylock.toml, as `uv pip compile --format pylock.toml` writes it (uv 0.6.15 and later).
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from pointsman.local.sources.installer import Installer, Pin, run_tool

__all__ = ["Link", "locate"]

TIMEOUT_S = 120.0
# The page of a package with thousands of files.
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
_FOUND = re.compile(
    r"^\s*Found link (?P<url>[^\s#]+)(?:#(?P<fragment>\S*))? \(from .*, version: (?P<version>\S+)$",
    re.MULTILINE,
)
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!\-]{0,250}\.whl")
_SHA256 = re.compile(r"(?:^|&)sha256=([0-9a-f]{64})(?:&|$)")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


class Link(Struct, frozen=True):
    """Where a wheel lies; `sha256` is None where that is not told, though the index may say it.

    pip tells it only where it stands in the URL, as in an index's HTML, and not of its JSON.
    """

    url: str
    sha256: str | None

    @property
    def file(self) -> str:
        """The wheel's file name."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


class TooMuch(Exception):
    """The tool fetches more than the page of an index."""


def locate(tool: Installer, pin: Pin, folder: Path, check: Callable[[], None]) -> Link | None:
    """Give the one wheel that the tool would take, or None where it does not say so surely.

    Fetches the index's page of the package, at most 32 MiB. Works in `folder`. `check` is called
    about five times a second, and ends the tool if it raises.
    """

    def watch(done: int) -> None:
        check()
        if done > MAX_OUTPUT_BYTES:
            raise TooMuch

    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "pylock.toml"
    if tool.kind == "pip":
        command = [
            *tool.command, "index", "versions", "-vv", "--pre", "--only-binary=:all:",
            "--no-cache-dir", "--no-input", "--no-color", "--disable-pip-version-check",
            pin.package,
        ]  # fmt: skip
    else:
        requirements = folder / "requirements.in"
        requirements.write_text(f"{pin.package}=={pin.version}\n", "utf-8")
        command = [
            *tool.command, "pip", "compile", "--format", "pylock.toml", "--no-deps",
            "--only-binary", ":all:", "--no-cache", "--no-progress", "--no-header",
            "--python", sys.executable, "--output-file", str(lock), str(requirements),
        ]  # fmt: skip
    try:
        run_tool(command, folder, watch, TIMEOUT_S)
        if tool.kind == "pip":
            # It may fail for having no release that is installable, and has said what there is.
            return _choose(_pip_links((folder / "log").read_text("utf-8", "replace"), pin), pin)
        return _choose(_uv_links(tomllib.loads(lock.read_text("utf-8")), pin), pin)
    except (TooMuch, OSError, ValueError):
        return None


def _choose(links: Iterable[Link], pin: Pin) -> Link | None:
    found = [each for each in dict.fromkeys(links) if _WHEEL.fullmatch(each.file)]
    if pin.sha256 is not None:
        found = [each for each in found if each.sha256 in (None, pin.sha256)]
    # Which of several fits best is the tool's to say; and one of two mirrors may be a file here.
    if len({each.file for each in found}) != 1 or len({each.sha256 for each in found}) != 1:
        return None
    return found[0] if all(_is_open(each.url) for each in found) else None


def _is_open(url: str) -> bool:
    """Whether it is of the web, and without credentials, which the tools may have masked."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and "@" not in parts.netloc and "*" not in url


def _pip_links(log: str, pin: Pin) -> Iterable[Link]:
    for match in _FOUND.finditer(log):
        if _release(match["version"]) == _release(pin.version):
            digest = _SHA256.search(match["fragment"] or "")
            yield Link(match["url"], digest and digest[1])


def _uv_links(lock: Any, pin: Pin) -> Iterable[Link]:
    for package in _rows(lock, "packages"):
        if _release(str(package.get("version"))) != _release(pin.version):
            continue
        for wheel in _rows(package, "wheels"):
            url, hashes = wheel.get("url"), wheel.get("hashes")
            digest = hashes.get("sha256") if isinstance(hashes, dict) else None
            if isinstance(digest, str) and not _SHA256_HEX.fullmatch(digest):
                digest = None
            # One with a path in place of a URL lies on this machine.
            yield Link(
                url if isinstance(url, str) else "file:",
                digest if isinstance(digest, str) else None,
            )


def _rows(table: Any, name: str) -> list[dict[str, Any]]:
    rows = table.get(name) if isinstance(table, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _release(version: str) -> str:
    """A version in one of the ways to write it: `1.0` is `1`, and `1.0-RC1` is `1rc1`.

    Source: the packaging specification of versions (PEP 440), without its rarer spellings, which
    then are taken for another version.
    """
    text = re.sub(r"[-_.]?(a|b|rc)[-_.]?(\d+)", r"\1\2", version.lower().removeprefix("v"))
    match = re.match(r"(\d+(?:\.\d+)*?)(?:\.0)*(?![.\d])(.*)", text)
    return match[1] + match[2] if match else text
