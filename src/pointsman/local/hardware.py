"""What this process may use of the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cgroup_cpus", "engine_threads", "physical_cores"]

CPUS = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup")
# Up to here a second thread of a core still helps more than it disturbs.
SMALL_MACHINE_CPUS = 4


def engine_threads() -> int:
    """The threads to compute with: one per physical core, of the cores this process may use.

    The engine's own default counts the cores of the host, and in a container with a part of them
    its threads would wait for each other.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
    else:
        allowed = set(range(os.cpu_count() or 1))
    usable = len(allowed)
    quota = cgroup_cpus(CGROUP)
    if quota is not None:
        usable = min(usable, math.ceil(quota))
    if usable > SMALL_MACHINE_CPUS:
        cores = physical_cores(allowed, CPUS)
        usable = min(usable, max(cores or usable, SMALL_MACHINE_CPUS))
    return max(1, usable)


def physical_cores(cpus: Iterable[int], root: Path) -> int | None:
    """How many cores the logical CPUs belong to; None where the system does not say."""
    cores = set()
    for cpu in cpus:
        try:
            cores.add((root / f"cpu{cpu}/topology/thread_siblings_list").read_text("ascii"))
        except OSError:
            return None
    return len(cores) or None


def cgroup_cpus(root: Path) -> float | None:
    """The CPUs' worth of time that a container may use (cgroup v2 or v1); None if unlimited."""
    try:
        quota, period = (root / "cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text("ascii").strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text("ascii").strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None  # "max", or -1.
    return int(quota) / int(period)
