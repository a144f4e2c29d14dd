"""Lets the guards look at a request before it goes on, and puts into it what they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pointsman.carry import Spent
from pointsman.classifiers import plain
from pointsman.dialects.ollama import OLLAMA
from pointsman.errors import BlockedByGuard, RequestError
from pointsman.gateway.ambiguity import refuse_ambiguous
from pointsman.gateway.exchange import Exchange
from pointsman.gateway.passage import passed_texts, with_suffix
from pointsman.gateway.spoken import body_said, splice
from pointsman.gateway.wire import decode_body
from pointsman.guards import Guards, Strike, user_texts
from pointsman.said import Said, chat_said, with_texts

if TYPE_CHECKING:
    from pointsman.gateway.relay import Asked

__all__ = ["guard_body", "guard_chat"]

# The suffix of a prompt that no template is applied to stands in the body alone.
_SUFFIX = ("suffix",)


async def guard_chat(guards: Guards, exchange: Exchange, asked: Asked) -> tuple[Spent, ...]:
    """Let the guards look at a request; what they change is then in it, and the answer names those that
    struck. Gives what asking second models took.

    Raises:
        BlockedByGuard: one of them refuses it.
        RequestError: the body can be read in two ways.
    """
    refuse_ambiguous(asked.body)
    tree = decode_body(asked.body)
    texts: list[str] | None = []
    if guards.reads_texts:
        if asked.passage is not None:
            texts = passed_texts(tree)
        else:
            texts = user_texts(asked.chat())
            if asked.own_form is not None:
                texts = with_suffix(texts, tree)
    # Ollama's bodies never go on as they are: what goes on is the chat.
    rewritten = asked.dialect is OLLAMA
    pieces: list[Said] | None = []
    if guards.reads_pieces:
        pieces = _chat_pieces(asked, tree) if rewritten else _pieces(tree)
    try:
        checked = await guards.check(asked.ref, texts, pieces)
    except BlockedByGuard as error:
        _name_refusal(exchange, error)
        raise
    _name_strikes(exchange, checked.strikes)
    if checked.texts and rewritten:
        own = {place: text for place, text in checked.texts.items() if place != _SUFFIX}
        asked.replace_chat(with_texts(asked.chat(), own))
        if asked.own_form is not None:
            asked.own_form = asked.own_form.with_clean(checked.clean)
    elif checked.texts:
        asked.replace_body(splice(asked.body, checked.texts))
    return checked.spent


async def guard_body(guards: Guards, exchange: Exchange, body: bytes, ref: str) -> bytes:
    """Give the body of a request that is no conversation (texts to embed) as the guards that go by
    triggers let it through.

    Raises:
        BlockedByGuard, RequestError: as `guard_chat`.
    """
    if not guards.reads_pieces:
        return body
    refuse_ambiguous(body)
    try:
        checked = await guards.check_pieces(ref, _pieces(decode_body(body)))
    except BlockedByGuard as error:
        _name_refusal(exchange, error)
        raise
    _name_strikes(exchange, checked.strikes)
    return splice(body, checked.texts) if checked.texts else body


def _pieces(tree: dict[str, Any]) -> list[Said] | None:
    try:
        return body_said(tree)
    except ValueError as error:
        raise RequestError(f"the body cannot be looked at: {error}") from error


def _chat_pieces(asked: Asked, tree: dict[str, Any]) -> list[Said]:
    pieces = chat_said(asked.chat())
    suffix = tree.get("suffix")
    if asked.own_form is not None and isinstance(suffix, str) and suffix:
        turn = max((piece.turn for piece in pieces if piece.role == "user"), default=1)
        pieces.append(Said("user", turn, suffix, _SUFFIX))
    return pieces


def _name_refusal(exchange: Exchange, error: BlockedByGuard) -> None:
    said = error.guard
    if error.trigger is not None:
        said = Strike(error.guard, trigger=error.trigger).header()
    elif error.label is not None:
        said = f"{error.guard}; label={plain(error.label)}"
    exchange.more_headers.append((b"x-pointsman-guard", _header(said)))


def _name_strikes(exchange: Exchange, strikes: tuple[Strike, ...]) -> None:
    if strikes:
        said = ", ".join(strike.header() for strike in strikes)
        exchange.more_headers.append((b"x-pointsman-guard", _header(said)))


def _header(text: str) -> bytes:
    return text.encode("latin-1", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
