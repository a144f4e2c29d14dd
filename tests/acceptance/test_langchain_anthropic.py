"""The standard suite of `langchain-tests` with `ChatAnthropic`, over each upstream dialect."""

from __future__ import annotations

from typing import Any

from chat_suite import ChatSuite
from langchain_anthropic import ChatAnthropic


class AnthropicSuite(ChatSuite):
    """`ChatAnthropic` and what it can do over any upstream, or over the named ones.

    It has no JSON mode and sends no sound, so the suite's tests of these stay off.
    """

    dialect = "anthropic"

    @property
    def chat_model_class(self) -> type[ChatAnthropic]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.ref,
            "base_url": self.site.url,
            "api_key": "any",
            "max_retries": 0,
        }

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        # Gemini takes bytes only, and the gateway fetches images by opt-in from public addresses.
        return self.upstream != "gemini"

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> Any:
        kinds = ["cache_read_input", "cache_creation_input"]
        return {"invoke": kinds, "stream": kinds}


class TestOverOpenAI(AnthropicSuite):
    upstream = "openai"


class TestOverAnthropic(AnthropicSuite):
    upstream = "anthropic"


class TestOverGemini(AnthropicSuite):
    upstream = "gemini"
