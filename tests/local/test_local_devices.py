"""Graphics cards: what drivers and engines say of them, as they say it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pointsman.local import devices
from pointsman.local.devices import Device, listed_devices, nvidia_cards, sysfs_cards

MIB = 1024 * 1024


def test_nvidia_smi_is_read() -> None:
    text = "NVIDIA GeForce RTX 4090, 24564, 23987\nNVIDIA H100 80GB HBM3, 81559, 81008\n"
    assert nvidia_cards(text) == [
        Device("NVIDIA GeForce RTX 4090", 24564 * MIB, 23987 * MIB),
        Device("NVIDIA H100 80GB HBM3", 81559 * MIB, 81008 * MIB),
    ]
    # A board that shares its memory, and a name with a comma.
    assert nvidia_cards("NVIDIA GB10, [N/A], [N/A]\n") == [Device("NVIDIA GB10", 0, 0, True)]
    assert nvidia_cards("Quadro, old, 4096, 4000\n") == [Device("Quadro, old", 2**32, 4000 * MIB)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        "No devices were found\n",
    ],
)
def test_nvidia_smi_that_fails_gives_none(text: str) -> None:
    assert nvidia_cards(text) == []


def test_amds_driver_is_read(tmp_path: Path) -> None:
    for number, files in enumerate(
        (
            {"mem_info_vram_total": "25753026560\n", "mem_info_vram_used": "1048576000\n",
             "vendor": "0x1002\n", "device": "0x744c\n"},
            {"vendor": "0x8086\n", "device": "0x9a49\n"},
            {"mem_info_vram_total": "nonsense"},
        )
    ):  # fmt: skip
        folder = tmp_path / f"card{number}" / "device"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    (tmp_path / "card0-DP-1").mkdir()
    assert sysfs_cards(tmp_path) == [Device("AMD 0x744c", 25753026560, 25753026560 - 1048576000)]
    (tmp_path / "card0" / "device" / "product_name").write_text("Radeon RX 7900 XTX\n")
    assert sysfs_cards(tmp_path)[0].name == "Radeon RX 7900 XTX"
    assert sysfs_cards(tmp_path / "none") == []


def test_the_engines_list_is_read() -> None:
    text = (
        "ggml_cuda_init: found 1 CUDA devices:\n"
        "  Device 0: NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes\n"
        "Available devices:\n"
        "  CUDA0: NVIDIA GeForce RTX 4090 (24080 MiB, 23600 MiB free)\n"
        "  Vulkan0: Intel(R) Iris(R) Xe Graphics (TGL GT2) (11877 MiB, 10689 MiB free)\n"
        "  Vulkan1: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 24012 MiB free)\n"
        "  Vulkan2: AMD Radeon 780M Graphics (RADV PHOENIX) (15800 MiB, 15000 MiB free)\n"
        "  SYCL0: Intel(R) Arc(TM) B580 Graphics (11605 MiB, 11605 MiB free)\n"
        "  MTL0: Apple M3 Max (49152 MiB, 49152 MiB free)\n"
    )
    found = {each.name.partition(" ")[0]: each for each in listed_devices(text)}
    assert list(found) == ["CUDA0", "Vulkan0", "Vulkan1", "Vulkan2", "SYCL0", "MTL0"]
    assert found["CUDA0"] == Device("CUDA0 NVIDIA GeForce RTX 4090", 24080 * MIB, 23600 * MIB)
    shared = {name for name, each in found.items() if each.unified}
    assert shared == {"Vulkan0", "Vulkan2", "MTL0"}
    assert listed_devices("Available devices:\n  (none)\n") == []


def test_the_workers_answer_is_read() -> None:
    rows = [
        {"name": "CUDA0", "description": "NVIDIA L4", "free": 5, "total": 9, "type": 1},
        {"name": "Vulkan0", "description": "Intel", "free": 3, "total": 4, "type": 2},
        {"name": "CPU", "description": "AMD EPYC", "free": 1, "total": 2, "type": 0},
    ]
    text = f"a line of a driver\n{json.dumps(rows)}\n"
    assert devices.worker_devices(text) == [
        Device("CUDA0 NVIDIA L4", 9, 5),
        Device("Vulkan0 Intel", 4, 3, True),
    ]
    assert devices.worker_devices("") == []
    assert devices.worker_devices("Traceback …") == []


def test_the_worker_of_this_machine_answers() -> None:
    pytest.importorskip("xllamacpp")
    text = devices._said([sys.executable, "-P", "-c", devices._ASK_WORKER], 60.0)
    rows = json.loads(text.strip().splitlines()[-1])
    assert "CPU" in {row["name"] for row in rows}
    assert isinstance(devices.worker_devices(text), list)


def test_no_engine_is_asked_where_there_is_no_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices.sys, "platform", "linux")
    for name in ("DRIVER", "WINDOWS_CARD", "DRM"):
        monkeypatch.setattr(devices, name, tmp_path / name)
    monkeypatch.setattr(devices, "_said", lambda *words: pytest.fail("it was asked"))
    assert devices.graphics("llama-server") == []
    assert devices.cards() == []


def test_the_engine_is_asked_where_there_is_a_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "renderD128").touch()
    monkeypatch.setattr(devices, "DRM", tmp_path)
    server = tmp_path / "llama-server"
    server.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --list-devices ] || exit 1\n'
        '[ -z "$OPENAI_API_KEY" ] || exit 1\n'
        "echo '  CUDA0: NVIDIA L4 (22565 MiB, 22000 MiB free)'\n"
    )
    server.chmod(0o755)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-engines")
    assert devices.graphics(str(server)) == [Device("CUDA0 NVIDIA L4", 22565 * MIB, 22000 * MIB)]
    server.write_text("#!/bin/sh\nexit 3\n")
    assert devices.graphics(str(server)) == []
    assert devices.graphics(str(tmp_path / "none")) == []


def test_a_tool_that_hangs_is_not_waited_for() -> None:
    assert devices._said([sys.executable, "-c", "import time; time.sleep(60)"], 0.1) == ""
