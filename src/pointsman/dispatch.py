"""Carries a request to the first candidate that answers: retry, fall-back, and no second try once
a byte of an answer has been passed on.

The gateway and the Python client both go this way, so that refs, routes and errors are the same.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from pointsman._http.transport import Request, Response, Transport, TransportError
from pointsman.config import Config
from pointsman.dialects import get_dialect
from pointsman.dialects.base import Call, Dialect
from pointsman.errors import (
    BadAnswer,
    PointsmanError,
    ProviderError,
    TrustError,
    UnsupportedParameter,
)
from pointsman.local.host import LocalHost
from pointsman.providers.binding import Binding, bind
from pointsman.resolve import Candidate
from pointsman.served import Served, fault_of

__all__ = ["Dispatcher"]

MAX_WAIT_S = 20.0  # A longer `retry-after` is the caller's to wait for, with the error in hand.
BACKOFF_S = 0.5
MAX_ERROR_BYTES = 256 * 1024
MAX_PLAIN_BYTES = 64 * 1024 * 1024
# Refusals that say nothing about the request: another provider may well answer it.
_NEXT_STATUSES = frozenset((401, 402, 403, 404))

_OBJECT = msgspec.json.Decoder(dict[str, Any])

Prepare = Callable[[Candidate, Binding, Dialect], Request | Call]


class Dispatcher:
    """Holds what requests share: the transport, the bindings and the local models."""

    def __init__(self, config: Config, transport: Transport, local: LocalHost) -> None:
        self.config = config
        self.transport = transport
        self.local = local
        self._bindings: dict[str, Binding] = {}

    def binding(self, provider: str) -> Binding:
        """The provider made ready.

        Raises:
            MissingKey, UnknownModel, ConfigError: as `bind`.
        """
        binding = self._bindings.get(provider)
        if binding is None:
            binding = self._bindings[provider] = bind(provider, self.config)
        return binding

    async def open(
        self,
        candidates: Sequence[Candidate],
        prepare: Prepare,
        *,
        stream: bool,
        patient: bool = True,
    ) -> Served:
        """Give the first answer that a candidate begins.

        `prepare` writes the request for a candidate; what it can't say (UnsupportedParameter)
        counts as that candidate's failure. Retries are for 408, 409, 429, 5xx and connection
        faults; they wait as long as `retry-after` says, else with back-off, and only the last
        candidate is retried, since another one is sooner than a pause; none is, unless `patient`.

        Raises:
            PointsmanError: the last candidate's error; with several, it names each one's.
        """
        failures: list[tuple[Candidate, PointsmanError]] = []
        attempts = 0
        started = time.perf_counter()
        for position, candidate in enumerate(candidates):
            last = position == len(candidates) - 1
            tries = 0
            while True:
                attempts += 1
                tries += 1
                try:
                    served = await self._attempt(candidate, prepare, stream)
                except PointsmanError as error:
                    binding = self._bindings.get(candidate.provider)
                    retries = binding.retries if binding else 2
                    if patient and last and error.retryable and tries <= retries:
                        pause_s = _pause_s(error, tries)
                        if pause_s is not None:
                            await asyncio.sleep(pause_s)
                            continue
                    failures.append((candidate, error))
                    if not last and not _may_fall_over(error):
                        raise
                    break
                served.attempts = attempts
                served.upstream_s = time.perf_counter() - started
                return served
        raise _merged(failures)

    async def fetch_json(
        self, binding: Binding, request: Request, model: str = ""
    ) -> dict[str, Any]:
        """Give the body of one plain request, which must be a JSON object.

        Raises:
            BadAnswer: it is not; else as `fetch`.
        """
        body = await self.fetch(binding, request, model)
        try:
            return _OBJECT.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadAnswer(
                f"{binding.name} answered what is no JSON object: {error}",
                provider=binding.name,
                model=model,
            ) from error

    async def fetch(self, binding: Binding, request: Request, model: str = "") -> bytes:
        """Give the body of one plain request (model lists, token counts), at most 64 MiB.

        Raises:
            ProviderError: the provider refuses or fails.
        """
        try:
            response = await self.transport.send(request, binding.timeouts)
            if response.status >= 300:
                raise await _refusal(response, binding, model)
            return await response.read(MAX_PLAIN_BYTES)
        except TransportError as error:
            raise fault_of(error, binding.name, model) from error

    async def _fault(self, candidate: Candidate) -> PointsmanError | None:
        """Why a candidate that answered does so no more, where it is known better than the network's
        word for it."""
        return await self.local.fault(candidate.model) if candidate.local else None

    async def _attempt(self, candidate: Candidate, prepare: Prepare, stream: bool) -> Served:
        lease: AbstractAsyncContextManager[object] | None = None
        if candidate.local:
            leased = self.local.lease(candidate.model)
            binding = await leased.__aenter__()
            lease = leased
        else:
            binding = self.binding(candidate.provider)
        try:
            dialect = get_dialect(binding.dialect)
            prepared = prepare(candidate, binding, dialect)
            ignored: tuple[str, ...] = ()
            single_call = False
            if isinstance(prepared, Call):
                ignored, single_call = prepared.ignored, prepared.single_call
                prepared = binding.call(prepared)
            try:
                response = await self.transport.send(prepared, binding.timeouts)
                if not 200 <= response.status < 300:
                    raise await _refusal(response, binding, candidate.model)
            except TransportError as error:
                # A local process that died says itself why; the connection only says that it did.
                fault = await self._fault(candidate)
                raise fault or fault_of(error, binding.name, candidate.model) from error
            served = Served(candidate, binding, dialect, response, ignored, lease, self._fault)
            served.single_call = single_call
            if stream:
                try:
                    await served.peek()
                except BaseException:
                    response.close()
                    raise
            return served
        except BaseException:
            if lease is not None:
                await lease.__aexit__(None, None, None)
            raise


async def _refusal(response: Response, binding: Binding, model: str) -> ProviderError:
    try:
        body = await response.read(MAX_ERROR_BYTES)
    except TransportError:
        # The status alone is enough to classify it; a broken error body adds nothing.
        body = b""
    if response.status < 400:  # Redirects are not followed: they would carry the key elsewhere.
        return BadAnswer(
            f"{binding.name} answered with a redirect ({response.status}); check its base URL",
            provider=binding.name,
            model=model,
        )
    dialect = get_dialect(binding.dialect)
    return dialect.read_error(response.status, response.headers, body, binding.target(model))


def _pause_s(error: PointsmanError, tries: int) -> float | None:
    """Seconds to wait before the next try; None if the upstream asks for more than we wait."""
    asked = error.retry_after_s if isinstance(error, ProviderError) else None
    if asked is not None:
        return asked if asked <= MAX_WAIT_S else None
    spread: float = random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret
    return min(BACKOFF_S * 2.0 ** (tries - 1), 8.0) * spread


def _may_fall_over(error: PointsmanError) -> bool:
    if isinstance(error, ProviderError):
        return error.retryable or error.status in _NEXT_STATUSES
    if isinstance(error, UnsupportedParameter | TrustError):
        return True
    return error.retryable or error.status >= 500


def _merged(failures: Sequence[tuple[Candidate, PointsmanError]]) -> PointsmanError:
    last = failures[-1][1]
    if len(failures) > 1:
        each = "; ".join(f"{candidate.ref}: {error.message}" for candidate, error in failures)
        last.message = f"all {len(failures)} candidates failed: {each}"
        last.args = (last.message,)
    return last
