"""`pointsman run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pointsman.cli.gateway_link import GatewayLink, find_gateway
from pointsman.cli.output import config_option, echo_json, json_option, progress_bar, step_bar
from pointsman.cli.terminal.conversation import Conversation
from pointsman.cli.terminal.editor import Editor
from pointsman.cli.terminal.history import History
from pointsman.cli.terminal.pictures import read_prompt
from pointsman.cli.terminal.repl import Facts, Repl
from pointsman.cli.terminal.screen import Screen
from pointsman.cli.terminal.speaker import Speaker
from pointsman.cli.terminal.target import Pullable, Target, can_see, find_target
from pointsman.cli.terminal.turn import Turn, figures, take_turn
from pointsman.cli.trust_checked import say_check
from pointsman.config import Config, load_config
from pointsman.door import Door
from pointsman.errors import LocalError
from pointsman.local.pull import pull
from pointsman.local.store import LocalModel, ModelStore
from pointsman.types import Part, Text

__all__ = ["command"]

MAX_STDIN_BYTES = 16 * 1024 * 1024
HISTORY_FILE = "run_history"


@click.command("run")
@click.argument("name")
@click.argument("prompt", nargs=-1)
@click.option("-s", "--system", help="System prompt.")
@click.option("--max-tokens", type=click.IntRange(1), help="Most tokens of an answer.")
@click.option("--verbose", is_flag=True, help="Tokens, their rate and the cost after each answer.")
@click.option("--no-history", is_flag=True, help="Keep nothing of what is typed.")
@config_option
@json_option
def command(
    name: str,
    prompt: tuple[str, ...],
    system: str | None,
    max_tokens: int | None,
    verbose: bool,
    no_history: bool,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Chat with a model in the terminal, or ask it once with a PROMPT or standard input.

    NAME is a model of this machine, any other ref (provider:model, an alias, a route such as auto),
    or what 'pointsman pull' takes: it is then pulled first. (ollama:NAME is pulled too, but where
    the configuration has a provider of that name.) If the gateway runs, the model runs in it, and
    stays loaded; else it runs until the end of the conversation.

    What is typed is private: it is kept, for the next time, in a file of the data directory that
    only you may read (run_history), or with --no-history not at all. /? lists the commands.
    """
    config = load_config(config_path)
    screen = Screen(config.secrets)
    typed, piped = " ".join(prompt), _piped()
    once = bool(typed.strip()) or piped is not None
    if not once and not sys.stdin.isatty():
        raise click.UsageError("there is no prompt: give one, or some on standard input")
    if as_json and not once:
        raise click.UsageError("--json needs a PROMPT")
    door = Door(config)
    target = find_target(name, config, door.local.store, door.resolver)
    if isinstance(target, Pullable):
        target = _pulled(target.ref, config, door.local.store)
    sees = can_see(target, config, door.resolver)
    link = _link(config, target, screen)
    label = _label(target, link)
    conversation = Conversation(system)
    if max_tokens is not None:
        conversation.options["max_tokens"] = max_tokens
    with Speaker(config, target.ref, door.resolver, link) as speaker:
        if once:
            conversation.say(_parts(typed, piped, sees, screen))
            turn = take_turn(speaker, conversation, screen, wait_for=label, quiet=as_json)
            _report(turn, screen, verbose=verbose, as_json=as_json)
            return
        editor = Editor(None if no_history else History(Path(config.home) / HISTORY_FILE))
        facts = _facts(target, link, sees)
        screen.note(f"{target.ref} in {speaker.url or 'this process'}; /? lists the commands")
        Repl(speaker, conversation, screen, editor, facts, wait_for=label, verbose=verbose).run()


def _piped() -> str | None:
    if sys.stdin.isatty():
        return None
    data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(data) > MAX_STDIN_BYTES:
        raise click.UsageError(f"standard input is over {MAX_STDIN_BYTES} bytes")
    return data.decode("utf-8", "replace") if data.strip() else None


def _pulled(ref: str, config: Config, store: ModelStore) -> Target:
    with progress_bar(f"pulling {ref}") as show:
        model = pull(ref, store, step_bar(show), env=config.secrets)
    say_check(model, store, config)
    for warning in model.warnings:
        click.echo(f"note: {warning}", err=True)
    return Target(f"local:{model.name}", model)


def _link(config: Config, target: Target, screen: Screen) -> GatewayLink | None:
    """Give the gateway, if it runs and can be asked for the same model."""
    try:
        link = find_gateway(config)
    except LocalError as error:
        screen.note(f"{error.message}; the model runs in this process")
        return None
    if link is not None and target.model is not None:
        model = target.model
        if link.row(model.name, model.path) is None:
            screen.note(f"the gateway at {link.url} has another model folder; it is not used")
            return None
    return link


def _parts(typed: str, piped: str | None, sees: bool, screen: Screen) -> tuple[Part, ...]:
    """Give the message; only what was typed may name files, a pipe's text is from elsewhere."""
    parts: tuple[Part, ...] = ()
    if typed.strip():
        prompt = read_prompt(typed, can_see=sees)
        for note in prompt.notes:
            screen.note(note)
        parts = prompt.parts
    if piped is None:
        return parts
    texts = [part.text for part in parts if isinstance(part, Text)]
    rest = tuple(part for part in parts if not isinstance(part, Text))
    return (Text("\n\n".join([*texts, piped])), *rest)


def _label(target: Target, link: GatewayLink | None) -> str:
    """What is waited for at first: a model of this machine must mostly be loaded."""
    if target.model is None:
        return ""
    row = link.row(target.model.name, target.model.path) if link else None
    return "" if row is not None and row.state == "ready" else f"loading {target.ref}"


def _report(turn: Turn | None, screen: Screen, *, verbose: bool, as_json: bool) -> None:
    """Say, once an answer has been shown, what else there is to say of it."""
    if turn is None or turn.interrupted:
        raise click.Abort
    answer = turn.answer
    if as_json:
        echo_json(
            {
                "model": answer.ref,
                "route": answer.route,
                "text": answer.text,
                "usage": answer.usage,
                "cost_usd": answer.cost_usd,
            }
        )
    elif verbose:
        screen.note(figures(turn))


def _facts(target: Target, link: GatewayLink | None, sees: bool) -> Facts:
    model = target.model
    if model is None:
        return Facts((), sees)
    lines = [f"{name:<12}{value}" for name, value in _about(model, link) if value]
    sampling = {
        name: value
        for name in model.defaults.sampling.__struct_fields__
        if (value := getattr(model.defaults.sampling, name)) is not None
    }
    if model.defaults.max_tokens is not None:
        sampling["max_tokens"] = model.defaults.max_tokens
    if model.defaults.stop:
        sampling["stop"] = list(model.defaults.stop)
    return Facts(tuple(lines), sees, model.defaults.system, sampling)


def _about(model: LocalModel, link: GatewayLink | None) -> list[tuple[str, str]]:
    row = link.row(model.name, model.path) if link else None
    context = row.context_tokens if row else None
    return [
        ("file", model.path),
        ("engine", model.url or ""),
        ("size", f"{model.bytes / 2**20:.0f} MiB" if model.bytes else ""),
        ("sha256", model.sha256 or ""),
        ("source", model.source),
        ("licence", model.licence or ""),
        ("context", f"{context:,} tokens" if context else ""),
        ("images", "yes" if model.projector else ""),
        *(("warning", warning) for warning in model.warnings),
    ]
