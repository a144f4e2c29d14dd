"""`pointsman trust …`: each verb in a module of its own, loaded when it is asked for."""

from __future__ import annotations

import click

from pointsman.cli.lazy import LazyGroup

__all__ = ["command"]

# Verb → the module of this folder whose `command` it is.
_VERBS = {
    "dataset": "trust_dataset",
    "lock": "trust_lock",
    "probe": "trust_probe",
    "quarantine": "trust_quarantine",
    "release": "trust_release",
    "scan": "trust_scan",
    "self": "trust_self",
    "sign": "trust_sign",
    "verify": "trust_verify",
}


@click.group("trust", cls=LazyGroup, verbs=_VERBS)
def command() -> None:
    """Check models and training sets before they are used.

    Exit codes of every verb: 0 nothing found in its search space; 1 findings; 2 could not check.
    """
