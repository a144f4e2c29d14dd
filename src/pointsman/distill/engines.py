"""Where the parts of a job run: in this process, or in a pool of processes.

An engine takes a call for a number, and gives the result under that number once it is there, in
whatever order. It knows nothing of what is called. A cluster is in `engines_ray`.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Protocol, Self

from pointsman.errors import DistillError

__all__ = ["TRIES", "Engine", "Here", "Pool", "worn_out"]

TRIES = 4
"""How often a part is begun whose worker dies; a part that kills its worker is not tried for ever."""

Call = Callable[[], Any]


class Engine(Protocol):
    """Runs calls. Use it as a context manager; `slots` is how many it runs at a time."""

    slots: int

    def __enter__(self) -> Self:
        """Start what the calls run on."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; calls under way are given up."""
        ...

    def submit(self, number: int, call: Call) -> None:
        """Begin a call, whose number is of no other call under way."""
        ...

    def wait(self) -> tuple[int, Any]:
        """Give the number and the result of a call that has ended, of one at least under way.

        Raises:
            DistillError: its worker died time and again.
        """
        ...


class Here:
    """Runs each call in this process, when it is waited for."""

    slots = 1

    def __init__(self) -> None:
        self._calls: deque[tuple[int, Call]] = deque()

    def __enter__(self) -> Self:
        """Need nothing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget what was not run."""
        self._calls.clear()

    def submit(self, number: int, call: Call) -> None:
        """Keep a call."""
        self._calls.append((number, call))

    def wait(self) -> tuple[int, Any]:
        """Run the call that was kept first."""
        number, call = self._calls.popleft()
        return number, call()


class Pool:
    """Runs calls in processes of their own. Calls and results are pickled."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._pool: ProcessPoolExecutor | None = None
        self._calls: dict[int, Call] = {}
        self._tries: dict[int, int] = {}
        self._futures: dict[Future[Any], int] = {}

    def __enter__(self) -> Self:
        """Start the processes."""
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes, after the calls that they are at."""
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)
            self._pool = None

    def submit(self, number: int, call: Call) -> None:
        """Hand a call to the pool."""
        assert self._pool is not None, "the pool is open"
        self._calls[number] = call
        self._tries[number] = self._tries.get(number, 0) + 1
        try:
            self._futures[self._pool.submit(call)] = number
        except BrokenProcessPool:
            self._begin_again([number])

    def wait(self) -> tuple[int, Any]:
        """Give what has ended. Where a process died, whatever was under way is begun again."""
        while True:
            done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
            future = next(iter(done))
            number = self._futures.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                # All calls under way end so: the pool does not say whose process it was.
                self._begin_again([number, *self._futures.values()])
                continue
            del self._calls[number], self._tries[number]
            return number, result

    def _start(self) -> None:
        # Not by a fork: this process may have threads.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self.slots, mp_context=context)

    def _begin_again(self, numbers: list[int]) -> None:
        worn = next((number for number in numbers if self._tries[number] >= TRIES), None)
        if worn is not None:
            raise worn_out(worn)
        self._futures.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._start()
        for number in numbers:
            self.submit(number, self._calls[number])


def worn_out(number: int) -> DistillError:
    """Give the error for a part whose workers die."""
    return DistillError(
        f"the worker of part {number} died {TRIES} times: is there enough memory? What was paid is"
        " kept: run the same command again to go on"
    )
