"""The gate as the engine asks it: a model's files, with the hashes that its manifest vouches for."""

from __future__ import annotations

import logging
from pathlib import Path

from pointsman.config import Config
from pointsman.local.store import LocalModel, ModelStore
from pointsman.trust.gate import Gate, Held, Standing
from pointsman.trust.lock import LOCK_FILE
from pointsman.trust.policy import load_policy
from pointsman.trust.state import State

__all__ = ["Admission", "gate_of", "held_files", "lock_place", "state_of"]

_log = logging.getLogger("pointsman.trust")


def state_of(config: Config) -> State:
    """What the gate of this configuration keeps."""
    return State(Path(config.home) / "trust")


def lock_place(config: Config) -> Path:
    """The lock that local models are held against: `trust.lock`, else one beside the configuration file,
    else in the data directory. It need not be there.
    """
    if config.trust.lock:
        return Path(config.trust.lock).expanduser()
    beside = Path(config.path).parent / LOCK_FILE if config.path else None
    return beside if beside is not None and beside.exists() else Path(config.home) / LOCK_FILE


def gate_of(config: Config) -> Gate:
    """Make the gate.

    Raises:
        TrustError: the policy file cannot be read or is wrong.
    """
    policy = Path(config.trust.policy).expanduser() if config.trust.policy else None
    return Gate(
        config.trust.mode, load_policy(policy), state_of(config), lock_place(config), _log.warning
    )


def held_files(model: LocalModel, store: ModelStore) -> tuple[Held, ...]:
    """Give the files that a model is loaded from; a remote one has none."""
    if model.url is not None:
        return ()
    known = store.known_hashes(model)
    paths = [*known] or [Path(model.path)]
    more = [Path(each) for each in (model.projector, *model.adapters) if each is not None]
    paths += [each for each in more if each not in paths]
    return tuple(Held(each, known.get(each) if model.verified else None) for each in paths)


class Admission:
    """Asks the gate about a model; it is read anew for each, since another process may have verified it."""

    def __init__(self, gate: Gate, store: ModelStore) -> None:
        self.gate = gate
        self._store = store

    def __call__(self, model: LocalModel) -> None:
        """Return if the model may be loaded.

        Raises:
            TrustError: it may not.
        """
        self.gate.admit(model.name, held_files(model, self._store))

    def standing(self, model: LocalModel) -> Standing:
        """Say how a model stands by what is known of it; no file is read for its hash.

        Raises:
            TrustError: what the gate keeps cannot be read.
        """
        return self.gate.standing(model.name, held_files(model, self._store))
