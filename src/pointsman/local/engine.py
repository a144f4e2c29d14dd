"""Runs local models: a process for each, started when it is first asked for, within a memory budget.

A request leases a model. Where it does not run, its requests wait in a queue of models, in the order
of each one's first request. The head of the queue gets its memory by the eviction of idle models; if
that does not suffice, the busy ones in its way take no more requests, and go when the last one that
they have is answered. Nothing is interrupted, and nobody overtakes the head.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial

from pointsman._http.transport import Transport
from pointsman.errors import LocalError, TrustError
from pointsman.local.child import Child, Endpoint
from pointsman.local.planning import EngineSettings
from pointsman.local.schedule import Memory, make_room
from pointsman.local.slot import Running, Slot
from pointsman.local.starter import Admit, Starter
from pointsman.local.store import ModelStore

__all__ = ["Engine"]

END_IS_KNOWN_S = 0.3
# A request waits this long for a model that is held back; past it, it is told so at once.
PATIENCE_S = 2.0
# A model that ran this long before it crashed is started again at once.
STEADY_S = 60.0
# One that was loaded ahead of its request, to be unloaded after it, waits this long for the request.
AHEAD_S = 30.0


class Engine:
    """Starts, supervises and stops the processes. Belongs to one event loop, and its thread: on
    Linux the processes die with the thread that started them.

    `remote_keys` are the keys of models whose engine runs elsewhere, by their names; `admit` is asked
    before a model is loaded.
    """

    def __init__(
        self,
        store: ModelStore,
        settings: EngineSettings,
        transport: Transport,
        remote_keys: Mapping[str, str] | None = None,
        admit: Admit | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._starter = Starter(store, settings, transport, admit)
        self._remote_keys = dict(remote_keys or {})
        self._slots: dict[str, Slot] = {}
        self._queue: list[Slot] = []
        self._draining: frozenset[str] = frozenset()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lease(self, asked: str) -> AsyncIterator[Endpoint]:
        """Give where a model answers, started if need be.

        Requests that come while it loads wait for the one start, and share its failure; that one
        of them is cancelled does not stop it. After a crash it is started anew: at once the first
        time, then after 0.5 s, doubled at each failure up to 30 s, until it has run for 60 s. A
        request waits up to 2 s of that, and else fails with what the last process said.

        Raises:
            LocalError: no such model, a broken file, it does not fit, or it could not be started.
            TrustError: `admit` refuses it.
            MissingExtra: there is no engine to run it.
        """
        slot = self._slots.get(asked)
        if slot is None:
            model = self._store.get(asked)  # A name that does not exist gets no slot.
            if model.url is not None:
                yield Endpoint(
                    f"{model.url.rstrip('/')}/v1", self._remote_keys.get(model.name, ""), model.name
                )
                return
            slot = self._slots.setdefault(model.name, Slot(model.name))
        if slot.ready and slot.name not in self._draining and not slot.waiters:
            self._take(slot)
        else:
            await self._wait(slot)
        try:
            if slot.child is None:  # It was stopped between the grant and now.
                raise LocalError(f"'{slot.name}' was stopped")
            yield slot.child.endpoint
        finally:
            self._release(slot)

    def keep(self, name: str, keep_s: float) -> None:
        """Have a model unloaded `keep_s` seconds after its last request; below 0: never.

        Holds until it is unloaded. With 0, one that has not had a request since it was loaded
        waits a while for it.
        """
        slot = self._slots.get(name)
        if slot is not None:
            slot.keep_s = keep_s
            if slot.leases == 0:
                self._arm(slot, AHEAD_S if keep_s == 0 else keep_s)

    async def prepare(self) -> None:
        """Have a process warm for the next model from now on, if the settings allow it."""
        if not self._closed:
            await self._starter.prepare()

    def running(self) -> list[Running]:
        """The models that run now or are being loaded."""
        return [
            slot.report()
            for slot in self._slots.values()
            if slot.starting is not None or slot.ready
        ]

    def budget(self) -> Memory:
        """What all models together may hold."""
        return self._starter.budget()

    async def fault(self, name: str) -> LocalError | None:
        """Why the model does not run, if its process ended by itself; None if it runs or never did.

        Raise it in place of a broken connection: it says how the process ended and what it said. A
        connection breaks a moment before the end of its process is known, so that is waited for.
        """
        slot = self._slots.get(name)
        if slot is None:
            return None
        child = slot.child
        if child is None:
            return slot.fault
        try:
            async with asyncio.timeout(END_IS_KNOWN_S):
                await child.ended.wait()
        except TimeoutError:
            return None
        return await child.fault()

    async def unload(self, name: str) -> bool:
        """Stop a model when nobody uses it any more; False if it does not run."""
        slot = self._slots.get(name)
        if slot is None or not (slot.ready or slot.starting):
            return False
        if slot.leases or slot.waiters:
            slot.keep_s = 0.0
            return True
        return await self.stop(name)

    async def stop(self, name: str) -> bool:
        """Stop a model, whoever uses it or waits for it; False if it does not run."""
        slot = self._slots.get(name)
        if slot is None:
            return False
        if slot.starting is not None:
            slot.starting.cancel()
            await asyncio.wait([slot.starting])
        if slot.child is None:
            return False
        await asyncio.shield(self._end(slot))
        return True

    async def aclose(self) -> None:
        """Stop all models; none is started any more."""
        self._closed = True
        await asyncio.gather(*(self.stop(name) for name in list(self._slots)))
        await self._starter.aclose()
        for task in self._tasks:
            task.cancel()

    # --- leases ---

    def _take(self, slot: Slot) -> None:
        slot.leases += 1
        slot.disarm()

    def _release(self, slot: Slot) -> None:
        slot.leases -= 1
        slot.used_at = time.monotonic()
        if slot.leases == 0:
            self._arm(slot, self._keep_s(slot))
            if self._queue:
                self._pump()

    async def _wait(self, slot: Slot) -> None:
        if self._closed:
            raise LocalError("the engine is closed")
        self._starter.check()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        slot.waiters.append(waiter)
        if slot not in self._queue:
            self._queue.append(slot)
        self._pump()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(slot)  # It was granted, and nobody is there to use it.
            elif waiter in slot.waiters:
                slot.waiters.remove(waiter)
                self._pump()
            raise

    def _keep_s(self, slot: Slot) -> float:
        if slot.keep_s is not None:
            return slot.keep_s
        return self._settings.idle_s if slot.plan is None else slot.plan.idle_s

    def _arm(self, slot: Slot, keep_s: float) -> None:
        slot.disarm()
        if slot.ready and keep_s >= 0:
            loop = asyncio.get_running_loop()
            slot.timer = loop.call_later(keep_s, self._expire, slot)
            slot.expires_at = time.monotonic() + keep_s

    def _expire(self, slot: Slot) -> None:
        slot.timer = slot.expires_at = None
        if slot.leases == 0 and not slot.waiters and slot.ready:
            self._end(slot)

    # --- the queue ---

    def _pump(self) -> None:
        """Go through the queue and let happen what can; called whenever something has changed."""
        draining: set[str] = set()
        blocked = False
        for slot in list(self._queue):
            if not slot.waiters and slot.starting is None:
                self._queue.remove(slot)  # All who waited for it are gone.
            elif slot.ready and slot.starting is None:
                if slot.name not in draining:
                    self._grant(slot)
            elif slot.starting is None:
                slot.starting = asyncio.create_task(self._bring(slot))
                slot.starting.add_done_callback(partial(self._brought, slot))
            elif slot.room is not None and not slot.waiters:
                slot.starting.cancel()  # Nobody is evicted for nobody.
            elif slot.room is not None and not blocked and slot.plan is not None:
                others = [each for each in self._slots.values() if each is not slot]
                residents = [found for each in others if (found := each.resident()) is not None]
                room = make_room(slot.plan.need, self.budget(), residents)
                if room.wait_for:
                    draining.update(room.wait_for)
                    blocked = True
                    continue
                slot.holds = slot.plan.need
                slot.room.set_result([self._end(self._slots[name]) for name in room.evict])
                slot.room = None
        self._draining = frozenset(draining)

    def _grant(self, slot: Slot) -> None:
        self._queue.remove(slot)
        waiters, slot.waiters = slot.waiters, []
        for waiter in waiters:
            if not waiter.done():
                self._take(slot)
                waiter.set_result(None)

    def _brought(self, slot: Slot, task: asyncio.Task[None]) -> None:
        slot.starting = None
        slot.room = None
        error: BaseException | None
        if task.cancelled():
            error = LocalError(f"'{slot.name}' was stopped while it was loading")
        else:
            error = task.exception()
        if error is not None:
            if slot.child is None and slot.ending is None:
                slot.holds = None
            waiters, slot.waiters = slot.waiters, []
            if slot in self._queue:
                self._queue.remove(slot)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(_own_copy(error))
        elif not slot.waiters:
            self._arm(slot, self._keep_s(slot))
        self._pump()

    # --- processes ---

    async def _bring(self, slot: Slot) -> None:
        """Have a model's process ready: plan it, get its memory, start it."""
        if self._closed:
            raise LocalError("the engine is closed")
        if slot.ending is not None:
            await asyncio.shield(slot.ending)
        if slot.child is not None:
            await self._bury(slot, slot.child)
        wait_s = slot.not_before - time.monotonic()
        if wait_s > PATIENCE_S:
            why = f"; the last time: {slot.fault.message}" if slot.fault else ""
            raise LocalError(
                f"'{slot.name}' failed {slot.failures} times and is not started again for"
                f" {wait_s:.0f} s{why}"
            )
        # What is wrong with the file is found before a process is started, and needs no back-off.
        plan = await asyncio.to_thread(self._starter.plan, slot.name)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        slot.plan = plan
        room: asyncio.Future[list[asyncio.Task[None]]] = asyncio.get_running_loop().create_future()
        slot.room = room
        self._pump()
        for end in await room:
            await asyncio.shield(end)  # The memory is free only once they are gone.
        try:
            slot.child = await self._starter.start(plan)
        except LocalError as error:
            slot.fault = error
            slot.note_failure()
            raise
        self._background(self._watch(slot, slot.child))
        self._background(self._starter.refill())

    async def _watch(self, slot: Slot, child: Child) -> None:
        """Free what a process held when it ends by itself."""
        await child.ended.wait()
        if slot.child is child and slot.ending is None:
            slot.holds = None
            self._pump()

    def _end(self, slot: Slot) -> asyncio.Task[None]:
        """Stop a model's process in good order; from now on it is neither idle nor to be had."""
        if slot.ending is None:
            slot.disarm()
            slot.keep_s = None
            slot.ending = self._background(self._ended(slot))
        return slot.ending

    async def _ended(self, slot: Slot) -> None:
        try:
            if slot.child is not None:
                await slot.child.stop()
        finally:
            slot.child = slot.ending = slot.holds = None
            self._pump()

    async def _bury(self, slot: Slot, child: Child) -> None:
        slot.fault = await child.fault()
        await asyncio.shield(self._end(slot))
        if time.monotonic() - child.started_at >= STEADY_S:
            slot.failures = 0
        slot.note_failure()

    def _background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _own_copy(error: BaseException) -> BaseException:
    """To each who waited their own: an error is changed on its way up."""
    if isinstance(error, LocalError | TrustError):
        copy = type(error)(error.message)
        copy.status = error.status
        copy.__cause__ = error
        return copy
    return error
