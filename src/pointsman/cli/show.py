"""`pointsman show`."""

from __future__ import annotations

import click

from pointsman.cli.output import config_option, echo_json, json_option
from pointsman.config import load_config
from pointsman.local.description import (
    Description,
    describe,
    modelfile_of,
    parameters_text,
    template_of,
)
from pointsman.local.host import store_of

__all__ = ["command"]

SHOWN_CHARS = 72


@click.command("show")
@click.argument("name")
@click.option(
    "--modelfile", "part", flag_value="modelfile", help="A Modelfile that makes it again."
)
@click.option("--parameters", "part", flag_value="parameters", help="Its settings alone.")
@click.option("--template", "part", flag_value="template", help="Its chat template, in Jinja.")
@click.option("--license", "part", flag_value="license", help="Its licence.")
@config_option
@json_option
def command(name: str, part: str | None, config_path: str | None, as_json: bool) -> None:
    """Say what is known of a local model."""
    model = store_of(load_config(config_path)).get(name)
    if as_json:
        echo_json(describe(model))
    elif part == "modelfile":
        click.echo(modelfile_of(model), nl=False)
    elif part == "parameters":
        click.echo(parameters_text(model))
    elif part == "template":
        click.echo(template_of(model) or "")
    elif part == "license":
        click.echo(model.licence or "")
    else:
        _show(describe(model))


def _show(found: Description) -> None:
    rows: list[tuple[str, object]] = [
        ("name", f"local:{found.name}"),
        ("architecture", found.architecture),
        ("parameters", None if found.parameters is None else _count(found.parameters)),
        ("quantization", found.quantization),
        ("trained for", found.context_tokens and f"{found.context_tokens:,} tokens"),
        ("embedding length", found.embedding_length),
        ("can do", ", ".join(found.capabilities)),
        ("size", f"{found.bytes / 2**20:.1f} MiB"),
        ("source", found.source),
        ("file", found.path),
        ("projector", found.projector),
        *(("adapter", each) for each in found.adapters),
        ("sha256", found.sha256 and f"{found.sha256} ({'' if found.verified else 'not '}checked)"),
        ("licence", _short(found.licence)),
    ]
    rows += _defaults(found)
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        if value not in (None, ""):
            click.echo(f"{label.ljust(width)}  {value}")
    for warning in found.warnings:
        click.echo(f"note: {warning}", err=True)


def _defaults(found: Description) -> list[tuple[str, object]]:
    defaults = found.defaults
    rows: list[tuple[str, object]] = [("context", defaults.context_tokens)]
    rows += [("default", f"{name} {getattr(defaults.sampling, name)}")
             for name in defaults.sampling.__struct_fields__
             if getattr(defaults.sampling, name) is not None]  # fmt: skip
    rows += [("default", f"max_tokens {defaults.max_tokens}")] if defaults.max_tokens else []
    rows += [("stop", repr(each)) for each in defaults.stop]
    rows += [("option", f"{name} = {value!r}") for name, value in defaults.flags.items()]
    rows += [("system", _short(defaults.system))]
    rows += [("message", f"{role}: {_short(text)}") for role, text in defaults.messages]
    return rows


def _short(text: str | None) -> str | None:
    """The first line of a text, not too long."""
    line = next((each.strip() for each in (text or "").splitlines() if each.strip()), None)
    return line if line is None or len(line) <= SHOWN_CHARS else f"{line[:SHOWN_CHARS]}…"


def _count(parameters: int) -> str:
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= size:
            return f"{parameters / size:.1f}{letter}"
    return str(parameters)
