"""Where the parts of a set are looked through: in this process, in a pool, or on a Ray cluster.

Each is a `detect.Mapper`: results come in the parts' order, so that what they sum to is the same
wherever it ran. A few parts are under way at a time, so that a set is never held whole.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from pointsman.errors import MissingExtra
from pointsman.trust.dataset.detect import Mapper
from pointsman.trust.dataset.records import Unreadable
from pointsman.trust.dataset.rows import Row

__all__ = ["pool", "ray_cluster"]

# Parts that may be under way for each that runs at a time.
AHEAD = 2
Part = Sequence[Row]


@contextmanager
def pool(workers: int) -> Iterator[Mapper]:
    """Give a mapper over a pool of processes, which ends with the block.

    Raises:
        Unreadable: a worker died, for want of memory as a rule.
    """
    # Not by a fork: this process may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as executor:

        def run(function: Callable[[Part], Any], parts: Iterable[Part]) -> Iterator[Any]:
            under_way: deque[Future[Any]] = deque()
            try:
                for part in parts:
                    under_way.append(executor.submit(function, part))
                    if len(under_way) >= AHEAD * workers:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            except BrokenProcessPool as error:
                raise Unreadable(
                    "a worker died, for want of memory as a rule: give fewer --workers"
                ) from error

        yield run


@contextmanager
def ray_cluster(address: str, slots: int) -> Iterator[Mapper]:
    """Give a mapper over a Ray cluster: `auto`, `local`, or an address as ray.init takes it.

    A cluster that this process is connected to already is used, and left alone.

    Raises:
        MissingExtra: ray is not installed.
        Unreadable: there is no cluster, or it failed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("looking through rows on a Ray cluster", "ray") from error
    is_own = not ray.is_initialized()
    if is_own:
        _connect(ray, address)
    task = ray.remote(max_retries=3, retry_exceptions=False)(_call)

    def run(function: Callable[[Part], Any], parts: Iterable[Part]) -> Iterator[Any]:
        shared = ray.put(function)
        under_way: deque[Any] = deque()
        for part in parts:
            under_way.append(task.remote(shared, part))
            if len(under_way) >= AHEAD * slots:
                yield _result(ray, under_way.popleft())
        while under_way:
            yield _result(ray, under_way.popleft())

    try:
        yield run
    finally:
        if is_own:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == "local":
        # Its own start would report to the makers of Ray unless told otherwise.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options["include_dashboard"] = False
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Unreadable(
            f"no Ray cluster at '{address}': start one with 'ray start --head', give its address"
            " with --ray-address, or '--ray-address local' for this machine alone"
        ) from error


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        line = (str(error).strip().splitlines() or ["it does not say why"])[-1][:300]
        raise Unreadable(f"the Ray cluster failed: {line}") from error


def _call(function: Callable[[Part], Any], part: Part) -> Any:
    return function(part)
