"""The check of an environment as a whole: the cheap part at each start, all of it on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from pointsman.trust.environment.files import Progress, check_files, check_unrecorded
from pointsman.trust.environment.packages import Package, read_packages
from pointsman.trust.environment.releases import check_locked, check_releases, load_locked
from pointsman.trust.environment.startup import StartUp, check_startup, read_startup
from pointsman.trust.findings import Finding, Report, make_report
from pointsman.trust.rules.environment import ENTRY_POINT_FOREIGN, SCRIPT_FOREIGN

__all__ = ["Checked", "check_environment", "quick_check"]

OURS = "pointsman"
# Variables by which another program or module gets into every process; they are named, no more.
HOOK_VARIABLES = ("LD_PRELOAD", "LD_AUDIT", "DYLD_INSERT_LIBRARIES", "PYTHONPATH", "PYTHONSTARTUP")


class Checked(Struct, frozen=True):
    """What the check of an environment gives.

    `startup` is all that runs as Python starts, well known or not; `limits` says in words what was
    not held against anything.
    """

    report: Report
    packages: int
    startup: tuple[StartUp, ...]
    limits: tuple[str, ...]


def quick_check(sites: Sequence[Path], paths: Sequence[Path]) -> Report:
    """Check what is cheap: what runs at start, known stolen releases, entry points in our name.

    Reads the names of the site folders, .pth files, entry points and the RECORDs of packages that
    have a .pth file; no other file.
    """
    startup = list(read_startup(sites, paths, ()))
    running = {Path(each.path).name for each in startup}
    packages = list(read_packages(sites, naming=running))
    if startup:
        startup = list(read_startup(sites, paths, packages))
    found = [*check_startup(startup), *check_releases(packages), *check_entry_points(packages)]
    return make_report(found, (), [package.title for package in packages])


def check_environment(
    sites: Sequence[Path],
    paths: Sequence[Path],
    env: Mapping[str, str],
    progress: Progress | None = None,
) -> Checked:
    """Check all there is: the quick check's part, every file against its RECORD, and the lock.

    `sites` are the site folders, `paths` is `sys.path`, `env` the environment's variables.
    """
    packages = list(read_packages(sites))
    startup = tuple(read_startup(sites, paths, packages))
    found: list[Finding] = [
        *check_startup(startup),
        *check_releases(packages),
        *check_entry_points(packages),
        *check_unrecorded(sites, packages),
        *check_files(packages, progress),
    ]
    limits = list(_limits(packages, env))
    for each in check_locked(packages, load_locked()):
        if isinstance(each, str):
            limits.append(each)
        else:
            found.append(each)
    incomplete = [
        f"{package.title} has no RECORD that can be read: its files were not checked"
        for package in packages
        if package.files is None
    ]
    if not packages:
        incomplete.append("no package was found: is this an environment?")
    report = make_report(found, incomplete, [package.title for package in packages])
    return Checked(report, len(packages), startup, tuple(limits))


def check_entry_points(packages: Sequence[Package]) -> Iterator[Finding]:
    """Yield a finding for each entry point or command in our name that another package declares."""
    for package in packages:
        if package.name == OURS:
            continue
        for group, name, value in package.entry_points:
            where = str(package.info / "entry_points.txt")
            if group == OURS or group.startswith(f"{OURS}."):
                yield ENTRY_POINT_FOREIGN.finding(
                    where, f"{package.title} declares {name} = {value} in the group {group}"
                )
            elif group in ("console_scripts", "gui_scripts") and name == OURS:
                yield SCRIPT_FOREIGN.finding(
                    where, f"{package.title} declares the command {name} = {value}"
                )


def _limits(packages: Sequence[Package], env: Mapping[str, str]) -> Iterator[str]:
    for package in packages:
        files = package.files or ()
        if any(each.path == f"{package.info.name}/direct_url.json" for each in files) and any(
            each.path.startswith(("_editable", "__editable__")) for each in files
        ):
            yield f"{package.title} is an editable install: its source was not checked"
    for name in HOOK_VARIABLES:
        if env.get(name):
            yield f"{name} is set: what it names runs in this process and was not checked"
    yield "compiled caches (.pyc) were not held against their source"
    yield "Python itself and its standard library were not checked"
