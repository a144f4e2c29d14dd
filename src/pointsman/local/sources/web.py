"""A GGUF file that a web server has, by its URL."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from pointsman.errors import LocalError
from pointsman.local.manifest import Manifest
from pointsman.local.refs import UrlRef, split_names
from pointsman.local.sources.base import Fetched, Found, Job, fetch_file

__all__ = ["WebPlan", "file_name", "model_name", "plan"]

MAX_STEM_CHARS = 100
_SPLIT_TAIL = re.compile(r"-\d{5}-of-\d{5}$")


class WebPlan(Struct, frozen=True):
    """One file, or all parts of a split model."""

    ref: UrlRef
    name: str
    source: str
    parts: tuple[str, ...]

    def holds(self, manifest: Manifest) -> bool:
        """Whether it is from this URL; a server need not tell more without sending the file."""
        if self.ref.sha256 is not None and manifest.files[0].sha256 != self.ref.sha256:
            return False
        return manifest.source == self.source

    def fetch(self, job: Job, scratch: Path) -> Fetched:
        """Have all parts."""
        first = file_name(self.parts[0])
        names = split_names(first) if len(self.parts) > 1 else [first]
        found = []
        for url, name in zip(self.parts, names, strict=True):
            digest = fetch_file(
                job, url, scratch / name, sha256=self.ref.sha256, keep_journal=len(names) > 1
            )
            found.append(Found(scratch / name, digest))
        return Fetched(tuple(found))


def plan(ref: UrlRef, job: Job) -> WebPlan:
    """Name the files of a URL; the server is not asked yet.

    Raises:
        RequestError: it is another part of a split model than the first.
        LocalError: a hash was given for a split model.
    """
    parts = urlsplit(ref.url)
    base, _, last = parts.path.rpartition("/")
    names = split_names(last)
    if len(names) > 1 and ref.sha256 is not None:
        raise LocalError(
            f"{last} is one of {len(names)} files; '#sha256=' can be given for one file"
        )
    urls = tuple(parts._replace(path=f"{base}/{name}").geturl() for name in names)
    # A query may be a signature that lets its holder read the file.
    source = parts._replace(query="").geturl()
    return WebPlan(ref, model_name(file_name(ref.url)), source, urls)


def file_name(url: str) -> str:
    """The name to keep a URL's file under."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    stem = re.sub(r"(?i)\.gguf$", "", last)
    stem = re.sub(r"[^A-Za-z0-9_.\-]+", "-", stem).strip("-.")[-MAX_STEM_CHARS:].lstrip("-.")
    return f"{stem or 'model'}.gguf"


def model_name(file: str) -> str:
    """What a model is called by its file's name."""
    return _SPLIT_TAIL.sub("", file.removesuffix(".gguf")) or "model"
