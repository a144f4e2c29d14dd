"""A provider made ready: the registry's row, the configuration over it, and the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pointsman import __version__
from pointsman._http.transport import Origin, Request, Timeouts
from pointsman.config import Config, ProviderConfig
from pointsman.dialects.base import Call, Target
from pointsman.errors import ConfigError, MissingKey
from pointsman.providers.media import refuse_addresses
from pointsman.providers.preset import Preset
from pointsman.providers.registry import Capabilities, Provider, all_providers, get_provider

__all__ = ["Binding", "bind", "configured_names", "merge_row"]

_JSON = msgspec.json.Encoder()
_USER_AGENT = f"pointsman/{__version__}"


class Binding(Struct, frozen=True):
    """What a request to one provider needs; made once, since nothing in it changes per request.

    `headers` hold the credentials, so a Binding is never printed. `triggers` are what a body must
    not hold to be passed on as it is: the provider departs from its dialect there. `preset` fills in
    what a request lacks. `by_value` says that media must be in the request itself: the server stands
    in our network, and would fetch any address there for whoever asks.
    """

    name: str
    dialect: str
    row: Provider
    origin: Origin
    base_path: str
    headers: tuple[tuple[str, str], ...]
    timeouts: Timeouts
    retries: int
    triggers: tuple[bytes, ...] = ()
    preset: Preset | None = None
    by_value: bool = False

    def __repr__(self) -> str:
        """Leave out the headers: they hold the key."""
        return f"Binding({self.name!r}, {self.dialect!r}, {self.origin.host!r})"

    def target(self, model: str) -> Target:
        """The target of a dialect's writer and reader."""
        return Target(self.name, model, self.row.quirks)

    def post(self, path: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> Request:
        """A JSON request to `path`, relative to the base URL.

        Raises:
            UnsupportedParameter: it names media by an address where they must be given by value.
        """
        if self.by_value:
            refuse_addresses(body, self.name)
        if self.preset is not None:
            body = self.preset.fill(path, body)
        return Request("POST", self.origin, self.base_path + path, (*self.headers, *headers), body)

    def at_root(self) -> Binding:
        """The same server without the version in its path, where llama.cpp has what is its own."""
        return msgspec.structs.replace(self, base_path=self.base_path.removesuffix("/v1"))

    def call(self, call: Call) -> Request:
        """The request for a written Call."""
        return self.post(call.path, _JSON.encode(call.body), call.headers.items())

    def get(self, path: str) -> Request:
        """A GET of `path`, relative to the base URL."""
        return Request("GET", self.origin, self.base_path + path, self.headers)


def merge_row(name: str, own: ProviderConfig | None) -> Provider:
    """The registry's row with the configuration over it; a new name is a custom endpoint.

    A custom endpoint may do all that its dialect can: its owner knows it, and it will say itself
    what it can't.

    Raises:
        UnknownModel: no such provider; the message names the nearest.
        ConfigError: a capability or quirk that does not exist.
    """
    if own is None:
        return get_provider(name)
    row = all_providers().get(name)
    if row is None:
        every = dict.fromkeys(Capabilities.__struct_fields__, True)
        row = Provider(
            name=name,
            dialect=own.dialect or "openai",
            base_url=None,
            api_key_env=(),
            auth=_default_auth(own.dialect or "openai"),
            key_optional=own.api_key_env is None,
            capabilities=Capabilities(**every),
            source="configuration",
        )
    changes: dict[str, Any] = {}
    if own.dialect is not None and own.dialect != row.dialect:
        changes |= {"dialect": own.dialect, "auth": _default_auth(own.dialect)}
    if own.base_url is not None:
        changes["base_url"] = own.base_url
    if own.auth is not None:
        changes["auth"] = own.auth
    if own.api_key_env is not None:
        changes["api_key_env"] = (own.api_key_env,)
    if own.headers:
        changes["headers"] = {**row.headers, **own.headers}
    if own.capabilities:
        changes["capabilities"] = _replace(row.capabilities, own.capabilities, name, "capabilities")
    if own.quirks:
        changes["quirks"] = _replace(row.quirks, own.quirks, name, "quirks")
    return msgspec.structs.replace(row, **changes)


def bind(name: str, config: Config) -> Binding:
    """Make a provider ready; pure, given the configuration.

    Raises:
        UnknownModel: no such provider.
        MissingKey: its key is not in the environment.
        ConfigError: it has no base URL.
    """
    own = config.providers.get(name)
    row = merge_row(name, own)
    key = next((value for env in row.api_key_env if (value := config.secret(env))), None)
    if key is None and not row.key_optional and row.auth != "none":
        raise MissingKey(row.name, row.api_key_env[0] if row.api_key_env else None)
    base_url = own.base_url if own and own.base_url else config.secret(row.base_url_env)
    base_url = base_url or row.base_url
    if base_url is None:
        raise ConfigError(
            f"provider '{name}' has no base URL of its own: set providers.{name}.base_url"
        )
    try:
        origin, base_path = Origin.of(base_url)
    except ValueError as error:
        raise ConfigError(f"provider '{name}': {error}") from error
    timeouts = own.timeouts if own else None
    return Binding(
        name=row.name,
        dialect=row.dialect,
        row=row,
        origin=origin,
        base_path=base_path,
        headers=_headers(row, key),
        timeouts=Timeouts(timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s)
        if timeouts
        else Timeouts(),
        retries=own.retries if own else 2,
        triggers=_triggers(row),
    )


def configured_names(config: Config) -> list[str]:
    """Providers that can be used as things are: named in the file, or whose key is there."""
    names = list(config.providers)
    for name, row in all_providers().items():
        if name not in config.providers and any(config.secret(env) for env in row.api_key_env):
            names.append(name)
    return names


def _headers(row: Provider, key: str | None) -> tuple[tuple[str, str], ...]:
    headers: Mapping[str, str] = {
        "user-agent": _USER_AGENT,
        "content-type": "application/json",
        **{name.lower(): value for name, value in row.headers.items()},
    }
    if key is None or row.auth == "none":
        return tuple(headers.items())
    if row.auth == "bearer":
        return (*headers.items(), ("authorization", f"Bearer {key}"))
    return (*headers.items(), (row.auth, key))


def _triggers(row: Provider) -> tuple[bytes, ...]:
    if row.dialect != "openai":
        return ()
    quirks = row.quirks
    found: list[bytes] = []
    if quirks.max_tokens_field == "max_tokens":
        found.append(b'"max_completion_tokens"')
    if not quirks.developer_role:
        found.append(b'"developer"')
    if quirks.string_content:
        found += [b'"content":[', b'"content": [']
    if quirks.tool_id_pattern is not None:
        found.append(b'"tool_calls"')
    if quirks.required_word != "required":
        found.append(b'"tool_choice"')
    if not quirks.stream_usage:
        found.append(b'"stream_options"')
    if quirks.seed_field != "seed":
        found.append(b'"seed"')
    return tuple(found)


def _default_auth(dialect: str) -> Any:
    return {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(dialect, "bearer")


def _replace(value: Any, changes: Mapping[str, Any], name: str, table: str) -> Any:
    fields = type(value).__struct_fields__
    for key in changes:
        if key not in fields:
            raise ConfigError(
                f"providers.{name}.{table}: unknown key '{key}'; known: {', '.join(fields)}"
            )
    return msgspec.convert({**msgspec.to_builtins(value), **changes}, type(value))
