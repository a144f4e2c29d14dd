"""What llama.cpp's own server has beyond OpenAI's form: sampling, templates, timings, limits.

Source: tools/server/README.md of llama.cpp, b11434; what an xllamacpp 2026.10 server answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pointsman.types import Thinking, Timings

__all__ = ["PARAMETERS", "read_timings", "status_of", "write_thinking"]

# Of a request, by the server's own names; they go to it from any client.
PARAMETERS = frozenset(
    ("adaptive_decay", "adaptive_target", "cache_prompt", "chat_template_kwargs",
     "dry_allowed_length", "dry_base", "dry_multiplier", "dry_penalty_last_n",
     "dry_sequence_breakers", "dynatemp_exponent", "dynatemp_range", "grammar", "ignore_eos",
     "json_schema", "min_keep", "mirostat", "mirostat_eta", "mirostat_tau", "n_discard", "n_keep",
     "n_predict", "n_probs", "post_sampling_probs", "repeat_last_n", "repeat_penalty", "samplers",
     "t_max_predict_ms", "thinking_budget_tokens", "top_n_sigma", "typical_p", "xtc_probability",
     "xtc_threshold")
)  # fmt: skip
_OF_THE_REQUEST = re.compile(
    r"input \(\d+ tokens\) is (?:too large|larger than)|(?:image|audio|video) input is not supported"
)


def read_timings(body: Mapping[str, Any]) -> Timings | None:
    """Give the engine's own timings of an answer; None if it has none."""
    timings = body.get("timings")
    if not isinstance(timings, Mapping):
        return None
    prompt, output = timings.get("prompt_ms"), timings.get("predicted_ms")
    if not isinstance(prompt, int | float) or not isinstance(output, int | float):
        return None
    return Timings(max(0.0, float(prompt)), max(0.0, float(output)))


def write_thinking(thinking: Thinking, body: dict[str, Any]) -> None:
    """Say to a chat template whether, and how much, to think; thoughts are always shown."""
    enabled = thinking.enabled
    if thinking.effort == "none" or thinking.budget_tokens == 0:
        enabled = False
    elif enabled is None and (thinking.effort or thinking.budget_tokens):
        enabled = True
    if enabled is not None:
        body["chat_template_kwargs"] = {"enable_thinking": enabled}
    if enabled:
        if thinking.effort is not None:
            body["reasoning_effort"] = thinking.effort
        if thinking.budget_tokens is not None:
            body["thinking_budget_tokens"] = thinking.budget_tokens


def status_of(status: int, message: str) -> int:
    """Give the status that an error of the server means.

    It answers 500 to an input over its batch and to an image for a model that does not see, and 501
    to what the model cannot do: all are the request's fault, and another try would not help.
    """
    return 400 if status == 501 or (status == 500 and _OF_THE_REQUEST.search(message)) else status
