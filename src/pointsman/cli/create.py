"""`pointsman create`."""

from __future__ import annotations

from pathlib import Path

import click

from pointsman.cli.output import config_option, echo_json, json_option, progress_bar
from pointsman.config import load_config
from pointsman.errors import LocalError, RequestError
from pointsman.local.create import create
from pointsman.local.host import store_of
from pointsman.local.ollama.modelfile import MAX_BYTES, Modelfile, parse_modelfile

__all__ = ["command"]


@click.command("create")
@click.argument("name")
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The Modelfile; the default is ./Modelfile.",
)
@click.option("--from", "source", help="A local model to begin with, instead of a Modelfile.")
@config_option
@json_option
def command(
    name: str, path: Path | None, source: str | None, config_path: str | None, as_json: bool
) -> None:
    """Make a model of another, or of GGUF files, with settings of its own.

    They are named in a Modelfile, as Ollama has it: FROM (a local model, or a file), PARAMETER,
    SYSTEM, MESSAGE, ADAPTER and LICENSE. A file is linked, and takes no more space.
    """
    if source is not None and path is not None:
        raise click.UsageError("give --from or --file, not both")
    path = path or Path("Modelfile")
    asked = Modelfile(sources=(source,)) if source is not None else _read(path)
    folder = path.absolute().parent
    files = {} if source is not None else _files(asked, folder)
    if not files and len(asked.sources) > 1:
        raise RequestError("FROM names more than one model; only files may be several")
    adapters = {Path(each).name: _path(each, folder) for each in asked.adapters}
    with progress_bar("hashing") as show:
        model = create(
            store_of(load_config(config_path)),
            name,
            source=None if files else asked.sources[0],
            files=files,
            adapters=adapters,
            parameters=asked.parameters,
            system=asked.system,
            messages=asked.messages,
            licence=asked.licence,
            progress=show,
        )
    if as_json:
        echo_json([model])
        return
    for warning in model.warnings:
        click.echo(f"note: {warning}", err=True)
    click.echo(f"local:{model.name} is ready")


def _read(path: Path) -> Modelfile:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        return parse_modelfile(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
        raise LocalError(f"{path} cannot be read: {why}; name a Modelfile with -f") from error


def _files(asked: Modelfile, folder: Path) -> dict[str, Path]:
    """The files that FROM names; none if it names a model."""
    paths = [_path(each, folder) for each in asked.sources]
    there = [path.is_file() for path in paths]
    if not all(there):
        for source, path, is_file in zip(asked.sources, paths, there, strict=True):
            if path.is_dir():
                raise RequestError(
                    f"FROM {source} is a folder; make a GGUF of it with llama.cpp's"
                    " convert_hf_to_gguf.py, and name that"
                )
            if not is_file and (source.startswith((".", "/", "~")) or source.endswith(".gguf")):
                raise RequestError(f"FROM {source}: there is no such file")
        return {}
    return {path.name: path for path in paths}


def _path(text: str, folder: Path) -> Path:
    return folder / Path(text).expanduser()
