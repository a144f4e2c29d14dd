"""Quarantine of remote models: by ref, since there is no file whose hash could be held.

An alias, or another spelling of the same ref, is the same model.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pointsman.config import Config
from pointsman.errors import PointsmanError, Quarantined, UnknownModel
from pointsman.resolve import Candidate, Resolver
from pointsman.trust.state import Quarantine, State
from pointsman.types import ModelCard

__all__ = ["RemoteQuarantine", "name_of", "remote_name"]

# So often at most it is looked up whether another process has changed anything.
LOOK_S = 1.0


class RemoteQuarantine:
    """The remote models that are set aside, as the data directory has them."""

    def __init__(self, state: State, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._next_s = float("-inf")
        self._stamp: object = None
        self._entries: dict[str, Quarantine] = {}

    def check(self, candidate: Candidate) -> None:
        """Return if a remote model may be asked. Looks at the file's times, once a second.

        Raises:
            Quarantined: it was set aside.
            TrustError: what is kept cannot be read.
        """
        now_s = self._clock()
        if now_s >= self._next_s:
            self._look()
            self._next_s = now_s + LOOK_S
        if self._entries and not candidate.local:
            name = name_of(candidate)
            if (entry := self._entries.get(name)) is not None:
                raise Quarantined(
                    f"'{name}' is in quarantine: {entry.reason}. If that is settled:"
                    f" pointsman trust release {name}"
                )

    def changed(self) -> None:
        """Look again at the next request: this process has changed something."""
        self._next_s = float("-inf")

    def _look(self) -> None:
        stamp = self._state.quarantine_stamp()
        if stamp != self._stamp:
            self._entries = self._state.quarantined()
            self._stamp = stamp


def name_of(candidate: Candidate) -> str:
    """The name by which a remote model is set aside."""
    return f"{candidate.provider}:{candidate.model}"


def remote_name(ref: str, config: Config) -> str | None:
    """Give the name by which a ref is set aside; None if it is no remote model's."""
    try:
        return name_of(Resolver(config, lambda: (), _no_card).candidate(ref))
    except PointsmanError:
        return None


def _no_card(name: str) -> ModelCard:
    raise UnknownModel(f"'{name}' is a model of this machine")
