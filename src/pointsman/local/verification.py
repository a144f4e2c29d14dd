"""Checks a local model's files, and writes the verdict down for the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pointsman import __version__
from pointsman.config import Config
from pointsman.errors import LocalError, TrustError
from pointsman.local.admission import held_files, state_of
from pointsman.local.manifest import MANIFEST
from pointsman.local.store import LocalModel, ModelStore
from pointsman.trust.dates import written
from pointsman.trust.findings import Report
from pointsman.trust.state import Kept, Quarantine, State
from pointsman.trust.subject import Subject

__all__ = ["check_model", "check_pulled", "keep_verdict", "set_aside", "subject_of_model"]


def subject_of_model(model: LocalModel, store: ModelStore) -> Subject:
    """Give a local model as what is to be verified: its folder in the store, and its files elsewhere.

    Raises:
        TrustError: it runs elsewhere, so there are no files to look at.
    """
    if model.url is not None:
        raise TrustError(
            f"local:{model.name} runs at {model.url}: its files are there; probe it instead"
            f" (pointsman trust probe local:{model.name})"
        )
    paths = [each.path for each in held_files(model, store)]
    own = next((each.parent for each in paths if (each.parent / MANIFEST).is_file()), None)
    if own is not None:
        paths = [own, *(each for each in paths if each.parent != own)]
    return Subject(f"local:{model.name}", tuple(paths), model.source, model.commit)


def keep_verdict(
    model: LocalModel, store: ModelStore, report: Report, state: State, tools: Mapping[str, str]
) -> None:
    """Write down for the gate what a check of a model came to. Hashes files whose hash is not known.

    Raises:
        TrustError: a file cannot be read, or the verdict not be written.
    """
    hashes = [each.sha256 or state.sha256(each.path) for each in held_files(model, store)]
    kept = Kept(
        findings=tuple(sorted({(each.rule, each.severity) for each in report.findings})),
        incomplete=len(report.incomplete),
        at=written(datetime.now(UTC)),
        tools=dict(tools),
    )
    state.keep_verdict(hashes, kept)


def set_aside(name: str, reason: str, at: str, store: ModelStore, state: State) -> str:
    """Put a model into quarantine, by its name and by the hashes that are known; gives its full name.

    One whose files are gone or broken is set aside by its name alone.

    Raises:
        LocalError: there is no such model.
        TrustError: it cannot be written down.
    """
    full = store.find(name)
    try:
        held = held_files(store.get(full), store)
    except LocalError:
        held = ()
    known = tuple(sorted({each.sha256 for each in held if each.sha256}))
    state.set_aside(full, Quarantine(reason, at, known))
    return full


def check_model(
    model: LocalModel,
    store: ModelStore,
    state: State,
    tools: Mapping[str, str],
    progress: Callable[[int, int | None], None] | None = None,
) -> Report:
    """Scan a model's files, and write the verdict down. Reads the heads of its files, and none whole
    whose hash is known.

    Raises:
        TrustError: as `subject_of_model`, `scan_subject` and `keep_verdict`.
    """
    from pointsman.trust.verify import scan_subject  # With it come the readers of every format.

    report = scan_subject(subject_of_model(model, store), None, progress, hashes=False).report
    keep_verdict(model, store, report, state, tools)
    return report


def check_pulled(model: LocalModel, store: ModelStore, config: Config) -> Report | None:
    """Check a model that has just come, for the gate; None where the configuration asks for none.

    Raises:
        TrustError: as `check_model`.
    """
    if config.trust.mode == "off":
        return None
    return check_model(model, store, state_of(config), {"pointsman": __version__})
