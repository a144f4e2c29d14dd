"""Make src/pointsman/data/providers.json from a file of gathered facts.

    python scripts/make_providers.py FACTS.json

The facts file is a list of {name, dialect, base_url, api_key_env, base_url_env, capabilities,
notes, source}. What is kept, corrected or dropped is decided here, with the reason beside it, so
that the table can be made again when the facts are gathered anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "src" / "pointsman" / "data" / "providers.json"

# Left out, and why.
DROPPED = {
    "vertexai": "needs an OAuth token of Google's own flow",
    "vertexaianthropic": "needs an OAuth token of Google's own flow",
    "bedrock": "another wire format, signed requests",
    "sagemaker": "signed requests, body by container",
    "azure": "path and body by API version",
    "cohere": "another wire format; its OpenAI surface is the row cohere_compat below",
    "ollama": "another wire format; its OpenAI surface is the row below",
    "voyage": "no chat, and its embeddings differ from OpenAI's",
    "watsonx": "its key must be exchanged for a token",
    "gigachat": "its key must be exchanged for a token",
    "github_copilot": "OAuth device flow, and meant for editors alone",
    "snowflake": "path unverified",
    "anyscale": "service withdrawn",
    "jina": "no chat; its embeddings take other parameters",
    "infinity": "port unverified, no chat",
    "docker_model_runner": "port unverified",
    "portkey": "needs a header that names a further provider: write it as a custom endpoint",
    "otari": "a gateway with no public address; write it as a custom endpoint",
    "litellm_proxy": "a gateway with no public address; write it as a custom endpoint",
    "openai_compatible": "what any new name in the configuration already is",
    "mzai": "a gateway to other providers, host in change",
    "cascadia": "a local server of no known spread",
    "llamafile": "no streaming by its own facts, and the port of llamacpp",
}

# OpenAI itself replaced `max_tokens`; a compatible vendor is sure to know the old name only.
NEW_MAX_TOKENS = {
    "openai",
    "azureopenai",
    "groq",
    "cerebras",
    "xai",
    "openrouter",
    "fireworks",
}
DEVELOPER_ROLE = {"openai", "azureopenai", "openrouter"}
# Documented by the vendor: response_format with type json_schema.
JSON_SCHEMA = {
    "openai", "anthropic", "gemini", "azureopenai", "azureanthropic", "mistral", "groq", "cerebras",
    "fireworks", "together", "openrouter", "xai", "deepinfra", "llamacpp", "vllm", "lmstudio",
    "ollama", "perplexity", "sambanova", "nebius", "cohere",
}  # fmt: skip
# Documented by the vendor: `logprobs` of a chat, with the probabilities in the answer. A model that does
# not take it (reasoning models answer with 400 or 403) is asked again without.
LOGPROBS = {"openai", "azureopenai", "openrouter", "deepseek", "vllm", "llamacpp"}
# No `stream_options`, so it is not put into a pass-through. Mistral answers it with 422, and counts
# every stream without being asked (openai/openai-agents-python#442).
NO_STREAM_USAGE = {"perplexity", "github", "publicai", "assemblyai", "ai21", "mistral", "codestral"}
QUIRKS: dict[str, dict[str, Any]] = {
    "mistral": {"tool_id_pattern": "mistral", "required_word": "any", "seed_field": "random_seed"},
    "codestral": {
        "tool_id_pattern": "mistral",
        "required_word": "any",
        "seed_field": "random_seed",
    },
    "publicai": {"string_content": True},
}
BASE_URL = {
    "anthropic": "https://api.anthropic.com/v1",
    "azureanthropic": "https://{resource}.services.ai.azure.com/anthropic/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
}
KEYS = {
    "gemini": ["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    "huggingface": ["HF_TOKEN", "HUGGINGFACE_API_KEY"],
    "volcengine": ["VOLCENGINE_API_KEY", "ARK_API_KEY"],
    "bigmodel": ["BIGMODEL_API_KEY", "ZHIPUAI_API_KEY"],
    "databricks": ["DATABRICKS_TOKEN", "DATABRICKS_API_KEY"],
    "together": ["TOGETHER_API_KEY", "TOGETHERAI_API_KEY"],
    "cometapi": ["COMETAPI_KEY", "COMETAPI_API_KEY"],
    "cohere": ["COHERE_API_KEY", "CO_API_KEY"],
    # The vendor's own name is MODEL_API_KEY: too general to send what it holds to one vendor.
    "meta": ["META_API_KEY"],
}
AUTH = {"azureopenai": "api-key"}
NO_LIST = {"github", "perplexity", "minimax", "databricks"}
EXTRA: list[dict[str, Any]] = [
    {
        "name": "cohere", "dialect": "openai", "base_url": "https://api.cohere.com/compatibility/v1",
        "api_key_env": "COHERE_API_KEY", "source": "any-llm",
        "capabilities": {"chat": True, "stream": True, "tools": True, "embeddings": True},
        "notes": "The OpenAI-compatible surface.",
    },
    {
        "name": "ollama", "dialect": "openai", "base_url": "http://localhost:11434/v1",
        "api_key_env": None, "source": "any-llm",
        "capabilities": {"chat": True, "stream": True, "tools": True, "embeddings": True,
                         "list_models": True, "vision": True, "reasoning": True},
        "notes": "Ollama's OpenAI-compatible surface.",
    },
]  # fmt: skip
KEPT = ("chat", "stream", "tools", "vision", "embeddings", "list_models", "reasoning", "audio")


# What a note says of other projects, or what the row says already.
SAID = re.compile(
    r"any-llm|litellm|^also sends|^bearer\W*$|^header |also (accepted|used)|must come from the user|^key optional|"
    r"_API_KEY|_ACCOUNT_ID|from memory|^local$|^optional --api-key",
    re.IGNORECASE,
)


def make_note(text: str) -> str:
    """Give the clauses of a note that tell a user something."""
    clauses = [each.strip().removesuffix(".") for each in re.split(r";\s|\.\s", text)]
    kept = [each for each in clauses if each and not SAID.search(each)]
    return "; ".join(kept) + "." if kept else ""


def make_row(fact: dict[str, Any]) -> dict[str, Any]:
    name = fact["name"]
    base_url = BASE_URL.get(name, fact["base_url"])
    row: dict[str, Any] = {"name": name, "dialect": fact["dialect"]}
    if base_url and "{" in base_url:
        row["needs"] = f"base_url, of the form {base_url}"
        base_url = None
    if base_url:
        row["base_url"] = base_url
    # The variables by which official clients are pointed elsewhere are not followed for public
    # vendors: they often point at this gateway, which would then ask itself. Nor are those of
    # Azure, Databricks and Cloudflare: they hold a host, without the path that is needed here.
    if fact.get("base_url_env") and base_url and base_url.startswith("http://"):
        row["base_url_env"] = fact["base_url_env"]
    keys = KEYS.get(name) or ([fact["api_key_env"]] if fact["api_key_env"] else [])
    if keys:
        row["api_key_env"] = keys
    if auth := AUTH.get(name) or {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(
        fact["dialect"]
    ):
        row["auth"] = auth
    if base_url and base_url.startswith("http://"):
        row |= {"loopback": True, "key_optional": True}
    capabilities = {key: True for key in KEPT if fact["capabilities"].get(key)}
    if name in JSON_SCHEMA:
        capabilities["json_schema"] = True
    if name in LOGPROBS:
        capabilities["logprobs"] = True
    if name in NO_LIST:
        capabilities.pop("list_models", None)
    row["capabilities"] = capabilities
    if fact["dialect"] in ("openai", "azure"):
        quirks: dict[str, Any] = {}
        if name not in NEW_MAX_TOKENS:
            quirks["max_tokens_field"] = "max_tokens"
        if name in DEVELOPER_ROLE:
            quirks["developer_role"] = True
        if name in NO_STREAM_USAGE:
            quirks["stream_usage"] = False
        quirks |= QUIRKS.get(name, {})
        if quirks:
            row["quirks"] = quirks
    if note := make_note(fact.get("notes") or ""):
        row["note"] = note
    row["source"] = fact["source"]
    return row


def main() -> None:
    facts = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    rows = [
        make_row(fact)
        for fact in [*facts, *EXTRA]
        if (fact["name"] not in DROPPED or fact in EXTRA)
        and fact["dialect"] in ("openai", "anthropic", "gemini", "azure")
        and fact["capabilities"].get("chat")
    ]
    for row in rows:
        if row["dialect"] == "azure":  # Azure's v1 surface is OpenAI's, with another header.
            row["dialect"] = "openai"
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(" " + json.dumps(row, ensure_ascii=False) for row in rows)
    OUT.write_text(f"[\n{lines}\n]\n", "utf-8")
    print(f"{len(rows)} providers in {OUT}")


if __name__ == "__main__":
    main()
