"""What this process may use of the machine: its cores, and its memory."""

from __future__ import annotations

import functools
import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from pointsman.local.devices import Device, graphics

__all__ = [
    "Budget",
    "budget",
    "cgroup_cpus",
    "cgroup_memory",
    "engine_threads",
    "meminfo",
    "physical_cores",
    "repacked_types",
    "spare_bytes",
    "types_repacked_by",
]

CPUS = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup")
# Up to here a second thread of a core still helps more than it disturbs.
SMALL_MACHINE_CPUS = 4

CPUINFO = Path("/proc/cpuinfo")
# By their numbers in GGUF: Q4_0, Q4_K, IQ4_NL and MXFP4; on ARM also Q8_0, Q5_K and Q6_K.
X86_REPACKED = frozenset((2, 12, 20, 39))
ARM_REPACKED = X86_REPACKED | {8, 13, 14}

MEMINFO = Path("/proc/meminfo")
GIB = 1024**3
# What is left to the rest of the machine: as much as its own programs need to grow into, yet of a
# small machine no more than a quarter, or it could run nothing.
RESERVE_BYTES = GIB
RESERVE_SHARE = 0.1
RESERVE_MOST_SHARE = 0.25
# What the engine leaves of each card's memory: `--fit-target` of llama.cpp, b11434.
CARD_RESERVE_BYTES = GIB
# Where the system does not say what is in use: half of the machine is usual for its own programs.
UNKNOWN_SHARE = 0.5
ASK_S = 5.0


class Budget(Struct, frozen=True):
    """What models may hold by default, in bytes, and of what there is in all.

    `ram_bytes` is what this machine, or this container's part of it, can spare now: what others
    use is taken off, and a reserve. `vram_bytes` is what is free on the `devices` that have memory
    of their own and that the engine can use; where a card shares the machine's memory there is
    none.
    """

    ram_bytes: int
    vram_bytes: int = 0
    total_ram_bytes: int = 0
    available_ram_bytes: int = 0
    devices: tuple[Device, ...] = ()


class _Memory(NamedTuple):
    """Bytes in all, and those that could be had without swapping."""

    total: int
    available: int


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


def budget(llama_server: str | None = None) -> Budget:
    """Look up what models may hold; `llama_server` is the engine's binary, None for the worker.

    Reads a few files. Only where there is a graphics card is the engine asked which it can use, in
    a process of its own, which takes a second or two, and 20 s at most.
    """
    memory = _machine()
    limit = cgroup_memory(CGROUP)
    if limit is not None and limit.total < memory.total:
        memory = _Memory(limit.total, min(limit.available, memory.available))
    devices = tuple(graphics(llama_server))
    return Budget(
        ram_bytes=spare_bytes(memory.total, memory.available),
        vram_bytes=sum(
            max(0, each.free_bytes - CARD_RESERVE_BYTES) for each in devices if not each.unified
        ),
        total_ram_bytes=memory.total,
        available_ram_bytes=memory.available,
        devices=devices,
    )


def spare_bytes(total: int, available: int) -> int:
    """What models may hold of a machine: all that is available, less a reserve for the rest.

    The reserve is 1 GiB or a tenth of the machine, whichever is more, but a quarter at most.
    """
    reserve = min(max(RESERVE_BYTES, int(total * RESERVE_SHARE)), int(total * RESERVE_MOST_SHARE))
    return max(0, min(available, total) - reserve)


def meminfo(text: str) -> tuple[int, int] | None:
    """Read (total, available) bytes of Linux's /proc/meminfo; None if they are not there.

    Source: proc_meminfo(5); MemAvailable is of Linux 3.14.
    """
    fields = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words and words[0].isdigit():
            fields[name] = int(words[0]) * 1024
    total = fields.get("MemTotal")
    available = fields.get("MemAvailable", fields.get("MemFree"))
    return None if total is None or available is None else (total, available)


def cgroup_memory(root: Path) -> _Memory | None:
    """The memory that a container may use (cgroup v2 or v1); None if unlimited.

    Pages of files that are not in use count as available, as the kernel takes them back first.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    v1 = root / "memory"
    limit = _number(root / "memory.max") or _number(v1 / "memory.limit_in_bytes")
    if limit is None:
        return None
    used = _number(root / "memory.current") or _number(v1 / "memory.usage_in_bytes") or 0
    idle = _stat(root / "memory.stat", "inactive_file")
    if idle is None:
        idle = _stat(v1 / "memory.stat", "total_inactive_file") or 0
    return _Memory(limit, max(0, limit - max(0, used - idle)))


def vm_stat(text: str, total: int) -> int | None:
    """Read the bytes that macOS could give without swapping from `vm_stat`; None if unreadable.

    Source: vm_stat(1) of macOS: a heading with the page size, then counts of pages.
    """
    lines = text.splitlines()
    size = next((word for word in lines[0].split() if word.isdigit()), None) if lines else None
    if size is None:
        return None
    pages = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        count = value.strip().rstrip(".")
        if count.isdigit():
            pages[name.strip()] = int(count)
    kinds = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")
    if "Pages free" not in pages:
        return None
    return min(total, sum(pages.get(kind, 0) for kind in kinds) * int(size))


def _machine() -> _Memory:
    try:
        found = meminfo(MEMINFO.read_text("ascii"))
    except (OSError, UnicodeDecodeError):
        found = None
    if found is not None:
        return _Memory(*found)
    total = _total()
    available = None
    if sys.platform == "darwin":
        available = vm_stat(_said(["/usr/bin/vm_stat"]), total)
    return _Memory(total, int(total * UNKNOWN_SHARE) if available is None else available)


def _total() -> int:
    """The machine's memory by POSIX's own call; 0 where the system has none."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True)  # noqa: S603  # fixed words
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _number(path: Path) -> int | None:
    """A file's number; None if there is none, or it says that there is no limit."""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    # Version 1 says the largest multiple of a page that fits 63 bits.
    return int(text) if text.isdigit() and int(text) < 1 << 60 else None


def _stat(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return None


@functools.cache
def repacked_types() -> frozenset[int]:
    """The tensor types that llama.cpp copies into another layout on this machine's processor."""
    try:
        text = CPUINFO.read_text("utf-8", "replace")
    except OSError:
        text = ""
    return types_repacked_by(platform.machine(), sys.platform, text)


def types_repacked_by(machine: str, system: str, cpuinfo: str) -> frozenset[int]:
    """The same for a processor by its name, the system's, and the text of Linux's /proc/cpuinfo.

    Where there is no such text, a processor of its kind is taken to have what nearly all have.

    Source: `ggml_repack_get_optimal_repack_type` (ggml/src/ggml-cpu/repack.cpp) of llama.cpp,
    b11434; builds for x86 are mostly without its one layout for AVX-512.
    """
    words = frozenset(cpuinfo.split())
    if machine.lower() in ("x86_64", "amd64"):
        return X86_REPACKED if not words or "avx2" in words else frozenset()
    if machine.lower() in ("aarch64", "arm64") and system != "darwin":
        return ARM_REPACKED if not words or "asimddp" in words else frozenset()
    return frozenset()  # Apple's graphics card takes the weights as they are.
