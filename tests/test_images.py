from __future__ import annotations

import pytest

from pointsman._http.h1 import H1Transport
from pointsman._http.transport import TransportError
from pointsman.errors import RequestError
from pointsman.images import has_remote_images, is_public, with_fetched_images
from pointsman.types import Chat, Image, Message, Text


def chat(*urls):
    return Chat(model="m", messages=(Message("user", tuple(Image(url=url) for url in urls)),))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fe80::1", "fd00::1",
     "::ffff:127.0.0.1", "0.0.0.0", "100.64.0.1", "2002:7f00:1::", "224.0.0.1", "ff02::1"],
)  # fmt: skip
def test_what_is_inside_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111"])
def test_the_internet_is_public(address):
    assert is_public(address)


class Forbidden(H1Transport):
    async def send(self, request, timeouts):
        raise AssertionError("a connection was opened")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/a.png", "http://localhost/a.png", "http://[::1]/a.png", "http://0.0.0.0/",
     "http://user@127.0.0.1/", "http://2130706433/a.png"],
)  # fmt: skip
async def test_nothing_inside_is_ever_connected_to(url):
    with pytest.raises(RequestError):
        await with_fetched_images(chat(url), Forbidden())


class Canned:
    """A transport that answers one thing, and notes where it was sent."""

    def __init__(self, status=200, content_type="image/png", body=b"png", fault=None):
        self.status = status
        self.headers = {"content-type": content_type}
        self.body = body
        self.fault = fault
        self.sent = []

    async def send(self, request, timeouts):
        self.sent.append(request)
        return self

    async def read(self, limit_bytes):
        if self.fault:
            raise self.fault
        return self.body

    def close(self):
        pass

    async def aclose(self):
        pass


async def test_a_public_image_is_fetched_from_the_address_that_was_checked():
    transport = Canned()
    fetched = await with_fetched_images(chat("http://1.1.1.1/a.png?x=1#f"), transport)
    assert fetched.messages[0].parts == (Image("image/png", "cG5n"),)
    assert transport.sent[0].origin.address == "1.1.1.1"
    assert transport.sent[0].path == "/a.png?x=1"


@pytest.mark.parametrize(
    "transport",
    [
        Canned(status=302),
        Canned(content_type="text/html"),
        Canned(fault=TransportError("size", "too large")),
    ],
)
async def test_what_is_no_image_is_refused(transport):
    with pytest.raises(RequestError, match=r"image http://1\.1\.1\.1/a"):
        await with_fetched_images(chat("http://1.1.1.1/a"), transport)


async def test_too_many_are_refused():
    with pytest.raises(RequestError, match="more than 32"):
        await with_fetched_images(chat(*["http://1.1.1.1/a"] * 33), Canned())


def test_only_http_urls_count_as_remote():
    assert has_remote_images(chat("https://a/b"))
    assert not has_remote_images(chat("gs://a/b"))
    assert not has_remote_images(Chat(model="m", messages=(Message("user", (Text("http://x"),)),)))
