"""Write src/pointsman/data/trust/locked.json: what the published files of our own dependencies hold.

For each package of the base install, at the version that requirements/bench.txt pins, every wheel that
the running pip can get for the platforms below is downloaded, held against the hashes of the lock, and
the digest of its RECORD is written down. `pointsman trust self` compares installed packages with it.

    python scripts/lock_records.py

Takes some minutes and about 60 MB of downloads, through pip and its own configuration.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import msgspec

from pointsman.trust.environment.packages import normal_name, recorded_rows
from pointsman.trust.environment.releases import record_digest

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "bench.txt"
TARGET = ROOT / "src" / "pointsman" / "data" / "trust" / "locked.json"
NAMES = ("click", "h11", "httptools", "msgspec", "uvicorn", "uvloop")
PYTHONS = ("311", "312", "313", "314")
PLATFORMS = (
    ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"),
    ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"),
    ("musllinux_1_1_x86_64", "musllinux_1_2_x86_64"),
    ("musllinux_1_1_aarch64", "musllinux_1_2_aarch64"),
    ("macosx_10_13_x86_64", "macosx_10_9_x86_64", "macosx_10_15_x86_64", "macosx_10_13_universal2"),
    ("macosx_11_0_arm64", "macosx_11_0_universal2", "macosx_10_13_universal2"),
)


def pinned() -> dict[str, tuple[str, set[str]]]:
    """Name → (version, the hashes of its files) as the lock has them."""
    text = LOCK.read_text("utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        match = re.match(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", line)
        if match:
            hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
            found[normal_name(match[1])] = (match[2], hashes)
    return found


def download(requirement: str, python: str, platforms: tuple[str, ...], folder: Path) -> None:
    """Let pip get a wheel for a platform; that there is none is no fault."""
    tags = [word for each in platforms for word in ("--platform", each)]
    subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
            "--disable-pip-version-check", "--implementation", "cp", "--python-version", python,
            "--abi", f"cp{python}", "--abi", "abi3", "--abi", "none", *tags, "--dest", str(folder), requirement,
        ],
        check=False, capture_output=True,
    )  # fmt: skip


def digest_of(wheel: Path) -> str:
    """The digest of the RECORD within a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", n)]
        rows = csv.reader(io.StringIO(archive.read(name).decode()))
        return record_digest(recorded_rows(rows))


def main() -> None:
    locked = {}
    for name in NAMES:
        version, hashes = pinned()[name]
        records = set()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for python in PYTHONS:
                for platforms in PLATFORMS:
                    download(f"{name}=={version}", python, platforms, folder)
                if any(each.name.endswith("-none-any.whl") for each in folder.iterdir()):
                    break
            for wheel in sorted(folder.glob("*.whl")):
                sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
                if sha256 not in hashes:
                    raise SystemExit(f"{wheel.name} is not one of the files that the lock pins")
                records.add(digest_of(wheel))
        print(f"{name} {version}: {len(records)} wheels", file=sys.stderr)
        if not records:
            raise SystemExit(f"pip could get no wheel of {name} {version}")
        locked[name] = {"version": version, "records": sorted(records)}
    TARGET.write_bytes(msgspec.json.format(msgspec.json.encode(locked), indent=1) + b"\n")


if __name__ == "__main__":
    main()
