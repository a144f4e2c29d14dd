"""Ollama's own API, towards its clients.

Towards providers an Ollama is reached through its OpenAI endpoint, so this is a `ClientDialect`.

Source: ollama/ollama, docs/api.md, api/types.go and server/routes.go, read 2026-11; the official
client, ollama 0.6.3.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pointsman.dialects.ollama import answer, error, request
from pointsman.dialects.ollama.answer import Form, Stopwatch
from pointsman.dialects.ollama.request import DIALECT
from pointsman.dialects.ollama.stream import Writer
from pointsman.errors import PointsmanError
from pointsman.types import Chat, Completion

__all__ = ["DIALECT", "OLLAMA", "Ollama"]


class Ollama:
    """The dialect for one request, whose answer tells of times: `watch` has them.

    `form` is `generate` for a prompt in place of a chat. With `local` it is llama.cpp that answers.
    """

    name = DIALECT

    def __init__(
        self, form: Form = "chat", watch: Stopwatch | None = None, *, local: bool = False
    ) -> None:
        self._form: Form = form
        self._watch = watch
        self._local = local

    def read_chat(self, body: Mapping[str, Any]) -> Chat:
        """Read a client's request.

        Raises:
            RequestError: a wrong type or value; `param` is the JSON path.
        """
        read = request.read_generate if self._form == "generate" else request.read_chat
        return read(body, local=self._local)

    def write_completion(self, completion: Completion, chat: Chat) -> dict[str, Any]:
        """Write a whole answer.

        Raises:
            BadAnswer: it has no choice, or a tool call whose arguments are no object.
        """
        return answer.write_completion(completion, chat, self._form, self._watched())

    def stream_writer(self, chat: Chat) -> Writer:
        """Give a writer for one streamed answer."""
        return Writer(chat, self._form, self._watched())

    def write_error(self, raised: PointsmanError) -> tuple[int, dict[str, Any]]:
        """Give the HTTP status and the body."""
        return error.write_error(raised)

    def _watched(self) -> Stopwatch:
        return self._watch or Stopwatch(time.time_ns)


OLLAMA = Ollama()
