"""What a model can do, in Ollama's words, by its file.

Source: `Capabilities` in server/images.go of ollama/ollama, v0.40.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pointsman.local.ollama.architectures import EMBEDDING

__all__ = ["capabilities_of"]

_TOOLS = re.compile(r"\btools\b")
_THINKING = re.compile(r"enable_thinking|reasoning_content|<think>|<\|channel\|>|thinking")
# The token that stands before the text to go on from, by the names that it has had.
_INFILL = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")


def capabilities_of(
    metadata: Mapping[str, Any],
    *,
    template: str | None = None,
    projector: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Give some of `completion`, `embedding`, `tools`, `vision`, `audio`, `insert`, `thinking`.

    `metadata` is of `read_metadata`, as is that of the projector; `template` goes before the file's
    own. Pure.
    """
    architecture = metadata.get("general.architecture")
    pooled = metadata.get(f"{architecture}.pooling_type")
    if architecture in EMBEDDING or (isinstance(pooled, int) and pooled in (1, 2, 3)):
        return ("embedding",)
    found = ["completion"]
    own = template or metadata.get("tokenizer.chat_template")
    text = own if isinstance(own, str) else ""
    if _TOOLS.search(text):
        found.append("tools")
    if any(key in metadata for key in _INFILL):
        found.append("insert")
    if projector is not None:
        # Old projectors do not say, and see.
        if projector.get("clip.has_vision_encoder", True):
            found.append("vision")
        if projector.get("clip.has_audio_encoder"):
            found.append("audio")
    if _THINKING.search(text):
        found.append("thinking")
    return tuple(found)
