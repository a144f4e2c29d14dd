"""From a ref to what may serve it. Pure: it reads values, and never the network."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from pointsman.config import Config, ModelConfig, RouteConfig, RuleConfig
from pointsman.errors import LocalError, RequestError, UnknownModel
from pointsman.local.names import match_name
from pointsman.providers.binding import configured_names, merge_row
from pointsman.providers.prices import default_models, model_card, refs_of_model
from pointsman.providers.registry import all_providers
from pointsman.router.conditions import When
from pointsman.types import ModelCard

__all__ = ["Candidate", "Plan", "PolicyName", "Resolver", "Rule"]

PolicyName: TypeAlias = Literal["classifier", "order", "cascade", "consistency", "judge", "bandit"]

_log = logging.getLogger("pointsman")

MAX_REF_CHARS = 512
MAX_CACHED_PLANS = 1024


def _no_spec() -> RouteConfig:
    return RouteConfig(candidates=[])


class Candidate(Struct, frozen=True):
    """One model that may serve a request; `local` models are run here."""

    ref: str
    provider: str
    model: str
    card: ModelCard

    @property
    def local(self) -> bool:
        """Whether the model is run on this machine."""
        return self.provider == "local"


class Rule(Struct, frozen=True):
    """Who the candidates are, or where the dial stands, where conditions hold and a classifier (if there
    is one) gives one of the labels; `number` is from 1.
    """

    number: int
    classifier: str | None
    labels: frozenset[str]
    candidates: tuple[Candidate, ...]
    when: When = When()
    dial: float | None = None


class Plan(Struct, frozen=True):
    """What a ref means. `route` is None for a single model, which is then the only candidate.

    `asked_dial` says that the ref itself set the dial. `variant` is the other way of an A/B; `judge`
    the model that judges answers. `spec` is the route's configuration. `gone` are the refs of the route
    that mean nothing now: a local model that was removed, say.
    """

    ref: str
    candidates: tuple[Candidate, ...]
    route: str | None = None
    policy: PolicyName = "order"
    dial: float = 0.5
    fallback: tuple[Candidate, ...] = ()
    has_local: bool = False
    rules: tuple[Rule, ...] = ()
    spec: RouteConfig = field(default_factory=_no_spec)
    asked_dial: bool = False
    variant: Plan | None = None
    judge: Candidate | None = None
    gone: tuple[str, ...] = ()

    def everyone(self) -> Iterator[Candidate]:
        """Give all that may come to be asked."""
        yield from self.candidates
        yield from self.fallback
        for rule in self.rules:
            yield from rule.candidates
        if self.variant is not None:
            yield from self.variant.candidates
        if self.judge is not None:
            yield self.judge


class Resolver:
    """Resolves refs against one configuration; plans are cached, since refs repeat.

    `local_names` gives the names of the models that can be run here, `local_card` the facts of one;
    what `local_stamp` gives is another once any of that has changed.
    """

    def __init__(
        self,
        config: Config,
        local_names: Callable[[], Iterable[str]],
        local_card: Callable[[str], ModelCard],
        local_stamp: Callable[[], int] = lambda: 0,
    ) -> None:
        self._config = config
        self._local_names = local_names
        self._local_card = local_card
        self._local_stamp = local_stamp
        self._stamp = 0
        self._plans: dict[str, Plan] = {}
        self._told: set[str] = set()

    def resolve(self, ref: str) -> Plan:
        """Give the plan for a ref.

        Raises:
            UnknownModel: no such provider, route, alias or local model; names the nearest three.
            RequestError: no ref at all, or a dial outside 0–1.
        """
        plan = self._plans.get(ref)
        if plan is not None and plan.has_local and self._stamp != self._local_stamp():
            self._plans.clear()
            plan = None
        if plan is None:
            if not self._plans:
                self._stamp = self._local_stamp()
            plan = self._resolve(ref)
            if plan.route is not None and plan.route not in self._config.routes:
                return plan  # What is found by itself may be other models the next time.
            if len(self._plans) >= MAX_CACHED_PLANS:
                self._plans.clear()
            if plan.gone or any(each.local for each in plan.everyone()):
                plan = msgspec.structs.replace(plan, has_local=True)
            self._plans[ref] = plan
        return plan

    def known_refs(self) -> list[str]:
        """Aliases, routes and local models, by the names a client may use."""
        return [*self._config.models, *self.routes(), *(f"local:{n}" for n in self._local_names())]

    def routes(self) -> list[str]:
        """The names of all routes; `auto` is always one."""
        return list(dict.fromkeys(["auto", *self._config.routes]))

    def candidate(self, ref: str) -> Candidate:
        """Give the one model that a ref names; aliases are followed, routes are not taken.

        Raises:
            UnknownModel: as `resolve`.
        """
        own = self._config.models.get(ref)
        provider, model = self._split(own.ref if own else ref)
        card = self._card(provider, model)
        return Candidate(ref, provider, model, _with_facts(card, own) if own else card)

    def _resolve(self, ref: str) -> Plan:
        if not ref or len(ref) > MAX_REF_CHARS:
            raise RequestError(
                "'model' must be a ref such as 'openai:gpt-5-mini' or 'auto'", param="model"
            )
        if ref in self._config.models:
            return Plan(ref, (self.candidate(ref),))
        name, colon, rest = ref.partition(":")
        if name == "auto" or name in self._config.routes:
            return self._route(ref, name, _dial(ref, rest) if colon else None)
        return Plan(ref, (self.candidate(ref),))

    def _route(self, ref: str, name: str, dial: float | None) -> Plan:
        spec = self._config.routes.get(name)
        if spec is None:
            found = self._found()
            return Plan(
                ref,
                found,
                name,
                "classifier",
                0.5 if dial is None else dial,
                asked_dial=dial is not None,
            )
        gone: list[str] = []
        fallback = self._candidates(spec.fallback, gone)
        candidates = self._candidates(spec.candidates, gone)
        if not candidates:
            if not fallback:
                self.candidate(spec.candidates[0])  # Says what is wrong with it, by raising.
            candidates = fallback
        rules = (self._rule(number, rule, gone) for number, rule in enumerate(spec.rules, 1))
        judge = self._candidates([spec.judge] if spec.judge else [], gone)
        plan = Plan(
            ref,
            candidates,
            name,
            spec.policy,
            spec.dial if dial is None else dial,
            fallback,
            # A rule that has lost all its candidates, and sets no dial, says nothing any more.
            rules=tuple(rule for rule in rules if rule.candidates or rule.dial is not None),
            spec=spec,
            asked_dial=dial is not None,
            judge=judge[0] if judge else None,
            gone=tuple(dict.fromkeys(gone)),
        )
        return self._with_variant(plan, spec)

    def _with_variant(self, plan: Plan, spec: RouteConfig) -> Plan:
        other = spec.ab
        if other is None:
            return plan
        candidates = self._candidates(other.candidates, []) or plan.candidates
        dial = plan.dial if plan.asked_dial or other.dial is None else other.dial
        settled = spec
        if other.dial is not None:
            settled = msgspec.structs.replace(spec, quality=None, dial=other.dial)
        variant = msgspec.structs.replace(
            plan,
            candidates=candidates,
            policy=other.policy or plan.policy,
            dial=dial,
            spec=settled,
        )
        return msgspec.structs.replace(plan, variant=variant)

    def _candidates(self, refs: Iterable[str], gone: list[str]) -> tuple[Candidate, ...]:
        """Those of the refs that mean something now; the others are noted."""
        found = []
        for ref in refs:
            try:
                found.append(self.candidate(ref))
            except (UnknownModel, LocalError) as error:
                gone.append(ref)
                if ref not in self._told:
                    self._told.add(ref)
                    _log.warning("a route goes on without '%s': %s", ref, error.message)
        return tuple(found)

    def _rule(self, number: int, rule: RuleConfig, gone: list[str]) -> Rule:
        when = rule.when
        hours = when.hours
        return Rule(
            number,
            rule.classifier,
            frozenset(rule.labels),
            self._candidates(rule.candidates, gone),
            When(
                tags=tuple(when.tag),
                min_chars=when.min_chars,
                max_chars=when.max_chars,
                languages=tuple(when.language),
                hours=(hours[0], hours[1]) if hours else None,
            ),
            rule.dial,
        )

    def _found(self) -> tuple[Candidate, ...]:
        """The candidates of `auto` with nothing configured: local models, and a few well-known
        models of each provider whose key is there."""
        refs = [f"local:{name}" for name in self._local_names()]
        for provider in configured_names(self._config):
            refs += [f"{provider}:{model}" for model in default_models(provider)]
        if not refs:
            raise UnknownModel(
                "'auto' has no candidates: set a provider's key in the environment, pull a model"
                " ('pointsman pull smollm2'), or list them in [routes.auto]",
                param="model",
            )
        return tuple(self.candidate(ref) for ref in refs)

    def _split(self, ref: str) -> tuple[str, str]:
        provider, colon, model = ref.partition(":")
        if colon and model and self._is_provider(provider):
            return provider, model
        slash_provider, slash, slash_model = ref.partition("/")
        if slash and slash_model and self._is_provider(slash_provider):
            return slash_provider, slash_model
        raise self._unknown(ref)

    def _is_provider(self, name: str) -> bool:
        return name == "local" or name in self._config.providers or name in all_providers()

    def _card(self, provider: str, model: str) -> ModelCard:
        if provider == "local":
            if match_name(model, list(self._local_names())) is None:
                raise self._unknown(f"local:{model}")
            return self._local_card(model)
        own = self._config.providers.get(provider)
        card = model_card(merge_row(provider, own), model)
        if own is None or own.region is None:
            return card
        return msgspec.structs.replace(card, region=own.region)

    def _unknown(self, ref: str) -> UnknownModel:
        pool = [*self.known_refs(), *refs_of_model(ref)]
        near = list(
            dict.fromkeys([*refs_of_model(ref), *difflib.get_close_matches(ref, pool, 3, 0.3)])
        )
        head = ref.partition(":")[0].partition("/")[0]
        if len(near) < 3:
            names = [*self._config.providers, *all_providers()]
            tail = ref[len(head) :]
            near += [name + tail for name in difflib.get_close_matches(head, names, 3, 0.5)]
        near = near[:3] or ["auto"]
        return UnknownModel(
            f"no model '{ref}': a ref is provider:model, local:name, an alias or a route;"
            f" nearest: {', '.join(near)}",
            param="model",
        )


def _dial(ref: str, text: str) -> float:
    try:
        dial = float(text)
    except ValueError:
        dial = -1.0
    if not 0 <= dial <= 1:
        raise RequestError(f"'{ref}': the dial is a number from 0 to 1", param="model")
    return dial


def _with_facts(card: ModelCard, own: ModelConfig) -> ModelCard:
    changes: dict[str, object] = {}
    if own.price is not None:
        changes |= {
            "input_usd_per_mtok": own.price.input,
            "output_usd_per_mtok": own.price.output,
            "cached_usd_per_mtok": own.price.cached,
        }
    if own.context is not None:
        changes["context_tokens"] = own.context
    if own.abilities is not None:
        changes |= {key: key in own.abilities for key in ("vision", "tools", "json_schema")}
    if own.region is not None:
        changes["region"] = own.region
    return msgspec.structs.replace(card, **changes)
