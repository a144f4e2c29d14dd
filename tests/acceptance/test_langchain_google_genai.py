"""The standard suite of `langchain-tests` with `ChatGoogleGenerativeAI`, over each upstream."""

from __future__ import annotations

from typing import Any

from chat_suite import ChatSuite
from langchain_google_genai import ChatGoogleGenerativeAI


class GeminiSuite(ChatSuite):
    """`ChatGoogleGenerativeAI` and what it can do over any upstream, or over the named ones."""

    dialect = "gemini"

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
    def supports_json_mode(self) -> bool:
        # Anthropic has no JSON without a schema: the gateway says so with a 400.
        return self.upstream != "anthropic"

    @property
    def supports_image_urls(self) -> bool:
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
