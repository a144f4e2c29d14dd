"""The provider table: data rows need a load test, too."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from pointsman.config import parse_config
from pointsman.dialects.base import Quirks
from pointsman.errors import ConfigError, UnknownModel
from pointsman.providers.binding import bind
from pointsman.providers.registry import Provider, all_providers, get_provider

SRC = Path(__file__).parent.parent / "src" / "pointsman"
TABLE = SRC / "data" / "providers.json"
ROWS = list(all_providers().values())
DIALECTS = {"openai", "anthropic", "gemini"}

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_the_table_holds_at_least_45_names_each_once() -> None:
    names = [row["name"] for row in json.loads(TABLE.read_text("utf-8"))]
    assert len(names) == len(set(names)) == len(ROWS)
    assert len(names) >= 45


def test_the_table_has_no_unknown_key() -> None:
    broken = [{**json.loads(TABLE.read_text("utf-8"))[0], "base_ulr": "https://example.com"}]
    with pytest.raises(msgspec.ValidationError, match="base_ulr"):
        msgspec.convert(broken, list[Provider])


@each_row
def test_a_row_can_be_used(row: Provider) -> None:
    assert row.name == row.name.strip().lower()
    assert not set(row.name) & set(":/ ")
    assert row.name not in ("local", "auto", "pointsman")
    assert row.capabilities.chat and row.capabilities.stream
    assert row.source
    assert row.base_url or row.needs
    for name in (*row.api_key_env, *filter(None, [row.base_url_env])):
        assert name.isidentifier() and name == name.upper()


@each_row
def test_a_row_without_a_key_is_on_the_users_own_machine(row: Provider) -> None:
    if row.loopback:
        assert row.base_url is not None
        assert row.key_optional
        assert urlsplit(row.base_url).hostname in ("localhost", "127.0.0.1")
    else:
        assert row.api_key_env and not row.key_optional and row.auth != "none"


@each_row
def test_a_key_travels_encrypted(row: Provider) -> None:
    if row.base_url is None or row.loopback:
        return
    parts = urlsplit(row.base_url)
    assert parts.scheme == "https" and parts.hostname and "." in parts.hostname
    assert not parts.query and not parts.fragment and not parts.username
    assert not row.base_url.endswith("/") and "{" not in row.base_url


@each_row
def test_a_row_binds_with_its_key_in_each_accepted_variable(row: Provider) -> None:
    base_url = f"[providers.{row.name}]\nbase_url = 'https://host.example/v1'" if row.needs else ""
    for variable in row.api_key_env:
        config = parse_config(base_url)
        config.secrets = {variable: "key-of-the-test"}
        binding = bind(row.name, config)
        sent = [value for _, value in binding.headers if "key-of-the-test" in value]
        assert len(sent) == 1
        assert "key-of-the-test" not in repr(binding)


@each_row
def test_a_row_whose_address_is_the_users_says_so(row: Provider) -> None:
    if row.base_url is not None:
        return
    config = parse_config("")
    config.secrets = dict.fromkeys(row.api_key_env, "k")
    with pytest.raises(ConfigError, match=f"providers.{row.name}.base_url"):
        bind(row.name, config)
    assert "{" in row.needs


def test_no_variable_is_read_by_two_vendors() -> None:
    owners: dict[str, list[str]] = {}
    for row in ROWS:
        for name in row.api_key_env:
            owners.setdefault(name, []).append(row.name)
    assert {name: rows for name, rows in owners.items() if len(rows) > 1} == {}


@pytest.mark.parametrize(
    ("name", "base_url", "auth"),
    [
        ("openai", "https://api.openai.com/v1", "bearer"),
        ("anthropic", "https://api.anthropic.com/v1", "x-api-key"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta", "x-goog-api-key"),
        ("mistral", "https://api.mistral.ai/v1", "bearer"),
    ],
)
def test_the_great_ones_are_where_they_are(name: str, base_url: str, auth: str) -> None:
    row = get_provider(name)
    assert (row.base_url, row.auth) == (base_url, auth)


def test_google_s_key_has_two_names_the_own_one_first() -> None:
    assert get_provider("gemini").api_key_env == ("GEMINI_API_KEY", "GOOGLE_API_KEY")


def test_departures_from_the_dialect_are_in_the_rows() -> None:
    assert get_provider("openai").quirks == Quirks(developer_role=True)
    assert get_provider("mistral").quirks == Quirks(
        max_tokens_field="max_tokens",
        stream_usage=False,
        tool_id_pattern="mistral",
        required_word="any",
        seed_field="random_seed",
    )
    assert get_provider("publicai").quirks.string_content
    for name in ("publicai", "xiaomi_mimo", "neosantara", "together", "vllm"):
        assert get_provider(name).quirks.max_tokens_field == "max_tokens"


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(UnknownModel) as caught:
        get_provider("antropic")
    assert caught.value.status == 404
    assert "anthropic" in caught.value.message
    assert caught.value.message.count(",") <= 2


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        all_providers()["new"] = ROWS[0]  # type: ignore[index]
    with pytest.raises(AttributeError):
        ROWS[0].name = "other"


def compared(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    return [node.value] if isinstance(node, ast.MatchValue) else []


def test_no_code_branches_on_a_provider_s_name() -> None:
    """A vendor is a row. Only a dialect's name, or a named rule of a row, may be compared."""
    names = set(all_providers())
    found = []
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            values = compared(node)
            words = {
                inner.value
                for value in values
                for inner in ast.walk(value)
                if isinstance(inner, ast.Constant) and inner.value in names
            }
            subjects = [
                ast.unparse(value) for value in values if not isinstance(value, ast.Constant)
            ]
            about_dialect = any(
                subject.endswith(("dialect", "dialect.name")) for subject in subjects
            )
            about_rule = any(subject.endswith("tool_id_pattern") for subject in subjects)
            if words and not (about_dialect and words <= DIALECTS) and not about_rule:
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")  # type: ignore[attr-defined]
    assert found == []
