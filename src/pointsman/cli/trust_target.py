"""What a verb of `pointsman trust` is asked about: a path, or a model of this machine by its name."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pointsman.config import Config, LocalModelConfig
from pointsman.errors import LocalError, TrustError
from pointsman.local.host import store_of
from pointsman.local.verification import subject_of_model
from pointsman.trust.subject import Subject

__all__ = ["find_subject", "ref_of"]

# A snapshot in the Hub's cache lies in a folder that is named by its commit.
_SNAPSHOT = re.compile(r"/models--([^/]+?)--([^/]+)/snapshots/([0-9a-f]{40,64})(?:/|$)")
PROBED = "under-verification"


def find_subject(target: str, config: Config) -> Subject:
    """Give what `target` names: a path that is there, else a local model (`local:NAME` or NAME).

    Raises:
        TrustError: it is neither, or runs elsewhere.
    """
    path = Path(target)
    if path.exists():
        found = _SNAPSHOT.search(str(path.absolute()))
        source, commit = (f"hf:{found[1]}/{found[2]}", found[3]) if found else ("", "")
        return Subject(path.resolve().name, (path,), source, commit)
    name = target.removeprefix("local:")
    store = store_of(config)
    try:
        model = store.get(name)
    except LocalError as error:
        raise TrustError(
            f"'{target}' is no file or folder, and no local model: {error.message}"
        ) from error
    return subject_of_model(model, store)


def ref_of(subject: Subject, config: Config) -> str:
    """Give the ref that the subject answers by; a single GGUF file is put into the configuration.

    Raises:
        UsageError: it is a folder or another kind of file: it can't be run here.
    """
    if subject.name.startswith("local:"):
        return subject.name
    (path,) = subject.paths
    if path.is_dir() or path.suffix != ".gguf":
        raise click.UsageError(
            "only a local model or a GGUF file can be probed here; serve it and probe its ref:"
            " pointsman trust probe REF"
        )
    config.local.models[PROBED] = LocalModelConfig(path=str(path))
    return f"local:{PROBED}"
