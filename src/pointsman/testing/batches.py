"""Batches on the fake provider: OpenAI's files and batches, Anthropic's message batches.

Written apart from `pointsman.distill`, as the other wires are from `pointsman.dialects`.
Source: the types of the official clients, openai 3.54 and anthropic 2.12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field

from pointsman.testing import anthropic_wire, openai_wire
from pointsman.testing.paths import facts_of, record
from pointsman.testing.script import Answer, Recorded, Reply

__all__ = ["Batch", "Batches"]

_BATCH = re.compile(r"/batches/([\w-]+)(/results|/cancel)?$")
_FILE = re.compile(r"/files/([\w-]+)/content$")
_WIRES: dict[str, Any] = {"anthropic": anthropic_wire, "openai": openai_wire}


class Batch(Struct, kw_only=True):
    """A batch that was handed in; `lines` are its results, in another order than asked for."""

    id: str
    dialect: str
    lines: list[dict[str, Any]]
    created: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    input_file: str = ""
    polls: int = 0


class Batches:
    """Keeps files and batches. `polls` is how often a batch is said to be under way."""

    def __init__(self, polls: int = 1) -> None:
        self.made: dict[str, Batch] = {}
        self._polls = polls
        self._files: dict[str, bytes] = {}

    def answer(
        self, request: Recorded, reply: Callable[[Recorded], Reply]
    ) -> tuple[int, Any] | None:
        """Give the status and body for a request about batches; None for any other."""
        path = request.path.partition("?")[0]
        if request.method == "POST":
            if path.endswith("/files"):
                return self._upload(request)
            if path.endswith("/messages/batches"):
                return 200, self._shown(self._anthropic(request, reply))
            if path.endswith("/batches"):
                return self._openai(request, reply)
            return None
        if path.endswith("/batches"):
            listed = [each for each in self.made.values() if each.dialect == request.dialect]
            shown = [self._shown(each) for each in reversed(listed)]
            return 200, {"object": "list", "data": shown, "has_more": False}
        if match := _FILE.search(path):
            return self._content(match[1])
        match = _BATCH.search(path)
        if match is None:
            return None
        batch = self.made.get(match[1])
        if batch is None:
            return 404, _WIRES[request.dialect].error(404, f"no such batch: {match[1]}")
        if match[2] == "/results":
            return 200, _jsonl(batch.lines)
        batch.polls += 1
        return 200, self._shown(batch)

    def _upload(self, request: Recorded) -> tuple[int, Any]:
        kind = request.headers.get("content-type", "")
        boundary = kind.partition("boundary=")[2].strip('"')
        parts = request.raw.split(b"--" + boundary.encode()) if boundary else []
        heads = [part.partition(b"\r\n\r\n") for part in parts]
        content = next((body for head, _, body in heads if b'name="file"' in head), None)
        purposes = [body.strip() for head, _, body in heads if b'name="purpose"' in head]
        if not kind.startswith("multipart/form-data") or content is None or purposes != [b"batch"]:
            return 400, openai_wire.error(400, "a form with 'file' and 'purpose' is wanted")
        name = f"file-fake{len(self._files) + 1}"
        self._files[name] = content.removesuffix(b"\r\n")
        made = {
            "id": name,
            "object": "file",
            "bytes": len(self._files[name]),
            "created_at": openai_wire.CREATED_S,
            "filename": "batch.jsonl",
            "purpose": "batch",
            "status": "processed",
        }
        return 200, made

    def _openai(self, request: Recorded, reply: Callable[[Recorded], Reply]) -> tuple[int, Any]:
        body = request.body if isinstance(request.body, dict) else {}
        content = self._files.get(str(body.get("input_file_id")))
        if content is None or body.get("completion_window") != "24h":
            return 400, openai_wire.error(400, "no such input file, or no window of 24h")
        batch = self._make("openai", body.get("metadata") or {}, str(body["input_file_id"]))
        for line in content.splitlines():
            asked = json.loads(line)
            status, answer = self._one("openai", asked["url"], request, asked["body"], reply)
            response = {"status_code": status, "request_id": "req_fake", "body": answer}
            batch.lines.append(
                {
                    "id": f"batch_req_{asked['custom_id']}",
                    "custom_id": asked["custom_id"],
                    "response": response,
                    "error": None,
                }
            )
        batch.lines.reverse()
        return 200, self._shown(batch)

    def _anthropic(self, request: Recorded, reply: Callable[[Recorded], Reply]) -> Batch:
        body = request.body if isinstance(request.body, dict) else {}
        batch = self._make("anthropic", {}, "")
        for asked in body.get("requests", []):
            status, answer = self._one("anthropic", "/v1/messages", request, asked["params"], reply)
            result = (
                {"type": "succeeded", "message": answer}
                if status == 200
                else {"type": "errored", "error": answer}
            )
            batch.lines.append({"custom_id": asked["custom_id"], "result": result})
        batch.lines.reverse()
        return batch

    def _make(self, dialect: str, metadata: Mapping[str, str], input_file: str) -> Batch:
        number = len(self.made) + 1
        name = f"batch_fake{number}" if dialect == "openai" else f"msgbatch_fake{number}"
        batch = Batch(
            id=name,
            dialect=dialect,
            lines=[],
            created=datetime.now(UTC),
            metadata=metadata,
            input_file=input_file,
        )
        self.made[name] = batch
        return batch

    def _one(
        self,
        dialect: str,
        path: str,
        request: Recorded,
        body: Any,
        reply: Callable[[Recorded], Reply],
    ) -> tuple[int, Any]:
        """Answer one request of a batch."""
        each, _ = record("POST", path, request.headers, json.dumps(body).encode())
        made = reply(each)
        if isinstance(made, Answer):
            return 200, _WIRES[dialect].whole(made, facts_of(each, len(self.made)))
        status = made.status or 500
        return status, _WIRES[dialect].error(status, made.message)

    def _content(self, name: str) -> tuple[int, Any]:
        batch = next((each for each in self.made.values() if name.startswith(each.id)), None)
        if batch is None:
            return 404, openai_wire.error(404, f"no such file: {name}")
        good = name.endswith("-out")
        lines = [each for each in batch.lines if (each["response"]["status_code"] == 200) == good]
        return 200, _jsonl(lines)

    def _shown(self, batch: Batch) -> dict[str, Any]:
        ended = batch.polls > self._polls
        if batch.dialect == "anthropic":
            return _anthropic_shown(batch, ended)
        good = sum(each["response"]["status_code"] == 200 for each in batch.lines)
        bad = len(batch.lines) - good
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": batch.input_file,
            "completion_window": "24h",
            "status": "completed" if ended else "in_progress",
            "created_at": int(batch.created.timestamp()),
            "output_file_id": f"{batch.id}-out" if ended and good else None,
            "error_file_id": f"{batch.id}-err" if ended and bad else None,
            "request_counts": {
                "total": len(batch.lines),
                "completed": good if ended else 0,
                "failed": bad if ended else 0,
            },
            "metadata": dict(batch.metadata),
        }


def _anthropic_shown(batch: Batch, ended: bool) -> dict[str, Any]:
    good = sum(each["result"]["type"] == "succeeded" for each in batch.lines)
    total = len(batch.lines)
    made = batch.created.isoformat().replace("+00:00", "Z")
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": {
            "processing": 0 if ended else total,
            "succeeded": good if ended else 0,
            "errored": total - good if ended else 0,
            "canceled": 0,
            "expired": 0,
        },
        "created_at": made,
        "expires_at": made,
        "ended_at": made if ended else None,
        "results_url": f"http://elsewhere.invalid/{batch.id}/results" if ended else None,
    }


def _jsonl(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
