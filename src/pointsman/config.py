"""The configuration: one TOML file, the environment over it, arguments over both.

Only this module reads the environment. The table and key names are a contract (docs/config.md is
made from the classes here).
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct, field

from pointsman._http.transport import Origin
from pointsman.errors import ConfigError

__all__ = [
    "ABConfig",
    "ClassifierConfig",
    "Config",
    "GuardConfig",
    "LocalConfig",
    "LocalModelConfig",
    "ModelConfig",
    "PriceConfig",
    "ProviderConfig",
    "RouteConfig",
    "RuleConfig",
    "ServerConfig",
    "TimeoutsConfig",
    "WhenConfig",
    "default_home",
    "load_config",
    "parse_config",
]

MIB = 1024 * 1024
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


class ServerConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[server]`: the gateway's own socket and limits."""

    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback needs `admin_key_env`."""
    port: int = 8080
    """Port to listen on; 0 takes a free one."""
    admin_key_env: str | None = None
    """Environment variable with the key that every request must bear; unset: no key is asked."""
    max_body_bytes: int = 32 * MIB
    """Largest request body; a larger one gets 413."""
    max_answer_bytes: int = 256 * MIB
    """Largest unstreamed answer taken from an upstream."""
    allowed_origins: list[str] = field(default_factory=list)
    """Web pages that may use the gateway (`https://chat.example.org`, `app://*`), beside this machine's."""
    fetch_images: bool = False
    """Fetch images given by URL for providers that take only their bytes (Gemini)."""


class TimeoutsConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[providers.NAME.timeouts]`: how long to wait for the provider."""

    connect_s: float = 10.0
    """Seconds to connect."""
    first_byte_s: float = 600.0
    """Seconds until the head of the answer."""
    idle_s: float = 300.0
    """Seconds between two pieces of the answer."""


class ProviderConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[providers.NAME]`: a known name needs only what differs; a new name is a custom endpoint."""

    dialect: Literal["openai", "anthropic", "gemini"] | None = None
    """Wire format; a custom endpoint speaks `openai` unless told."""
    base_url: str | None = None
    """Base URL, with the version in its path (`https://host/v1`)."""
    api_key_env: str | None = None
    """Environment variable that holds the key. A key itself never stands in the file."""
    auth: Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "none"] | None = None
    """How the key is sent."""
    headers: dict[str, str] = field(default_factory=dict)
    """More headers for each request."""
    timeouts: TimeoutsConfig = field(default_factory=TimeoutsConfig)
    """Time limits."""
    retries: int = 2
    """How often a request is tried again after 408, 429, 5xx or a connection fault."""
    capabilities: dict[str, bool] = field(default_factory=dict)
    """Abilities that the table lacks or has wrong: chat, stream, tools, vision, json_schema, …"""
    quirks: dict[str, str | bool] = field(default_factory=dict)
    """Departures from the dialect, such as `max_tokens_field = "max_tokens"`."""
    region: str | None = None
    """Where its models run, in your own words (`eu`), for a route's `residency`."""


class PriceConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[models.NAME.price]`: US dollars per million tokens."""

    input: float
    """Prompt tokens."""
    output: float
    """Answer tokens."""
    cached: float | None = None
    """Prompt tokens read from the provider's cache; the price of `input` if unset."""


class ModelConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[models.NAME]`: one name for one ref, and facts that the tables lack."""

    ref: str
    """`provider:model`, or `local:name`."""
    price: PriceConfig | None = None
    """Price of the model."""
    context: int | None = None
    """Context length in tokens."""
    abilities: list[Literal["vision", "tools", "json_schema"]] | None = None
    """What the model can do; replaces what the tables say."""
    region: str | None = None
    """Where it runs; goes over the provider's."""


class WhenConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[routes.NAME.rules.when]`: conditions of a rule that need no classifier; all that is set must hold."""

    tag: list[str] = field(default_factory=list)
    """The request's header `x-pointsman-tag` is one of these."""
    min_chars: int | None = None
    """The user's last words have at least so many characters."""
    max_chars: int | None = None
    """They have at most so many."""
    language: list[str] = field(default_factory=list)
    """They are in one of these languages (ISO 639-1), as far as script and common words tell."""
    hours: list[int] | None = None
    """From and to, in UTC: `[22, 6]` is the night."""


class RuleConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[[routes.NAME.rules]]`: what is said of a request narrows who may answer it, or sets the dial.

    A rule holds if its `when` does and its classifier gives one of the labels, as far as it has them.
    """

    classifier: str | None = None
    """A `[classifiers.NAME]`."""
    labels: list[str] = field(default_factory=list)
    """The classifier must give one of these."""
    when: WhenConfig = field(default_factory=WhenConfig)
    """Conditions that need no classifier."""
    candidates: list[str] = field(default_factory=list)
    """Refs or aliases that are then the route's candidates; empty leaves them."""
    dial: float | None = None
    """The dial that then holds."""


class ABConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[routes.NAME.ab]`: a share of the conversations is routed in another way, to compare the two."""

    name: str
    """Name of the comparison; another name deals the conversations out anew."""
    share: float = 0.5
    """Share of the conversations that get the variant, 0 to 1."""
    candidates: list[str] = field(default_factory=list)
    """The variant's candidates; empty leaves them."""
    policy: Literal["classifier", "order", "cascade", "consistency", "judge", "bandit"] | None = (
        None
    )
    """The variant's policy."""
    dial: float | None = None
    """The variant's dial."""


class RouteConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[routes.NAME]`: a name behind which a model is chosen for each request."""

    candidates: list[str]
    """Refs or aliases to choose from."""
    policy: Literal["classifier", "order", "cascade", "consistency", "judge", "bandit"] = (
        "classifier"
    )
    """`classifier`: by prompt, conversation and outcomes; `order`: as listed, the rest fall-backs; `cascade`: ask a cheap one, look at its answer, go on if it will not do; `consistency` and `judge`: a cascade with a closer look; `bandit`: `classifier` that tries others now and then."""
    dial: float = 0.5
    """0 is the cheapest, 1 the best; a request may override it (`auto:0.3`)."""
    quality: float | None = None
    """In place of the dial: the share of the strongest candidate's quality to keep, such as 0.95."""
    spend_usd_per_day: float | None = None
    """In place of the dial: US dollars that the route may cost a day (UTC); nothing goes beyond it."""
    max_cost_usd: float | None = None
    """US dollars that one request may cost at most; a candidate that could cost more is out."""
    residency: list[str] = field(default_factory=list)
    """Regions that candidates may be in (`["eu", "local"]`); empty: any. Models run here are `local`."""
    verified_only: bool = False
    """Only local models whose files were checked against their hashes."""
    router: str | None = None
    """A router of your own, made by `pointsman route train`; the default is the one that is shipped."""
    verifier: str | None = None
    """A verifier of answers of your own (JSON); the default is the one that is shipped."""
    accept: float | None = None
    """A cascade gives an answer from this probability on that it is good; unset: by the dial."""
    samples: int = 3
    """How often `consistency` asks the cheap candidate, the first time included."""
    judge: str | None = None
    """The ref that judges answers, for the policy `judge`."""
    judge_share: float = 0.1
    """Share of the conversations whose answers are judged."""
    holdback_tokens: int = 8
    """Tokens of a stream that a cascade looks at before the first byte is sent on; 0 looks at none."""
    holdback_ms: int = 300
    """Milliseconds after its first token for which a stream is held back at most."""
    explore: float = 0.0
    """Share of the requests in which `bandit` tries another candidate, to learn how it does."""
    sticky: bool = True
    """A conversation stays with its model unless another gains more than the switch costs."""
    conversation_ttl_s: float = 3600.0
    """Seconds after which a conversation that goes not on is forgotten."""
    shadow: bool = False
    """Route on paper only: the candidates are asked as listed, and what would have been chosen is recorded."""
    ab: ABConfig | None = None
    """A comparison of two ways to route."""
    fallback: list[str] = field(default_factory=list)
    """Refs tried, in order, after all candidates failed."""
    rules: list[RuleConfig] = field(default_factory=list)
    """Tried in order before the policy; the first that holds says who the candidates are, or sets the dial."""


class ClassifierConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[classifiers.NAME]`: a classifier made by `pointsman distill`, for guards, rules and `/pointsman/v1/classify`."""

    path: str
    """Its `model.onnx`, or the folder with it."""


class GuardConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[guards.NAME]`: what a classifier says of a request blocks it, or marks its answer."""

    classifier: str
    """A `[classifiers.NAME]`."""
    labels: list[str]
    """The guard strikes if the classifier gives one of these."""
    on: Literal["request"] = "request"
    """What is looked at."""
    action: Literal["block", "flag"] = "block"
    """`block`: the request is refused with 400; `flag`: the answer bears `x-pointsman-guard`."""
    scope: Literal["last", "user"] = "last"
    """`last`: the last user message; `user`: each user message of the conversation."""


class LocalModelConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[local.models.NAME]`: a model run here: one of `path`, `ref` and `url`, and how it is run."""

    path: str | None = None
    """A GGUF file."""
    ref: str | None = None
    """The name of a pulled model, to run it with other settings."""
    url: str | None = None
    """A llama-server that runs elsewhere, such as `http://gpu-box:8080`."""
    api_key_env: str | None = None
    """Environment variable with the key of the llama-server at `url`."""
    context: int | None = None
    """Context in tokens; the default is the largest that fits, up to what the model was trained for."""
    slots: int | None = None
    """Requests answered at a time; the default is `local.slots`."""
    idle_s: float | None = None
    """Seconds without a request after which it is unloaded; below 0: never."""
    projector: str | None = None
    """The mmproj file of a model that sees or hears."""
    adapters: list[str] = field(default_factory=list)
    """LoRA adapters, GGUF files."""
    flags: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)
    """Options of llama-server by their long names: `{ cache-type-k = "q8_0", flash-attn = "on" }`."""


class LocalConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[local]`: models run on this machine."""

    dir: str | None = None
    """Where models are kept; the default is `models` in the data directory."""
    memory_bytes: int | None = None
    """Memory for all running models together; the default is what the machine can spare."""
    idle_s: float = 300.0
    """Seconds without a request after which a model is unloaded; below 0: never."""
    slots: int = 4
    """Requests that a model answers at a time; they share its context."""
    threads: int | None = None
    """Threads of a model; the default goes by the machine."""
    spare: bool = True
    """Keep one process warm, so that the next model loads sooner (about 40 MB)."""
    llama_server: str | None = None
    """Path of a `llama-server` to use; else the one on PATH, else the `[local]` extra's worker."""
    start_timeout_s: float = 120.0
    """Seconds that a model may take to load."""
    models: dict[str, LocalModelConfig] = field(default_factory=dict)
    """Model files by name."""


class TrustConfig(Struct, forbid_unknown_fields=True, kw_only=True):
    """`[trust]`: what becomes of models, and of an environment, that a check has something against."""

    mode: Literal["enforce", "warn", "off"] = "warn"
    """`enforce`: what is not accepted is refused; `warn`: it is used and said; `off`: nothing is asked."""
    policy: str | None = None
    """A policy file (docs/trust-provenance.md); the default is the one shipped."""
    lock: str | None = None
    """The lock that local models are held against; else pointsman.lock beside the configuration."""


class Config(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole of `pointsman.toml`. `home` and `path` are not keys of the file."""

    server: ServerConfig = field(default_factory=ServerConfig)
    providers: dict[str, ProviderConfig] = field(default_factory=dict)
    models: dict[str, ModelConfig] = field(default_factory=dict)
    routes: dict[str, RouteConfig] = field(default_factory=dict)
    classifiers: dict[str, ClassifierConfig] = field(default_factory=dict)
    guards: dict[str, GuardConfig] = field(default_factory=dict)
    local: LocalConfig = field(default_factory=LocalConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    secrets: Mapping[str, str] = field(default_factory=dict)
    home: str = ""
    path: str | None = None

    def __repr__(self) -> str:
        """Leave out the secrets."""
        return f"Config(path={self.path!r}, providers={sorted(self.providers)}, home={self.home!r})"

    def secret(self, name: str | None) -> str | None:
        """The value of an environment variable as it was at load time, or None if unset or blank."""
        value = self.secrets.get(name, "").strip() if name else ""
        return value or None


_NOT_IN_FILE = ("secrets", "home", "path")


def default_home(env: Mapping[str, str]) -> Path:
    """The data directory: `$POINTSMAN_HOME`, else the platform's place for user data."""
    if env.get("POINTSMAN_HOME"):
        return Path(env["POINTSMAN_HOME"]).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pointsman"
    base = env.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "pointsman"


def load_config(path: str | Path | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Read the configuration: `path`, else `$POINTSMAN_CONFIG`, else `./pointsman.toml` if there.

    `$POINTSMAN_HOST` and `$POINTSMAN_PORT` go over the file. Reads the file and the environment.

    Raises:
        ConfigError: a file that was named is missing, is no TOML, or holds a key or value that is
            wrong; the message names the nearest key and the line.
    """
    environment = dict(os.environ if env is None else env)
    chosen = path or environment.get("POINTSMAN_CONFIG")
    file = Path(chosen) if chosen else Path("pointsman.toml")
    text = ""
    if chosen or file.is_file():
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the configuration {file}: {error}") from error
    config = parse_config(text, name=str(file))
    config.path = str(file) if text else None
    config.home = str(default_home(environment))
    config.secrets = environment
    if environment.get("POINTSMAN_HOST"):
        config.server.host = environment["POINTSMAN_HOST"]
    if environment.get("POINTSMAN_PORT"):
        try:
            config.server.port = int(environment["POINTSMAN_PORT"])
        except ValueError:
            raise ConfigError("POINTSMAN_PORT is no number") from None
        _check_port(config.server.port, "POINTSMAN_PORT")
    return config


def parse_config(text: str, *, name: str = "pointsman.toml") -> Config:
    """Read a configuration from TOML text; pure.

    Raises:
        ConfigError: see `load_config`.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is no TOML: {error}") from error
    _check_keys(tree, Config, (), text, name)
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_wrong_type(str(error), text, name)) from error
    _check_values(config, text, name)
    return config


def _check_values(config: Config, text: str, name: str) -> None:
    def fail(path: tuple[str, ...], message: str) -> None:
        raise ConfigError(f"{name}{_at(text, path)}: {'.'.join(path)}: {message}")

    _check_port(config.server.port, f"{name}: server.port")
    for key in ("max_body_bytes", "max_answer_bytes"):
        if getattr(config.server, key) < 1:
            fail(("server", key), "must be at least 1")
    for provider, row in config.providers.items():
        if ":" in provider or "/" in provider or provider == "local":
            fail(("providers", provider), "a provider's name has no ':' or '/' and is not 'local'")
        if row.base_url is not None:
            try:
                Origin.of(row.base_url)
            except ValueError as error:
                fail(("providers", provider, "base_url"), str(error))
        if row.retries < 0 or row.retries > 10:
            fail(("providers", provider, "retries"), "must be 0 to 10")
        for key in ("connect_s", "first_byte_s", "idle_s"):
            if getattr(row.timeouts, key) <= 0:
                fail(("providers", provider, "timeouts", key), "must be above 0")
    _check_local(config.local, fail)
    for route, spec in config.routes.items():
        _check_route(route, spec, fail)
    _check_classifiers(config, fail)


def _check_route(
    route: str, spec: RouteConfig, fail: Callable[[tuple[str, ...], str], None]
) -> None:
    at = ("routes", route)
    if not spec.candidates:
        fail((*at, "candidates"), "needs at least one ref")
    if ":" in route:
        fail(at, "a route's name has no ':'")
    for key in ("dial", "quality", "accept", "judge_share", "explore"):
        value = getattr(spec, key)
        if value is not None and not 0 <= value <= 1:
            fail((*at, key), "must be 0 to 1")
    if spec.quality is not None and spec.spend_usd_per_day is not None:
        fail((*at, "quality"), "set one of quality and spend_usd_per_day: either is the dial")
    for key in ("spend_usd_per_day", "max_cost_usd", "conversation_ttl_s"):
        value = getattr(spec, key)
        if value is not None and not value > 0:
            fail((*at, key), "must be above 0")
    for key in ("holdback_tokens", "holdback_ms"):
        if not 0 <= getattr(spec, key) <= 10_000:
            fail((*at, key), "must be 0 to 10000")
    if not 2 <= spec.samples <= 8:
        fail((*at, "samples"), "must be 2 to 8")
    policies = (spec.policy, spec.ab.policy if spec.ab else None)
    if "judge" in policies and spec.judge is None:
        fail((*at, "policy"), "needs the ref that judges: set judge")
    if spec.ab is not None:
        if not 0 <= spec.ab.share <= 1:
            fail((*at, "ab", "share"), "must be 0 to 1")
        if spec.ab.dial is not None and not 0 <= spec.ab.dial <= 1:
            fail((*at, "ab", "dial"), "must be 0 to 1")
    for number, rule in enumerate(spec.rules, 1):
        _check_rule((*at, "rules"), number, rule, fail)


def _check_rule(
    at: tuple[str, ...], number: int, rule: RuleConfig, fail: Callable[[tuple[str, ...], str], None]
) -> None:
    if not rule.candidates and rule.dial is None:
        fail(at, f"rule {number} needs at least one candidate, or a dial")
    if rule.classifier is None and rule.labels:
        fail(at, f"rule {number} has labels and no classifier")
    if rule.classifier is None and rule.when == WhenConfig():
        fail(at, f"rule {number} needs a classifier or a when")
    if rule.dial is not None and not 0 <= rule.dial <= 1:
        fail(at, f"rule {number}: the dial must be 0 to 1")
    hours = rule.when.hours
    if hours is not None and (len(hours) != 2 or not all(0 <= hour <= 24 for hour in hours)):
        fail(at, f"rule {number}: hours are two numbers from 0 to 24")


def _check_classifiers(config: Config, fail: Callable[[tuple[str, ...], str], None]) -> None:
    def check(path: tuple[str, ...], classifier: str, labels: list[str]) -> None:
        if classifier not in config.classifiers:
            near = difflib.get_close_matches(classifier, config.classifiers, 1, 0.3)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            fail(path, f"there is no [classifiers.{classifier}]{hint}")
        if not labels:
            fail(path, "needs at least one label")

    for name, guard in config.guards.items():
        check(("guards", name), guard.classifier, guard.labels)
    for route, spec in config.routes.items():
        for rule in spec.rules:
            if rule.classifier is not None:
                check(("routes", route, "rules"), rule.classifier, rule.labels)


def _check_local(local: LocalConfig, fail: Callable[[tuple[str, ...], str], None]) -> None:
    for key in ("memory_bytes", "slots", "threads"):
        value = getattr(local, key)
        if value is not None and value < 1:
            fail(("local", key), "must be at least 1")
    if local.start_timeout_s <= 0:
        fail(("local", "start_timeout_s"), "must be above 0")
    for name, row in local.models.items():
        path = ("local", "models", name)
        if sum(each is not None for each in (row.path, row.ref, row.url)) != 1:
            fail(path, "needs exactly one of path, ref and url")
        for key in ("context", "slots"):
            value = getattr(row, key)
            if value is not None and value < 1:
                fail((*path, key), "must be at least 1")
        if row.url is not None:
            try:
                Origin.of(row.url)
            except ValueError as error:
                fail((*path, "url"), str(error))


def _check_port(port: int, where: str) -> None:
    if not 0 <= port <= 65535:
        raise ConfigError(f"{where}: a port is 0 to 65535, not {port}")


def _check_keys(value: Any, kind: Any, path: tuple[str, ...], text: str, name: str) -> None:
    """Fail on the first key that `kind` lacks, naming the nearest one."""
    if isinstance(value, list) and get_origin(kind) is list:
        for inner in value:
            _check_keys(inner, get_args(kind)[0], path, text, name)
    if not isinstance(value, dict):
        return
    if isinstance(kind, type) and issubclass(kind, Struct):
        fields = {f.name: f.type for f in msgspec.structs.fields(kind)}
        for hidden in _NOT_IN_FILE if kind is Config else ():
            del fields[hidden]
        for key, inner in value.items():
            if key not in fields:
                near = difflib.get_close_matches(key, fields, 1, 0.5)
                hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(fields)}"
                where = ".".join((*path, key))
                raise ConfigError(f"{name}{_at(text, (*path, key))}: unknown key '{where}'{hint}")
            _check_keys(inner, fields[key], (*path, key), text, name)
    elif get_origin(kind) is dict:
        for key, inner in value.items():
            _check_keys(inner, get_args(kind)[1], (*path, key), text, name)
    else:
        for member in get_args(kind):  # `Table | None`
            _check_keys(value, member, path, text, name)


def _wrong_type(message: str, text: str, name: str) -> str:
    found = re.search(r" - at `\$\.?(.*?)`$", message)
    if not found:
        return f"{name}: {message}"
    path = tuple(part for part in re.split(r"[.\[\]]+", found.group(1)) if part and part != "...")
    what = message[: found.start()]
    return f"{name}{_at(text, path)}: {found.group(1)}: {what}"


def _at(text: str, path: tuple[str, ...]) -> str:
    """`:LINE` of a key, as near as the text tells: its table's line if the key has none."""
    table: tuple[str, ...] = ()
    best = 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if header := re.match(r"\[+\s*([^\]]+?)\s*\]+", stripped):
            table = tuple(part.strip().strip("\"'") for part in header.group(1).split("."))
            if table[: len(path)] == path:
                return f":{number}"
            if path[: len(table)] == table:
                best = number
        elif match := re.match(r"([A-Za-z0-9_.\-\"']+)\s*=", stripped):
            key = (*table, *(part.strip("\"'") for part in match.group(1).split(".")))
            if key == path[: len(key)]:
                return f":{number}"
    return f":{best}" if best else ""
