"""Image files that a prompt names: found in its text, and made parts of the message."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import unquote

from msgspec import Struct

from pointsman.types import Image, Part, Text

__all__ = ["Prompt", "read_prompt"]

MAX_IMAGE_BYTES = 20 * 1024 * 1024
MAX_IMAGES = 16
# As terminals write a file that is dropped on them: in quotes, with blanks escaped, or plain.
_PATH = re.compile(
    r"""'(?P<single>[^'\n]+\.(?:png|jpe?g|webp))'"""
    r"""|"(?P<double>[^"\n]+\.(?:png|jpe?g|webp))\""""
    r"""|(?P<plain>(?:\\.|[^\s\\'"])+\.(?:png|jpe?g|webp))(?=$|[\s,;:!?)])""",
    re.IGNORECASE,
)


class Prompt(Struct, frozen=True):
    """What the user says, as parts. `notes` are for the user: what was attached, or why not."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()


def read_prompt(text: str, *, can_see: bool) -> Prompt:
    """Give a prompt's parts: image files that it names and that are there become images.

    A file that is no image, is too large, or goes to a model that cannot see stays text. Only for
    what the user typed: a text from elsewhere must not choose files of this machine.
    """
    images: list[Part] = []
    notes: list[str] = []

    def attach(match: re.Match[str]) -> str:
        path = _file_of(match)
        if path is None:
            return match[0]
        if not can_see:
            notes.append(f"the model cannot see; {path.name} is sent as text")
            return match[0]
        try:
            if path.stat().st_size > MAX_IMAGE_BYTES or len(images) == MAX_IMAGES:
                notes.append(f"{path.name} is over {MAX_IMAGE_BYTES >> 20} MiB, or one too many")
                return match[0]
            data = path.read_bytes()
        except OSError as error:
            notes.append(f"cannot read {path.name}: {error.strerror or error}")
            return match[0]
        kind = _kind_of(data)
        if kind is None:
            notes.append(f"{path.name} is no PNG, JPEG or WebP image; its name is sent as text")
            return match[0]
        images.append(Image(media_type=kind, data=base64.b64encode(data).decode()))
        notes.append(f"added {path.name}")
        return ""

    rest = _PATH.sub(attach, text).strip()
    said: tuple[Part, ...] = (Text(rest),) if rest or not images else ()
    return Prompt((*said, *images), tuple(notes))


def _file_of(match: re.Match[str]) -> Path | None:
    quoted = match["single"] or match["double"]
    name = quoted or re.sub(r"\\(.)", r"\1", match["plain"])
    if name.startswith("file://"):
        name = unquote(name.removeprefix("file://"))
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None  # Too long for a file's name, or somebody's home that is not known.


def _kind_of(data: bytes) -> str | None:
    """Give the media type by the first bytes.

    Source: PNG (W3C, 3rd edition, 5.2), JPEG (ITU-T T.81, B.1.1.3), WebP (RFC 9649, 2.3).
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
