"""A gateway over a fake provider, and a plain HTTP client that hides nothing."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from pointsman.config import Config, parse_config
from pointsman.gateway.server import Running
from pointsman.testing import FakeProvider

KEY = "sk-secret-key-of-the-upstream"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of the events, decoded where it is JSON."""
        found = []
        for block in self.body.replace(b"\r\n", b"\n").split(b"\n\n"):
            for line in block.split(b"\n"):
                if line.startswith(b"data: "):
                    data = line[6:]
                    found.append(json.loads(data) if data[:1] == b"{" else data.decode())
        return found


@dataclass
class Site:
    """A running gateway and the fake behind it."""

    gateway: Running
    fake: FakeProvider

    def send(
        self,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> Reply:
        host, _, port = self.gateway.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            data = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
            connection.request(method, path, data, {"connection": "close", **(headers or {})})
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def chat(self, model: str, **fields: Any) -> Reply:
        return self.send("/v1/chat/completions", chat_body(model, **fields))


def chat_body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello there"}], **fields}


def site_config(fake: FakeProvider, extra: str, home: str) -> Config:
    text = f"""
[providers.o]
base_url = "{fake.url}/v1"
api_key_env = "FAKE_KEY"
retries = 0
[providers.a]
dialect = "anthropic"
base_url = "{fake.url}/v1"
api_key_env = "FAKE_KEY"
retries = 0
[providers.g]
dialect = "gemini"
base_url = "{fake.url}/v1beta"
api_key_env = "FAKE_KEY"
retries = 0
{extra}
"""
    config = parse_config(text)
    config.server.port = 0
    config.home = home
    config.secrets = {"FAKE_KEY": KEY, "ADMIN_KEY": "let-me-in"}
    return config
