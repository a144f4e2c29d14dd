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
from pointsman.local.sources.installer import Installer, Pin, check_packages, fetch_packages
from pointsman.local.sources.locating import Link, locate

__all__ = ["canonical", "fetch_wheels", "kept_bytes"]


class _Unavailable(Exception):
    """The tools have to fetch it; why is the message."""


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
    before, wheels, unsure = 0, set(), []

    def report(done: int, total: int | None = None) -> None:
        progress(before + done, total if len(pins) == 1 else None)

    folders = [own]
    for number, pin in enumerate(pins):
        try:
            tool, link = _link(pin, tools / f"locate{number}", job)
            _fetch(pin, link, own / link.file, job, report)
        except _Unavailable as why:
            _tell(job, pin, str(why))
            folders.append(fetch_packages(pins[number:], tools, report))
            break
        wheels.add(link.file)
        before += (own / link.file).stat().st_size
        if pin.sha256 is None and link.sha256 is None and tool.kind == "pip":
            unsure.append((tool, pin))
    try:
        if unsure:
            check_packages(unsure[0][0], [pin for _, pin in unsure], own, tools / "check", report)
    finally:
        for wheel in wheels:
            if not (own / wheel).exists():  # pip has found it to be another.
                (own / f"{wheel}.part.journal").unlink(missing_ok=True)
    # Journals have no use any more, and all wheels in a folder are taken for ours.
    for path in own.iterdir():
        if path.name not in wheels:
            path.unlink()
    return [folder for folder in folders if any(folder.iterdir())]


def kept_bytes(scratch: Path) -> int:
    """What earlier calls have left on the disk there, without the holes of unfinished files."""
    return sum(
        path.stat().st_blocks * 512 for path in (scratch / "wheels").glob("*") if path.is_file()
    )


def _link(pin: Pin, folder: Path, job: Job) -> tuple[Installer, Link]:
    for number, tool in enumerate(installer.installers()):
        if link := locate(tool, pin, folder / str(number), job.check):
            return tool, link
    raise _Unavailable("they do not say where it lies")


def _fetch(
    pin: Pin,
    link: Link,
    target: Path,
    job: Job,
    report: Callable[[int, int | None], None],
) -> None:
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
        fetch_file(told, link.url, target, sha256=digest, keep_journal=True)
    except (Cancelled, NoSpace):
        raise
    except LocalError as error:
        if came:
            raise  # It can be had; what has come is worth more than another way to it.
        target.unlink(missing_ok=True)
        raise _Unavailable(error.message) from error


def _tell(job: Job, pin: Pin, why: str) -> None:
    note = (
        f"{pin.package}=={pin.version} is fetched by pip or uv themselves, which start afresh"
        f" after a kill: {why}"
    )
    job.progress(Step("downloading by pip or uv", note=note))


def canonical(package: str) -> str:
    """A package's name in the one form that stands for all its spellings.

    Source: the packaging specification for name normalisation (PEP 503).
    """
    return re.sub(r"[-_.]+", "-", package).lower()
