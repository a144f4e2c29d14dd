"""The command line: a module per verb, imported only when its verb is called."""

from __future__ import annotations

import sys

import click
import msgspec

from pointsman.cli.lazy import LazyGroup
from pointsman.errors import PointsmanError

__all__ = ["cli", "main"]

_VERBS = {
    "ask": "ask",
    "classify": "classify",
    "create": "create",
    "demo": "demo",
    "distill": "distill",
    "doctor": "doctor",
    "import": "import_",
    "models": "models",
    "providers": "providers",
    "ps": "ps",
    "pull": "pull",
    "rm": "rm",
    "route": "route",
    "run": "run",
    "serve": "serve",
    "show": "show",
    "stop": "stop",
    "trust": "trust",
    "version": "version",
}


class _Verbs(LazyGroup):
    """The verbs of the command line; a wrong one is answered with the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], _VERBS, 3) if args else []
            if near:
                text = f"{error.message} Did you mean {' or '.join(near)}?"
                raise click.UsageError(text, ctx) from error
            raise


@click.group(cls=_Verbs, verbs=_VERBS, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """One door to every large language model."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 a failed request or a finding, 2 bad usage."""
    try:
        result = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except PointsmanError as error:
        if "--json" in sys.argv[1:]:
            detail = {"error": {"code": error.code, "message": error.message, "param": error.param}}
            click.echo(msgspec.json.encode(detail).decode())
        click.secho(f"pointsman: {error.message}", err=True, fg="red" if _tty() else None)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; nothing is left to say.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)


def _tty() -> bool:
    return sys.stderr.isatty()
