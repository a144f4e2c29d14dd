"""What an engine gets of the machine: threads and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman.local import hardware
from pointsman.local.devices import Device

GIB = 1024**3


def test_threads_of_one_core_count_once(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert hardware.physical_cores({0, 1, 2, 3}, tmp_path) == 2
    assert hardware.physical_cores({0, 2}, tmp_path) == 2
    assert hardware.physical_cores({0, 9}, tmp_path) is None


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_a_container_has_a_part_of_the_host(
    tmp_path: Path, files: dict[str, str], cpus: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert hardware.cgroup_cpus(tmp_path) == cpus


@pytest.mark.parametrize(
    ("allowed", "quota", "cores", "threads"),
    [
        (range(2), None, 1, 2),  # Two threads of one core: both help.
        (range(16), None, 8, 8),
        (range(16), 2.5, 8, 3),
        (range(16), 12.0, 8, 8),
        (range(6), None, 3, 4),
        (range(8), None, None, 8),
        (range(4), 0.2, 4, 1),
    ],
)
def test_the_threads_are_those_that_can_run(
    monkeypatch: pytest.MonkeyPatch,
    allowed: range,
    quota: float | None,
    cores: int | None,
    threads: int,
) -> None:
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda pid: set(allowed), raising=False)
    monkeypatch.setattr(hardware, "cgroup_cpus", lambda root: quota)
    monkeypatch.setattr(hardware, "physical_cores", lambda cpus, root: cores)
    assert hardware.engine_threads() == threads


MEMINFO = """MemTotal:       32617780 kB
MemFree:         1840952 kB
MemAvailable:   21830440 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
"""


def test_meminfo_is_read() -> None:
    assert hardware.meminfo(MEMINFO) == (32617780 * 1024, 21830440 * 1024)
    # Kernels before 3.14 do not say what is available.
    old = MEMINFO.replace("MemAvailable", "Buffers")
    assert hardware.meminfo(old) == (32617780 * 1024, 1840952 * 1024)
    assert hardware.meminfo("nonsense") is None


def test_what_macos_says_is_read() -> None:
    text = (
        "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
        "Pages free:                               10000.\n"
        "Pages active:                            300000.\n"
        "Pages inactive:                          200000.\n"
        "Pages speculative:                         5000.\n"
        "Pages wired down:                        100000.\n"
        "Pages purgeable:                           1000.\n"
        '"Translation faults":                 123456789.\n'
    )
    assert hardware.vm_stat(text, 64 * GIB) == 216_000 * 16384
    assert hardware.vm_stat(text, GIB) == GIB
    assert hardware.vm_stat("", GIB) is None
    assert hardware.vm_stat("vm_stat: failed\n", GIB) is None


@pytest.mark.parametrize(
    ("total", "available", "spare"),
    [
        (64 * GIB, 60 * GIB, 60 * GIB - int(6.4 * GIB)),  # A tenth is left.
        (8 * GIB, 6 * GIB, 5 * GIB),  # A GiB is left, which is more than a tenth.
        (2 * GIB, 1.5 * GIB, GIB),  # A quarter is left, or nothing could be run.
        (8 * GIB, GIB // 2, 0),
        (8 * GIB, 9 * GIB, 7 * GIB),
        (0, 0, 0),
    ],
)
def test_the_rest_of_the_machine_keeps_a_reserve(total: int, available: int, spare: int) -> None:
    assert hardware.spare_bytes(total, int(available)) == spare


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        (
            {
                "memory.max": "1073741824\n",
                "memory.current": "734003200\n",
                "memory.stat": "anon 419430400\ninactive_file 209715200\nactive_file 5\n",
            },
            (GIB, GIB - 734003200 + 209715200),
        ),
        ({"memory.max": "1073741824\n"}, (GIB, GIB)),
        ({"memory.max": "max\n", "memory.current": "5\n"}, None),
        (
            {
                "memory/memory.limit_in_bytes": "2147483648\n",
                "memory/memory.usage_in_bytes": "1073741824\n",
                "memory/memory.stat": "cache 7\ntotal_inactive_file 1000\n",
            },
            (2 * GIB, GIB + 1000),
        ),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"memory.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_a_container_has_a_part_of_the_memory(
    tmp_path: Path, files: dict[str, str], memory: tuple[int, int] | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert hardware.cgroup_memory(tmp_path) == memory


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Linux machine of 32 GiB of which 20 are available, and its control groups' folder."""
    (tmp_path / "meminfo").write_text(f"MemTotal: {32 * 2**20} kB\nMemAvailable: {20 * 2**20} kB\n")
    monkeypatch.setattr(hardware, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(hardware, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(hardware, "graphics", lambda server: [])
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def test_the_budget_is_what_is_available_less_the_reserve(machine: Path) -> None:
    found = hardware.budget()
    assert found.ram_bytes == 20 * GIB - int(3.2 * GIB)
    assert (found.total_ram_bytes, found.available_ram_bytes) == (32 * GIB, 20 * GIB)
    assert (found.vram_bytes, found.devices) == (0, ())


def test_the_budget_of_a_container_is_of_its_part(machine: Path) -> None:
    (machine / "memory.max").write_text(f"{8 * GIB}\n")
    (machine / "memory.current").write_text(f"{2 * GIB}\n")
    found = hardware.budget()
    assert (found.ram_bytes, found.total_ram_bytes) == (5 * GIB, 8 * GIB)
    # A limit above the machine's memory is none.
    (machine / "memory.max").write_text(f"{64 * GIB}\n")
    assert hardware.budget().total_ram_bytes == 32 * GIB


def test_cards_that_share_the_memory_add_none(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [
        Device("CUDA0", 24 * GIB, 20 * GIB),
        Device("CUDA1", 24 * GIB, GIB // 2),
        Device("Vulkan0", 16 * GIB, 16 * GIB, unified=True),
    ]
    monkeypatch.setattr(hardware, "graphics", lambda server: cards)
    found = hardware.budget("llama-server")
    assert found.vram_bytes == 19 * GIB  # The engine leaves a GiB of each.
    assert [each.name for each in found.devices] == ["CUDA0", "CUDA1", "Vulkan0"]


def test_this_machine_has_memory() -> None:
    found = hardware.budget()
    assert 0 <= found.ram_bytes < found.total_ram_bytes


Q4_K, Q8_0, F16 = 12, 8, 1


@pytest.mark.parametrize(
    ("machine_name", "system", "cpuinfo", "types"),
    [
        ("x86_64", "linux", "flags : fpu sse4_2 avx avx2 fma", {Q4_K}),
        ("x86_64", "linux", "flags : fpu sse4_2 avx", set()),
        ("AMD64", "win32", "", {Q4_K}),
        ("aarch64", "linux", "Features : fp asimd asimddp i8mm", {Q4_K, Q8_0}),
        ("aarch64", "linux", "Features : fp asimd", set()),
        ("arm64", "darwin", "", set()),
        ("riscv64", "linux", "isa : rv64imafdc", set()),
    ],
)
def test_which_weights_a_processor_has_copied(
    machine_name: str, system: str, cpuinfo: str, types: set[int]
) -> None:
    found = hardware.types_repacked_by(machine_name, system, cpuinfo)
    assert {kind for kind in (Q4_K, Q8_0, F16) if kind in found} == types
