"""`pointsman demo`."""

from __future__ import annotations

import shutil
import sys
import threading

import click

from pointsman.cli.output import echo_json, json_option, progress_bar, step_bar
from pointsman.cli.trust_checked import say_check
from pointsman.config import load_config
from pointsman.demo.prompts import load_prompts
from pointsman.demo.report import (
    DEFAULT_COLUMNS,
    HEADERS,
    Row,
    cells,
    line,
    summary,
    totals,
)
from pointsman.demo.run import LOCAL_MODEL, ask_all, demo_gateway, strong_side
from pointsman.local.host import store_of
from pointsman.local.pull import pull
from pointsman.types import ModelCard

__all__ = ["command"]


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the gateway up at the end.")
@click.option("--prompts", "count", type=click.IntRange(1), help="Only so many of the prompts.")
@json_option
def command(keep: bool, count: int | None, as_json: bool) -> int:
    """Show the main job with nothing configured.

    Runs the gateway, a small local model on llama.cpp, and real prompts of rising difficulty
    through the route `auto`. The strong side is the first provider whose key is in the
    environment (its answers are then paid for), else a scripted stand-in that says so.
    """
    config = load_config()
    config.models, config.routes = {}, {}

    def say(text: str) -> None:
        if not as_json:
            click.echo(text, err=True)

    strong = strong_side(config)
    if strong.scripted:
        say("No provider's key is set: a scripted stand-in plays the strong side.")
    else:
        say(f"The strong side is {strong.ref}, with your key.")
    with progress_bar(f"fetching {LOCAL_MODEL}") as show:
        store = store_of(config)
        model = pull(LOCAL_MODEL, store, step_bar(show), env=config.secrets)
    say_check(model, store, config)
    say(f"local:{LOCAL_MODEL}: {model.bytes / 2**20:.0f} MiB, sha256 checked")
    prompts = load_prompts()[:count]
    with demo_gateway(config, strong) as gateway:
        say(
            f"gateway on {gateway.url}; the local model loads with the first prompt that goes there"
        )
        columns = shutil.get_terminal_size((DEFAULT_COLUMNS, 24)).columns
        if not as_json:
            click.echo(line(HEADERS, columns))

        def show_row(row: Row) -> None:
            if not as_json:
                click.echo(cells(row, columns))
                sys.stdout.flush()

        resolver = gateway.gateway.door.resolver
        rows = ask_all(gateway.url, prompts, lambda ref: resolver.candidate(ref).card, show_row)
        card = resolver.candidate(strong.ref).card
        sums = totals(rows, card)
        if as_json:
            echo_json({"rows": rows, "totals": sums, "strong": strong, "url": gateway.url})
        else:
            click.echo()
            click.echo(summary(sums, _name(strong.ref, card), strong.note))
        if keep:
            _keep(gateway.url)
    return 1 if sums.failed else 0


def _name(ref: str, card: ModelCard) -> str:
    return "the strong side's price" if ref == "strong" else card.ref


def _keep(url: str) -> None:
    click.echo(
        f"""
The gateway stays up at {url} (Ctrl-C ends it). Try:

  curl {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "What is 12 * 12?"}}]}}'

  curl {url}/pointsman/v1/routes/explain -H 'content-type: application/json' \\
    -d '{{"prompt": "Prove that there are infinitely many primes."}}'

  OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY=none {sys.executable} -c 'import openai; print(openai.OpenAI().chat.completions.create(model="local:{LOCAL_MODEL}", messages=[{{"role": "user", "content": "Hi"}}]).choices[0].message.content)'
"""
    )
    sys.stdout.flush()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("\nStopped.")
