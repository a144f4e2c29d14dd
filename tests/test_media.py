"""Media by address are found however they are written, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pointsman.errors import UnsupportedParameter
from pointsman.providers.media import refuse_addresses

URL = "http://10.0.0.1/x"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "image_url", "image_url": URL},
        {"type": "input_image", "image_url": " HTTPS://h/x"},
        {"type": "video_url", "video_url": {"url": "ftp://h/x"}},
        {"type": "input_audio", "input_audio": {"url": [{"deep": URL}]}},
    ],
)
def test_an_address_is_refused(part: dict[str, Any]) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": [part]}]})
    for text in (body, body.replace("/", "\\/")):
        with pytest.raises(UnsupportedParameter, match="not its address") as caught:
            refuse_addresses(text.encode(), "local")
        assert caught.value.param == part["type"]
    word = body.replace("image", "im\\u0061ge").replace("video", "vid\\u0065o")
    with pytest.raises(UnsupportedParameter):
        refuse_addresses(word.encode(), "local")


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": f"look at this image: {URL}"}]},
        {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"content": [{"type": "image_url", "image_url": {"url": "file://x.png"}}]},
        {"tools": [{"type": "function", "function": {"name": "image", "url": URL}}]},
        {"content": [{"type": ["image_url"], "image_url": URL}]},
    ],
)
def test_what_is_no_address_of_media_passes(body: dict[str, Any]) -> None:
    refuse_addresses(json.dumps(body).encode(), "local")


def test_what_is_no_json_passes() -> None:
    refuse_addresses(b'{"image": ', "local")
    refuse_addresses(b'"image' + b"[" * 100_000, "local")


def test_nested_parts_are_read_once() -> None:
    body: Any = ["x"] * 20_000
    for _ in range(400):
        body = {"type": "image_url", "inner": body}
    refuse_addresses(json.dumps(body).encode(), "local")
