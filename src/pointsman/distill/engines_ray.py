"""Runs the parts of a job on a Ray cluster. Needs the extra `ray`.

Source: docs.ray.io, Ray 2.60, "Task Fault Tolerance": a task whose worker or node dies is tried again
up to `max_retries` times; one that raises is not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pointsman.distill.engines import TRIES, worn_out
from pointsman.errors import DistillError, MissingExtra

__all__ = ["LOCAL", "RayCluster"]

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, for the time of the job."""
REACH_TIMEOUT_S = 10.0


class RayCluster:
    """Runs calls as tasks of a cluster; see `engines.Engine`.

    `address` is that of a cluster that runs (`auto` finds the one of this machine, `ray://host:10001`
    goes through a Ray client), or `local`. A task reserves `cpus` of a worker: waiting for a teacher
    takes little. A cluster that this process is connected to already is used, and left alone.

    Raises:
        MissingExtra: ray is not installed.
        DistillError: on entry, if there is no cluster.
    """

    def __init__(self, slots: int, address: str = "auto", *, cpus: float = 0.5) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("labelling on a Ray cluster", "ray") from error
        self.slots = slots
        self._ray = ray
        self._address = address
        self._cpus = cpus
        self._task: Any = None
        self._numbers: dict[Any, int] = {}
        self._is_own = False

    def __enter__(self) -> Self:
        """Connect."""
        if not self._ray.is_initialized():
            self._connect()
            self._is_own = True
        # Results are values; what is raised is a fault of the code, and would be raised again.
        self._task = self._ray.remote(
            num_cpus=self._cpus, max_retries=TRIES - 1, retry_exceptions=False
        )(_call)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect; tasks under way are cancelled."""
        for reference in self._numbers:
            self._ray.cancel(reference, force=True)
        self._numbers.clear()
        if self._is_own:
            self._ray.shutdown()

    def submit(self, number: int, call: Callable[[], Any]) -> None:
        """Hand a call to the cluster."""
        self._numbers[self._task.remote(call)] = number

    def wait(self) -> tuple[int, Any]:
        """Give what has ended."""
        (reference,), _ = self._ray.wait(list(self._numbers), num_returns=1)
        number = self._numbers.pop(reference)
        try:
            return number, self._ray.get(reference)
        except (
            self._ray.exceptions.WorkerCrashedError,
            self._ray.exceptions.NodeDiedError,
        ) as error:
            raise worn_out(number) from error
        except self._ray.exceptions.RaySystemError as error:
            raise DistillError(
                f"the Ray cluster failed ({_last_line(error)}): put that right and run the same"
                " command again; what was paid is kept"
            ) from error

    def _connect(self) -> None:
        _check_reachable(self._address)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        if self._address == LOCAL:
            # Its own start would report to the makers of Ray unless told otherwise.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            options["include_dashboard"] = False
        try:
            self._ray.init(address=self._address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _no_cluster(self._address, error) from error


def _check_reachable(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> DistillError:
    return DistillError(
        f"no Ray cluster at '{address}' ({_last_line(error)}): start one with 'ray start --head', give"
        " its address with --ray-address, or '--ray-address local' for this machine alone"
    )


def _last_line(error: Exception) -> str:
    """What an error says in the end; before it, Ray tells where the error went through."""
    return (str(error).strip().splitlines() or ["it does not say why"])[-1][:300]


def _call(call: Callable[[], Any]) -> Any:
    return call()
