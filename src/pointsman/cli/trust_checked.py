"""What is said of a model that was checked as it came."""

from __future__ import annotations

import click

from pointsman.config import Config
from pointsman.local.store import LocalModel, ModelStore
from pointsman.local.verification import check_pulled

__all__ = ["say_check"]


def say_check(model: LocalModel, store: ModelStore, config: Config) -> None:
    """Check what was pulled, and say on standard error what was found; nothing is raised for it.

    Raises:
        TrustError: the verdict cannot be written down.
    """
    report = check_pulled(model, store, config)
    if report is None or report.status == "clean":
        return
    for each in report.findings:
        click.echo(f"{each.severity}: {each.rule}: {each.path}: {each.message}", err=True)
    for reason in report.incomplete:
        click.echo(f"could not check: {reason}", err=True)
    click.echo(f"note: see pointsman trust verify local:{model.name}", err=True)
