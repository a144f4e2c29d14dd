"""A fake provider for each test, and its three official clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pointsman.testing import FakeProvider


@pytest.fixture
def fake_with() -> Iterator[Callable[..., FakeProvider]]:
    """Gives a function of a script to a running fake; all are stopped at the end."""
    with ExitStack() as stack:

        def make(*replies: Any, **options: Any) -> FakeProvider:
            script = replies[0] if replies and callable(replies[0]) else list(replies) or None
            return stack.enter_context(FakeProvider(script, **options))

        yield make
