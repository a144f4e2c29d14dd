"""Fetches images that a request names by URL, for providers that take only the bytes.

Off unless asked for, since a URL in a request makes this machine open a connection. The address is
looked up first, refused unless public, and then connected to as it is, so that a name which
resolves differently a moment later cannot lead inside.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket

import msgspec

from pointsman._http.transport import Origin, Request, Timeouts, Transport, TransportError
from pointsman.errors import RequestError
from pointsman.types import Chat, Image, Message, Part

__all__ = ["has_remote_images", "is_public", "with_fetched_images"]

MAX_IMAGE_BYTES = 20 * 1024 * 1024
MAX_IMAGES = 32
TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=10.0, idle_s=10.0)


def has_remote_images(chat: Chat) -> bool:
    """Whether a part of the chat is an image behind an http(s) URL."""
    return any(_is_remote(part) for message in chat.messages for part in message.parts)


async def with_fetched_images(chat: Chat, transport: Transport) -> Chat:
    """Give the chat with its remote images fetched; at most 32 of at most 20 MiB each.

    Raises:
        RequestError: an address that is not public, a redirect, no image, too large, or no answer
            within 10 s.
    """
    left = MAX_IMAGES
    messages: list[Message] = []
    for message in chat.messages:
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, Image) and _is_remote(part):
                left -= 1
                if left < 0:
                    raise RequestError(f"more than {MAX_IMAGES} images by URL")
                part = await _fetched(part, transport)
            parts.append(part)
        messages.append(msgspec.structs.replace(message, parts=tuple(parts)))
    return msgspec.structs.replace(chat, messages=tuple(messages))


def is_public(address: str) -> bool:
    """Whether an IP address is reachable from all of the internet, IPv4 inside IPv6 included."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1]
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return parsed.is_global and not parsed.is_multicast


def _is_remote(part: Part) -> bool:
    return (
        isinstance(part, Image)
        and part.url is not None
        and part.url.startswith(("http://", "https://"))
    )


async def _fetched(image: Image, transport: Transport) -> Image:
    url = image.url or ""
    path_start = url.find("/", 8)
    base, path = (url, "/") if path_start < 0 else (url[:path_start], url[path_start:])
    try:
        origin, _ = Origin.of(base)
        address = await _public_address(origin)
        request = Request("GET", origin._replace(address=address), path.partition("#")[0])
        response = await transport.send(request, TIMEOUTS)
        try:
            media_type = response.headers.get("content-type", "").partition(";")[0].strip()
            if response.status != 200:
                raise RequestError(f"image {_short(url)}: status {response.status}")
            if not media_type.startswith("image/"):
                raise RequestError(f"image {_short(url)} is of type '{media_type}'")
            data = await response.read(MAX_IMAGE_BYTES)
        finally:
            response.close()
    except (TransportError, ValueError) as error:
        raise RequestError(f"image {_short(url)} could not be fetched: {error}") from error
    encoded = base64.b64encode(data).decode("ascii")
    return Image(media_type=media_type, data=encoded, detail=image.detail)


async def _public_address(origin: Origin) -> str:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RequestError(f"image host {origin.host}: {error}") from error
    addresses = [str(each[4][0]) for each in found]
    # One private address among public ones is a trick, so all must be public.
    if not addresses or not all(is_public(address.partition("%")[0]) for address in addresses):
        raise RequestError(f"image host {origin.host} is not on the public internet")
    return addresses[0]


def _short(url: str) -> str:
    return url.partition("?")[0][:200]
