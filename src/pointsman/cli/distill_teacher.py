"""A teacher that is asked through the client: any ref that the client takes."""

from __future__ import annotations

import click
import msgspec

from pointsman.client import AsyncClient
from pointsman.config import Config, ProviderConfig
from pointsman.distill.teacher.asking import Answer, Price
from pointsman.distill.teacher.budget import Limits
from pointsman.errors import MissingKey, PointsmanError, ProviderError, UnsupportedParameter
from pointsman.options import ChatOptions
from pointsman.providers.binding import configured_names, merge_row
from pointsman.resolve import Candidate, Plan
from pointsman.types import Chat, Completion, ModelCard, Refusal

__all__ = ["ClientTeacher", "as_answer", "check_price", "prepared"]

SMALL_CONTEXT_TOKENS = 8_192
# The providers whose chats carry the probabilities of tokens, by dialect.
_WITH_LOGPROBS = frozenset({"openai", "gemini"})


def prepared(config: Config, ref: str) -> Config:
    """Give the configuration with the client's own retries off for the teacher's provider.

    The one who asks tries again himself: he knows what a try may cost, and has to see a rate limit
    to ask less at a time.
    """
    alias = config.models.get(ref)
    provider = (alias.ref if alias else ref).partition(":")[0]
    if provider in configured_names(config) or provider in config.providers:
        own = config.providers.get(provider, ProviderConfig())
        providers = {**config.providers, provider: msgspec.structs.replace(own, retries=0)}
        return msgspec.structs.replace(config, providers=providers)
    return config


def check_price(ref: str, limits: Limits, price: Price | None, *, sure: bool) -> None:
    """Make sure that nobody spends what they cannot know, unless they are `sure`."""
    if price is not None:
        return
    if limits.max_usd is not None:
        raise click.UsageError(
            f"the price of {ref} is not known, so --max-usd cannot be held: give --max-calls instead,"
            " or set the price in [models.NAME] of pointsman.toml"
        )
    if limits.max_calls is None and not sure:
        raise click.UsageError(
            f"the price of {ref} is not known: give --max-calls, set the price in [models.NAME] of"
            " pointsman.toml, or add --yes"
        )


class ClientTeacher:
    """A model behind the client, seen as a `pointsman.distill.teacher.asking.Teacher`.

    Raises:
        UnknownModel: no such model, or `auto` has no candidates.
        MissingKey: the provider's key is not set.
    """

    def __init__(self, client: AsyncClient, config: Config, plan: Plan) -> None:
        self.ref = plan.ref
        self._client = client
        cards = [candidate.card for candidate in (*plan.candidates, *plan.fallback)]
        self.price = _dearest(cards)
        contexts = [card.context_tokens for card in cards if card.context_tokens]
        self._context = min(contexts, default=None)
        self.json_schema = all(card.json_schema or card.local for card in cards)
        self.logprobs = all(_gives_logprobs(each, config) for each in plan.candidates)
        if plan.route is None:
            _need_key(plan.candidates[0], config)

    @property
    def small(self) -> bool:
        """Whether there is room for few rows only in one question."""
        return self._context is not None and self._context < SMALL_CONTEXT_TOKENS

    def _limited(self, max_tokens: int) -> int:
        """Leave half of a small context to the prompt."""
        if self._context is None:
            return max_tokens
        return min(max_tokens, max(self._context // 2, 1))

    async def ask(self, chat: Chat) -> Answer:
        """Give the answer to a chat; see `Teacher.ask`."""
        options: ChatOptions = {}
        if chat.max_tokens is not None:
            options["max_tokens"] = self._limited(chat.max_tokens)
        if chat.response_format is not None and self.json_schema:
            options["response_format"] = chat.response_format
        if chat.logprobs and self.logprobs:
            options["logprobs"] = True
            if chat.top_logprobs is not None:
                options["top_logprobs"] = chat.top_logprobs
        try:
            answer = await self._client.chat(self.ref, chat.messages, **options)
        except (UnsupportedParameter, ProviderError) as error:
            if not self._can_do_without(error, options):
                raise
            return await self.ask(chat)
        return as_answer(answer.completion, None, answer.cost_usd)

    def _can_do_without(self, error: PointsmanError, options: ChatOptions) -> bool:
        """Whether it was an option of ours that was turned down; it is then not given again.

        The tables say what a provider can do, not what each of its models can (a model that
        reasons gives no probabilities).
        """
        param = error.param or ""
        if isinstance(error, ProviderError) and error.status not in (400, 422):
            return False
        if "response_format" in options and param.startswith(("response_format", "output_config")):
            self.json_schema = False  # From here on the prompt alone asks for the form.
            return True
        if "logprobs" in options and (param.endswith("logprobs") or "logprobs" in error.message):
            self.logprobs = False
            return True
        return False


def as_answer(
    completion: Completion, card: ModelCard | None, cost_usd: float | None = None
) -> Answer:
    """Give a completion as the teacher's answer; its cost by the card where one is given."""
    first = completion.choices[0] if completion.choices else None
    if card is not None and completion.usage is not None:
        cost_usd = card.cost_usd(completion.usage)
    return Answer(
        text=completion.text,
        usage=completion.usage,
        cost_usd=cost_usd,
        logprobs=first.logprobs if first else None,
        cut=first is not None and first.finish_reason == "length",
        refused=first is not None
        and (
            first.finish_reason == "content_filter"
            or any(isinstance(part, Refusal) for part in first.parts)
        ),
    )


def _dearest(cards: list[ModelCard]) -> Price | None:
    """The highest prices among what may answer; None where one is unknown."""
    into: list[float] = []
    out: list[float] = []
    for card in cards:
        if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
            return None
        into.append(card.input_usd_per_mtok)
        out.append(card.output_usd_per_mtok)
    return Price(max(into, default=0.0), max(out, default=0.0))


def _gives_logprobs(candidate: Candidate, config: Config) -> bool:
    if candidate.local:
        return True
    row = merge_row(candidate.provider, config.providers.get(candidate.provider))
    return row.dialect in _WITH_LOGPROBS


def _need_key(candidate: Candidate, config: Config) -> None:
    if candidate.local:
        return
    row = merge_row(candidate.provider, config.providers.get(candidate.provider))
    if row.key_optional or row.auth == "none" or any(config.secret(env) for env in row.api_key_env):
        return
    raise MissingKey(row.name, row.api_key_env[0] if row.api_key_env else None)
