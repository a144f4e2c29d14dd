"""One gateway over one fake provider for all of these tests, and the official clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pytest_asyncio import is_async_test
from upstream_rules import broken_rules

from pointsman.config import parse_config
from pointsman.gateway.server import running
from pointsman.testing import FakeProvider, Recorded

UPSTREAMS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
KEY = "sk-the-upstreams-own-key"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LangChain's clients share connections within a process, so their tests share a loop."""
    for item in items:
        if item.path.name.startswith("test_langchain_") and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass
class Site:
    """The gateway's address and the fake behind it.

    A model's name is `upstream:anything`, or the alias `plain-upstream`.
    """

    url: str
    fake: FakeProvider

    @property
    def sent(self) -> Recorded:
        """The last request that reached the provider."""
        return self.fake.requests[-1]


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with FakeProvider() as fake:
        rows = "".join(
            f'[providers.{name}]\ndialect = "{name}"\nbase_url = "{fake.url}{path}"\n'
            f'api_key_env = "FAKE_KEY"\nretries = 0\n'
            f'[models.plain-{name}]\nref = "{name}:plain-{name}"\n'
            for name, path in UPSTREAMS.items()
        )
        config = parse_config(rows)
        config.server.port = 0
        config.home = str(tmp_path_factory.mktemp("home"))
        config.secrets = {"FAKE_KEY": KEY}
        with running(config) as gateway:
            yield Site(gateway.url, fake)


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """The site with the scripted assistant behind it; what was sent must be by the rules."""
    whole_site.fake.requests.clear()
    whole_site.fake.play(None)
    yield whole_site
    for request in whole_site.fake.requests:
        broken = broken_rules(request)
        assert not broken, f"{request.raw.decode()}\n" + "\n".join(broken)


@pytest.fixture(params=UPSTREAMS)
def upstream(request: pytest.FixtureRequest) -> Any:
    """Each upstream dialect; its provider has the same name."""
    return request.param
