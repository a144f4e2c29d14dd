"""The providers known by name: frozen rows of data, no code per vendor.

The rows are in `data/providers.json`, which `scripts/make_providers.py` makes. An ability that is
not known is off.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import msgspec
from msgspec import Struct, field

from pointsman.dialects.base import Quirks
from pointsman.errors import UnknownModel

__all__ = ["Capabilities", "Provider", "all_providers", "get_provider"]


class Capabilities(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a provider can do; unknown is False.

    For a route these are hard filters. A request that names the provider itself is passed on even
    where `tools`, `vision`, `json_schema`, `reasoning` or `audio` is unknown, and the provider says
    what it can't; `embeddings` and `list_models` off means that the path is not there to ask.
    `logprobs` is about what a route may ask for by itself.
    """

    chat: bool = False
    stream: bool = False
    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    embeddings: bool = False
    list_models: bool = False
    reasoning: bool = False
    audio: bool = False
    logprobs: bool = False


class Provider(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One provider.

    `api_key_env` are the accepted variable names, the canonical one first. `base_url` is None where
    only the user knows it (a resource or account is part of it), and `needs` then says so.
    `loopback` marks a server on the user's own machine, which asks for no key by itself.
    """

    name: str
    dialect: Literal["openai", "anthropic", "gemini"]
    base_url: str | None = None
    base_url_env: str | None = None
    api_key_env: tuple[str, ...] = ()
    auth: Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"] = "bearer"
    key_optional: bool = False
    loopback: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    capabilities: Capabilities = Capabilities()
    quirks: Quirks = Quirks()
    needs: str = ""
    note: str = ""
    source: str = ""


@cache
def all_providers() -> Mapping[str, Provider]:
    """Give every known provider by name, in the order of the table. Reads the package's data."""
    text = files("pointsman").joinpath("data/providers.json").read_bytes()
    rows = msgspec.json.decode(text, type=list[Provider])
    return MappingProxyType({row.name: row for row in rows})


def get_provider(name: str) -> Provider:
    """Give a provider by name.

    Raises:
        UnknownModel: there is none; the message names the three nearest.
    """
    row = all_providers().get(name)
    if row is None:
        near = difflib.get_close_matches(name, all_providers(), 3, 0.3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise UnknownModel(f"no provider '{name}'{hint}", param="model")
    return row
