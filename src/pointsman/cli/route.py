"""`pointsman route train|eval|explain`; `replay` and `calibrate` are in `route_traffic`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar, table
from pointsman.cli.route_traffic import calibrate_command, replay_command
from pointsman.config import load_config
from pointsman.door import Door
from pointsman.types import Chat, Message, Text

__all__ = ["command"]


@click.group("route")
def command() -> None:
    """Learn, score and explain the choice between models."""


_data = click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_strong = click.option("--strong", required=True, help="Name of the strong model in DATA.")
_weak = click.option("--weak", required=True, help="Name of the weak model in DATA.")


@command.command("train")
@_data
@click.option("--strong", help="Name of the strong model in DATA; needs --weak.")
@click.option("--weak", help="Name of the weak model in DATA; needs --strong.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--licence", default="as the data's", show_default=True, help="Licence to write into the card."
)
@json_option
def train(
    data: Path, strong: str | None, weak: str | None, out: Path, licence: str, as_json: bool
) -> None:
    """Learn a router from recorded outcomes of any number of models and write it to OUT.

    Of the pair more is learned than of the other models. Without --strong and --weak it is the two
    models with the most rows in common.
    """
    from pointsman.router.files import train_file

    if (strong is None) != (weak is None):
        raise click.UsageError("--strong and --weak go together: give both or neither")
    with progress_bar("training") as show:
        metrics = train_file(data, strong, weak, out, show, licence=licence)
    _print(metrics, as_json)


@command.command("eval")
@_data
@_strong
@_weak
@click.option(
    "--router",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Router to score; the default is the one that comes with Pointsman.",
)
@json_option
def evaluate(data: Path, strong: str, weak: str, router: Path | None, as_json: bool) -> None:
    """Score a router on recorded outcomes."""
    from pointsman.router.files import eval_file

    _print(eval_file(data, strong, weak, router), as_json)


@command.command("explain")
@click.argument("prompt")
@click.option("-m", "--model", "ref", default="auto", show_default=True, help="Route to explain.")
@click.option("--quality", type=click.FloatRange(0, 1), help="Dial: 0 cheapest, 1 best.")
@config_option
@json_option
def explain(
    prompt: str, ref: str, quality: float | None, config_path: str | None, as_json: bool
) -> None:
    """Say which model a prompt would go to, and why; nothing is sent."""
    from pointsman.router.explain import explain as explained

    door = Door(load_config(config_path))
    plan = door.resolver.resolve(ref)
    chat = Chat(model=ref, messages=(Message("user", (Text(prompt),)),))
    decision = door.decide(plan, chat, quality)
    value = explained(decision, door.classifier(plan.spec.router), prompt)
    if as_json:
        echo_json(value)
        return
    for name, each in msgspec.to_builtins(value).items():
        click.echo(f"{name}: {each}")


command.add_command(replay_command)
command.add_command(calibrate_command)


def _print(metrics: object, as_json: bool) -> None:
    if as_json:
        echo_json(metrics)
        return
    rows = [[str(name), str(value)] for name, value in msgspec.to_builtins(metrics).items()]
    click.echo(table(rows, ["metric", "value"]))
