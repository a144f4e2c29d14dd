"""The downloader, against a server that does everything wrong that servers do."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_files import Files, file_server

from pointsman.errors import LocalError
from pointsman.local import download as module
from pointsman.local import wire
from pointsman.local.download import Cancelled, Refused, download

MIB = 2**20
PATH = "/m.gguf"
KEY = {"Authorization": "Bearer secret"}


DATA = random.Random(1).randbytes(20 * MIB + 17)


@pytest.fixture
def server() -> Iterator[Files]:
    with file_server() as files:
        files.data[PATH] = DATA
        yield files


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACK_OFF_S", 0.001)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fetch(server: Files, target: Path, **more: Any) -> str:
    wanted = {"size_bytes": None, "sha256": None, "progress": lambda done, total: None, **more}
    return download(server.url + more.pop("path", PATH), target, **_without_path(wanted))


def _without_path(wanted: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name != "path"}


def known(server: Files) -> dict[str, Any]:
    data = server.data[PATH]
    return {"size_bytes": len(data), "sha256": digest_of(data)}


@pytest.mark.parametrize("with_hash", [True, False])
def test_a_file_comes_whole_in_parallel_ranges(
    with_hash: bool, server: Files, tmp_path: Path
) -> None:
    data, target, seen = server.data[PATH], tmp_path / "m.gguf", []
    more = known(server) if with_hash else {}
    digest = fetch(server, target, progress=lambda done, total: seen.append((done, total)), **more)
    assert digest == digest_of(data) and target.read_bytes() == data
    assert seen[-1] == (len(data), len(data)) and seen == sorted(seen)
    ranges = {each.headers["Range"] for each in server.asked}
    assert len(ranges) == 4 and "bytes=0-0" in ranges, "the probe, and three spans of 8 pieces"
    assert sorted(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1])
def test_small_files(size: int, server: Files, tmp_path: Path) -> None:
    server.data[PATH] = bytes(size)
    assert fetch(server, tmp_path / "a") == digest_of(bytes(size))
    assert fetch(server, tmp_path / "b", **known(server)) == digest_of(bytes(size))
    assert (tmp_path / "a").stat().st_size == (tmp_path / "b").stat().st_size == size


def test_a_server_without_ranges_sends_one_stream(server: Files, tmp_path: Path) -> None:
    server.ranges = False
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])
    assert len(server.asked) == 1


def test_a_server_that_says_no_length_sends_one_stream(server: Files, tmp_path: Path) -> None:
    server.ranges = server.lengths = False
    totals = set()
    digest = fetch(server, tmp_path / "m", progress=lambda done, total: totals.add(total))
    assert digest == digest_of(server.data[PATH]) and totals == {None}


def test_versions_that_cannot_be_told_apart_are_not_put_together(
    server: Files, tmp_path: Path
) -> None:
    server.validators = False
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])
    assert "Range" not in server.asked[-1].headers and len(server.asked) == 2


def test_cut_connections_go_on_where_they_were(server: Files, tmp_path: Path) -> None:
    server.cut = [None, 3 * MIB + 5, 100_000, 0, None, 2 * MIB]
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])
    assert server.sent(PATH) == len(server.data[PATH]) + 1, "no byte came twice, but the probe's"


def test_a_stream_that_is_cut_starts_anew_and_ends_in_an_error(
    server: Files, tmp_path: Path
) -> None:
    server.ranges = False
    server.cut = [5 * MIB, 0]
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])
    server.cut = [5 * MIB] * 100
    with pytest.raises(LocalError, match=r"n could not .* 127\.0\.0\.1: it ended .* \(5 tries\)"):
        fetch(server, tmp_path / "n")
    assert [each.name for each in tmp_path.iterdir()] == ["m"], "a stream leaves no part behind"


def test_busy_servers_are_asked_again_as_late_as_they_say(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_WAIT_S", 0.002)
    server.extra = {"Retry-After": "7"}
    server.statuses = [503, 200, 429, 500, 200]
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])
    server.statuses = [502] * 100
    with pytest.raises(LocalError, match=r"127\.0\.0\.1: status 502 \(5 tries\); check the net"):
        fetch(server, tmp_path / "n")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_tried_again(status: int, server: Files, tmp_path: Path) -> None:
    server.statuses = [status]
    with pytest.raises(Refused, match=f"refused: status {status}") as caught:
        fetch(server, tmp_path / "m")
    assert caught.value.http_status == status and len(server.asked) == 1


def test_a_stall_is_a_fault(server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "TIMEOUT_S", 0.05)
    server.hold = threading.Event()
    server.ranges = False
    try:
        with pytest.raises(LocalError, match=r"it stalled \(5 tries\)"):
            fetch(server, tmp_path / "m")
    finally:
        server.hold.set()


def test_a_trickle_is_a_stall(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.0)
    monkeypatch.setattr(module, "STALL_BYTES", 2**40)
    with pytest.raises(LocalError, match="it stalled"):
        fetch(server, tmp_path / "m")


def test_another_size_than_expected(server: Files, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"127\.0\.0\.1 has 20971537 bytes as m, expected 5000000"):
        fetch(server, tmp_path / "m", size_bytes=5_000_000)
    assert server.sent(PATH) <= 1 and not list(tmp_path.iterdir())


def test_a_body_without_end_is_cut_off(server: Files, tmp_path: Path) -> None:
    server.ranges = server.lengths = False
    with pytest.raises(LocalError, match="sends more than the 5000000 bytes"):
        fetch(server, tmp_path / "m", size_bytes=5_000_000)
    assert not list(tmp_path.iterdir())


def test_a_body_shorter_than_it_claims(server: Files, tmp_path: Path) -> None:
    server.ranges = False
    server.claimed = len(server.data[PATH]) + 10
    with pytest.raises(LocalError, match="it ended after 20971537 of 20971547 bytes"):
        fetch(server, tmp_path / "m")


def test_ranges_of_a_file_that_lacks_its_end(server: Files, tmp_path: Path) -> None:
    server.claimed = len(server.data[PATH]) + 3 * MIB
    with pytest.raises(LocalError, match="the file changed while it was fetched"):
        fetch(server, tmp_path / "m")


def test_a_wrong_hash_leaves_nothing(server: Files, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="expected 0000"):
        fetch(server, tmp_path / "m", sha256="0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_first(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=70 * MIB))
    with pytest.raises(LocalError, match=r"has 70 MiB free; m needs 85 MiB: make room"):
        fetch(server, tmp_path / "m", size_bytes=len(server.data[PATH]))
    assert server.asked == []
    with pytest.raises(LocalError, match="m needs 85 MiB"):
        fetch(server, tmp_path / "m")
    assert server.sent(PATH) <= 1, "its size was to be asked for"
    server.data[PATH] = bytes(5 * MIB)
    assert fetch(server, tmp_path / "m") == digest_of(bytes(5 * MIB))


def test_credentials_stay_with_their_host(server: Files, tmp_path: Path) -> None:
    data = server.data[PATH]
    with file_server() as cdn:
        cdn.data["/blob"] = data
        server.redirects[PATH] = f"{cdn.url}/blob"
        assert fetch(server, tmp_path / "m", headers=KEY) == digest_of(data)
        assert all(each.headers["Authorization"] == "Bearer secret" for each in server.asked)
        assert cdn.asked and not any("Authorization" in each.headers for each in cdn.asked)
        assert {"Range"} < {name for each in cdn.asked for name in each.headers}
        # Nor do they come back from there.
        cdn.redirects["/blob"] = f"{server.url}/other"
        server.data["/other"] = data
        server.asked.clear()
        fetch(server, tmp_path / "n", headers=KEY)
        back = [each for each in server.asked if each.path == "/other"]
        assert back and not any("Authorization" in each.headers for each in back)
    server.redirects = {PATH: "/same"}
    server.data["/same"] = data
    server.asked.clear()
    fetch(server, tmp_path / "o", headers=KEY)
    assert all("Authorization" in each.headers for each in server.asked)


@pytest.mark.parametrize("where", ["http://192.0.2.1/x", "ftp://192.0.2.1/x", "file:///etc/passwd"])
def test_redirects_to_elsewhere_than_https_are_not_followed(
    where: str, server: Files, tmp_path: Path
) -> None:
    server.redirects[PATH] = where
    with pytest.raises(LocalError, match=r"not followed|none is followed"):
        fetch(server, tmp_path / "m")
    assert len(server.asked) == 1


def test_a_loop_of_redirects_ends(server: Files, tmp_path: Path) -> None:
    server.redirects[PATH] = PATH
    with pytest.raises(LocalError):
        fetch(server, tmp_path / "m")


def test_http_is_for_this_machine_only(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"http://example\.org is not followed; only https is"):
        download(
            "http://example.org/m", tmp_path / "m", size_bytes=None, sha256=None,
            progress=lambda done, total: None,
        )  # fmt: skip


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with file_server() as gone:
        pass
    with pytest.raises(LocalError, match=r"m could not be fetched from 127\.0\.0\.1: .*refused"):
        fetch(gone, tmp_path / "m")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])


class Enough(Exception):
    pass


def stop_at(count: int) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done >= count:
            raise Enough

    return progress


def begun(server: Files, target: Path, **more: Any) -> int:
    """Fetch about half of the file; gives the bytes that were sent."""
    server.pause_s = 0.002
    with pytest.raises(Enough):
        fetch(server, target, progress=stop_at(8 * MIB), **more)
    server.pause_s = 0.0
    assert not target.exists()
    wait_until_idle(server)
    sent = server.sent(PATH)
    server.asked.clear()
    return sent


def wait_until_idle(server: Files) -> None:
    before = -1
    while (now := server.sent(PATH)) != before:
        before = now
        time.sleep(0.05)


@pytest.mark.parametrize("with_hash", [True, False])
def test_a_second_call_goes_on(with_hash: bool, server: Files, tmp_path: Path) -> None:
    more = known(server) if with_hash else {}
    data = server.data[PATH]
    before = begun(server, tmp_path / "m", **more)
    seen: list[int] = []
    assert fetch(
        server, tmp_path / "m", progress=lambda done, total: seen.append(done), **more
    ) == digest_of(data)
    assert seen[0] >= MIB, "what was there counts from the start"
    assert before + server.sent(PATH) - len(data) <= 16 * MIB
    assert server.sent(PATH) < len(data) - 6 * MIB
    assert [each.name for each in tmp_path.iterdir()] == ["m"]


def test_a_file_that_changed_in_between_starts_anew(server: Files, tmp_path: Path) -> None:
    begun(server, tmp_path / "m")
    server.data[PATH] = random.Random(2).randbytes(20 * MIB + 17)
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])
    assert server.sent(PATH) == len(server.data[PATH]) + 1


def test_a_file_with_a_hash_goes_on_whatever_the_server_calls_it(
    server: Files, tmp_path: Path
) -> None:
    begun(server, tmp_path / "m", **known(server))
    server.etags[PATH] = '"another-mirror"'
    assert fetch(server, tmp_path / "m", **known(server)) == digest_of(server.data[PATH])
    assert server.sent(PATH) < len(server.data[PATH])


def test_a_file_that_changes_meanwhile_is_fetched_anew(server: Files, tmp_path: Path) -> None:
    new = random.Random(3).randbytes(20 * MIB + 17)

    def progress(done: int, total: int | None) -> None:
        if done > MIB:
            server.data[PATH] = new

    server.pause_s = 0.001
    server.cut = [None, 6 * MIB, 6 * MIB, 3 * MIB]
    assert fetch(server, tmp_path / "m", progress=progress) == digest_of(new)
    assert (tmp_path / "m").read_bytes() == new


@pytest.mark.parametrize("harm", ["data", "line", "head", "cut", "other"])
def test_what_does_not_read_as_it_was_written_is_fetched_anew(
    harm: str, server: Files, tmp_path: Path
) -> None:
    begun(server, tmp_path / "m")
    part, journal = tmp_path / "m.part", tmp_path / "m.part.journal"
    text = journal.read_bytes()
    if harm == "data":
        index = int(text.split(b"\n")[1].split(b" ")[0], 16)
        with part.open("r+b") as file:
            file.seek(index * MIB)
            file.write(b"not what was there")
    elif harm == "cut":
        part.write_bytes(part.read_bytes()[: MIB // 2])
    else:
        journal.write_bytes(
            {
                "line": text + b"ffffff 00000000\nzz zz\n-1 00\n0 0000",
                "head": b"{" + text,
                "other": b'{"size_bytes":1}\n' + text,
            }[harm]
        )
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m"]


def test_a_whole_file_with_its_journal_is_not_fetched_again(server: Files, tmp_path: Path) -> None:
    fetch(server, tmp_path / "m", keep_journal=True)
    server.asked.clear()
    digest = fetch(server, tmp_path / "m", keep_journal=True)
    assert digest == digest_of(server.data[PATH]) and server.sent(PATH) == 1
    server.data[PATH] = server.data[PATH][::-1]
    assert fetch(server, tmp_path / "m", keep_journal=True) == digest_of(server.data[PATH])


def test_a_cancelled_download_stops_and_can_go_on(server: Files, tmp_path: Path) -> None:
    server.hold = threading.Event()
    stop = threading.Event()
    try:
        with pytest.raises(Cancelled):
            fetch(server, tmp_path / "m", cancelled=stop, progress=lambda done, total: stop.set())
    finally:
        server.hold.set()
    server.hold = None
    assert fetch(server, tmp_path / "m") == digest_of(server.data[PATH])


KILLED = """
import sys
from pathlib import Path
from pointsman.local.download import download
def show(done, total):
    print(done, flush=True)
download(sys.argv[1], Path(sys.argv[2]), size_bytes=None, sha256=None, progress=show)
"""


def test_kill_9_loses_at_most_16_mib(server: Files, tmp_path: Path) -> None:
    data = server.data[PATH] = random.Random(4).randbytes(96 * MIB)
    before = 0
    for limit in (10 * MIB, 40 * MIB, 64 * MIB):
        # It cannot end before it is killed.
        server.hold, server.hold_after = threading.Event(), limit + 8 * MIB
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, server.url + PATH, str(tmp_path / "m")],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert any(int(line) >= limit - 8 * MIB for line in process.stdout)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        server.hold.set()
        wait_until_idle(server)
        assert server.sent(PATH) > before
        before = server.sent(PATH)
    server.hold = None
    assert fetch(server, tmp_path / "m") == digest_of(data)
    lost = server.sent(PATH) - len(data)
    assert lost <= 3 * 16 * MIB, f"{lost} bytes came twice over three kills"
    assert (tmp_path / "m").read_bytes() == data
