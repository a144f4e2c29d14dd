"""`pointsman trust …`: each verb in a module of its own, loaded when it is asked for."""

from __future__ import annotations

import importlib

import click

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


class _Lazy(click.Group):
    """Knows the verbs by name alone, so that none pays for another's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _VERBS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"pointsman.cli.{module}").command
        return command


@click.group("trust", cls=_Lazy)
def command() -> None:
    """Check models and training sets before they are used.

    Exit codes of every verb: 0 nothing found in its search space; 1 findings; 2 could not check.
    """
