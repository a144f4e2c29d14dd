"""The gateway as one ASGI callable: a table of paths, and errors in the caller's own dialect.

There is no middleware: what each request needs is made once at start-up, and a request goes
straight to its handler.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from pointsman.config import LOOPBACK_HOSTS, Config
from pointsman.dialects import get_client_dialect
from pointsman.door import Door
from pointsman.errors import (
    AuthenticationFailed,
    ConfigError,
    PointsmanError,
    ProviderError,
    RequestError,
)
from pointsman.gateway.exchange import ClientGone, Exchange, Headers, Receive, Scope, Send
from pointsman.gateway.meter import Meter
from pointsman.gateway.origins import Origins
from pointsman.gateway.pulls import Pulls
from pointsman.gateway.relay import Relay
from pointsman.gateway.routes import (
    anthropic,
    classify,
    console,
    curve,
    feedback,
    gemini,
    llama,
    models,
    ollama_chat,
    ollama_create,
    ollama_embed,
    ollama_models,
    ollama_store,
    openai,
    own,
    route_list,
    trust,
)
from pointsman.gateway.wire import decode_body, shaped
from pointsman.local.verification import check_pulled

if TYPE_CHECKING:
    from pointsman.gateway.canaries import Canaries

__all__ = ["Gateway", "create_app"]

T = TypeVar("T")
Handler: TypeAlias = Callable[["Gateway", Exchange], Awaitable[None]]
_log = logging.getLogger("pointsman.gateway")

_EXACT: dict[tuple[str, str], Handler] = {
    ("POST", "/v1/chat/completions"): openai.chat_completions,
    ("POST", "/v1/embeddings"): openai.embeddings,
    ("POST", "/v1/completions"): openai.completions,
    ("POST", "/v1/responses"): openai.responses,
    ("POST", "/v1/rerank"): openai.rerank,
    ("POST", "/rerank"): openai.rerank,
    ("POST", "/completion"): llama.completion,
    ("POST", "/infill"): llama.infill,
    ("POST", "/tokenize"): llama.tokenize,
    ("POST", "/detokenize"): llama.detokenize,
    ("POST", "/apply-template"): llama.apply_template,
    ("GET", "/props"): llama.props,
    ("POST", "/v1/messages"): anthropic.messages,
    ("POST", "/v1/messages/count_tokens"): anthropic.count_tokens,
    ("GET", "/v1/models"): own.list_models,
    ("GET", "/v1beta/models"): own.list_models,
    ("GET", "/healthz"): own.health,
    ("GET", "/readyz"): own.ready,
    ("GET", "/metrics"): own.metrics,
    ("GET", "/"): ollama_models.root,
    ("HEAD", "/"): ollama_models.root,
    ("GET", "/pointsman/v1/routes"): route_list.list_routes,
    ("POST", "/pointsman/v1/routes/explain"): own.explain,
    ("POST", "/pointsman/v1/routes/feedback"): feedback.feedback,
    ("POST", "/pointsman/v1/classify"): classify.classify,
    ("GET", "/pointsman/v1/classifiers"): classify.list_classifiers,
    ("GET", "/pointsman/v1/models"): models.list_local,
    ("POST", "/pointsman/v1/models/load"): models.load,
    ("POST", "/pointsman/v1/models/unload"): models.unload,
    ("POST", "/pointsman/v1/models/pull"): models.pull,
    ("GET", "/pointsman/v1/trust"): trust.standings,
    ("POST", "/pointsman/v1/trust/verify"): trust.verify,
    ("POST", "/pointsman/v1/trust/quarantine"): trust.quarantine,
    ("POST", "/pointsman/v1/trust/release"): trust.release,
    ("POST", "/api/chat"): ollama_chat.chat,
    ("POST", "/api/generate"): ollama_chat.generate,
    ("POST", "/api/embed"): ollama_embed.embed,
    ("POST", "/api/embeddings"): ollama_embed.embeddings,
    ("GET", "/api/version"): ollama_models.version,
    ("HEAD", "/api/version"): ollama_models.version,
    ("GET", "/api/tags"): ollama_models.tags,
    ("HEAD", "/api/tags"): ollama_models.tags,
    ("GET", "/api/ps"): ollama_models.ps,
    ("POST", "/api/show"): ollama_models.show,
    ("POST", "/api/pull"): ollama_create.pull,
    ("POST", "/api/create"): ollama_create.create,
    ("POST", "/api/copy"): ollama_store.copy,
    ("DELETE", "/api/delete"): ollama_store.delete,
    ("POST", "/api/push"): ollama_store.not_here,
    ("POST", "/api/me"): ollama_store.not_here,
    ("POST", "/api/signin"): ollama_store.not_here,
    ("POST", "/api/signout"): ollama_store.not_here,
    ("POST", "/v1/systemone"): ollama_store.not_here,
}
_PREFIX: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1beta/models/", gemini.models_verb),
    # Google's client of 2026 asks for v1 by default.
    ("POST", "/v1/models/", gemini.models_verb),
    ("GET", "/v1beta/models/", own.show_model),
    ("GET", "/v1/models/", own.show_model),
    ("DELETE", models.PREFIX, models.remove),
    ("GET", curve.PREFIX, curve.curve),
    ("GET", console.PREFIX, console.asset),
    ("HEAD", console.PREFIX, console.asset),
    ("HEAD", "/api/blobs/", ollama_store.has_blob),
    ("POST", "/api/blobs/", ollama_store.write_blob),
    ("DELETE", "/api/user/keys/", ollama_store.not_here),
    ("POST", "/api/experimental/", ollama_store.not_here),
)
_OPEN_PATHS = frozenset(("/healthz", "/readyz", "/"))


class Gateway:
    """The ASGI application. Its state is the door and the counters, nothing that must survive."""

    def __init__(self, config: Config, door: Door | None = None) -> None:
        self.config = config
        self.door = door or Door(config)
        self.meter = Meter()
        self.relay = Relay(self.door, self.meter)
        self.door.classifiers.load_all()
        self.door.cross.spent = self.meter.spent
        store = self.door.local.store
        self.pulls = Pulls(store, config.secrets, lambda model: check_pulled(model, store, config))
        self.canaries: Canaries | None = None
        if config.trust.canary and config.trust.mode == "off":
            _log.warning('the canaries of trust.canary rest, since trust.mode is "off"')
        elif config.trust.canary:
            from pointsman.gateway import canaries  # It brings the whole probe.

            self.canaries = canaries.Canaries(self.door, self.meter.spent)
        self.ready = False
        self.max_body_bytes = config.server.max_body_bytes
        self._origins = Origins(config.server.allowed_origins)
        self._admin_key = config.secret(config.server.admin_key_env)
        if config.server.admin_key_env and self._admin_key is None:
            raise ConfigError(f"server.admin_key_env: {config.server.admin_key_env} is not set")
        if config.server.host not in LOOPBACK_HOSTS and self._admin_key is None:
            raise ConfigError(
                f"server.host is {config.server.host}, which others can reach: set"
                " server.admin_key_env to the name of a variable that holds a key"
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await self._serve(Exchange(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        ahead: list[asyncio.Task[object]] = []
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.ready = True
                if self.config.routes:
                    # A few hundred milliseconds that the first routed request should not pay.
                    ahead.append(asyncio.create_task(asyncio.to_thread(self.door.warm)))
                ahead.append(asyncio.create_task(self.door.local.prepare()))
                if self.canaries is not None:
                    self.canaries.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.ready = False
                if self.canaries is not None:
                    await self.canaries.aclose()
                await asyncio.gather(*ahead)
                await self.door.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, exchange: Exchange) -> None:
        try:
            if exchange.origin is not None:
                if exchange.method == "OPTIONS":
                    await self._origins.preflight(exchange, exchange.origin)
                    return
                self._origins.check(exchange, exchange.origin)
            handler = _find(exchange.method, exchange.path)
            if self._admin_key is not None and not _is_open(exchange.path):
                self._authenticate(exchange, self._admin_key)
            await handler(self, exchange)
        except ClientGone:
            pass
        except asyncio.CancelledError:
            if not exchange.absorb_cancel():
                raise
        except PointsmanError as error:
            await self._fail(exchange, error)
        except Exception:
            # The boundary of the server: a fault of ours ends this request, not the process.
            _log.exception("request %s failed inside the gateway", exchange.request_id)
            await self._fail(
                exchange,
                PointsmanError(f"the gateway failed; its log names request {exchange.request_id}"),
            )
        finally:
            exchange.unwatch()

    async def _fail(self, exchange: Exchange, error: PointsmanError) -> None:
        if isinstance(error, ProviderError):
            self.meter.failed(error.provider, error.model)
        else:
            self.meter.failed("", "")
        if exchange.started:
            # The head is out and the handler could not end its stream: cutting the connection is
            # the only honest end left.
            raise error
        status, body = get_client_dialect(exchange.dialect()).write_error(error)
        headers: Headers = [(b"x-pointsman-error", error.code.encode())]
        if isinstance(error, ProviderError) and error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
        await exchange.respond_json(status, body, headers)

    def _authenticate(self, exchange: Exchange, admin_key: str) -> None:
        given = (
            (exchange.header(b"authorization") or "").removeprefix("Bearer ").strip()
            or exchange.header(b"x-api-key")
            or exchange.header(b"x-goog-api-key")
            or exchange.query().get("key")
            or ""
        )
        if not hmac.compare_digest(given.encode(), admin_key.encode()):
            raise AuthenticationFailed(
                "this gateway asks for a key: send it as 'authorization: Bearer …',"
                " 'x-api-key' or 'x-goog-api-key'"
            )

    async def asked(self, exchange: Exchange, kind: type[T]) -> T:
        """Give the body of a request to a path of ours, as the value that the path takes.

        Raises:
            BodyTooLarge: it is larger than a body may be.
            RequestError: it is no JSON object, or not of that shape.
        """
        body = decode_body(await exchange.body(self.max_body_bytes))
        self.begin(exchange)
        return shaped(body, kind)

    def begin(self, exchange: Exchange) -> float:
        """Watch for the client's leaving and give the time at which the work began."""
        exchange.watch()
        return time.perf_counter()


def create_app(config: Config) -> Gateway:
    """Give the gateway for a configuration, as an ASGI application.

    Raises:
        ConfigError: it would listen beyond loopback without a key, the key is not set, or a
            classifier of the configuration cannot be used.
        MissingExtra: there are classifiers, and onnxruntime is not installed.
    """
    return Gateway(config)


def _is_open(path: str) -> bool:
    """Whether a path needs no key: it tells nothing that is not in the package."""
    return path in _OPEN_PATHS or path.startswith(console.PREFIX)


def _find(method: str, path: str) -> Handler:
    handler = _EXACT.get((method, path))
    if handler is not None:
        return handler
    for verb, prefix, prefixed in _PREFIX:
        if verb == method and path.startswith(prefix) and len(path) > len(prefix):
            return prefixed
    allowed = sorted({verb for verb, known in _EXACT if known == path})
    if allowed:
        raise _NoMethod(f"{method} is not for {path}; use {' or '.join(allowed)}")
    raise _NoPath(f"no such path: {method} {path}")


class _NoPath(RequestError):
    code = "path_not_found"
    status = 404


class _NoMethod(RequestError):
    code = "method_not_allowed"
    status = 405
