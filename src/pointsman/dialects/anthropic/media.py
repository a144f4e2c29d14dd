"""Anthropic's sources of images and documents, both ways.

Source: the types of the official client, anthropic 2.12.0 (`types/image_block_param.py`,
`types/document_block_param.py`, `types/search_result_block_param.py`).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pointsman.dialects._shared import at, optional, required, want_list, want_object, want_string
from pointsman.errors import RequestError, UnsupportedParameter
from pointsman.types import File, Image, Text

__all__ = ["read_document", "read_image", "read_search_result", "write_file", "write_image"]

# Stands for the type of an image that the provider itself holds, as a file.
_ANY_IMAGE = "image/*"
_IMAGE_TYPES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_PDF = "application/pdf"
_PDF_START = "JVBERi0"  # "%PDF-" in base64.
_TEXT_TYPES = frozenset(("application/json", "application/xml", "application/yaml"))


def _source(block: dict[str, Any], path: str) -> tuple[dict[str, Any], str, str]:
    source = required(block, "source", want_object, path)
    where = at(path, "source")
    return source, where, required(source, "type", want_string, where)


def read_image(block: dict[str, Any], path: str) -> Image | File:
    """Read an image block; an image that the provider holds is a File of the type `image/*`.

    Raises:
        RequestError: a wrong or unknown source.
    """
    source, where, kind = _source(block, path)
    if kind == "base64":
        return Image(
            media_type=required(source, "media_type", want_string, where),
            data=required(source, "data", want_string, where),
        )
    if kind == "url":
        return Image(url=required(source, "url", want_string, where))
    if kind == "file":
        return File(media_type=_ANY_IMAGE, file_id=required(source, "file_id", want_string, where))
    raise RequestError(
        f"'{where}.type' must be base64, url or file, not '{kind}'", param=f"{where}.type"
    )


def read_document(block: dict[str, Any], path: str) -> File:
    """Read a document block; a document made of text blocks is their text.

    Raises:
        RequestError: a wrong or unknown source.
    """
    source, where, kind = _source(block, path)
    name = optional(block, "title", want_string, path)
    if kind == "base64":
        return File(
            name=name,
            media_type=required(source, "media_type", want_string, where),
            data=required(source, "data", want_string, where),
        )
    if kind == "text":
        text = required(source, "data", want_string, where)
        return File(name=name, media_type="text/plain", text=text)
    if kind == "url":
        url = required(source, "url", want_string, where)
        return File(name=name, media_type=_PDF, url=url)
    if kind == "file":
        return File(name=name, file_id=required(source, "file_id", want_string, where))
    if kind == "content":
        content = source.get("content")
        inner = at(where, "content")
        text = content if isinstance(content, str) else _texts(content, inner)
        return File(name=name, media_type="text/plain", text=text)
    raise RequestError(
        f"'{where}.type' must be base64, text, content, url or file, not '{kind}'",
        param=f"{where}.type",
    )


def _texts(value: object, path: str) -> str:
    texts = []
    for index, item in enumerate(want_list(value, path)):
        where = at(path, index)
        block = want_object(item, where)
        if required(block, "type", want_string, where) != "text":
            raise UnsupportedParameter(
                where, "translation", "only text can stand in a translated document's content"
            )
        texts.append(required(block, "text", want_string, where))
    return "\n\n".join(texts)


def read_search_result(block: dict[str, Any], path: str) -> Text:
    """Read a search result as text under its title and source: the middle form has no such part.

    Raises:
        RequestError: a missing or wrong field.
    """
    title = required(block, "title", want_string, path)
    source = required(block, "source", want_string, path)
    content = _texts(block.get("content"), at(path, "content"))
    return Text(f"{title}\n{source}\n\n{content}")


def write_image(image: Image, path: str, ignored: list[str]) -> dict[str, Any]:
    """Write an image block. `detail` has no word here: it sets the cost, not what is seen.

    Raises:
        UnsupportedParameter: a format or a kind of URL that Anthropic doesn't take.
    """
    if image.detail not in (None, "auto"):
        ignored.append("detail")
    if image.data is not None:
        return _base64_image(image.media_type, image.data, path)
    return _url_image(image.url or "", path)


def _base64_image(media_type: str | None, data: str, path: str) -> dict[str, Any]:
    kind = (media_type or "").lower().replace("image/jpg", "image/jpeg")
    if kind not in _IMAGE_TYPES:
        raise UnsupportedParameter(
            path, "Anthropic", f"it takes JPEG, PNG, GIF and WebP, not '{media_type}'"
        )
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def _url_image(url: str, path: str) -> dict[str, Any]:
    if not url.startswith(("https://", "http://")):
        raise UnsupportedParameter(path, "Anthropic", "it takes http and https addresses only")
    return {"type": "image", "source": {"type": "url", "url": url}}


def write_file(file: File, path: str, dialect: str) -> dict[str, Any]:
    """Write a document block, or an image block for a file that is an image.

    Raises:
        UnsupportedParameter: a format that Anthropic doesn't take, or another provider's file id.
    """
    is_image = (file.media_type or "").startswith("image/")
    if file.file_id is not None:
        if dialect not in ("anthropic", "pointsman"):
            raise UnsupportedParameter(
                f"{path}.file_id", "Anthropic", "it is another provider's file: send its content"
            )
        kind = "image" if is_image else "document"
        block: dict[str, Any] = {"type": kind, "source": {"type": "file", "file_id": file.file_id}}
    elif is_image and file.data is not None:
        return _base64_image(file.media_type, file.data, path)
    elif is_image and file.url is not None:
        return _url_image(file.url, path)
    else:
        block = {"type": "document", "source": _document_source(file, path)}
    if file.name is not None and block["type"] == "document":
        block["title"] = file.name
    return block


def _document_source(file: File, path: str) -> dict[str, Any]:
    if file.text is not None:
        return {"type": "text", "media_type": "text/plain", "data": file.text}
    media_type = (file.media_type or "").partition(";")[0].strip().lower()
    if file.url is not None:
        if media_type not in ("", _PDF):
            raise UnsupportedParameter(
                path, "Anthropic", f"it takes PDF by address, not '{media_type}'"
            )
        if not file.url.startswith(("https://", "http://")):
            raise UnsupportedParameter(path, "Anthropic", "it takes http and https addresses only")
        return {"type": "url", "url": file.url}
    data = file.data or ""
    if media_type == _PDF or (not media_type and data.startswith(_PDF_START)):
        return {"type": "base64", "media_type": _PDF, "data": data}
    if media_type.startswith("text/") or media_type in _TEXT_TYPES:
        try:
            text = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise RequestError(f"'{path}' is not base64 of UTF-8 text", param=path) from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise UnsupportedParameter(
        path, "Anthropic", f"it takes PDF and text, not '{media_type or 'a file of no type'}'"
    )
