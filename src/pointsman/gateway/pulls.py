"""Pulls that clients ask for: each in a thread of its own, told about as an asynchronous iterator."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pointsman.errors import LocalError
from pointsman.local.progress import Step
from pointsman.local.pull import pull
from pointsman.local.store import LocalModel, ModelStore

__all__ = ["MAX_PULLS", "Pulls"]

# Each is a thread and up to a few connections; one model is mostly pulled by one client.
MAX_PULLS = 4
# Between two reports of one file. People look at it; a line for every piece would only cost.
PACE_S = 0.1


class Pulls:
    """The pulls under way. `env` is the environment for the settings of the Hub and registries.

    `check` gets each model that was pulled, in the pull's own thread, before it is given.
    """

    def __init__(
        self, store: ModelStore, env: Mapping[str, str], check: Callable[[LocalModel], object]
    ) -> None:
        self._store = store
        self._check = check
        self._env = env
        self._active = 0

    async def steps(
        self, ref: str, name: str | None = None
    ) -> AsyncGenerator[Step | LocalModel, None]:
        """Pull a model and yield what is being done, then the model.

        Of what is done to one file in less than 100 ms only the newest is told. Closing the
        iterator ends the pull; use it with `contextlib.aclosing`. What lies on this machine, or on
        a server on it, is not pulled: a client may be elsewhere.

        Raises:
            LocalError: 4 pulls are under way already; else all that `pull` raises.
        """
        if self._active >= MAX_PULLS:
            raise LocalError(f"{MAX_PULLS} models are being pulled already; try again later")
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        cancelled = threading.Event()
        newest: dict[tuple[str, str | None], Step] = {}

        def note(step: Step) -> None:
            newest[step.status, step.file] = step
            changed.set()

        def progress(step: Step) -> None:
            loop.call_soon_threadsafe(note, step)

        work = self._start(
            partial(self._pull, ref, name=name, progress=progress, cancelled=cancelled)
        )
        work.add_done_callback(lambda _: changed.set())
        try:
            while not work.done() or newest:
                await changed.wait()
                changed.clear()
                batch = list(newest.values())
                newest.clear()
                for step in batch:
                    yield step
                await asyncio.wait([work], timeout=PACE_S)
            yield work.result()
        finally:
            cancelled.set()

    def _pull(self, ref: str, **how: Any) -> LocalModel:
        model = pull(ref, **how)
        self._check(model)
        return model

    def _start(self, work: Callable[..., LocalModel]) -> asyncio.Future[LocalModel]:
        """Begin a pull in a thread of its own: those of the loop's pool are for short work."""
        bound = partial(work, store=self._store, allow_file=False, env=self._env)
        executor = ThreadPoolExecutor(1, "pointsman-pull")
        future = asyncio.get_running_loop().run_in_executor(executor, bound)
        executor.shutdown(wait=False)
        self._active += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, work: asyncio.Future[LocalModel]) -> None:
        self._active -= 1
        if not work.cancelled():
            work.exception()  # Looked at here, as nobody may be left who does.
