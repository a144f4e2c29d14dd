"""The standard chat-model suite of `langchain-tests`, for one client over one upstream dialect.

It asks for particular answers: a call of `magic_function` with 3, a joke by a schema, JSON with two
keys, a name in Chinese. The scripted assistant gives them, since it makes values from the schema and
from the numbers and the quoted words of the prompt; only what no prompt asks for (reasoning, tokens
from a cache) is scripted here. The suite downloads its image, document and sound: they are put in
its hands instead, so that no test leaves this machine.

Its other half, `ChatModelUnitTests`, sends nothing and so would say nothing of the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from media import PDF, PNG, WAV

from pointsman.testing import Answer

__all__ = ["ChatSuite"]

_FILES = {".png": PNG, ".pdf": PDF, ".wav": WAV}
_THINKING = Answer(text="x", reasoning="hm", signature="s", reasoning_tokens=8, output_tokens=20)
_CACHED = Answer(text="x", input_tokens=100, cached_tokens=40)
_WRITTEN = Answer(text="x", input_tokens=100, cache_write_tokens=30)


def _local_file(url: str, **_: Any) -> httpx.Response:
    """The bytes that stand for a public file."""
    suffix = url[url.rindex(".") :]
    return httpx.Response(200, content=_FILES[suffix], request=httpx.Request("GET", url))


class ChatSuite(ChatModelIntegrationTests):
    """What the suites of all clients share; each says what its own client can do.

    `dialect` is the one that the client speaks, `upstream` the one that the gateway has to write.
    """

    dialect = ""
    upstream = ""
    site: Any

    @pytest.fixture(autouse=True)
    def _behind_the_gateway(self, site: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(httpx, "get", _local_file)
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "none: nothing is downloaded")
        self.site = site
        yield
        served = {request.dialect for request in site.fake.requests if request.method == "POST"}
        assert served <= {self.upstream}
        if self.dialect == self.upstream:
            # The gateway passes these bodies on as they are: how LangChain words them to its own
            # provider is not judged here.
            site.fake.requests.clear()

    @property
    def ref(self) -> str:
        """The name under which the gateway knows the upstream's model."""
        return f"{self.upstream}:m"

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        # An alias by which the provider itself knows the model, since the answer has its name.
        return f"plain-{self.upstream}"

    def _invoke(self, answer: Answer, stream: bool, **params: Any) -> AIMessage:
        """Ask for an answer with particular counts."""
        self.site.fake.play([answer])
        model = self.chat_model_class(**{**self.chat_model_params, **params})
        if not stream:
            return model.invoke("hi")
        whole = None
        for chunk in model.stream("hi"):
            whole = chunk if whole is None else whole + chunk
        assert isinstance(whole, AIMessage)
        return whole

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        message = self._invoke(_THINKING, stream)
        assert message.usage_metadata["output_token_details"]["reasoning"] == 8
        assert message.usage_metadata["output_tokens"] == 20
        return message

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        message = self._invoke(_CACHED, stream)
        assert message.usage_metadata["input_token_details"]["cache_read"] == 40
        assert message.usage_metadata["input_tokens"] == 100
        return message

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        message = self._invoke(_WRITTEN, stream)
        # Gemini does not count what it writes into its cache.
        written = 0 if self.upstream == "gemini" else 30
        assert message.usage_metadata["input_token_details"]["cache_creation"] == written
        assert message.usage_metadata["input_tokens"] == 100
        return message
