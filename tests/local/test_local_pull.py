"""Pulling from a web server and from this machine, and what holds for every source."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_files import Files, file_server

from pointsman.errors import LocalError, RequestError
from pointsman.local import download as download_module
from pointsman.local.catalogue import CATALOGUE
from pointsman.local.download import Cancelled
from pointsman.local.manifest import sha256_of
from pointsman.local.progress import Step
from pointsman.local.pull import pull
from pointsman.local.store import ConfiguredModel, ModelStore

MIB = 2**20


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home" / "models")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "BACK_OFF_S", 0.001)


@pytest.fixture
def server(llama_file: Path) -> Iterator[Files]:
    with file_server() as files:
        files.data["/models/tiny.gguf"] = llama_file.read_bytes()
        yield files


def left(store: ModelStore) -> list[str]:
    """What is in the store, but for the locks."""
    paths = (each.relative_to(store.directory) for each in store.directory.rglob("*"))
    return sorted(str(each) for each in paths if each.suffix != ".lock")


def test_a_url(server: Files, store: ModelStore, llama_file: Path) -> None:
    ref, digest = f"{server.url}/models/tiny.gguf", sha256_of(llama_file)
    seen: list[Step] = []
    model = pull(f"{ref}#sha256={digest}", store, seen.append)
    assert model.name == "tiny" and model.sha256 == digest and model.verified
    assert model.path == str(store.directory / "tiny" / "tiny.gguf") and model.source == ref
    assert left(store) == ["tiny", "tiny/manifest.json", "tiny/tiny.gguf"]
    size = llama_file.stat().st_size
    assert Step("downloading", "tiny.gguf", digest, size, size) in seen
    asked = len(server.asked)
    assert pull(ref, store) == model and pull(ref, store, verify=True) == model
    assert len(server.asked) == asked, "nothing was asked for again"


def test_a_url_whose_hash_is_another(server: Files, store: ModelStore) -> None:
    ref = f"{server.url}/models/tiny.gguf"
    with pytest.raises(LocalError, match=r"tiny\.gguf has sha256 .*, expected 0000"):
        pull(f"{ref}#sha256={'0' * 64}", store)
    assert left(store) == []
    pull(ref, store)
    with pytest.raises(LocalError, match="expected 0000"):
        pull(f"{ref}#sha256={'0' * 64}", store)
    assert pull(ref, store).verified, "the one that was there is still"


def test_a_signature_in_a_url_is_not_written_down(server: Files, store: ModelStore) -> None:
    model = pull(f"{server.url}/models/tiny.gguf?sig=secret", store)
    assert model.source == f"{server.url}/models/tiny.gguf"
    assert "secret" not in (store.directory / "tiny" / "manifest.json").read_text("utf-8")


def test_the_parts_of_a_split_model_by_their_first(
    server: Files, store: ModelStore, llama_file: Path
) -> None:
    names = [f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for name in names:
        server.data[f"/{name}"] = llama_file.read_bytes() + name.encode()
    model = pull(f"{server.url}/{names[0]}", store)
    assert model.name == "big" and model.path.endswith(names[0])
    assert [each.path for each in store.manifest("big").files] == names
    with pytest.raises(LocalError, match=r"'#sha256=' can be given for one file"):
        pull(f"{server.url}/{names[0]}#sha256={'0' * 64}", store)


def test_parts_that_were_whole_are_not_fetched_again(
    server: Files, store: ModelStore, llama_file: Path
) -> None:
    names = [f"/big-0000{number}-of-00002.gguf" for number in (1, 2)]
    for name in names:
        server.data[name] = llama_file.read_bytes() + random.Random(name).randbytes(3 * MIB)
    server.etags[names[1]] = '"1"'
    server.cut = [None, None, None, *[0] * 50]
    with pytest.raises(LocalError, match="could not be fetched"):
        pull(f"{server.url}{names[0]}", store)
    server.cut = []
    sent = server.sent(names[0])
    pull(f"{server.url}{names[0]}", store)
    assert server.sent(names[0]) == sent + 1, "asked for its version only"
    assert left(store) == ["big", "big/big-00001-of-00002.gguf", "big/big-00002-of-00002.gguf", "big/manifest.json"]  # fmt: skip


def broken(data: bytes) -> dict[str, tuple[bytes, str]]:
    return {
        "cut": (data[:-1000], "it is cut short"),
        "head": (data[:1000], "it is cut short"),
        "empty": (b"", "it is too short for a GGUF file"),
        "renamed": (b"PK\3\4" + bytes(100), "it is no GGUF file: it begins with b'PK"),
        "page": (b"<!DOCTYPE html><html>Not found</html>", "it is no GGUF file"),
        "corrupt": (data[:24] + b"\xff" * 100 + data[124:], "it claims"),
    }


@pytest.mark.parametrize("harm", ["cut", "head", "empty", "renamed", "page", "corrupt"])
@pytest.mark.parametrize("source", ["url", "file"])
def test_what_is_no_sound_model_is_named_and_not_kept(
    harm: str, source: str, server: Files, store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    data, why = broken(llama_file.read_bytes())[harm]
    server.data["/bad.gguf"] = data
    file = tmp_path / "bad.gguf"
    file.write_bytes(data)
    with pytest.raises(LocalError, match=rf"bad\.gguf cannot be used: {why}"):
        pull(f"{server.url}/bad.gguf" if source == "url" else f"file:{file}", store)
    assert left(store) == [] and store.names() == []
    assert file.read_bytes() == data, "a file of yours is never touched"


def test_a_file_is_served_where_it_lies(
    store: ModelStore, llama_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Step] = []
    model = pull(f"file:{llama_file}", store, seen.append, name="mine")
    assert model.name == "mine" and model.path == str(llama_file) and model.verified
    assert model.sha256 == sha256_of(llama_file)
    assert left(store) == ["mine", "mine/manifest.json"], "0 bytes copied"
    assert [step.status for step in seen].count("verifying") == 1
    monkeypatch.setattr("pointsman.local.sources.file.hash_file", None)
    assert pull(f"file:{llama_file}", store, name="mine") == model, "hashed once"
    monkeypatch.chdir(llama_file.parent)
    assert pull(f"file:{llama_file.name}", store, name="mine") == model


def test_a_file_that_changed_is_hashed_anew(
    store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(llama_file.read_bytes())
    old = pull(f"file:{file}", store)
    file.write_bytes(llama_file.read_bytes() + b"more")
    new = pull(f"file:{file}", store)
    assert new.sha256 == sha256_of(file) != old.sha256 and new.verified


def test_a_file_that_is_not_there(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=f"there is no file {tmp_path}/x.gguf"):
        pull(f"file:{tmp_path}/x.gguf", store)


def test_who_may_not_read_this_machine(server: Files, store: ModelStore, llama_file: Path) -> None:
    registry = f"ollama:{server.url.removeprefix('http://')}/library/tiny"
    for ref in (f"file:{llama_file}", f"{server.url}/models/tiny.gguf", registry):
        with pytest.raises(RequestError, match="lies on this machine"):
            pull(ref, store, allow_file=False)
    assert server.asked == [] and store.names() == []


def test_a_name_that_another_model_has_is_kept(
    server: Files, store: ModelStore, llama_file: Path
) -> None:
    pull(f"file:{llama_file}", store, name="tiny")
    with pytest.raises(LocalError, match=r"'tiny' is here already, from file:.*--name"):
        pull(f"{server.url}/models/tiny.gguf", store)
    assert pull(f"{server.url}/models/tiny.gguf", store, name="other").name == "other"
    assert store.get("tiny").path == str(llama_file)


@pytest.mark.parametrize("name", ["..", "a/../b", "a b", ".hidden"])
def test_what_can_be_no_name(name: str, server: Files, store: ModelStore) -> None:
    with pytest.raises(LocalError, match="cannot be a model's name"):
        pull(f"{server.url}/models/tiny.gguf", store, name=name)
    assert server.asked == []


def test_a_name_that_the_configuration_has_is_not_pulled(
    server: Files, store: ModelStore, llama_file: Path
) -> None:
    own = ModelStore(store.directory, {"tiny": ConfiguredModel(llama_file)})
    with pytest.raises(LocalError, match="a file of yours"):
        pull(f"{server.url}/models/tiny.gguf", own)


def test_a_place_that_cannot_be_written_is_named(llama_file: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_bytes(b"")
    with pytest.raises(LocalError, match="'a' could not be written"):
        pull(f"file:{llama_file}", ModelStore(tmp_path / "blocked" / "models"), name="a")


def test_an_unknown_name_gets_the_nearest(store: ModelStore) -> None:
    with pytest.raises(LocalError, match="did you mean 'smollm2'"):
        pull("smolm2", store)
    assert set(CATALOGUE) == {"smollm2"}


def test_a_new_version_takes_the_place_of_the_old(
    server: Files, store: ModelStore, llama_file: Path
) -> None:
    ref = f"{server.url}/models/tiny.gguf"
    pull(ref, store)
    new = llama_file.read_bytes() + b"new"
    server.data["/models/tiny.gguf"] = new
    digest = hashlib.sha256(new).hexdigest()
    assert pull(f"{ref}#sha256={digest}", store).sha256 == digest
    assert left(store) == ["tiny", "tiny/manifest.json", "tiny/tiny.gguf"]


def test_a_second_pull_waits_for_the_first_and_can_be_cancelled(
    server: Files, store: ModelStore
) -> None:
    store.directory.mkdir(parents=True)
    stop = threading.Event()
    seen: list[str] = []

    def progress(step: Step) -> None:
        seen.append(step.status)
        if step.status == "waiting":
            stop.set()

    with (store.directory / ".pull-tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Cancelled):
            pull(f"{server.url}/models/tiny.gguf", store, progress, cancelled=stop)
    assert seen == ["pulling manifest", "waiting"] and server.asked == []


def test_pulls_at_once_fetch_once(server: Files, store: ModelStore) -> None:
    found: list[bool] = []
    ref = f"{server.url}/models/tiny.gguf"
    threads = [
        threading.Thread(target=lambda: found.append(pull(ref, store).verified)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
    assert server.sent("/models/tiny.gguf") <= len(server.data["/models/tiny.gguf"]) + 1


KILLED = """
import sys
from pathlib import Path
from pointsman.local.pull import pull
from pointsman.local.store import ModelStore
def show(step):
    print(step.done_bytes, flush=True)
pull(sys.argv[1], ModelStore(Path(sys.argv[2])), show)
"""


def test_kill_9_of_a_pull_loses_at_most_16_mib(
    server: Files, store: ModelStore, llama_file: Path
) -> None:
    data = llama_file.read_bytes() + os.urandom(64 * MIB)
    server.data["/big.gguf"] = data
    server.hold, server.hold_after = threading.Event(), 40 * MIB
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, f"{server.url}/big.gguf", str(store.directory)],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert any(int(line) >= 30 * MIB for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert store.names() == []
    server.hold.set()
    before = -1
    while (sent := server.sent("/big.gguf")) != before:
        before = sent
        time.sleep(0.05)
    assert 30 * MIB < sent < len(data)
    server.hold = None
    model = pull(f"{server.url}/big.gguf", store)
    assert Path(model.path).read_bytes() == data
    assert server.sent("/big.gguf") - len(data) <= 16 * MIB
    assert left(store) == ["big", "big/big.gguf", "big/manifest.json"]
