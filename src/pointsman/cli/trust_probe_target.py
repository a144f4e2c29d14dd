"""Any ref as the target of a probe: by log-probabilities where it gives them, else by text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from pointsman.client import AsyncClient
from pointsman.config import Config
from pointsman.dialects.base import Call, Dialect
from pointsman.door import Door
from pointsman.errors import PointsmanError, TrustError
from pointsman.local.gguf_metadata import read_metadata
from pointsman.options import ChatOptions
from pointsman.providers.binding import Binding
from pointsman.resolve import Candidate
from pointsman.trust.probe.target import Access
from pointsman.types import TokenLogprob

__all__ = ["ClientTarget", "Session", "Wanted", "targets_of"]

Wanted = Literal["auto", "logprobs", "text"]
# What OpenAI's form allows at most; the first token's rest has no weight.
TOP = 20
TRIAL = "What is the capital of Norway?"
RECITED_TOKENS = 48
MARK = "\u2402probe\u2403"
MAX_VOCABULARY_WORD = 24
T = TypeVar("T")


class Session:
    """A client with an event loop of its own; at most `concurrency` prompts are asked at a time.

    Use it as a context manager: it may run local models. The model that is probed and its base
    share it, and so the memory that local models may take.
    """

    def __init__(self, config: Config, concurrency: int) -> None:
        self.client = AsyncClient(config)
        self.limit_bytes = config.server.max_answer_bytes
        self.gate = asyncio.Semaphore(concurrency)
        self._runner = asyncio.Runner()

    @property
    def door(self) -> Door:
        """What the client stands on: llama.cpp's own forms are asked for there."""
        return self.client._door

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to its end."""
        return self._runner.run(work)

    def each(self, prompts: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> list[T]:
        """Ask for every prompt; the answers come in order.

        Raises:
            PointsmanError: the first that failed; what was still under way is ended.
        """

        async def gated(prompt: str) -> T:
            async with self.gate:
                return await ask(prompt)

        async def every() -> list[T]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(gated(prompt)) for prompt in prompts]
            return [task.result() for task in tasks]

        try:
            return self.run(every())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    def __enter__(self) -> Self:
        """Nothing happens; leaving closes the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop local models and close every connection."""
        self.run(self.client.aclose())
        self._runner.close()


def targets_of(ref: str, base: str | None, session: Session, wanted: Wanted) -> list[ClientTarget]:
    """Give a model, and its base if there is one, each settled; both with the access that both have.

    Raises:
        PointsmanError: as `ClientTarget` and its `settle`.
    """
    targets = [ClientTarget(each, session) for each in (ref, base) if each is not None]
    for target in targets:
        target.settle(wanted)
    if len({target.access for target in targets}) > 1:
        for target in targets:
            target.access = "text"
    return targets


class ClientTarget:
    """A ref behind the probe's protocol; by text until `settle` finds more.

    Raises:
        UnknownModel: no such model.
    """

    def __init__(self, ref: str, session: Session) -> None:
        self.access: Access = "text"
        self._ref = ref
        self._session = session
        self._candidates = session.door.resolver.resolve(ref).candidates

    def settle(self, wanted: Wanted) -> None:
        """Find out which access there is, by one question.

        Raises:
            TrustError: log-probabilities are wanted, and the model gives none.
            PointsmanError: it does not answer.
        """
        if wanted == "text":
            return
        try:
            found = self.next_logprobs([TRIAL])
        except PointsmanError as error:
            # A provider that does not know the parameter refuses it with 400; the rest is a fault.
            if wanted == "logprobs" or error.status not in (400, 403, 422):
                raise
            return
        if found:
            self.access = "logprobs"

    def next_logprobs(self, prompts: Sequence[str]) -> Sequence[Mapping[str, float]]:
        """Give the likeliest first tokens of the replies, at most 20 each."""
        return self._session.each(prompts, self._logprobs)

    def complete(self, prompts: Sequence[str], max_tokens: int) -> Sequence[str]:
        """Give the beginnings of the replies."""

        async def one(prompt: str) -> str:
            answer = await self._session.client.chat(
                self._ref, prompt, max_tokens=max_tokens, temperature=0.0
            )
            return answer.text

        return self._session.each(prompts, one)

    def vocabulary(self) -> Sequence[str]:
        """Give the words of a local model's vocabulary, those that begin with a space, in its order."""
        path = self._local_path()
        if path is None:
            return ()
        tokens = read_metadata(path, full=True).get("tokenizer.ggml.tokens")
        words = (token[1:] for token in tokens or () if token[:1] in ("Ġ", "▁"))
        return [word for word in words if 1 < len(word) <= MAX_VOCABULARY_WORD and word.isascii()]

    def recite(self, count: int) -> Sequence[str]:
        """Give what a local model writes where a user's turn begins; nothing for a remote one."""
        if self._local_path() is None:
            return ()
        return self._session.run(self._recite(count))

    def _local_path(self) -> Path | None:
        if len(self._candidates) != 1 or not self._candidates[0].local:
            return None
        model = self._session.door.local.store.get(self._candidates[0].model)
        return Path(model.path) if model.url is None else None

    async def _logprobs(self, prompt: str) -> Mapping[str, float]:
        options = ChatOptions(max_tokens=1, temperature=0.0, logprobs=True, top_logprobs=TOP)
        answer = await self._session.client.chat(self._ref, prompt, **options)
        choices = answer.completion.choices
        steps = choices[0].logprobs if choices else None
        if not steps and self.access == "logprobs":
            # It ended at once, or on half a letter: llama.cpp gives no probabilities then, and the
            # token was the likeliest.
            return {answer.text: 0.0}
        if not steps:
            raise TrustError(f"'{self._ref}' gives no log-probabilities: use --access text")
        first: TokenLogprob = steps[0]
        return {each.token: each.logprob for each in first.top or (first,)}

    async def _recite(self, count: int) -> list[str]:
        """The beginning of a user's turn is what the chat template puts before its text."""
        body = {"messages": [{"role": "user", "content": MARK}]}
        prefix, found, _ = str((await self._raw("/apply-template", body)).get("prompt")).partition(
            MARK
        )
        if not found:
            return []
        order = {"prompt": prefix, "n_predict": RECITED_TOKENS, "temperature": 1.0}

        async def one(seed: int) -> str:
            async with self._session.gate:
                answer = await self._raw("/completion", {**order, "seed": seed})
            return str(answer.get("content", ""))

        return list(await asyncio.gather(*(one(seed) for seed in range(count))))

    async def _raw(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask the engine that the client has loaded for what is llama.cpp's own."""

        def prepare(_candidate: Candidate, binding: Binding, _dialect: Dialect) -> Any:
            return binding.at_root().call(Call(path, body))

        served = await self._session.door.dispatcher.open(self._candidates, prepare, stream=False)
        return await served.json(self._session.limit_bytes)
