"""Every error that Pointsman raises.

    PointsmanError
    ├── ConfigError              pointsman.toml, the environment or a flag is wrong
    ├── MissingExtra             an optional dependency is not installed
    ├── RequestError             the caller's request is wrong
    │   ├── UnsupportedParameter the chosen model's wire format cannot say it
    │   ├── UnknownModel         no such provider, route, alias or model
    │   ├── BodyTooLarge         over the configured limit
    │   ├── BlockedByGuard       a guard of the configuration refuses it
    │   └── AuthenticationFailed the gateway's own key is missing or wrong
    ├── ProviderError            an upstream answered with an error
    │   ├── MissingKey           no key for the provider
    │   ├── ProviderUnreachable  no connection, or it broke before an answer
    │   ├── ProviderTimeout      no answer in time
    │   ├── BadAnswer            an answer that breaks the provider's own wire format
    │   └── StreamCut            a stream that ended before its end
    ├── RouteError               a route has no candidate that can serve the request
    ├── LocalError               a local model could not be fetched, loaded or run
    │   └── NoLocalModel         there is none of that name on this machine
    ├── DistillError
    └── TrustError
        ├── LockMismatch
        ├── NotVerified
        └── Quarantined

Each class fixes a stable `code`, an HTTP `status`, a process `exit_code` and whether the same
request may be tried again elsewhere (`retryable`). A message says what failed, on what, and what
to do next, and never holds a key.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AuthenticationFailed",
    "BadAnswer",
    "BlockedByGuard",
    "BodyTooLarge",
    "ConfigError",
    "DistillError",
    "LocalError",
    "LockMismatch",
    "MissingExtra",
    "MissingKey",
    "NoLocalModel",
    "NotVerified",
    "PointsmanError",
    "ProviderError",
    "ProviderTimeout",
    "ProviderUnreachable",
    "Quarantined",
    "RequestError",
    "RouteError",
    "StreamCut",
    "TrustError",
    "UnknownModel",
    "UnsupportedParameter",
]


class PointsmanError(Exception):
    """The root: catch it to catch all that Pointsman raises on purpose."""

    code: ClassVar[str] = "internal_error"
    status: int = 500
    exit_code: ClassVar[int] = 1
    retryable: bool = False

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class ConfigError(PointsmanError):
    """The configuration cannot be used; the message names the file, key and line."""

    code = "config_invalid"
    exit_code = 2


class MissingExtra(PointsmanError):
    """An optional dependency is needed; the message holds the exact install line."""

    code = "extra_missing"
    status = 501
    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'pointsman[{extra}]'")
        self.extra = extra


class RequestError(PointsmanError):
    """The request is wrong: not JSON, a wrong type, a value out of range."""

    code = "invalid_request"
    status = 400
    exit_code = 2


class UnsupportedParameter(RequestError):
    """The target cannot say this parameter, and dropping it would change the answer."""

    code = "unsupported_parameter"

    def __init__(self, param: str, target: str, hint: str = "") -> None:
        tail = f"; {hint}" if hint else ": leave it out or choose another model"
        super().__init__(f"'{param}' cannot be expressed for {target}{tail}", param=param)


class UnknownModel(RequestError):
    """No such provider, route, alias or model; the message names the nearest."""

    code = "model_not_found"
    status = 404


class BodyTooLarge(RequestError):
    """The body is over `server.max_body_bytes`."""

    code = "body_too_large"
    status = 413


class BlockedByGuard(RequestError):
    """A guard of the configuration refuses the request, for a label or a trigger.

    `label` and `trigger` are both None where it could not look.
    """

    code = "blocked_by_guard"
    exit_code = 1

    def __init__(
        self, message: str, *, guard: str, label: str | None = None, trigger: str | None = None
    ) -> None:
        super().__init__(message)
        self.guard = guard
        self.label = label
        self.trigger = trigger


class AuthenticationFailed(RequestError):
    """The gateway's own key is missing or wrong."""

    code = "invalid_api_key"
    status = 401
    exit_code = 1


class ProviderError(PointsmanError):
    """An upstream refused or failed.

    `status` is the upstream's own HTTP status where it gave one. `kind` is the upstream's word
    for the error (OpenAI's `code` or `type`, Anthropic's `type`, Google's `status`).
    `retryable` is true for 408, 409, 429 and 5xx, by status and never by message text.
    """

    code = "provider_error"

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        model: str = "",
        status: int = 502,
        kind: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.provider = provider
        self.model = model
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.retryable = status in (408, 409, 429) or status >= 500


class MissingKey(ProviderError):
    """No key for the provider; the message names the environment variable to set."""

    code = "provider_key_missing"

    def __init__(self, provider: str, api_key_env: str | None) -> None:
        name = api_key_env or f"providers.{provider}.api_key_env"
        super().__init__(
            f"no key for provider '{provider}': set {name}", provider=provider, status=401
        )


class ProviderUnreachable(ProviderError):
    """No connection to the provider, or it broke before an answer came."""

    code = "provider_unreachable"

    def __init__(self, message: str, *, provider: str, model: str = "") -> None:
        super().__init__(message, provider=provider, model=model, status=502)


class ProviderTimeout(ProviderError):
    """The provider did not answer in the time allowed."""

    code = "provider_timeout"

    def __init__(self, message: str, *, provider: str, model: str = "") -> None:
        super().__init__(message, provider=provider, model=model, status=504)


class BadAnswer(ProviderError):
    """The provider's answer breaks its own wire format."""

    code = "provider_bad_answer"

    def __init__(self, message: str, *, provider: str, model: str = "") -> None:
        super().__init__(message, provider=provider, model=model, status=502)


class StreamCut(ProviderError):
    """The stream ended before the event that ends it; what came before it is incomplete."""

    code = "stream_cut"

    def __init__(self, message: str, *, provider: str, model: str = "") -> None:
        super().__init__(message, provider=provider, model=model, status=502)


class RouteError(PointsmanError):
    """A route has no candidate that can serve the request; the message says why for each."""

    code = "route_exhausted"
    status = 503


class LocalError(PointsmanError):
    """A local model could not be fetched, checked, loaded or run."""

    code = "local_error"
    status = 503


class NoLocalModel(LocalError):
    """No model of that name is on this machine; the message names the nearest."""

    code = "local_model_not_found"
    status = 404
    exit_code = 2


class DistillError(PointsmanError):
    """A classifier could not be trained, exported or run."""

    code = "distill_error"
    exit_code = 2


class TrustError(PointsmanError):
    """A file may not be used: it changed, or it could not be checked."""

    code = "trust_error"
    status = 403


class LockMismatch(TrustError):
    """A file is not what it was when it was locked or pulled; the message holds both hashes."""

    code = "lock_mismatch"


class NotVerified(TrustError):
    """A model has no verdict that the policy accepts, and `trust.mode` is "enforce"."""

    code = "not_verified"


class Quarantined(TrustError):
    """A model is in quarantine: somebody set it aside."""

    code = "quarantined"
