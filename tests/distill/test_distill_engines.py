"""The engines: calls go out under a number and come back under it, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from pointsman.distill.engines import TRIES, Engine, Here, Pool
from pointsman.distill.engines_ray import RayCluster
from pointsman.errors import DistillError, MissingExtra


def square(number: int) -> int:
    return number * number


def pid() -> int:
    return os.getpid()


def die_once(mark: str) -> str:
    """Kill the process that runs this, the first time."""
    path = Path(mark)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise ZeroDivisionError("a fault of the code")


@pytest.mark.parametrize("engine", [Here(), Pool(2)], ids=["here", "pool"])
def test_each_result_comes_under_its_number(engine: Engine) -> None:
    with engine:
        for number in range(5):
            engine.submit(number, partial(square, number))
        found = dict(engine.wait() for _ in range(5))
    assert found == {number: number * number for number in range(5)}


def test_here_is_this_process_and_a_pool_is_not() -> None:
    for engine, is_here in ((Here(), True), (Pool(1), False)):
        with engine:
            engine.submit(3, pid)
            number, found = engine.wait()
        assert number == 3 and (found == os.getpid()) is is_here


def test_a_pool_begins_again_what_a_dead_worker_had(tmp_path: Path) -> None:
    with Pool(2) as pool:
        pool.submit(7, partial(die_once, str(tmp_path / "mark")))
        pool.submit(8, partial(square, 8))
        found = dict([pool.wait(), pool.wait()])
        pool.submit(7, partial(square, 7))  # The number is free again.
        assert pool.wait() == (7, 49)
    assert found == {7: "alive", 8: 64}


def test_what_kills_every_worker_is_given_up() -> None:
    with Pool(1) as pool, pytest.raises(DistillError, match=f"part 4 died {TRIES} times"):
        pool.submit(4, die)
        pool.wait()


@pytest.mark.parametrize("engine", [Here(), Pool(1)], ids=["here", "pool"])
def test_a_fault_of_the_code_is_not_hidden(engine: Engine) -> None:
    with engine, pytest.raises(ZeroDivisionError):
        engine.submit(1, fail)
        engine.wait()


def test_without_ray_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pointsman\[ray\]'"):
        RayCluster(2)
