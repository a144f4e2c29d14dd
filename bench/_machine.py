"""The machine as Linux tells of it: cores, processor time, memory, and who else is at work."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# The kernel's id of another process's processor clock: Linux, include/linux/posix-timers.h.
CPUCLOCK_SCHED = 2


def pick_cores() -> tuple[int, int]:
    """Give a core for the gateway and one for the rest, of different physical cores if there are any."""
    cores = sorted(os.sched_getaffinity(0))
    first = cores[0]
    apart = [core for core in cores[1:] if core not in _siblings(first)]
    return first, (apart or cores[1:] or cores)[0]


def _siblings(core: int) -> set[int]:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    found: set[int] = set()
    try:
        for part in path.read_text().strip().split(","):
            low, _, high = part.partition("-")
            found.update(range(int(low), int(high or low) + 1))
    except (OSError, ValueError):
        return {core}
    return found


def family(pid: int) -> list[int]:
    """Give a process and all its descendants that live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name, in parentheses, may hold spaces; after it come the state and the parent.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        each = queue.pop()
        found.append(each)
        queue += children.get(each, [])
    return found


def cpu_s(pid: int) -> float:
    """Processor seconds, user and system, that a process and its living descendants have used.

    By the scheduler's own clock, in nanoseconds: /proc/PID/stat counts ticks of 10 ms, too coarse for
    the fastest gateways.
    """
    total = 0.0
    for each in family(pid):
        try:
            total += time.clock_gettime((~each << 3) | CPUCLOCK_SCHED)
        except OSError:
            continue
    return total


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; shared pages count once for each."""
    total = 0
    for each in family(pid):
        try:
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * PAGE_BYTES
        except OSError:
            continue
    return total


def busy_s() -> float:
    """Processor seconds that all cores have spent at work since the start, steal included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) * TICK_S


class Quiet:
    """Finds how much processor time other processes took while this one's children worked."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self._busy_s = busy_s()
        self._ours_s = self._own_s()

    @staticmethod
    def _own_s() -> float:
        times = os.times()
        ended = times.children_user + times.children_system
        return ended + cpu_s(os.getpid())

    def foreign_share(self) -> float:
        """The share of all cores that others took since the start, from 0 to 1."""
        wall_s = (time.monotonic() - self._started_s) * (os.cpu_count() or 1)
        foreign_s = (busy_s() - self._busy_s) - (self._own_s() - self._ours_s)
        return max(0.0, foreign_s / wall_s)


def facts() -> dict[str, Any]:
    """What a reader must know of the machine."""
    info = Path("/proc/cpuinfo").read_text()
    memory_kib = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    return {
        "cpu": _field(info, "model name"),
        "mhz": _field(info, "cpu MHz"),
        "cores": os.cpu_count(),
        "shared_core": GATEWAY_CORE != LOAD_CORE and LOAD_CORE in _siblings(GATEWAY_CORE),
        "virtual": "hypervisor" in _field(info, "flags").split(),
        "memory_bytes": memory_kib * 1024,
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
    }


def commit(root: Path) -> str:
    """The checkout's commit, with a plus if the source differs from it."""
    try:
        name = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "src", "pyproject.toml")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changed else "")


def source_id(root: Path) -> str:
    """Name what the source and the benchmark hold, whatever else was committed."""
    digest = hashlib.sha256()
    for file in sorted([*root.glob("src/**/*.py"), *root.glob("bench/*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


# Chosen before any process is pinned.
GATEWAY_CORE, LOAD_CORE = pick_cores()


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return ""
