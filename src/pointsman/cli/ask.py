"""`pointsman ask`."""

from __future__ import annotations

import sys

import click

from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.client import Client
from pointsman.options import ChatOptions
from pointsman.types import Message, ReasoningDelta, RefusalDelta, Text, TextDelta

__all__ = ["command"]

MAX_STDIN_BYTES = 16 * 1024 * 1024


@click.command("ask")
@click.argument("prompt")
@click.option("-m", "--model", "ref", default="auto", show_default=True, help="Ref to ask.")
@click.option("-s", "--system", help="System prompt.")
@click.option("--quality", type=click.FloatRange(0, 1), help="A route's dial: 0 cheapest, 1 best.")
@click.option("--max-tokens", type=click.IntRange(1), help="Most tokens of the answer.")
@config_option
@json_option
def command(
    prompt: str,
    ref: str,
    system: str | None,
    quality: float | None,
    max_tokens: int | None,
    config_path: str | None,
    as_json: bool,
) -> None:
    """Ask once and print the answer as it comes; standard input is appended to PROMPT."""
    if not sys.stdin.isatty():
        piped = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
        if len(piped) > MAX_STDIN_BYTES:
            raise click.UsageError(f"standard input is over {MAX_STDIN_BYTES} bytes")
        if piped.strip():
            prompt = f"{prompt}\n\n{piped.decode('utf-8', 'replace')}"
    messages = [Message("system", (Text(system),))] if system else []
    messages.append(Message("user", (Text(prompt),)))
    options: ChatOptions = {}
    if quality is not None:
        options["quality"] = quality
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    with (
        Client(config_path) as client,
        client.chat(ref, messages, stream=True, **options) as stream,
    ):
        for chunk in stream:
            if as_json:
                continue
            if isinstance(chunk, TextDelta | RefusalDelta):
                click.echo(chunk.text, nl=False)
            elif isinstance(chunk, ReasoningDelta) and sys.stdout.isatty():
                click.secho(chunk.text, nl=False, dim=True)
        answer = stream.answer()
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
    else:
        click.echo()
