"""A process's last words, its environment, and how it is ended."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pointsman.errors import LocalError
from pointsman.local import child as child_module
from pointsman.local.child import Child, Order, child_environment, spawn
from pointsman.local.defaults import Sampling

ORDER = Order(
    alias="m", path="", context=1, slots=1, threads=1, embedding=False, sampling=Sampling()
)
Run = Callable[[str], Awaitable[Child]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Starts a script as an engine; ended after the test."""
    made: list[Child] = []

    async def start(code: str) -> Child:
        made.append(Child(ORDER, await spawn([sys.executable, "-c", code]), "key"))
        return made[-1]

    yield start
    for child in made:
        await child.stop()


async def said_first(child: Child) -> bytes:
    assert child.process.stdout is not None
    return await child.process.stdout.readline()


async def test_the_end_of_what_it_said_is_kept(run: Run) -> None:
    child = await run(
        "import sys\nfor n in range(40000): print('line', n, file=sys.stderr)\nsys.exit(7)"
    )
    fault = await child.fault()
    assert fault.message.startswith("the engine of 'm' ended (exit code 7); it said:\n")
    assert fault.message.endswith("line 39999")
    assert len(fault.message) < 2_200
    kept = sum(len(piece) for piece in child._stderr)
    assert kept <= child_module.STDERR_BYTES


async def test_one_that_says_nothing_is_named_all_the_same(run: Run) -> None:
    fault = await (await run("import os; os.kill(os.getpid(), 6)")).fault()
    assert fault.message == "the engine of 'm' ended (SIGABRT)"


async def test_a_process_left_behind_does_not_hold_the_error_up(run: Run) -> None:
    child = await run(
        "import subprocess, sys\n"
        "sys.stderr.write('gone\\n')\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3)'])\n"
    )
    assert "gone" in (await child.fault()).message
    assert not child._drain.done()


async def test_one_that_does_not_listen_is_killed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "STOP_S", 0.1)
    child = await run(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\n"
        "time.sleep(60)"
    )
    assert await said_first(child) == b"up\n"
    await child.stop()
    assert child.process.returncode == -9
    await child.stop()  # Once more does no harm.


async def test_a_command_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(LocalError, match="could not be started"):
        await spawn(["/nowhere/engine"])


def test_an_engine_gets_no_keys() -> None:
    ours = {
        "PATH": "/bin",
        "HOME": "/home/a",
        "LC_ALL": "C",
        "CUDA_VISIBLE_DEVICES": "1",
        "OMP_NUM_THREADS": "2",
        "OPENAI_API_KEY": "sk-1",
        "HF_TOKEN": "hf_1",
        "AWS_SECRET_ACCESS_KEY": "a",
        "LLAMA_API_KEY": "b",
        "LLAMA_ARG_TOOLS": "all",
        "POINTSMAN_ADMIN_KEY": "c",
        "HTTPS_PROXY": "http://user:password@proxy",
    }
    assert child_environment(ours) == {
        name: ours[name]
        for name in ("PATH", "HOME", "LC_ALL", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    }
