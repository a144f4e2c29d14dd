"""The standard suite of `langchain-tests` with `ChatGoogleGenerativeAI`, over each upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import requests
from chat_suite import ChatSuite
from langchain_core.language_models import BaseChatModel
from langchain_google_genai import ChatGoogleGenerativeAI
from media import PNG


class GeminiSuite(ChatSuite):
    """`ChatGoogleGenerativeAI` and what it can do over any upstream, or over the named ones.

    It takes no content in Anthropic's form, so the suite's test of that stays off.
    """

    dialect = "gemini"

    @pytest_asyncio.fixture(autouse=True, loop_scope="session")
    async def _closed(self, model: BaseChatModel) -> AsyncIterator[None]:
        """Close the client after the test: this one shares no connections with the next."""
        yield
        await model.aclose()

    @pytest.fixture(autouse=True)
    def _image_by_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand for the public image, which this client fetches itself."""
        image = SimpleNamespace(content=PNG, ok=True, raise_for_status=lambda: None)
        monkeypatch.setattr(requests, "get", lambda url: image)

    @property
    def chat_model_class(self) -> type[ChatGoogleGenerativeAI]:
        return ChatGoogleGenerativeAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.ref,
            "base_url": self.site.url,
            "api_key": "any",
            "max_retries": 1,
        }

    @property
    def supports_model_override(self) -> bool:
        # The client puts a call's `model` into Google's config, which refuses it as unknown.
        return False

    @property
    def supports_json_mode(self) -> bool:
        # Anthropic has no JSON without a schema: the gateway says so with a 400.
        return self.upstream != "anthropic"

    @property
    def supports_image_urls(self) -> bool:
        # The client fetches them itself and sends their bytes.
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        # Anthropic takes no sound: the gateway says so with a 400.
        return self.upstream != "anthropic"

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> Any:
        kinds = ["reasoning_output", "cache_read_input"]
        return {"invoke": kinds, "stream": kinds}


class TestOverOpenAI(GeminiSuite):
    upstream = "openai"


class TestOverAnthropic(GeminiSuite):
    upstream = "anthropic"


class TestOverGemini(GeminiSuite):
    upstream = "gemini"
