"""A group of verbs, each in a module of this folder that is imported only when its verb is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """Loads a verb's module when it is asked for, so that no verb pays for another's imports.

    `verbs` is verb → the module of this folder whose `command` it is.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the verbs, sorted."""
        return sorted(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give a verb's command, None if there is no such verb."""
        module = self._verbs.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"pointsman.cli.{module}").command
        return command
