"""`python -m pointsman.testing [--port N]`: the fake provider by itself, until Ctrl-C."""

from __future__ import annotations

import asyncio

import click

from pointsman.testing.assistant import FAULTS
from pointsman.testing.server import FakeProvider

__all__ = ["main"]


@click.command(
    epilog="A model's name can ask for a fault: "
    + ", ".join(FAULTS)
    + ", and fault-400 to fault-599 for a status."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0 takes a free one.")
def main(port: int) -> None:
    """Run a provider that answers by script, in OpenAI's, Anthropic's and Gemini's wire formats."""

    async def run() -> None:
        async with FakeProvider(port=port) as fake:
            click.echo(f"fake provider on {fake.url} (OpenAI: {fake.url}/v1)")
            await asyncio.Event().wait()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise click.UsageError(f"cannot listen on port {port}: {error.strerror}") from error


if __name__ == "__main__":
    main()
