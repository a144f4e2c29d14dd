"""The graphics cards of this machine, and which of them the engine can use.

Looking for a card costs a few file reads. The engine itself is asked only where there is one: a
card is of use only to a build that was made for it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from pointsman.local.child import child_environment

__all__ = [
    "Device",
    "cards",
    "graphics",
    "listed_devices",
    "nvidia_cards",
    "sysfs_cards",
    "worker_devices",
]

DRIVER = Path("/proc/driver/nvidia/version")
WINDOWS_CARD = Path("/dev/dxg")  # Under WSL the driver is Windows' own.
DRM = Path("/sys/class/drm")
MIB = 1024 * 1024
ASK_S = 5.0
# CUDA looks for its cards for seconds on a large machine.
ENGINE_ASK_S = 20.0
_VENDORS = {"0x1002": "AMD", "0x10de": "NVIDIA", "0x8086": "Intel"}
# `  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23600 MiB free)`: common/arg.cpp, b11434.
_LISTED = re.compile(r"^\s+(\S+): (.*) \((\d+) MiB, (\d+) MiB free\)\s*$")
# The list does not say which cards share the machine's memory: processors' own do, by these names.
_SHARED = re.compile(
    r"^(MTL|Metal)|Intel(?!.*\b[AB]\d{3}\b)|Radeon(\(TM\))? (Vega \d+ )?Graphics|Radeon \d{3}M\b"
    r"|RADV (RAVEN|RENOIR|CEZANNE|REMBRANDT|RAPHAEL|MENDOCINO|VANGOGH|PHOENIX|STRIX|KRACKAN|GFX115)"
)
_ASK_WORKER = (
    "import json, xllamacpp\n"
    "print(json.dumps([{'name': d['name'], 'description': d['description'],"
    " 'free': d['memory_free'], 'total': d['memory_total'], 'type': int(d['type'])}"
    " for d in xllamacpp.get_device_info()]))"
)
# ggml_backend_dev_type (ggml/include/ggml-backend.h, b11434): 1 a card, 2 one without memory of its
# own.
_CARD, _SHARING = 1, 2


class Device(Struct, frozen=True):
    """A graphics card. `free_bytes` is as of the look-up; `unified` if it shares the machine's memory."""

    name: str
    total_bytes: int
    free_bytes: int
    unified: bool = False


def graphics(llama_server: str | None = None) -> list[Device]:
    """The cards that the engine can use: of the binary, or of the worker where that is None."""
    if not has_card():
        return []
    if llama_server is not None:
        return listed_devices(_said([llama_server, "--list-devices"], ENGINE_ASK_S))
    return worker_devices(_said([sys.executable, "-P", "-c", _ASK_WORKER], ENGINE_ASK_S))


def has_card() -> bool:
    """Whether the machine seems to have a card that an engine could use; reads no more than names."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return True
    if DRIVER.exists() or WINDOWS_CARD.exists():
        return True
    return any(DRM.glob("renderD*"))


def cards() -> list[Device]:
    """The cards of this machine by their drivers, whether or not an engine can use them."""
    found = sysfs_cards(DRM)
    if (DRIVER.exists() or WINDOWS_CARD.exists() or sys.platform == "win32") and (
        tool := shutil.which("nvidia-smi")
    ):
        query = "--query-gpu=name,memory.total,memory.free"
        text = _said([tool, query, "--format=csv,noheader,nounits"], ASK_S)
        found = [*nvidia_cards(text), *found]
    return found


def nvidia_cards(text: str) -> list[Device]:
    """Read the lines of `nvidia-smi --query-gpu=name,memory.total,memory.free`, in MiB.

    Of a card without memory of its own it says `[N/A]`.

    Source: `nvidia-smi --help-query-gpu`, driver 580.
    """
    found = []
    for line in text.splitlines():
        name, total, free = ([part.strip() for part in line.rsplit(",", 2)] + ["", ""])[:3]
        if total.isdigit() and free.isdigit():
            found.append(Device(name, int(total) * MIB, int(free) * MIB))
        elif total.startswith("["):
            found.append(Device(name, 0, 0, unified=True))
    return found


def sysfs_cards(root: Path) -> list[Device]:
    """The cards whose Linux driver shows their memory (amdgpu).

    Source: Linux, Documentation/gpu/amdgpu/driver-misc.rst: mem_info_vram_total and _used.
    """
    found = []
    for folder in sorted(root.glob("card[0-9]*/device")):
        total, used = _read(folder / "mem_info_vram_total"), _read(folder / "mem_info_vram_used")
        if not total.isdigit():
            continue
        name = _read(folder / "product_name") or (
            f"{_VENDORS.get(_read(folder / 'vendor'), 'card')} {_read(folder / 'device')}".strip()
        )
        free = int(total) - (int(used) if used.isdigit() else 0)
        found.append(Device(name, int(total), max(0, free)))
    return found


def listed_devices(text: str) -> list[Device]:
    """Read what `llama-server --list-devices` prints."""
    found = []
    for line in text.splitlines():
        if match := _LISTED.match(line):
            name, total, free = f"{match[1]} {match[2]}".strip(), int(match[3]), int(match[4])
            unified = _SHARED.search(name) is not None
            found.append(Device(name, total * MIB, free * MIB, unified))
    return found


def worker_devices(text: str) -> list[Device]:
    """Read what the worker says of its devices: a line of JSON; the processor is none of them."""
    lines = text.strip().splitlines()
    try:
        rows = json.loads(lines[-1]) if lines else []
    except ValueError:
        return []
    return [_device(row) for row in rows if row.get("type") in (_CARD, _SHARING)]


def _device(row: Mapping[str, Any]) -> Device:
    name = f"{row['name']} {row['description']}".strip()
    unified = row["type"] == _SHARING or str(row["name"]).startswith(("MTL", "Metal"))
    return Device(name, int(row["total"]), int(row["free"]), unified)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _said(command: list[str], timeout_s: float) -> str:
    """What a command printed; nothing if it failed or took too long."""
    environment = {**child_environment(os.environ), "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603  # the engine of the configuration, or the driver's tool
            command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout
