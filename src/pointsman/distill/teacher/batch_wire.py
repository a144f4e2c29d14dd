"""The batch APIs of OpenAI and of Anthropic, as a `BatchHost` over whatever carries the requests.

Source: the types of the official clients, openai 3.54 (`files`, `batches`) and anthropic 2.12
(`messages.batches`), and OpenAI's guide to batches for the lines of its files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from pointsman._http.transport import Request
from pointsman.dialects.base import Dialect
from pointsman.distill.teacher.asking import Answer
from pointsman.distill.teacher.batch import BatchHost, BatchState, Failure
from pointsman.distill.teacher.ledger import Submitted
from pointsman.errors import BadAnswer, ProviderError, RequestError
from pointsman.providers.binding import Binding
from pointsman.types import Chat, Completion, Message, Text

__all__ = ["AnthropicBatches", "OpenAIBatches", "batch_host"]

LISTED = 100
# The provider's clock and ours may differ.
CLOCK_SLACK_S = 300.0
_JSON = msgspec.json.Encoder()
_TAG = "pointsman"
ToAnswer = Callable[[Completion], Answer]
Fetch = Callable[[Binding, Request, str], Awaitable[bytes]]


class _Host:
    """What both have in common: a bound provider, a model and a way to send."""

    def __init__(
        self, binding: Binding, dialect: Dialect, model: str, fetch: Fetch, to_answer: ToAnswer
    ) -> None:
        self._binding = binding
        self._dialect = dialect
        self._model = model
        self._fetch = fetch
        self._to_answer = to_answer

    def _body(self, chat: Chat) -> dict[str, Any]:
        own = msgspec.structs.replace(chat, model=self._model)
        return self._dialect.write_chat(own, self._binding.target(self._model)).body

    def _answer(self, body: object) -> Answer | Failure:
        try:
            if not isinstance(body, dict):
                return Failure("an answer that is no JSON object")
            target = self._binding.target(self._model)
            return self._to_answer(self._dialect.read_completion(body, target))
        except ProviderError as error:
            return Failure(error.message)

    async def _send(self, request: Request) -> dict[str, Any]:
        raw = await self._fetch(self._binding, request, self._model)
        try:
            return msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._bad("what is no JSON object") from error

    async def _get(self, path: str) -> dict[str, Any]:
        return await self._send(self._binding.get(path))

    async def _lines(self, path: str) -> Iterator[dict[str, Any]]:
        raw = await self._fetch(self._binding, self._binding.get(path), self._model)
        return _json_lines(raw)

    def _string(self, body: Mapping[str, Any], name: str) -> str:
        value = body.get(name)
        if not isinstance(value, str) or not value or "/" in value or "?" in value:
            raise self._bad(f"a batch without '{name}'")
        return value

    def _bad(self, what: str) -> BadAnswer:
        name = self._binding.name
        return BadAnswer(f"{name} answered with {what}", provider=name, model=self._model)


class OpenAIBatches(_Host):
    """`/files` and `/batches`. Batches bear our tag in their metadata."""

    async def submit(self, tag: str, chats: Mapping[str, Chat]) -> str:
        """Hand in requests; see `BatchHost.submit`."""
        lines = [
            _JSON.encode(
                {
                    "custom_id": key,
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": self._body(chat),
                }
            )
            for key, chat in chats.items()
        ]
        file = await self._send(self._upload(f"pointsman-{tag}.jsonl", b"\n".join(lines) + b"\n"))
        body = {
            "input_file_id": self._string(file, "id"),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {_TAG: tag},
        }
        made = await self._send(self._binding.post("/batches", _JSON.encode(body)))
        return self._string(made, "id")

    async def find(self, batch: Submitted) -> str | None:
        """Give a batch's id by our tag; see `BatchHost.find`."""
        listed = await self._get(f"/batches?limit={LISTED}")
        for each in _rows(listed.get("data")):
            metadata = each.get("metadata")
            if isinstance(metadata, dict) and metadata.get(_TAG) == batch.tag:
                return self._string(each, "id")
        return None

    async def state(self, batch_id: str) -> BatchState:
        """Give where a batch stands; see `BatchHost.state`."""
        batch = await self._get(f"/batches/{batch_id}")
        status = batch.get("status")
        counts = batch.get("request_counts")
        done = counts.get("completed") if isinstance(counts, dict) else None
        failed = None
        if status == "failed":
            errors = batch.get("errors")
            listed = _rows(errors.get("data")) if isinstance(errors, dict) else []
            failed = "; ".join(str(each.get("message"))[:200] for each in listed[:3]) or "no reason"
        return BatchState(
            ended=status in ("completed", "failed", "expired", "cancelled"),
            done=done if isinstance(done, int) else 0,
            failed=failed,
        )

    async def results(self, batch_id: str) -> Mapping[str, Answer | Failure]:
        """Give what came of a batch; see `BatchHost.results`."""
        batch = await self._get(f"/batches/{batch_id}")
        found: dict[str, Answer | Failure] = {}
        for name in ("output_file_id", "error_file_id"):
            if batch.get(name) is None:
                continue
            for line in await self._lines(f"/files/{self._string(batch, name)}/content"):
                key, response, error = (
                    line.get("custom_id"),
                    line.get("response"),
                    line.get("error"),
                )
                if not isinstance(key, str):
                    continue
                if isinstance(response, dict) and response.get("status_code") == 200:
                    found[key] = self._answer(response.get("body"))
                else:
                    found[key] = Failure(_message(error or response))
        return found

    def _upload(self, name: str, content: bytes) -> Request:
        """A multipart form. Its boundary is made of the content's hash, which cannot be in it."""
        boundary = f"pointsman-{hashlib.sha256(content).hexdigest()}"
        parts = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
            "content-type: application/jsonl\r\n\r\n"
        )
        body = parts.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        plain = self._binding.post("/files", b"")
        headers = [pair for pair in plain.headers if pair[0] != "content-type"]
        headers.append(("content-type", f"multipart/form-data; boundary={boundary}"))
        return msgspec.structs.replace(plain, headers=tuple(headers), body=body)


class AnthropicBatches(_Host):
    """`/messages/batches`. They bear no tag: one is known by its time, its size and its keys."""

    async def submit(self, tag: str, chats: Mapping[str, Chat]) -> str:
        """Hand in requests; see `BatchHost.submit`."""
        requests = [{"custom_id": key, "params": self._body(chat)} for key, chat in chats.items()]
        body = _JSON.encode({"requests": requests})
        made = await self._send(self._binding.post("/messages/batches", body, self._version))
        return self._string(made, "id")

    async def find(self, batch: Submitted) -> str | None:
        """Give the one batch of that size made since; see `BatchHost.find`."""
        listed = await self._get(f"/messages/batches?limit={LISTED}")
        found = []
        for each in _rows(listed.get("data")):
            counts = each.get("request_counts")
            total = sum(counts.values()) if isinstance(counts, dict) else 0
            made_s = _unix_s(each.get("created_at"))
            if total == len(batch.keys) and made_s >= batch.at_s - CLOCK_SLACK_S:
                found.append(self._string(each, "id"))
        return found[0] if len(found) == 1 else None

    async def state(self, batch_id: str) -> BatchState:
        """Give where a batch stands; see `BatchHost.state`."""
        batch = await self._get(f"/messages/batches/{batch_id}")
        counts = batch.get("request_counts")
        done = counts.get("succeeded") if isinstance(counts, dict) else None
        ended = batch.get("processing_status") == "ended"
        return BatchState(ended=ended, done=done if isinstance(done, int) else 0)

    async def results(self, batch_id: str) -> Mapping[str, Answer | Failure]:
        """Give what came of a batch; see `BatchHost.results`.

        The address is made here: one that an answer names (`results_url`) would get our key.
        """
        found: dict[str, Answer | Failure] = {}
        for line in await self._lines(f"/messages/batches/{batch_id}/results"):
            key, result = line.get("custom_id"), line.get("result")
            if not isinstance(key, str) or not isinstance(result, dict):
                continue
            if result.get("type") == "succeeded":
                found[key] = self._answer(result.get("message"))
            else:
                found[key] = Failure(_message(result.get("error")) or str(result.get("type")))
        return found

    @property
    def _version(self) -> tuple[tuple[str, str], ...]:
        """The headers of the dialect itself."""
        said = Message("user", (Text("-"),))
        probe = Chat(model=self._model, messages=(said,), max_tokens=1)
        return tuple(
            self._dialect.write_chat(probe, self._binding.target(self._model)).headers.items()
        )

    async def _get(self, path: str) -> dict[str, Any]:
        return await self._send(self._with_version(path))

    async def _lines(self, path: str) -> Iterator[dict[str, Any]]:
        raw = await self._fetch(self._binding, self._with_version(path), self._model)
        return _json_lines(raw)

    def _with_version(self, path: str) -> Request:
        plain = self._binding.get(path)
        return msgspec.structs.replace(plain, headers=(*plain.headers, *self._version))


class _Makes(Protocol):
    def __call__(
        self, binding: Binding, dialect: Dialect, model: str, fetch: Fetch, to_answer: ToAnswer
    ) -> BatchHost: ...


_HOSTS: dict[str, _Makes] = {"openai": OpenAIBatches, "anthropic": AnthropicBatches}


def batch_host(
    binding: Binding, dialect: Dialect, model: str, fetch: Fetch, to_answer: ToAnswer
) -> BatchHost:
    """Give the batch API of a provider. `fetch` sends a request and gives the body of its answer.

    Raises:
        RequestError: the provider's dialect has no batch API that is known here.
    """
    makes = _HOSTS.get(binding.dialect)
    if makes is None:
        raise RequestError(
            f"{binding.name} has no batch API that Pointsman speaks: leave out --batch, or take a"
            " teacher of OpenAI or Anthropic",
            param="batch",
        )
    return makes(binding, dialect, model, fetch, to_answer)


def _rows(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _json_lines(raw: bytes) -> Iterator[dict[str, Any]]:
    """The objects of a file of lines; one that cannot be read counts as missing."""
    for line in raw.splitlines():
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _message(value: object) -> str:
    """The words of an error, wherever in it they stand."""
    for _ in range(4):
        if not isinstance(value, dict):
            break
        if isinstance(value.get("message"), str):
            return str(value["message"])[:300]
        value = value.get("error") or value.get("body")
    return str(value)[:100] if isinstance(value, str) else ""


def _unix_s(value: object) -> float:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return 0.0
