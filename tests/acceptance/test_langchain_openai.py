"""The standard suite of `langchain-tests` with `ChatOpenAI`, over each upstream dialect."""

from __future__ import annotations

from typing import Any

import pytest
from chat_suite import ChatSuite
from langchain_openai import ChatOpenAI

pytestmark = [
    # The suite asks with a Pydantic 1 class on purpose; the client says that it then uses a tool.
    pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning"),
    # The suite sends a document without a name; the client says that it makes one up.
    pytest.mark.filterwarnings("ignore:OpenAI may require a filename:UserWarning"),
    # The client dumps a message of the `openai` package that it has put a parsed object into.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]


class OpenAISuite(ChatSuite):
    """`ChatOpenAI` and what it can do over any upstream, or over the named ones."""

    dialect = "openai"

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": self.ref,
            "base_url": self.site.url + "/v1",
            "api_key": "any",
            # The client asks for a stream's usage by itself only at OpenAI's own address.
            "stream_usage": True,
            "max_retries": 0,
        }

    @property
    def supports_json_mode(self) -> bool:
        # Anthropic has no JSON without a schema: the gateway says so with a 400.
        return self.upstream != "anthropic"

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
    def supports_audio_inputs(self) -> bool:
        # Anthropic takes no sound: the gateway says so with a 400.
        return self.upstream != "anthropic"

    @property
    def supports_image_tool_message(self) -> bool:
        # OpenAI's own tool messages hold text only, and the gateway passes them on as they are.
        return self.upstream != "openai"

    @property
    def supports_pdf_tool_message(self) -> bool:
        return self.upstream != "openai"

    @property
    def supported_usage_metadata_details(self) -> Any:
        kinds = ["reasoning_output", "cache_read_input"]
        return {"invoke": kinds, "stream": kinds}


class TestOverOpenAI(OpenAISuite):
    upstream = "openai"


class TestOverAnthropic(OpenAISuite):
    upstream = "anthropic"


class TestOverGemini(OpenAISuite):
    upstream = "gemini"
