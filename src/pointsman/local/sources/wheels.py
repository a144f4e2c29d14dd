"""Fetches wheels so that a killed pull goes on: found by pip or uv, fetched by ranges.

Both tools begin a file afresh after a kill. Where they say where a wheel lies, it is fetched from
there as any other file is; where they do not, or it cannot be had without them, they fetch it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pointsman.errors import LocalError
from pointsman.local.download import Cancelled, NoSpace
from pointsman.local.progress import Step
from pointsman.local.sources import installer
from pointsman.local.sources.base import Job, fetch_file
from pointsman.local.sources.installer import Pin, fetch_packages
from pointsman.local.sources.locating import Link, locate

__all__ = ["canonical", "fetch_wheels", "kept_bytes"]


def fetch_wheels(
    pins: Sequence[Pin], scratch: Path, job: Job, progress: Callable[[int, int | None], None]
) -> list[Path]:
    """Have the packages' wheels, or what is in them, in the folders that are given.

    What an earlier call has left in `scratch` is gone on from. `progress` gets the bytes so far of
    all, and in all where that is known. A package that pip or uv has to fetch itself is told as a
    note, with the reason.

    Raises:
        Cancelled: the pull was.
        LocalError: no space, a wrong hash, a file that broke off again and again; or no tool is
            here, or none of them could do it.
    """
    own, tools = scratch / "wheels", scratch / "tools"
    shutil.rmtree(tools, ignore_errors=True)
    tools.mkdir(parents=True)
    own.mkdir(exist_ok=True)
    targets = {pin: own / f"{canonical(pin.package)}-{pin.version}.whl" for pin in pins}
    _drop_others(own, list(targets.values()))
    before = 0

    def report(done: int, total: int | None = None) -> None:
        progress(before + done, total if len(pins) == 1 else None)

    for number, (pin, target) in enumerate(targets.items()):
        why = _fetch(pin, target, tools / f"locate{number}", job, report, len(pins) > 1)
        if why is not None:
            _tell(job, pin, why)
            target.unlink(missing_ok=True)
            folder = fetch_packages(pins[number:], tools, report)
            _forget(own)
            return [own, folder] if number else [folder]
        before += target.stat().st_size
    _forget(own)
    return [own]


def kept_bytes(scratch: Path) -> int:
    """What earlier calls have left on the disk there, without the holes of unfinished files."""
    return sum(
        path.stat().st_blocks * 512 for path in (scratch / "wheels").glob("*") if path.is_file()
    )


def _fetch(
    pin: Pin,
    target: Path,
    folder: Path,
    job: Job,
    report: Callable[[int, int | None], None],
    keep_journal: bool,
) -> str | None:
    """Have the wheel at `target`; gives None, or why the tools have to fetch it."""
    link = _link(pin, folder, job)
    if link is None:
        return "they do not say where it lies"
    came = 0

    def step(now: Step) -> None:
        nonlocal came
        if now.status == "downloading":
            came = max(came, now.done_bytes)
            report(now.done_bytes, now.total_bytes)
        else:
            job.progress(now)

    told = Job(step, job.env, job.cancelled)
    try:
        digest = pin.sha256 or link.sha256
        fetch_file(told, link.url, target, sha256=digest, keep_journal=keep_journal)
    except (Cancelled, NoSpace):
        raise
    except LocalError as error:
        if came:
            raise  # It can be had; what has come is worth more than another way to it.
        return error.message
    return None


def _link(pin: Pin, folder: Path, job: Job) -> Link | None:
    for number, tool in enumerate(installer.installers()):
        if link := locate(tool, pin, folder / str(number), job.check):
            return link
    return None


def _tell(job: Job, pin: Pin, why: str) -> None:
    note = (
        f"{pin.package}=={pin.version} is fetched by pip or uv themselves, which start afresh"
        f" after a kill: {why}"
    )
    job.progress(Step("downloading by pip or uv", note=note))


def _forget(own: Path) -> None:
    """Drop the journals: all is there, so that there is nothing to go on with."""
    for journal in own.glob("*.journal"):
        journal.unlink()


def _drop_others(own: Path, targets: list[Path]) -> None:
    """Delete what is of other packages or versions: all wheels of the folder are taken for ours."""
    names = tuple(target.name for target in targets)
    for path in own.iterdir():
        if not path.name.startswith(names):
            path.unlink()


def canonical(package: str) -> str:
    """A package's name in the one form that stands for all its spellings.

    Source: the packaging specification for name normalisation (PEP 503).
    """
    return re.sub(r"[-_.]+", "-", package).lower()
