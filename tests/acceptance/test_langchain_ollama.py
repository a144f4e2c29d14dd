"""The standard suites of `langchain-tests` with `ChatOllama`, over each upstream dialect, and with
`OllamaEmbeddings`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest
import pytest_asyncio
from chat_suite import ChatSuite
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def _closed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Close what the client leaves open: it makes connections for each model, and never closes one."""
    made: list[Any] = []
    for kind in (ollama.Client, ollama.AsyncClient):

        def noting(self: Any, *given: Any, _make: Any = kind.__init__, **named: Any) -> None:
            _make(self, *given, **named)
            made.append(self)

        monkeypatch.setattr(kind, "__init__", noting)
    yield
    for client in made:
        if isinstance(client, ollama.AsyncClient):
            await client.close()
        else:
            client.close()


class OllamaSuite(ChatSuite):
    """`ChatOllama` and what it can do over any upstream, or over the named ones."""

    dialect = "ollama"

    @property
    def chat_model_class(self) -> type[ChatOllama]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.ref, "base_url": self.site.url}

    # Ollama's API has no choice of a tool, no document, no sound, only the bytes of an image, and a
    # text as a tool's result; the client does not read Anthropic's form of messages.
    has_tool_choice = False
    supports_pdf_inputs = False
    supports_audio_inputs = False
    supports_image_urls = False
    supports_image_tool_message = False
    supports_pdf_tool_message = False
    supports_anthropic_inputs = False

    @property
    def supports_json_mode(self) -> bool:
        # Anthropic has no JSON without a schema: the gateway says so with a 400.
        return self.upstream != "anthropic"


class TestOverOpenAI(OllamaSuite):
    upstream = "openai"


class TestOverAnthropic(OllamaSuite):
    upstream = "anthropic"


class TestOverGemini(OllamaSuite):
    upstream = "gemini"


class TestEmbeddings(EmbeddingsIntegrationTests):
    site: Any

    @pytest.fixture(autouse=True)
    def _behind_the_gateway(self, site: Any) -> None:
        self.site = site

    @property
    def embeddings_class(self) -> type[OllamaEmbeddings]:
        return OllamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "openai:vectors", "base_url": self.site.url}
