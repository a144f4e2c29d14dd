from __future__ import annotations

import pytest

from pointsman.config import parse_config
from pointsman.dialects.base import Call
from pointsman.errors import ConfigError, MissingKey, UnknownModel
from pointsman.providers.binding import bind, configured_names


def config(text="", **secrets):
    parsed = parse_config(text)
    parsed.secrets = secrets
    return parsed


def test_a_known_provider_needs_only_its_key():
    binding = bind("anthropic", config(ANTHROPIC_API_KEY="k1"))
    assert binding.origin.host == "api.anthropic.com"
    assert binding.base_path == "/v1"
    assert ("x-api-key", "k1") in binding.headers
    request = binding.call(Call("/messages", {"a": 1}, {"anthropic-version": "x"}))
    assert (request.path, request.body) == ("/v1/messages", b'{"a":1}')
    assert ("anthropic-version", "x") in request.headers
    assert "k1" not in repr(binding) and "k1" not in repr(request)


def test_without_its_key_the_variable_is_named():
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        bind("openai", config(OPENAI_API_KEY="  "))


def test_the_second_name_of_a_key_is_taken():
    assert ("x-goog-api-key", "k") in bind("gemini", config(GOOGLE_API_KEY="k")).headers


def test_the_file_goes_over_the_table():
    text = """
[providers.openai]
base_url = "https://proxy.example/openai/v1/"
api_key_env = "MY_KEY"
headers = { X-Team = "a" }
retries = 0
timeouts = { connect_s = 1.5 }
[providers.openai.quirks]
max_tokens_field = "max_tokens"
"""
    binding = bind("openai", config(text, MY_KEY="k"))
    assert (binding.origin.host, binding.base_path) == ("proxy.example", "/openai/v1")
    assert ("x-team", "a") in binding.headers
    assert (binding.retries, binding.timeouts.connect_s) == (0, 1.5)
    assert binding.target("m").quirks.max_tokens_field == "max_tokens"
    assert b'"max_completion_tokens"' in binding.triggers


def test_a_new_name_is_a_custom_endpoint_without_a_key():
    text = '[providers.box]\nbase_url = "http://10.0.0.5:8000/v1"\n'
    binding = bind("box", config(text))
    assert binding.dialect == "openai"
    assert not any(name == "authorization" for name, _ in binding.headers)
    assert binding.row.capabilities.embeddings


def test_a_custom_endpoint_needs_a_base_url():
    with pytest.raises(ConfigError, match=r"providers\.box\.base_url"):
        bind("box", config('[providers.box]\ndialect = "openai"\n'))


@pytest.mark.parametrize("table", ["capabilities", "quirks"])
def test_an_unknown_ability_or_quirk_is_named(table):
    text = f'[providers.box]\nbase_url = "http://h/v1"\n[providers.box.{table}]\nflying = true\n'
    with pytest.raises(ConfigError, match="unknown key 'flying'"):
        bind("box", config(text))


def test_an_unknown_provider_gets_the_nearest():
    with pytest.raises(UnknownModel, match="mistral"):
        bind("mistrall", config())


def test_what_is_configured_is_what_has_a_key_or_a_table():
    text = '[providers.box]\nbase_url = "http://h/v1"\n'
    names = configured_names(config(text, GROQ_API_KEY="k", MISTRAL_API_KEY=""))
    assert names == ["box", "groq"]
