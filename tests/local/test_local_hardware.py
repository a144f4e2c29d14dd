"""How many threads an engine gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointsman.local import hardware


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
