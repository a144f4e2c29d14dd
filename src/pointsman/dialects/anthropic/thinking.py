"""How much the model thinks, and the room it has: `thinking`, `output_config.effort`, `max_tokens`.

Source: the types of the official client, anthropic 2.12.0 (`types/thinking_config_param.py`,
`types/output_config_param.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pointsman.dialects._shared import optional, required, want_integer, want_object, want_string
from pointsman.dialects.anthropic.blocks import DIALECT
from pointsman.errors import RequestError
from pointsman.types import Thinking

__all__ = [
    "ADAPTIVE_MAX_TOKENS",
    "DEFAULT_MAX_TOKENS",
    "read_thinking",
    "write_max_tokens",
    "write_thinking",
]

# What every model since Claude 3.5 takes: room for a long answer, and for none without end.
DEFAULT_MAX_TOKENS = 8_192
# Thoughts count towards the limit, and the models that think adaptively take 64,000 and more.
ADAPTIVE_MAX_TOKENS = 32_768
_MIN_BUDGET_TOKENS = 1_024
_DISPLAY = {"summarized": True, "omitted": False}
# The API's words, and OpenAI's "minimal" by the nearest of them.
_EFFORT = {word: word for word in ("low", "medium", "high", "xhigh", "max")} | {"minimal": "low"}


def read_thinking(
    body: Mapping[str, Any], effort: str | None, notes: dict[str, Any]
) -> Thinking | None:
    """Read `thinking`, together with the effort of `output_config`.

    A type that the middle form lacks (`between_tools`) goes into `notes` whole.

    Raises:
        RequestError: a wrong type or value.
    """
    spec = optional(body, "thinking", want_object)
    if spec is None:
        return None if effort is None else Thinking(effort=effort)
    kind = required(spec, "type", want_string, "thinking")
    display = optional(spec, "display", want_string, "thinking")
    if display is not None and display not in _DISPLAY:
        raise RequestError(
            f"'thinking.display' must be summarized or omitted, not '{display}'",
            param="thinking.display",
        )
    show = None if display is None else _DISPLAY[display]
    if kind == "enabled":
        budget = required(spec, "budget_tokens", want_integer, "thinking")
        return Thinking(enabled=True, effort=effort, budget_tokens=budget, show=show)
    if kind == "adaptive":
        return Thinking(enabled=True, effort=effort, show=show)
    if kind == "disabled":
        return Thinking(enabled=False, effort=effort)
    notes["thinking"] = spec
    return None if effort is None else Thinking(effort=effort)


def write_thinking(
    thinking: Thinking | None, dialect: str, ignored: list[str]
) -> tuple[dict[str, Any] | None, str | None]:
    """Give `thinking` and `output_config.effort`, each None where it is left to the model.

    A budget is `enabled`; an effort, or thinking with no measure, is `adaptive`; "minimal" is
    written as "low", the least that Anthropic has. In Anthropic's own dialect an effort alone is
    not a wish to think.

    Raises:
        RequestError: an unknown effort, or a budget under Anthropic's least.
    """
    if thinking is None:
        return None, None
    effort = None
    off = thinking.enabled is False or thinking.budget_tokens == 0 or thinking.effort == "none"
    if thinking.effort not in (None, "none"):
        effort = _EFFORT.get(thinking.effort or "")
        if effort is None:
            raise RequestError(
                f"the effort '{thinking.effort}' is unknown to Anthropic: it takes low, medium, "
                "high, xhigh and max",
                param="effort",
            )
    if off:
        return {"type": "disabled"}, effort
    budget = thinking.budget_tokens or 0
    if budget > 0:
        if budget < _MIN_BUDGET_TOKENS:
            raise RequestError(
                f"a thinking budget of {budget} is under Anthropic's least, {_MIN_BUDGET_TOKENS}",
                param="budget_tokens",
            )
        spec: dict[str, Any] = {"type": "enabled", "budget_tokens": budget}
    elif thinking.enabled or budget < 0 or thinking.show or (effort and dialect != DIALECT):
        spec = {"type": "adaptive"}
    else:
        if thinking.show is not None:
            ignored.append("thinking.show")
        return None, effort
    if thinking.show is not None:
        spec["display"] = "summarized" if thinking.show else "omitted"
    return spec, effort


def write_max_tokens(max_tokens: int | None, spec: dict[str, Any] | None) -> int:
    """Give `max_tokens`, which Anthropic requires: the caller's, else a default.

    The default is 8,192, on top of the thinking budget if there is one; 32,768 where the model
    decides by itself how long it thinks.

    Raises:
        RequestError: the caller's limit leaves no room beside the thinking budget.
    """
    budget = spec.get("budget_tokens", 0) if spec else 0
    if max_tokens is None:
        if spec and spec["type"] == "adaptive":
            return ADAPTIVE_MAX_TOKENS
        return DEFAULT_MAX_TOKENS + int(budget)
    if budget and max_tokens <= budget:
        raise RequestError(
            f"'max_tokens' ({max_tokens}) must be more than the thinking budget ({budget}), for "
            "Anthropic",
            param="max_tokens",
        )
    return max_tokens
