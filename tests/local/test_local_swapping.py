"""Several models in memory for one: who waits, who goes, and that nobody is interrupted."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pointsman._http.h1 import H1Transport
from pointsman.errors import LocalError
from pointsman.local import planning as planning_module
from pointsman.local import starter as starter_module
from pointsman.local.engine import Engine
from pointsman.local.memory import Footprint
from pointsman.local.planning import EngineSettings
from pointsman.local.schedule import Memory
from pointsman.local.store import ConfiguredModel, ModelStore

MIB = 1024 * 1024
NAMES = ("a", "b", "c")
Make = Callable[..., Engine]


@pytest.fixture
async def make(
    tmp_path: Path, llama_file: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    """Makes an engine for three models of 100 MiB each, and 150 MiB for all unless told."""
    monkeypatch.setattr(starter_module.shutil, "which", lambda name: None)
    size = Footprint(
        weights_bytes=60 * MIB, cache_bytes=20 * MIB, compute_bytes=10 * MIB, base_bytes=10 * MIB
    )
    monkeypatch.setattr(planning_module, "predict", lambda *_, **__: size)
    monkeypatch.setattr(planning_module, "largest_context", lambda *_, most, **__: most)
    rows = {name: ConfiguredModel(llama_file, context_tokens=512) for name in NAMES}
    rows["far"] = ConfiguredModel(url="http://127.0.0.1:9/")
    store = ModelStore(tmp_path / "models", rows)
    transport = H1Transport()
    made: list[Engine] = []

    def engine(memory_mib: int = 150, **settings: Any) -> Engine:
        memory = Memory(memory_mib * MIB)
        made.append(
            Engine(
                store, EngineSettings(memory=memory, threads=1, **settings), transport, {"far": "k"}
            )
        )
        return made[-1]

    yield engine
    for each in made:
        await each.aclose()
    await transport.aclose()
    gc.collect()


class Log:
    """Leases models and notes what happened, in order."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[str] = []

    def use(self, name: str, label: str, until: asyncio.Event | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self._use(name, label, until))

    async def _use(self, name: str, label: str, until: asyncio.Event | None) -> None:
        async with self.engine.lease(name):
            self.events.append(f"+{label}")
            if until is not None:
                await until.wait()
            self.events.append(f"-{label}")

    async def seen(self, event: str) -> None:
        async with asyncio.timeout(20):
            while event not in self.events:  # noqa: ASYNC110  # the other task's list has no event
                await asyncio.sleep(0.005)


def names(engine: Engine) -> list[str]:
    return sorted(each.name for each in engine.running())


async def settled(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110  # a process's end has no event here
            await asyncio.sleep(0.005)


async def test_an_idle_model_goes_when_another_needs_its_memory(make: Make) -> None:
    engine = make()
    async with engine.lease("a"):
        assert names(engine) == ["a"]
    async with engine.lease("b"):
        assert names(engine) == ["b"]


async def test_the_longest_idle_one_goes(make: Make) -> None:
    engine = make(250)
    for name in ("a", "b", "a"):
        async with engine.lease(name):
            pass
    async with engine.lease("c"):
        assert names(engine) == ["a", "c"]


async def test_a_busy_model_is_waited_for_and_takes_no_more(make: Make) -> None:
    engine = make()
    log, done = Log(engine), asyncio.Event()
    first = log.use("a", "a1", done)
    await log.seen("+a1")
    second = log.use("b", "b1")
    await asyncio.sleep(0.05)
    third = log.use("a", "a2")
    await asyncio.sleep(0.05)
    assert log.events == ["+a1"], "b waits for a, and a2 does not overtake b"
    done.set()
    await asyncio.gather(first, second, third)
    assert log.events == ["+a1", "-a1", "+b1", "-b1", "+a2", "-a2"]


async def test_all_that_wait_for_a_model_go_when_it_has_come(make: Make) -> None:
    engine = make()
    log, done = Log(engine), asyncio.Event()
    tasks = [log.use("a", "a1", done)]
    await log.seen("+a1")
    for number in range(1, 4):
        tasks.append(log.use("b", f"b{number}"))
        await settled(lambda: "a" in engine._draining)
        tasks.append(log.use("a", f"a{number + 1}"))
        await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*tasks)
    starts = [event for event in log.events if event[0] == "+"]
    assert starts == ["+a1", "+b1", "+b2", "+b3", "+a2", "+a3", "+a4"]


async def test_one_who_gives_up_lets_the_others_go_on(make: Make) -> None:
    engine = make()
    log, done = Log(engine), asyncio.Event()
    first = log.use("a", "a1", done)
    await log.seen("+a1")
    waiting = log.use("b", "b1")
    await asyncio.sleep(0.05)
    held = log.use("a", "a2")
    await asyncio.sleep(0.02)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await held
    assert log.events == ["+a1", "+a2", "-a2"], "nobody waits for b, so a2 is let in"
    done.set()
    await first
    assert names(engine) == ["a"], "and nobody was evicted for nobody"


async def test_what_fits_beside_a_busy_one_does_not_wait(make: Make) -> None:
    engine = make(250)
    async with engine.lease("a"), engine.lease("b"):
        assert names(engine) == ["a", "b"]


async def test_two_hundred_alternating_requests_with_memory_for_one(make: Make) -> None:
    engine = make()
    served: list[str] = []

    async def ask(name: str) -> None:
        async with engine.lease(name) as endpoint:
            assert endpoint.model == name
            pid = next(each.pid for each in engine.running() if each.name == name)
            await asyncio.sleep(0.002)
            assert pid is not None and os.path.exists(f"/proc/{pid}")  # noqa: ASYNC240
            assert sum(each.state == "ready" for each in engine.running()) == 1
            served.append(name)

    await asyncio.gather(*(ask("ab"[number % 2]) for number in range(200)))
    assert (served.count("a"), served.count("b")) == (100, 100)


async def test_a_model_that_can_never_fit_is_refused_with_the_numbers(make: Make) -> None:
    engine = make(90)
    with pytest.raises(LocalError, match=r"'a' needs 100 MiB.* and 90 MiB may be used") as caught:
        async with engine.lease("a"):
            pass
    assert caught.value.status == 503
    assert engine.running() == []


async def test_a_process_that_dies_frees_its_memory_for_who_waits(make: Make) -> None:
    engine = make()
    log, done = Log(engine), asyncio.Event()
    first = log.use("a", "a1", done)
    await log.seen("+a1")
    second = log.use("b", "b1")
    await asyncio.sleep(0.05)
    pid = engine.running()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await second
    assert "+b1" in log.events
    done.set()
    await first


async def test_an_idle_model_is_unloaded_in_time(make: Make) -> None:
    engine = make(idle_s=0.1)
    async with engine.lease("a"):
        await asyncio.sleep(0.2)
        (one,) = engine.running()
        assert one.expires_in_s is None, "not while it is in use"
    (one,) = engine.running()
    assert one.expires_in_s is not None and one.expires_in_s <= 0.1
    await settled(lambda: engine.running() == [])


@pytest.mark.parametrize("idle_s", [-1.0, 60.0])
async def test_how_long_it_stays_can_be_said_for_the_model(make: Make, idle_s: float) -> None:
    engine = make(idle_s=idle_s)
    async with engine.lease("a"):
        engine.keep("a", 0)
    await settled(lambda: engine.running() == [])
    async with engine.lease("a"):
        pass
    (one,) = engine.running()
    assert (one.expires_in_s is None) == (idle_s < 0), "what was said ended with the process"
    engine.keep("a", -1)
    assert engine.running()[0].expires_in_s is None
    engine.keep("a", 5)
    assert 4 < (engine.running()[0].expires_in_s or 0) <= 5
    engine.keep("a", 0)
    assert (engine.running()[0].expires_in_s or 0) > 5, "loaded ahead: the request may yet come"


async def test_unloading_waits_for_those_who_use_it(make: Make) -> None:
    engine = make()
    assert not await engine.unload("a")
    async with engine.lease("a"):
        assert await engine.unload("a")
        await asyncio.sleep(0.02)
        assert names(engine) == ["a"]
    await settled(lambda: engine.running() == [])
    async with engine.lease("a"):
        pass
    assert await engine.unload("a")
    assert engine.running() == []


async def test_a_stopped_model_is_started_anew(make: Make) -> None:
    engine = make()
    async with engine.lease("a"):
        pass
    first = engine.running()[0].pid
    assert await engine.stop("a") and not await engine.stop("a")
    async with engine.lease("a"):
        assert engine.running()[0].pid != first


async def test_an_engine_elsewhere_is_leased_as_it_is(make: Make) -> None:
    engine = make(1)
    async with engine.lease("far") as endpoint:
        assert endpoint.base_url == "http://127.0.0.1:9/v1"
        assert (endpoint.key, endpoint.model) == ("k", "far")
    assert engine.running() == []


async def test_a_warm_process_takes_the_next_model(make: Make) -> None:
    engine = make(250, spare=True)
    await engine.prepare()
    spare = engine._starter._spare
    assert spare is not None
    async with engine.lease("a"):
        assert engine.running()[0].pid == spare.pid
    await settled(lambda: engine._starter._spare is not None)
    after = engine._starter._spare
    assert after is not None and after.pid != spare.pid
    os.kill(after.pid, signal.SIGKILL)
    await after.ended.wait()
    async with engine.lease("b"):
        assert all(each.pid not in (None, after.pid) for each in engine.running())
    await settled(lambda: engine._starter._spare is not None)
    last = engine._starter._spare
    await engine.aclose()
    assert last is not None and last.ended.is_set()


async def test_closing_tells_those_who_wait(make: Make) -> None:
    engine = make()
    log, done = Log(engine), asyncio.Event()
    first = log.use("a", "a1", done)
    await log.seen("+a1")
    waiting = log.use("b", "b1")
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(engine.aclose())
    with pytest.raises(LocalError, match=r"stopped|closed"):
        await waiting
    done.set()
    await first
    await closing
    assert engine.running() == []
