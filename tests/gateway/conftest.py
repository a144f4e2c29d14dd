"""Gateways over fake providers, stopped at the end of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from gateway_site import Site, site_config

from pointsman.gateway.server import running
from pointsman.testing import FakeProvider


@pytest.fixture
def make_site(tmp_path) -> Iterator[Callable[..., Site]]:
    """Gives a function (script, extra TOML) → Site; all are stopped at the end."""
    with ExitStack() as stack:

        def make(script: Any = None, extra: str = "") -> Site:
            fake = stack.enter_context(FakeProvider(script))
            config = site_config(fake, extra, str(tmp_path))
            return Site(stack.enter_context(running(config)), fake)

        yield make
